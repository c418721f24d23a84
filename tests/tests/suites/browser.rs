//! The demo's page in headless Chromium, used like a person would.

use std::io::Write;
use std::path::PathBuf;

use crate::chromium::{self, Page};
use serde_json::{Value, json};

use crate::process::{Answer, Server};

/// Chromium's path. If it is missing, prints that and returns nothing.
pub(crate) fn chromium() -> Option<PathBuf> {
    let chromium = chromium::installed();
    if chromium.is_none() {
        let missing = "the suite `browser` needs Chromium and has not run: install it (on Debian: \
                       apt-get install chromium), or set CHROMIUM to its path";
        assert!(
            std::env::var_os("MILLPOND_REQUIRE_CHROMIUM").is_none(),
            "{missing}"
        );
        // Not with a macro: the harness captures the output of a passing test.
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
    // User input is text, whatever it looks like.
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

    // Everything has been saved.
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
    // When its last note is deleted, a page disappears.
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

/// A page with its own server.
struct Notes {
    page: Page,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Notes {
    /// Opens the page with these notes, the last first.
    fn open(notes: &[(&str, &str)]) -> Option<Notes> {
        let chromium = chromium()?;
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::notes(&folder.path().join("notes.db"), &[]);
        for (title, body) in notes {
            let note = json!({"title": title, "body": body});
            server.ask("POST", "/api/notes", Some(&note)).is(201);
        }
        let mut page = Page::open(chromium, &format!("http://{}/", server.address));
        page.until("document.getElementById('notes').ariaBusy === 'false'");
        Some(Notes {
            page,
            server,
            _folder: folder,
        })
    }

    /// What another tab does to the first note.
    fn elsewhere(&self, method: &str, note: Option<&Value>) -> Answer {
        self.server.ask(method, "/api/notes/1", note)
    }
}

#[test]
fn back_leads_to_the_page_or_search_before() {
    let titles: Vec<String> = (1..=51).map(|number| format!("note {number}")).collect();
    let notes: Vec<_> = titles.iter().map(|title| (title.as_str(), "")).collect();
    let Some(mut notes) = Notes::open(&notes) else {
        return;
    };
    let page = &mut notes.page;
    page.click("#next");
    page.until(&shows("note 1"));
    // A search is one step in the history, however long the user types.
    for search in ["note 7", "note 8"] {
        page.write("#search", search);
        page.until(&shows(search));
    }
    page.back();
    page.until(&format!(
        "{} && location.search === '?page=2' && document.getElementById('search').value === ''",
        shows("note 1")
    ));
    page.back();
    page.until("location.search === '' && document.querySelectorAll('.note').length === 50");
}

#[test]
fn a_long_note_shows_that_it_goes_on_and_opens() {
    let long = "line\n".repeat(100);
    let Some(mut notes) = Notes::open(&[("long", &long), ("short", "line")]) else {
        return;
    };
    let page = &mut notes.page;
    page.until(
        "[...document.querySelectorAll('.more')].map((it) => it.checkVisibility()).join() \
         === 'false,true'",
    );
    let opened = "(() => {
        const note = document.querySelector('.note:nth-child(2)');
        const body = note.querySelector('.body');
        return note.querySelector('.more').ariaExpanded === 'OPEN'
            && (body.scrollHeight === body.clientHeight) === OPEN;
    })()";
    page.until(&opened.replace("OPEN", "false"));
    page.click(".note:nth-child(2) .more");
    page.until(&opened.replace("OPEN", "true"));
    page.click(".note:nth-child(2) .more");
    page.until(&opened.replace("OPEN", "false"));
}

#[test]
fn an_edit_of_an_older_text_shows_both_and_loses_neither() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    let both = "document.getElementById('conflict').checkVisibility()
        && document.getElementById('their-body').textContent === 'Theirs'
        && document.getElementById('body').value === 'Mine'";
    for (choice, expected) in [("#take-theirs", "Theirs"), ("#keep-mine", "Mine")] {
        notes.page.click(".edit");
        notes.page.write("#body", "Mine");
        let theirs = json!({"title": "Milk", "body": "Theirs"});
        notes.elsewhere("PUT", Some(&theirs)).is(200);
        notes.page.click("#save");
        notes.page.until(both);
        let saved = notes.elsewhere("GET", None).is(200).json();
        assert_eq!(saved["body"], "Theirs");
        notes.page.click(choice);
        notes.page.until(&format!(
            "!document.getElementById('conflict').checkVisibility()
             && document.querySelector('.note .body').textContent === '{expected}'"
        ));
        if choice == "#take-theirs" {
            notes
                .page
                .until("document.getElementById('body').value === 'Theirs'");
            notes.page.click("#cancel");
        }
    }
    let saved = notes.elsewhere("GET", None).is(200).json();
    assert_eq!(saved["body"], "Mine");
}

#[test]
fn an_edit_that_is_saved_already_is_no_conflict() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    notes.page.click(".edit");
    notes.page.write("#body", "Two");
    let same = json!({"title": "Milk", "body": "Two"});
    notes.elsewhere("PUT", Some(&same)).is(200);
    notes.page.click("#save");
    notes
        .page
        .until("document.getElementById('title').value === ''");
    notes
        .page
        .until("!document.getElementById('conflict').checkVisibility()");
}

