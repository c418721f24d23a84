//! Connections as handles: how many, what they hold, and what becomes of it.

use millpond_test_programs::spin::fails;
use millpond_test_programs::spin::v2::{Connection, Error, Value};

fn main() {
    transactions();
    places();
    mistakes();
}

fn open() -> Connection {
    Connection::open("default").unwrap()
}

fn run(db: &Connection, sql: &str) {
    db.execute(sql, &[]).unwrap();
}

fn count(db: &Connection) -> i64 {
    let result = db.execute("SELECT count(*) FROM t", &[]).unwrap();
    match result.rows[0].values[..] {
        [Value::Integer(count)] => count,
        ref other => panic!("{other:?}"),
    }
}

fn transactions() {
    let db = open();
    run(&db, "CREATE TABLE t(a PRIMARY KEY)");
    for (end, expected) in [("COMMIT", 1), ("ROLLBACK", 1)] {
        run(&db, "BEGIN IMMEDIATE");
        run(&db, "INSERT INTO t VALUES (random())");
        run(&db, end);
        assert_eq!(count(&db), expected);
    }
    run(&db, "BEGIN");
    run(&db, "SAVEPOINT s");
    run(&db, "INSERT INTO t VALUES (random())");
    run(&db, "ROLLBACK TO s");
    // Another connection is another snapshot, and cannot write while this one does.
    run(&db, "INSERT INTO t VALUES (random())");
    let other = open();
    assert_eq!((count(&db), count(&other)), (2, 1));
    fails(other.execute("INSERT INTO t VALUES (0)", &[]), "busy");
    // What is open when the handle is dropped is rolled back.
    run(&db, "CREATE TEMPORARY TABLE mine(a)");
    drop(db);
    assert_eq!(count(&other), 1);
    run(&other, "INSERT INTO t VALUES (0)");
    fails(open().execute("SELECT * FROM mine", &[]), "sql");
}

/// The grant allows 4 connections.
fn places() {
    let mut held: Vec<_> = (0..4).map(|_| open()).collect();
    fails(Connection::open("default"), "too-many-handles");
    held.pop();
    held.push(open());
    fails(Connection::open("default"), "too-many-handles");
    drop(held);
    for _ in 0..1_000 {
        open();
    }
}

fn mistakes() {
    for name in ["forbidden", "", "DEFAULT", "/etc/passwd"] {
        assert!(matches!(Connection::open(name), Err(Error::AccessDenied)));
    }
    let db = open();
    for (kind, sql) in [
        ("sql", "SELECT * FROM missing"),
        ("sql", "SELECT 1; SELECT 2"),
        ("sql", ""),
        ("parameters", "SELECT ?"),
        ("constraint-primary-key", "INSERT INTO t VALUES (0)"),
        ("not-authorized", "PRAGMA journal_mode = DELETE"),
        ("not-authorized", "SELECT sqlite_version()"),
        ("not-utf8", "SELECT CAST(x'ff' AS TEXT)"),
        ("too-large", "SELECT zeroblob(2 << 20)"),
    ] {
        fails(db.execute(sql, &[]), kind);
    }
    fails(db.execute("SELECT 1", &[Value::Null]), "parameters");
    // All of it is bounded, and the connection is as good as before.
    assert_eq!(count(&db), 2);
}
