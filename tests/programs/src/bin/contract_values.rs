//! Every value is read as it was written, by every way of reading and writing.

use millpond_guest::bindings::connections::Connection;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, named, positional, read, rows};

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Integer(a), Value::Integer(b)) => a == b,
        // Bit for bit, so that 0.0 and -0.0 are told apart.
        (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Blob(a), Value::Blob(b)) => a == b,
        _ => false,
    }
}

fn check(db: &Connection, values: &[Value]) {
    let insert = db.prepare("INSERT INTO t(v) VALUES (?1)").unwrap();
    let all = db.prepare("SELECT v FROM t ORDER BY id").unwrap();
    let stored = || {
        let sql = "SELECT v FROM t ORDER BY id";
        let table = db.query(sql, NONE, false).unwrap();
        let stored = read(&table.rows);
        assert_eq!(stored.len(), values.len());
        for (value, row) in values.iter().zip(&stored) {
            assert!(same(value, &row[0]), "{value:?} came back as {row:?}");
        }
        let page = all.query(NONE, u32::MAX, false).unwrap();
        let mut read = page.rows;
        let mut rest = page.rest;
        while let Some(cursor) = rest.take() {
            let more = cursor.next(0).unwrap();
            if !more.is_empty() {
                read.extend(&more[4..]);
                rest = Some(cursor);
            }
        }
        assert!(read == rows(1, values), "the bytes differ");
        db.execute("DELETE FROM t", NONE).unwrap();
    };
    for value in values {
        insert
            .execute(&positional(std::slice::from_ref(value)))
            .unwrap();
    }
    stored();
    for value in values {
        let named = named(&[("v", value.clone())]);
        db.execute("INSERT INTO t(v) VALUES (:v)", &named).unwrap();
    }
    stored();
    insert.execute_many(&rows(1, values)).unwrap();
    stored();
}

fn main() {
    let db = get_connection("default", Access::ReadWrite).unwrap();
    db.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        .unwrap();
    check(
        &db,
        &[
            Value::Null,
            Value::Integer(0),
            Value::Integer(-1),
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            // Beyond what a double represents exactly.
            Value::Integer((1 << 53) + 1),
            Value::Real(0.5),
            Value::Real(-0.0),
            Value::Real(f64::MAX),
            Value::Real(f64::MIN_POSITIVE),
            Value::Real(5e-324),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::Text(String::new()),
            Value::Text("text".into()),
            Value::Text("NUL \0 inside".into()),
            Value::Text("Grüße, 世界, 🦀, \u{feff}".into()),
            Value::Text("'; DROP TABLE t; --".into()),
            Value::Blob(vec![]),
            Value::Blob(vec![0, 255, 0]),
            Value::Blob((0..1_000_000u32).map(|i| (i * 7) as u8).collect()),
            Value::Text("é".repeat(500_000)),
        ],
    );

    // SQLite has no NaN: it stores null.
    let nan = positional(&[Value::Real(f64::NAN)]);
    let table = db.query("SELECT ?1, typeof(?1)", &nan, false).unwrap();
    assert!(
        matches!(&read(&table.rows)[0][..], [Value::Null, Value::Text(kind)] if kind == "null")
    );

    // Empty is not null, and text is not a blob.
    let empty = positional(&[Value::Text(String::new()), Value::Blob(vec![])]);
    let table = db
        .query("SELECT typeof(?1), typeof(?2), length(?1)", &empty, false)
        .unwrap();
    assert!(matches!(
        &read(&table.rows)[0][..],
        [Value::Text(text), Value::Text(blob), Value::Integer(0)] if text == "text" && blob == "blob"
    ));
}
