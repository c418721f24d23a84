//! A result larger than the host's limit is an error, and never truncated.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, positional};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    // 16 MiB of result, 4 MiB of value: the defaults.
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT zeroblob(1000000) FROM n";
    assert_eq!(
        db.query(rows, none, false).unwrap_err().kind,
        ErrorKind::TooLarge
    );
    assert_eq!(
        db.query("SELECT zeroblob(5000000)", none, false)
            .unwrap_err()
            .kind,
        ErrorKind::TooLarge
    );
    let blob = positional(&[Value::Blob(vec![0; 5_000_000])]);
    assert_eq!(
        db.execute("SELECT ?1", &blob).unwrap_err().kind,
        ErrorKind::TooLarge
    );
    let sql = format!("SELECT '{}'", "x".repeat(2_000_000));
    assert_eq!(
        db.execute(&sql, none).unwrap_err().kind,
        ErrorKind::TooLarge
    );
    // The connection stays usable.
    assert_eq!(
        db.query("SELECT zeroblob(1000000)", none, false)
            .unwrap()
            .rows
            .len(),
        4 + 5 + 1_000_000
    );
}
