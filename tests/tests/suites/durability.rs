//! A server that is killed repeatedly while it writes keeps everything that it acknowledged, and
//! nothing in part.
//!
//! Each kill comes after a different number of acknowledged notes, while the writers are running,
//! with `synchronous` alternating between full and normal. Set `MILLPOND_KILLS=10000` to run it for
//! longer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::process::{Server, ask};

const WRITERS: u32 = 4;

#[test]
fn every_acknowledged_note_survives_a_kill() {
    let kills: u32 = match std::env::var("MILLPOND_KILLS") {
        Ok(kills) => kills.parse().expect("MILLPOND_KILLS is a number"),
        Err(_) => 200,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("notes.db");
    let (mut acknowledged, mut unknown) = (0, 0);
    // The notes of the last round, by number.
    let mut told = BTreeMap::new();
    for round in 0..=kills {
        let synchronous = ["full", "normal"][round as usize % 2];
        let server = Server::notes(
            &database,
            &["--no-access-log", "--synchronous", synchronous],
        );
        // The server has recovered the database.
        let kept = kept_from(&database, acknowledged + unknown, &told);
        acknowledged += told.len();
        unknown += kept - told.len();
        if round == kills {
            break;
        }
        told = write_and_kill(server, round);
    }
    // A writer has at most one unacknowledged note in progress.
    assert!(
        unknown <= (kills * WRITERS) as usize,
        "{unknown} of {kills}"
    );
    println!("{acknowledged} notes acknowledged in {kills} kills, and {unknown} more kept");

    let database = Connection::open(&database).expect("the database");
    let check = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0));
    assert_eq!(check("PRAGMA integrity_check").as_deref(), Ok("ok"));
    // Compares the full-text index with the notes, word by word.
    database
        .execute(
            "INSERT INTO notes_search(notes_search) VALUES ('integrity-check')",
            [],
        )
        .expect("an index that fits the notes");
}

/// Writes notes until the round's kill. Returns the acknowledged ones.
fn write_and_kill(server: Server, round: u32) -> BTreeMap<i64, String> {
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
                    // A truncated response acknowledges nothing.
                    let Ok(answer) = answer else { break };
                    let id = answer.is(201).json()["id"].as_i64().expect("an id");
                    let _ = acknowledge.send((id, title));
                }
            });
        }
        drop(acknowledge);
        let before_the_kill = (round * 7 % 30) as usize;
        let mut told: BTreeMap<_, _> = acknowledgements.iter().take(before_the_kill).collect();
        server.kill();
        // Those acknowledged while it was being killed count too.
        told.extend(acknowledgements.iter());
        told
    })
}

/// Checks that every acknowledged note exists, with its entry in the full-text index, which its
/// transaction also wrote. Returns how many there are beyond the `before` of earlier rounds.
fn kept_from(database: &Path, before: usize, told: &BTreeMap<i64, String>) -> usize {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(database, flags).expect("the database");
    let number = |sql: &str| {
        let number = database.query_row(sql, [], |row| row.get::<_, u32>(0));
        number.expect(sql) as usize
    };
    let count = number("SELECT count(*) FROM notes");
    assert_eq!(count, number("SELECT count(*) FROM notes_search_docsize"));
    let mut title = database
        .prepare("SELECT title FROM notes WHERE id = ?1")
        .expect("SQL");
    for (id, expected) in told {
        let found: Option<String> = title.query_row([id], |row| row.get(0)).ok();
        assert_eq!(found.as_ref(), Some(expected), "note {id} is lost");
    }
    count - before
}
