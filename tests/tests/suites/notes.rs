//! The demo's API, over HTTP, with a database in a file.

use serde_json::{Value, json};

use crate::process::{Answer, Server};

/// A server with its own temporary database.
struct Notes {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Notes {
    fn new() -> Notes {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::notes(&folder.path().join("notes.db"), &[]);
        Notes {
            server,
            _folder: folder,
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.server.ask("GET", path, None)
    }

    fn create(&self, title: &str, body: &str) -> Value {
        let note = json!({"title": title, "body": body});
        self.server
            .ask("POST", "/api/notes", Some(&note))
            .is(201)
            .json()
    }

    /// The titles on a page, and the page's numbers.
    fn list(&self, query: &str) -> (Vec<String>, Value) {
        let mut listing = self.get(&format!("/api/notes{query}")).is(200).json();
        let notes = listing["notes"].take();
        let titles = notes
            .as_array()
            .expect("notes")
            .iter()
            .map(|note| note["title"].as_str());
        (
            titles
                .map(|title| title.expect("a title").to_owned())
                .collect(),
            listing,
        )
    }
}

/// The kind of an error, as a program reads it.
#[track_caller]
fn kind(answer: Answer, status: u16) -> String {
    let answer = answer.is(status);
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    assert!(json["error"]["message"].is_string(), "{json}");
    json["error"]["kind"].as_str().expect("a kind").to_owned()
}

#[test]
fn a_note_is_created_read_replaced_and_deleted() {
    let notes = Notes::new();
    let draft = json!({"title": "Milk", "body": "Two bottles\u{0}, «süß»"});
    let created = notes.server.ask("POST", "/api/notes", Some(&draft)).is(201);
    let location = created.headers["location"].clone();
    let note = created.json();
    assert_eq!(
        (&note["title"], &note["body"]),
        (&draft["title"], &draft["body"])
    );
    assert_eq!(location, format!("/api/notes/{}", note["id"]));
    assert_eq!(note["created"], note["updated"]);
    assert_eq!(notes.get(&location).is(200).json(), note);

    let draft = json!({"title": "Bread", "body": ""});
    let replaced = notes
        .server
        .ask("PUT", &location, Some(&draft))
        .is(200)
        .json();
    assert_eq!(
        (&replaced["id"], &replaced["created"]),
        (&note["id"], &note["created"])
    );
    assert_eq!(
        (&replaced["title"], &replaced["body"]),
        (&draft["title"], &draft["body"])
    );
    assert!(replaced["updated"].as_str() >= note["updated"].as_str());
    assert_eq!(notes.get(&location).is(200).json(), replaced);

    let deleted = notes.server.ask("DELETE", &location, None).is(204);
    assert_eq!(deleted.body, b"");
    for method in ["GET", "DELETE"] {
        assert_eq!(
            kind(notes.server.ask(method, &location, None), 404),
            "not-found"
        );
    }
    assert_eq!(
        kind(notes.server.ask("PUT", &location, Some(&draft)), 404),
        "not-found"
    );
    assert_ne!(
        notes.create("Milk", "")["id"],
        note["id"],
        "an address came to mean another note"
    );
}

#[test]
fn a_change_can_name_the_version_that_it_is_for() {
    const BODY: &[u8] = br#"{"title": "Milk"}"#;
    let notes = Notes::new();
    let path = format!("/api/notes/{}", notes.create("Milk", "")["id"]);
    let change = |method, tag: &str| {
        let headers = format!("content-type: application/json\r\nif-match: {tag}\r\n");
        notes.server.ask_raw(method, &path, &headers, BODY)
    };
    assert_eq!(notes.get(&path).is(200).headers["etag"], "\"1\"");
    let replaced = change("PUT", "\"1\"").is(200);
    assert_eq!(replaced.headers["etag"], "\"2\"");
    assert_eq!(replaced.json()["version"], 2);
    for method in ["PUT", "DELETE"] {
        assert_eq!(kind(change(method, "\"1\""), 412), "changed-elsewhere");
    }
    assert_eq!(notes.get(&path).is(200).json(), replaced.json());

    change("PUT", "*").is(200);
    let draft = json!({"title": "Milk"});
    let replaced = notes.server.ask("PUT", &path, Some(&draft)).is(200);
    assert_eq!(replaced.headers["etag"], "\"4\"");
    change("DELETE", "\"4\"").is(204);
    assert_eq!(kind(change("PUT", "\"4\""), 404), "not-found");
}

#[test]
fn notes_are_listed_by_page_the_last_changed_first() {
    let notes = Notes::new();
    assert_eq!(
        notes.list(""),
        (
            vec![],
            json!({"notes": null, "page": 1, "pages": 1, "total": 0})
        )
    );
    for number in 0..105 {
        notes.create(&format!("note {number}"), "");
    }
    let (titles, listing) = notes.list("");
    assert_eq!((titles.len(), titles[0].as_str()), (50, "note 104"));
    assert_eq!(
        listing,
        json!({"notes": null, "page": 1, "pages": 3, "total": 105})
    );
    let (titles, _) = notes.list("?page=3");
    assert_eq!(titles, ["note 4", "note 3", "note 2", "note 1", "note 0"]);
    let (titles, listing) = notes.list("?page=4");
    assert_eq!((titles.len(), &listing["total"]), (0, &json!(105)));
}

#[test]
fn notes_are_searched_by_words_and_their_beginnings() {
    let notes = Notes::new();
    notes.create("Café", "Open until six");
    notes.create("Groceries", "Milk and coffee");
    let id = notes.create("Later", "Nothing")["id"].clone();
    for (search, expected) in [
        ("cafe", vec!["Café"]),
        ("caf%C3%A9", vec!["Café"]),
        ("MIL", vec!["Groceries"]),
        ("coffee+milk", vec!["Groceries"]),
        ("milk+six", vec![]),
        ("ilk", vec![]),
        ("%22%29+OR+1%3D1+--", vec![]),
        ("title%3A*", vec![]),
    ] {
        let (titles, listing) = notes.list(&format!("?search={search}"));
        assert_eq!(titles, expected, "{search}");
        assert_eq!(listing["total"], expected.len(), "{search}");
    }
    let path = format!("/api/notes/{id}");
    let draft = json!({"title": "Later", "body": "Milk"});
    notes.server.ask("PUT", &path, Some(&draft)).is(200);
    assert_eq!(notes.list("?search=milk").0.len(), 2);
    assert_eq!(notes.list("?search=nothing").0.len(), 0);
    notes.server.ask("DELETE", &path, None).is(204);
    assert_eq!(notes.list("?search=milk").0, ["Groceries"]);
}

#[test]
fn an_invalid_note_is_refused_with_a_reason() {
    let notes = Notes::new();
    let post =
        |headers: &str, body: &[u8]| notes.server.ask_raw("POST", "/api/notes", headers, body);
    const JSON: &str = "content-type: application/json\r\n";
    assert_eq!(kind(post("", b"{}"), 415), "unsupported-media-type");
    assert_eq!(kind(post(JSON, b"{"), 400), "bad-json");
    assert_eq!(kind(post(JSON, b"{\"title\":\"\xff\"}"), 400), "bad-json");
    assert_eq!(kind(post(JSON, b"{}"), 422), "invalid-note");
    assert_eq!(kind(post(JSON, b"{\"title\":\" \"}"), 422), "invalid-note");
    let long = json!({"title": "x".repeat(201)}).to_string();
    assert_eq!(kind(post(JSON, long.as_bytes()), 422), "invalid-note");
    assert_eq!(
        kind(post(JSON, &vec![b' '; 256 * 1024 + 1]), 413),
        "too-large"
    );
    assert_eq!(notes.list("").1["total"], 0);
}

#[test]
fn an_unknown_address_is_refused_with_a_reason() {
    let notes = Notes::new();
    assert_eq!(kind(notes.get("/api/nothing"), 404), "not-found");
    assert_eq!(kind(notes.get("/api/notes/9"), 404), "not-found");
    assert_eq!(kind(notes.get("/api/notes/nine"), 400), "bad-id");
    assert_eq!(kind(notes.get("/api/notes?page=0"), 400), "bad-page");
    assert_eq!(kind(notes.get("/api/notes?search=%ff"), 400), "bad-query");
    let refused = notes.server.ask("DELETE", "/api/notes", None);
    assert_eq!(refused.headers["allow"], "GET, HEAD, POST");
    assert_eq!(kind(refused, 405), "method-not-allowed");
}

#[test]
fn the_page_and_what_it_loads_are_served() {
    let notes = Notes::new();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/notes.css", "text/css; charset=utf-8"),
        ("/notes.js", "text/javascript; charset=utf-8"),
        ("/notes.svg", "image/svg+xml"),
    ] {
        let file = notes.get(path).is(200);
        assert_eq!(file.headers["content-type"], kind);
        assert!(!file.body.is_empty(), "{path}");
        assert!(file.headers["content-security-policy"].contains("default-src 'none'"));
    }
}

#[test]
fn every_request_gives_its_connection_back() {
    let notes = Notes::new();
    let created = notes.create("a", "");
    notes.list("?search=a");
    notes.get("/api/notes?page=0").is(400);
    notes.get(&format!("/api/notes/{}", created["id"])).is(200);
    // The counters are from a server that has ended: a connection may be returned just after its
    // request's last byte.
    notes.server.terminate();
    let line = notes.server.line_with("in_use");
    assert_eq!(line.split_whitespace().last(), Some("0"), "{line}");
    let line = notes.server.line_with("rolled_back");
    assert_eq!(line.split_whitespace().last(), Some("0"), "{line}");
}
