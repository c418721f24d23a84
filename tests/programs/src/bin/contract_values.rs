//! Every value comes back as it went in, by every way in and out.

use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_guest::bindings::types::{Cells, Connection, Parameters, Value};

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

fn cells(values: &[Value]) -> Cells {
    let mut cells = Cells {
        kinds: Vec::new(),
        integers: Vec::new(),
        reals: Vec::new(),
        lengths: Vec::new(),
        bytes: Vec::new(),
    };
    for value in values {
        match value {
            Value::Integer(value) => {
                cells.kinds.push(1);
                cells.integers.push(*value);
            }
            Value::Real(value) => {
                cells.kinds.push(2);
                cells.reals.push(*value);
            }
            Value::Text(value) => {
                cells.kinds.push(3);
                cells.lengths.push(value.len() as u32);
                cells.bytes.extend(value.as_bytes());
            }
            Value::Blob(value) => {
                cells.kinds.push(4);
                cells.lengths.push(value.len() as u32);
                cells.bytes.extend(value);
            }
            Value::Null => cells.kinds.push(5),
        }
    }
    cells
}

fn check(db: &Connection, values: &[Value]) {
    let insert = db.prepare("INSERT INTO t(v) VALUES (?1)").unwrap();
    let all = db.prepare("SELECT v FROM t ORDER BY id").unwrap();
    let stored = || {
        let table = db
            .query(
                "SELECT v FROM t ORDER BY id",
                &Parameters::Positional(vec![]),
            )
            .unwrap();
        let rows: Vec<Value> = table
            .rows
            .into_iter()
            .map(|mut row| row.remove(0))
            .collect();
        assert_eq!(rows.len(), values.len());
        for (value, row) in values.iter().zip(&rows) {
            assert!(same(value, row), "{value:?} came back as {row:?}");
        }
        let page = all
            .query(&Parameters::Positional(vec![]), u32::MAX)
            .unwrap();
        let mut read = page.cells;
        let mut rest = page.rest;
        while let Some(cursor) = rest.take() {
            let more = cursor.next(0).unwrap();
            if !more.kinds.is_empty() {
                read.kinds.extend(more.kinds);
                read.integers.extend(more.integers);
                read.reals.extend(more.reals);
                read.lengths.extend(more.lengths);
                read.bytes.extend(more.bytes);
                rest = Some(cursor);
            }
        }
        let sent = cells(values);
        assert_eq!(read.kinds, sent.kinds);
        assert_eq!(read.integers, sent.integers);
        assert!(
            read.reals
                .iter()
                .zip(&sent.reals)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        assert_eq!(read.lengths, sent.lengths);
        assert!(read.bytes == sent.bytes, "the bytes differ");
        db.execute("DELETE FROM t", &Parameters::Positional(vec![]))
            .unwrap();
    };
    for value in values {
        insert
            .execute(&Parameters::Positional(vec![value.clone()]))
            .unwrap();
    }
    stored();
    for value in values {
        let named = Parameters::Named(vec![("v".into(), value.clone())]);
        db.execute("INSERT INTO t(v) VALUES (:v)", &named).unwrap();
    }
    stored();
    insert.execute_many(&cells(values)).unwrap();
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
            // Beyond what a double holds exactly.
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
    let nan = Parameters::Positional(vec![Value::Real(f64::NAN)]);
    let table = db.query("SELECT ?1, typeof(?1)", &nan).unwrap();
    assert!(matches!(&table.rows[0][..], [Value::Null, Value::Text(kind)] if kind == "null"));

    // Empty is not null, and text is not a blob.
    let empty = Parameters::Positional(vec![Value::Text(String::new()), Value::Blob(vec![])]);
    let table = db
        .query("SELECT typeof(?1), typeof(?2), length(?1)", &empty)
        .unwrap();
    assert!(matches!(
        &table.rows[0][..],
        [Value::Text(text), Value::Text(blob), Value::Integer(0)] if text == "text" && blob == "blob"
    ));
}
