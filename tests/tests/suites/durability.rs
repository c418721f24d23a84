//! Killed while it writes, a server has kept everything that it acknowledged.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::process::{Server, ask};

const WRITERS: u32 = 8;

/// The kill comes after this many acknowledged notes, with the writers at work.
const NOTES: usize = 200;

#[test]
fn every_acknowledged_note_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("notes.db");
    let mut acknowledged = BTreeMap::<u64, String>::new();
    // Twice, so that the second kill meets a database that had to be recovered.
    for round in 0..2 {
        let server = Server::notes(&database, &["--no-access-log"]);
        let address = server.address;
        let (acknowledge, acknowledgements) = channel();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let acknowledge = acknowledge.clone();
                scope.spawn(move || {
                    for number in 0_u32.. {
                        let title = format!("round {round}, writer {writer}, note {number}");
                        let note = json!({"title": title}).to_string();
                        let headers = "content-type: application/json\r\n";
                        let answer = ask(address, "POST", "/api/notes", headers, note.as_bytes());
                        // An answer that broke off, as its length tells, acknowledges nothing.
                        let Ok(answer) = answer else { break };
                        let id = answer.is(201).json()["id"].as_u64().expect("an id");
                        let _ = acknowledge.send((id, title));
                    }
                });
            }
            drop(acknowledge);
            acknowledged.extend(acknowledgements.iter().take(NOTES));
            server.kill();
            // Those answered while it was being killed count as well.
            acknowledged.extend(acknowledgements.iter());
        });
    }
    assert!(acknowledged.len() >= 2 * NOTES);

    let server = Server::notes(&database, &["--no-access-log"]);
    let mut kept = BTreeMap::new();
    for page in 1.. {
        let listing = server
            .ask("GET", &format!("/api/notes?page={page}"), None)
            .is(200)
            .json();
        kept.extend(
            listing["notes"]
                .as_array()
                .expect("notes")
                .iter()
                .map(|note| (note["id"].as_u64().expect("an id"), note["title"].clone())),
        );
        if listing["pages"] == page {
            break;
        }
    }
    for (id, title) in &acknowledged {
        assert_eq!(
            kept.get(id),
            Some(&Value::from(title.as_str())),
            "note {id} is lost"
        );
    }
    // A writer has at most one note under way that was not acknowledged.
    assert!(kept.len() <= acknowledged.len() + 2 * WRITERS as usize);
    let integrity = rusqlite::Connection::open(&database)
        .and_then(|db| db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    assert_eq!(integrity.as_deref(), Ok("ok"));
}
