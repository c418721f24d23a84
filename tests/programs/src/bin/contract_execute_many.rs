//! `execute-many`: every row or none, and malformed rows are refused before any is written.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, named, read, rows};

/// A row for each number, with a null.
fn numbered(numbers: &[i64]) -> Vec<u8> {
    let row = |number: &i64| [Value::Integer(*number), Value::Null];
    rows(2, &numbers.iter().flat_map(row).collect::<Vec<_>>())
}

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    db.execute_script("CREATE TABLE t(a UNIQUE, b)").unwrap();
    let count = || match read(
        &db.query("SELECT count(*) FROM t", none, false)
            .unwrap()
            .rows,
    )[0][0]
    {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    };
    let insert = db.prepare("INSERT INTO t VALUES (?1, ?2)").unwrap();
    let null = Value::Null;
    let (one, text) = (Value::Integer(1), Value::Text("a".into()));
    let whole = rows(2, &[one.clone(), text.clone()]);
    let changed = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        bytes
    };
    // With a different width, and not divisible into rows.
    let mut malformed = vec![
        rows(1, &[one.clone(), null.clone()]),
        rows(3, &[one.clone(), null.clone(), null.clone()]),
        rows(2, &[one.clone(), null.clone(), null.clone()]),
        rows(0, &[one.clone(), null.clone()]),
        rows(u32::MAX as usize, &[one.clone(), null.clone()]),
        named(&[("a", one.clone()), ("b", null.clone())]),
        [whole.clone(), vec![5]].concat(),
        [whole.clone(), vec![3]].concat(),
    ];
    malformed.extend([0, 6, 7, 255].map(|code| changed(4, code)));
    // The text is longer than the list.
    malformed.extend([changed(14, 2), changed(17, 255)]);
    // Truncated anywhere but at the end, and before the first value.
    malformed.extend(
        (1..whole.len())
            .filter(|end| *end != 4)
            .map(|end| whole[..end].to_vec()),
    );
    for malformed in malformed {
        let error = insert.execute_many(&malformed).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Parameters, "{malformed:?}");
    }
    assert_eq!(count(), 0);

    let done = insert.execute_many(NONE).unwrap();
    assert_eq!(done.changes, 0);
    let blob = Value::Blob(b"bc".to_vec());
    let three = [
        one,
        text,
        Value::Real(0.5),
        blob,
        null.clone(),
        null.clone(),
    ];
    let done = insert.execute_many(&rows(2, &three)).unwrap();
    assert_eq!((done.changes, done.last_insert_rowid), (3, 3));
    let error = insert.execute_many(&numbered(&[2, 1])).unwrap_err();
    assert_eq!(
        (error.kind, error.rolled_back),
        (ErrorKind::ConstraintUnique, false)
    );
    assert_eq!(count(), 3);

    // Inside a transaction, it is undone alone.
    let transaction = db
        .begin(millpond_guest::TransactionMode::Immediate)
        .unwrap();
    db.execute("INSERT INTO t VALUES (9, 9)", none).unwrap();
    insert.execute_many(&numbered(&[2, 1])).unwrap_err();
    insert.execute_many(&numbered(&[2, 3])).unwrap();
    transaction.commit().unwrap();
    assert_eq!(count(), 6);

    // Rows that a statement yields are discarded; a statement without parameters accepts no rows.
    let returning = db
        .prepare("INSERT INTO t VALUES (?1, ?2) RETURNING a")
        .unwrap();
    assert_eq!(returning.execute_many(&numbered(&[7])).unwrap().changes, 1);
    let fixed = db.prepare("DELETE FROM t").unwrap();
    let error = fixed
        .execute_many(&rows(1, &[Value::Integer(1)]))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Parameters);
    let begin = db.prepare("BEGIN").unwrap();
    begin.execute_many(NONE).unwrap_err();
    assert!(!db.in_transaction());
}
