//! The operator's page in headless Chromium.

use std::path::PathBuf;

use serde_json::json;

use super::{configured, load, query};
use crate::browser::chromium;
use crate::chromium::Page;

/// The text of a cell of the row that begins with `first`.
fn cell(table: &str, first: &str, column: usize) -> String {
    format!(
        "[...document.querySelectorAll('#{table} tbody tr')]
            .find((row) => row.cells[0].textContent === '{first}')?.cells[{column}].textContent"
    )
}

fn open(chromium: PathBuf, address: &str) -> Page {
    let mut page = Page::open(chromium, &format!("http://{address}/"));
    page.until("document.getElementById('state').textContent === 'Serving'");
    page
}

#[test]
fn an_operator_sees_what_happens() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "slow-statement-time = \"0s\", min-free-disk = \"16384GiB\"";
    let server = configured(folder.path(), settings, "127.0.0.1:0");
    let mut page = open(chromium, &server.counters_address());
    load(&server);
    // The disk has too little space.
    let disk = cell("databases-table", "app", 11);
    let disk = disk.strip_suffix("textContent").expect("a cell's text");
    page.until(&format!(
        "({disk}className ?? '').split(' ').includes('wrong')"
    ));
    for (table, column, text) in [
        ("components-table", 2, "6"),
        ("components-table", 5, "2"),
        ("databases-table", 1, "0 of 2"),
    ] {
        page.until(&format!("{} === '{text}'", cell(table, "app", column)));
    }
    page.until(&format!(
        "{}.includes('1 unreachable')",
        cell("components-table", "app", 11)
    ));
    page.until("document.querySelector('#events-table tbody').textContent.includes('unreachable')");

    // What a guest wrote is text.
    let markup = "SELECT '<img src=x onerror=alert(1)>' FROM sqlite_schema";
    let first = "document.querySelector('#slow-table tbody tr td:last-child')";
    let plan = loop {
        query(&server, markup);
        // Another statement may come in between.
        let has_it = format!(
            "{first}?.querySelector('code')?.textContent === {}",
            json!(markup)
        );
        page.until(&has_it);
        // After a plan that took long to make, the next statements have none.
        let text = format!("{first}.querySelector('pre')?.textContent ?? ''");
        let text = page.evaluate(&text);
        if text != "" {
            break text;
        }
    };
    assert!(plan.as_str().is_some_and(|plan| plan.starts_with("SCAN")));
    page.until("!document.querySelector('img')");
    page.enter("#slow-table tbody tr summary");
    page.until(&format!("{first}.querySelector('pre').checkVisibility()"));

    // By keyboard: the order of a table, and a pause.
    page.enter("#databases-table thead button");
    page.until("document.querySelector('#databases-table th').ariaSort === 'descending'");
    page.press_enter();
    page.until("document.querySelector('#databases-table th').ariaSort === 'ascending'");
    page.enter("#pause");
    page.until("document.getElementById('pause').ariaPressed === 'true'");
    assert!(page.complaints.is_empty(), "{:#?}", page.complaints);
}

#[test]
fn the_page_says_that_the_server_is_gone_and_finds_it_again() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "", "127.0.0.1:0");
    let address = server.counters_address();
    let mut page = open(chromium, &address);
    server.ask("GET", "/quick", None).is(200);
    page.until(&format!("{} === '1'", cell("components-table", "app", 2)));
    server.kill();
    page.until("document.getElementById('state').textContent.startsWith('No connection')");
    let server = configured(folder.path(), "", &address);
    page.until("document.getElementById('state').textContent === 'Serving'");
    for _ in 0..2 {
        server.ask("GET", "/quick", None).is(200);
    }
    page.until(&format!("{} === '2'", cell("components-table", "app", 2)));
}

#[test]
fn the_page_has_names_roles_and_contrast() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "slow-statement-time = \"0s\"", "127.0.0.1:0");
    let mut page = open(chromium, &server.counters_address());
    load(&server);
    page.until(
        "document.querySelectorAll('#events-table tbody tr, #slow-table tbody tr').length > 6",
    );
    let missing = "(() => {
        const found = [];
        const check = (holds, what) => { if (!holds) found.push(what); };
        const all = (selector) => [...document.querySelectorAll(selector)];
        check(document.documentElement.lang === 'en', 'a language');
        check(all('main').length === 1 && all('h1').length === 1, 'one main and one h1');
        check(document.getElementById('state').role === 'status', 'a status');
        for (const it of all('svg')) {
            check(it.role === 'img' && it.ariaLabel.includes('now'), 'a chart');
        }
        for (const it of all('table')) {
            check(it.ariaLabel, 'the name of a table');
            check([...it.tHead.rows[0].cells].every((cell) => cell.scope === 'col'), 'a column');
            check([...it.tBodies[0].rows].every((row) => row.cells[0].scope === 'row'), 'a row');
        }
        for (const it of all('.scroll')) {
            const name = document.getElementById(it.getAttribute('aria-labelledby'));
            check(it.role === 'region' && it.tabIndex === 0 && name, 'a region');
        }
        for (const it of all('button')) check(it.textContent, 'the name of a button');
        return found;
    })()";
    assert_eq!(page.evaluate(missing), json!([]));
    // WCAG 2.2: 4.5:1 for text.
    let weak = "(() => {
        const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const luminance = (colour) => {
            const [r, g, b] = parts(colour).slice(0, 3).map((part) => {
                const value = part / 255;
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
            if (!element) return getComputedStyle(document.body).backgroundColor;
            const colour = getComputedStyle(element).backgroundColor;
            return parts(colour)[3] === 0 ? behind(element.parentElement) : colour;
        };
        const found = [];
        const texts = 'h1, h2, p, dt, dd, th, td, button, summary, strong, code';
        for (const it of document.querySelectorAll(texts)) {
            const [one, other] = [getComputedStyle(it).color, behind(it)].map(luminance);
            const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            if (contrast < 4.5) found.push([it.tagName, it.className, contrast]);
        }
        return found;
    })()";
    for scheme in ["light", "dark"] {
        page.prefer(scheme);
        assert_eq!(page.evaluate(weak), json!([]), "{scheme}");
    }
    // Nothing but tables, which scroll by themselves, is wider than a phone.
    page.resize(360, 740);
    page.until("document.documentElement.scrollWidth <= innerWidth");
    assert!(page.complaints.is_empty(), "{:#?}", page.complaints);
}
