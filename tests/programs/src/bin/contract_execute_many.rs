//! `execute-many`: every row or none, and cells that do not fit are refused before any.

use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_guest::bindings::types::{Cells, ErrorKind, Parameters, Value};

fn cells(kinds: &[u8], integers: &[i64], reals: &[f64], lengths: &[u32], bytes: &[u8]) -> Cells {
    Cells {
        kinds: kinds.to_vec(),
        integers: integers.to_vec(),
        reals: reals.to_vec(),
        lengths: lengths.to_vec(),
        bytes: bytes.to_vec(),
    }
}

fn main() {
    let none = Parameters::Positional(vec![]);
    let db = get_connection("default", Access::ReadWrite).unwrap();
    db.execute_script("CREATE TABLE t(a UNIQUE, b)").unwrap();
    let count = || match db.query("SELECT count(*) FROM t", &none).unwrap().rows[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    };
    let insert = db.prepare("INSERT INTO t VALUES (?1, ?2)").unwrap();
    for malformed in [
        cells(&[1], &[1], &[], &[], &[]),
        cells(&[1, 1, 1], &[1, 2, 3], &[], &[], &[]),
        cells(&[1, 1], &[1], &[], &[], &[]),
        cells(&[1, 1], &[1, 2, 3], &[], &[], &[]),
        cells(&[2, 2], &[], &[1.0], &[], &[]),
        cells(&[1, 5], &[1], &[1.0], &[], &[]),
        cells(&[0, 5], &[], &[], &[], &[]),
        cells(&[6, 5], &[], &[], &[], &[]),
        cells(&[255, 255], &[], &[], &[], &[]),
        cells(&[3, 5], &[], &[], &[], b"a"),
        cells(&[3, 5], &[], &[], &[2], b"a"),
        cells(&[3, 5], &[], &[], &[1, 1], b"ab"),
        cells(&[3, 5], &[], &[], &[1], b"ab"),
        cells(&[4, 4], &[], &[], &[u32::MAX, u32::MAX], b"ab"),
        cells(&[4, 4], &[], &[], &[u32::MAX, 2], b"ab"),
        cells(&[], &[1], &[], &[], &[]),
        cells(&[], &[], &[], &[], b"a"),
    ] {
        let error = insert.execute_many(&malformed).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Parameters, "{malformed:?}");
    }
    assert_eq!(count(), 0);

    let done = insert
        .execute_many(&cells(&[], &[], &[], &[], &[]))
        .unwrap();
    assert_eq!(done.changes, 0);
    let rows = cells(&[1, 3, 2, 4, 5, 5], &[1], &[0.5], &[1, 2], b"abc");
    let done = insert.execute_many(&rows).unwrap();
    assert_eq!((done.changes, done.last_insert_rowid), (3, 3));
    let error = insert
        .execute_many(&cells(&[1, 5, 1, 5], &[2, 1], &[], &[], &[]))
        .unwrap_err();
    assert_eq!(
        (error.kind, error.rolled_back),
        (ErrorKind::ConstraintUnique, false)
    );
    assert_eq!(count(), 3);

    // Inside a transaction, it is undone alone.
    let transaction = db
        .begin(millpond_guest::TransactionMode::Immediate)
        .unwrap();
    db.execute("INSERT INTO t VALUES (9, 9)", &none).unwrap();
    insert
        .execute_many(&cells(&[1, 5, 1, 5], &[2, 1], &[], &[], &[]))
        .unwrap_err();
    insert
        .execute_many(&cells(&[1, 5, 1, 5], &[2, 3], &[], &[], &[]))
        .unwrap();
    millpond_guest::bindings::types::Transaction::commit(transaction).unwrap();
    assert_eq!(count(), 6);

    // Rows that a statement yields are skipped; a statement without parameters has no rows.
    let returning = db
        .prepare("INSERT INTO t VALUES (?1, ?2) RETURNING a")
        .unwrap();
    assert_eq!(
        returning
            .execute_many(&cells(&[1, 5], &[7], &[], &[], &[]))
            .unwrap()
            .changes,
        1
    );
    let fixed = db.prepare("DELETE FROM t").unwrap();
    let error = fixed
        .execute_many(&cells(&[1], &[1], &[], &[], &[]))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Parameters);
    let begin = db.prepare("BEGIN").unwrap();
    begin
        .execute_many(&cells(&[], &[], &[], &[], &[]))
        .unwrap_err();
    assert!(!db.in_transaction());
}