#[test]
fn a_note_that_was_deleted_elsewhere_can_be_saved_as_new() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    // A draft from before the edit is still there after it.
    notes.page.write("#title", "Begun");
    notes.page.click(".edit");
    notes.page.write("#body", "Mine");
    notes.elsewhere("DELETE", None).is(204);
    notes.page.click("#save");
    // The list has its final length: nothing moves under the next click.
    notes.page.until(&shows(""));
    notes.page.click("#save-as-new");
    notes.page.until(&shows("Milk"));
    notes
        .page
        .until("document.getElementById('title').value === 'Begun'");
    let listing = notes.server.ask("GET", "/api/notes", None).is(200).json();
    assert_eq!(
        (&listing["total"], &listing["notes"][0]["body"]),
        (&json!(1), &json!("Mine"))
    );
}

#[test]
fn a_note_that_was_changed_elsewhere_is_not_deleted() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    let theirs = json!({"title": "Honey", "body": "Theirs"});
    notes.elsewhere("PUT", Some(&theirs)).is(200);
    notes.page.click(".delete");
    notes.page.until(&shows("Honey"));
    notes
        .page
        .until("document.getElementById('status').classList.contains('error')");
    notes.elsewhere("GET", None).is(200);
}

#[test]
fn deleting_by_keyboard_keeps_the_focus_near() {
    let Some(mut notes) = Notes::open(&[("c", ""), ("b", ""), ("a", "")]) else {
        return;
    };
    let page = &mut notes.page;
    let focus = |selector: &str| format!("document.activeElement.matches('{selector}')");
    page.enter(".note:nth-child(2) .delete");
    page.until(&shows("a|c"));
    page.until(&focus(".note:nth-child(2) .delete"));
    page.enter("#undo");
    page.until(&shows("b|a|c"));
    page.until(&focus(".note:nth-child(1) .delete"));
    page.enter(".note:nth-child(3) .delete");
    page.until(&shows("b|a"));
    page.until(&focus(".note:nth-child(2) .delete"));
    for left in ["b", ""] {
        page.press_enter();
        page.until(&shows(left));
    }
    page.until(&focus("#title"));
}

#[test]
fn borders_and_placeholders_have_enough_contrast() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    // WCAG 2.2: 3:1 for what shows where a control is, 4.5:1 for text.
    let too_weak = "(() => {
        const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const luminance = (colour) => {
            const [r, g, b] = parts(colour).slice(0, 3).map((part) => {
                const value = part / 255;
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ratio = (one, other) => {
            const [a, b] = [luminance(one), luminance(other)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        };
        const background = (element) => {
            const { backgroundColor } = getComputedStyle(element);
            return parts(backgroundColor)[3] === 0
                ? background(element.parentElement) : backgroundColor;
        };
        const found = [];
        for (const it of document.querySelectorAll('input, textarea, #editor, .note, .quiet')) {
            const border = getComputedStyle(it).borderTopColor;
            for (const side of [it, it.parentElement]) {
                const contrast = ratio(border, background(side));
                if (contrast < 3) found.push([it.id || it.className, contrast]);
            }
        }
        const search = document.getElementById('search');
        const placeholder = getComputedStyle(search, '::placeholder');
        const text = ratio(placeholder.color, background(search));
        if (text < 4.5 || placeholder.opacity !== '1') found.push(['placeholder', text]);
        return found;
    })()";
    for scheme in ["light", "dark"] {
        notes.page.prefer(scheme);
        assert_eq!(notes.page.evaluate(too_weak), json!([]), "{scheme}");
    }
}

#[test]
fn a_draft_survives_a_reload() {
    let Some(mut notes) = Notes::open(&[("Milk", "One")]) else {
        return;
    };
    let page = &mut notes.page;
    let written = |title: &str, body: &str| {
        format!(
            "document.getElementById('title').value === '{title}'
             && document.getElementById('body').value === '{body}'"
        )
    };
    page.write("#title", "Begun");
    page.write("#body", "Text");
    page.reload();
    page.until(&written("Begun", "Text"));
    // The edit of a note survives it.
    page.click(".edit");
    page.write("#body", "Two");
    page.reload();
    page.until(&written("Milk", "Two"));
    page.click("#save");
    page.until(&written("Begun", "Text"));
    let saved = notes.elsewhere("GET", None).is(200).json();
    assert_eq!(
        (&saved["title"], &saved["body"]),
        (&json!("Milk"), &json!("Two"))
    );
}

#[test]
fn failed_actions_can_be_retried() {
    let Some(mut notes) = Notes::open(&[]) else {
        return;
    };
    let page = &mut notes.page;
    page.write("#title", "Milk");
    for (button, expected) in [("#save", "Milk"), (".delete", "")] {
        page.offline(true);
        page.click(button);
        page.until("document.getElementById('retry').checkVisibility()");
        page.offline(false);
        page.click("#retry");
        page.until(&shows(expected));
        page.until("!document.getElementById('retry').checkVisibility()");
    }
}
