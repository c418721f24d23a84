//! A script runs in order, up to the first statement that fails.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, differs, read};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let count = || match read(
        &db.query("SELECT count(*) FROM t", none, false)
            .unwrap()
            .rows,
    )[0][0]
    {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    };
    db.execute_script("").unwrap();
    db.execute_script("-- nothing\n;;  /* nothing */ ;")
        .unwrap();
    db.execute_script(
        "CREATE TABLE t(a UNIQUE); -- a comment; with a semicolon
         INSERT INTO t VALUES ('a;b');
         CREATE TRIGGER tr AFTER INSERT ON t WHEN new.a = 'x' BEGIN
            DELETE FROM t WHERE a = 'a;b'; DELETE FROM t WHERE a = 'y';
         END;
         SELECT * FROM t;
         INSERT INTO t VALUES ('x')",
    )
    .unwrap();
    assert_eq!(count(), 1);

    // Offsets count from the script's beginning, in bytes.
    let script = "INSERT INTO t VALUES ('é'); SELECT wrong FROM t; INSERT INTO t VALUES (3)";
    let error = db.execute_script(script).unwrap_err();
    let place = |text: &str| script.find(text).map(|at| at as u32);
    assert_eq!(
        (error.kind, error.offset),
        (
            ErrorKind::Sql,
            differs(
                "the offset of an error in a script",
                place("wrong"),
                place("SELECT")
            )
        )
    );
    assert_eq!(count(), 2, "the first stays, the third did not run");

    let error = db.execute_script("SELECT 1; SELECT ?1").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Parameters);
    let error = db.execute_script("SELECT 1; SELECT \0 2").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Sql);

    // The guest must end a transaction that the script begins.
    let script = "BEGIN; INSERT INTO t VALUES (4); INSERT INTO t VALUES (4)";
    assert_eq!(
        db.execute_script(script).unwrap_err().kind,
        ErrorKind::ConstraintUnique
    );
    assert!(db.in_transaction());
    db.execute_script("ROLLBACK").unwrap();
    assert_eq!(count(), 2);
}
