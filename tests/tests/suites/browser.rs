//! The demonstration's page in headless Chromium, used as a person would use it.

use std::io::Write;
use std::path::PathBuf;

use crate::chromium::{self, Page};
use crate::process::Server;

/// Chromium, or nothing after saying that it is missing.
fn chromium() -> Option<PathBuf> {
    let chromium = chromium::installed();
    if chromium.is_none() {
        let missing = "the suite `browser` needs Chromium and has not run: install it (on Debian: \
                       apt-get install chromium), or set CHROMIUM to its path";
        assert!(
            std::env::var_os("MILLPOND_REQUIRE_CHROMIUM").is_none(),
            "{missing}"
        );
        // Not by a macro: the harness would keep what a passing test says to itself.
        let _ = writeln!(std::io::stderr(), "{missing}");
    }
    chromium
}

/// The titles of the notes that the page shows, as a JavaScript expression.
const TITLES: &str =
    "[...document.querySelectorAll('.note h3')].map((h) => h.textContent).join('|')";

fn shows(titles: &str) -> String {
    format!("{TITLES} === {}", serde_json::Value::from(titles))
}

#[test]
fn a_person_writes_searches_edits_and_deletes_notes() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::notes(&folder.path().join("notes.db"), &[]);
    let mut page = Page::open(chromium, &format!("http://{}/", server.address));
    page.until("document.getElementById('empty').textContent.includes('No notes yet')");

    page.write("#title", "Milk");
    page.write("#body", "Two bottles");
    page.click("#save");
    page.until(&shows("Milk"));
    page.until("document.getElementById('title').value === ''");
    // What somebody writes is text, whatever it looks like.
    let markup = "<img src=x onerror=alert(1)>";
    page.write("#title", markup);
    page.write("#body", "Bread & butter");
    page.click("#save");
    page.until(&shows(&format!("{markup}|Milk")));
    page.until("!document.querySelector('.note img')");

    page.write("#search", "bott");
    page.until(&shows("Milk"));
    page.until("location.search === '?search=bott'");
    page.write("#search", "nowhere");
    page.until(&format!(
        "{} && document.getElementById('empty').checkVisibility()",
        shows("")
    ));
    page.write("#search", "");
    page.until(&shows(&format!("{markup}|Milk")));

    page.click(".note:nth-child(2) .edit");
    page.until("document.getElementById('title').value === 'Milk'");
    page.write("#title", "Milk and honey");
    page.click("#save");
    page.until(&shows(&format!("Milk and honey|{markup}")));
    page.until("document.querySelector('.note .body').textContent === 'Two bottles'");

    page.click(".note:nth-child(2) .delete");
    page.until(&shows("Milk and honey"));
    page.click("#undo");
    page.until(&shows(&format!("{markup}|Milk and honey")));
    page.click(".note:nth-child(1) .delete");
    page.until(&shows("Milk and honey"));

    // Nothing of it was only on the page.
    page.reload();
    page.until(&shows("Milk and honey"));
    let listing = server.ask("GET", "/api/notes", None).is(200).json();
    assert_eq!(listing["total"], 1);
    assert_eq!(listing["notes"][0]["body"], "Two bottles");
    assert!(page.complaints.is_empty(), "{:#?}", page.complaints);
}

#[test]
fn a_person_turns_pages() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::notes(&folder.path().join("notes.db"), &[]);
    for number in 1..=51 {
        let note = serde_json::json!({"title": format!("note {number}")});
        server.ask("POST", "/api/notes", Some(&note)).is(201);
    }
    let mut page = Page::open(chromium, &format!("http://{}/", server.address));
    page.until("document.querySelectorAll('.note').length === 50");
    page.click("#next");
    page.until(&shows("note 1"));
    page.until("document.getElementById('page').textContent === 'Page 2 of 2'");
    // With its last note, a page goes.
    page.click(".delete");
    page.until("document.querySelectorAll('.note').length === 50");
    page.until("!document.getElementById('pages').checkVisibility()");
    assert!(page.complaints.is_empty(), "{:#?}", page.complaints);
}

#[test]
fn a_person_is_told_when_the_server_is_gone_and_loses_nothing() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::notes(&folder.path().join("notes.db"), &[]);
    let mut page = Page::open(chromium, &format!("http://{}/", server.address));
    page.until("document.getElementById('empty').checkVisibility()");
    page.write("#title", "Long thought about");
    server.kill();
    page.click("#save");
    page.until("document.getElementById('status').classList.contains('error')");
    page.until("document.getElementById('title').value === 'Long thought about'");
}
