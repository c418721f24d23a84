//! Each error has its kind and SQLite's code.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, differs};

/// The kind and code of the error of `sql`, which are `on_file` for a database in a file.
fn expected(sql: &str, on_file: (ErrorKind, i32)) -> (ErrorKind, i32) {
    let on_server = match sql {
        "INSERT INTO t(id) VALUES (1)" | "INSERT INTO pair VALUES (1, 1)" => {
            (ErrorKind::ConstraintUnique, 2067)
        }
        "INSERT INTO strict VALUES ('text')" | "DELETE FROM t" => (ErrorKind::ConstraintOther, 19),
        "ATTACH ':memory:' AS other" | "PRAGMA journal_mode = DELETE" => {
            (ErrorKind::Unsupported, 0)
        }
        "SELECT sqlite_version()" => (ErrorKind::NotAuthorized, 0),
        _ => return on_file,
    };
    differs(sql, on_file, on_server)
}

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    db.execute_script(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY);
         CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, n INTEGER NOT NULL DEFAULT 0,
                        c CHECK (c < 10), p REFERENCES parent(id));
         CREATE TABLE pair(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID;
         CREATE TABLE strict(i INTEGER) STRICT;
         CREATE TRIGGER no BEFORE DELETE ON t BEGIN SELECT raise(ABORT, 'no'); END;
         INSERT INTO t(id, u) VALUES (1, 1);
         INSERT INTO pair VALUES (1, 1)",
    )
    .unwrap();
    for (sql, kind, code) in [
        (
            "INSERT INTO t(u) VALUES (1)",
            ErrorKind::ConstraintUnique,
            2067,
        ),
        (
            "INSERT INTO t(id) VALUES (1)",
            ErrorKind::ConstraintPrimaryKey,
            1555,
        ),
        (
            "INSERT INTO pair VALUES (1, 1)",
            ErrorKind::ConstraintPrimaryKey,
            1555,
        ),
        (
            "INSERT INTO t(p) VALUES (7)",
            ErrorKind::ConstraintForeignKey,
            787,
        ),
        (
            "INSERT INTO t(n) VALUES (NULL)",
            ErrorKind::ConstraintNotNull,
            1299,
        ),
        (
            "INSERT INTO t(c) VALUES (10)",
            ErrorKind::ConstraintCheck,
            275,
        ),
        (
            "INSERT INTO strict VALUES ('text')",
            ErrorKind::ConstraintOther,
            3091,
        ),
        ("DELETE FROM t", ErrorKind::ConstraintOther, 1811),
        (
            "INSERT INTO t(id) VALUES ('text')",
            ErrorKind::ConstraintOther,
            20,
        ),
        ("SELECT * FROM missing", ErrorKind::Sql, 1),
        ("SELECT abs(-9223372036854775808)", ErrorKind::Sql, 1),
        ("SELECT zeroblob(2000000000)", ErrorKind::TooLarge, 18),
        ("ATTACH ':memory:' AS other", ErrorKind::NotAuthorized, 23),
        ("PRAGMA journal_mode = DELETE", ErrorKind::NotAuthorized, 23),
        ("SELECT sqlite_version()", ErrorKind::NotAuthorized, 1),
    ] {
        let error = db.execute(sql, none).unwrap_err();
        assert_eq!(
            (error.kind, error.code),
            expected(sql, (kind, code)),
            "{sql}: {}",
            error.message
        );
        assert!(!error.message.is_empty() && !error.rolled_back);
        assert!(
            !error.message.contains("app.db"),
            "a path: {}",
            error.message
        );
    }
}
