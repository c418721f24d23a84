//! What Spin's own test component of version 3 does. Where this host differs, it says so.

use millpond_test_programs::is_on_server;
use millpond_test_programs::spin::v3::{Connection, Error, Value};

fn main() {
    assert!(matches!(
        Connection::open("forbidden"),
        Err(Error::AccessDenied)
    ));
    let db = Connection::open("default").unwrap();
    assert_eq!((db.changes(), db.last_insert_rowid()), (0, 0));
    let create = "CREATE TABLE IF NOT EXISTS test_data(key TEXT NOT NULL, value TEXT NOT NULL);";
    db.execute(create, &[]).unwrap();

    let insert = "INSERT INTO test_data(key, value) VALUES('my_key', 'my_value');";
    db.execute(insert, &[]).unwrap();
    assert_eq!((db.changes(), db.last_insert_rowid()), (1, 1));
    let key = Value::Text("my_key".to_owned());
    let results = db
        .execute("SELECT * FROM test_data WHERE key = ?", &[key])
        .unwrap();
    assert_eq!(results.columns, ["key", "value"]);
    let [row] = &results.rows[..] else {
        panic!("{} rows", results.rows.len());
    };
    assert!(matches!(&row.values[..],
        [Value::Text(key), Value::Text(value)] if key == "my_key" && value == "my_value"));

    large(&db);
    counters(&db);

    // Spin allows the first two.
    for sql in [
        "ATTACH '' AS tempfile",
        "ATTACH ':memory:' AS inmemory",
        "ATTACH 'any_file' AS attach_file",
        "VACUUM INTO 'any_file'",
    ] {
        let kind = match is_on_server() {
            true => "unsupported",
            false => "not-authorized",
        };
        match db.execute(sql, &[]) {
            Err(Error::Io(message)) if message.starts_with(&format!("{kind}: ")) => {}
            other => panic!("{sql}: {:?}", other.err()),
        }
    }
}

/// A result of more than 16 MiB fails. In Spin that is 128 MiB.
fn large(db: &Connection) {
    let big_text = "y".repeat(1 << 20);
    for number in 0..20_i32 {
        let row = [number.to_string(), big_text.clone()].map(Value::Text);
        db.execute("INSERT INTO test_data(key, value) VALUES(?, ?);", &row)
            .unwrap();
    }
    match db.execute("SELECT * FROM test_data", &[]) {
        Err(Error::Io(message)) if message.starts_with("too-large: ") => {}
        other => panic!("{:?}", other.err()),
    }
    let some = "SELECT * FROM test_data LIMIT 10";
    assert_eq!(db.execute(some, &[]).unwrap().rows.len(), 10);
}

fn counters(db: &Connection) {
    assert_eq!((db.changes(), db.last_insert_rowid()), (1, 21));
    for (sql, changes) in [
        ("UPDATE test_data SET key = 'x'", 21),
        ("SELECT * FROM test_data WHERE 0", 21),
        ("CREATE TABLE other(a)", 21),
        ("DELETE FROM test_data WHERE rowid > 15", 6),
        ("DELETE FROM test_data WHERE 0", 0),
    ] {
        db.execute(sql, &[]).unwrap();
        assert_eq!(db.changes(), changes, "{sql}");
    }
    assert_eq!(db.last_insert_rowid(), 21);
    // Those of another connection are its own.
    let other = Connection::open("default").unwrap();
    for sql in ["BEGIN", "SELECT count(*) FROM test_data", "COMMIT"] {
        other.execute(sql, &[]).unwrap();
        assert_eq!((other.changes(), other.last_insert_rowid()), (0, 0));
    }
    let failed = db.execute("INSERT INTO test_data VALUES ('a', NULL)", &[]);
    assert!(failed.is_err());
    assert_eq!(db.last_insert_rowid(), 21);
}
