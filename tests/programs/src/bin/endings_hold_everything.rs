//! Holds two connections, with a transaction, a statement and a cursor, and then ends in the way
//! that its argument names.

use millpond_guest::bindings::connections::TransactionMode;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::NONE;

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let reader = get_connection("default", Access::ReadOnly).unwrap();
    let transaction = db.begin(TransactionMode::Immediate).unwrap();
    db.execute("INSERT INTO t VALUES ('of the guest')", none)
        .unwrap();
    let statement = reader.prepare("SELECT 1 UNION ALL SELECT 2").unwrap();
    let cursor = statement.query(none, 1, false).unwrap().rest;
    let forever =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    println!("ready");
    match std::env::args().nth(1).as_deref().unwrap() {
        "return" => {}
        "forget" => std::mem::forget((transaction, db, cursor, statement, reader)),
        "exit with 0" => std::process::exit(0),
        "exit with 1" => std::process::exit(1),
        "panic" => panic!("as told"),
        "unreachable" => std::process::abort(),
        "recursion" => {
            println!("{}", recurse(1));
        }
        "memory" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
            }
        }
        "loop" => loop {
            std::hint::black_box(());
        },
        "wait" => {
            // Never returns for this guest: the host has lent the rest.
            let all: Vec<_> = (0..4)
                .map(|_| get_connection("default", Access::ReadOnly))
                .collect();
            println!("{}", all.len());
        }
        "statement" => {
            let error = reader.query(forever, none, false).unwrap_err();
            println!("ended by {:?}", error.kind);
        }
        "statement that writes" => {
            let error = db
                .query(&format!("INSERT INTO t {forever}"), none, false)
                .unwrap_err();
            println!(
                "ended by {:?}, rolled back: {}",
                error.kind, error.rolled_back
            );
            let error = db
                .execute("INSERT INTO t VALUES ('too late')", none)
                .unwrap_err();
            println!("then {:?}, rolled back: {}", error.kind, error.rolled_back);
        }
        other => panic!("no such ending: {other}"),
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if frame[1] == 0 {
        return 0;
    }
    recurse(depth + 1) + frame[0]
}
