//! Text that is not UTF-8 is an error, however it is read, and the connection stays usable.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, read};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    for bad in ["x'ff'", "x'c3'", "x'eda080'", "x'610062ff'"] {
        let sql = format!("SELECT 1, CAST({bad} AS TEXT)");
        assert_eq!(
            db.query(&sql, none, false).unwrap_err().kind,
            ErrorKind::NotUtf8,
            "{bad}"
        );
        let statement = db.prepare(&sql).unwrap();
        assert_eq!(
            statement.query(none, 1, false).unwrap_err().kind,
            ErrorKind::NotUtf8,
            "{bad}"
        );
        // As bytes it can be read.
        let table = db.query(&format!("SELECT {bad}"), none, false).unwrap();
        assert!(matches!(&read(&table.rows)[0][0], Value::Blob(_)));
    }

    // On a later page: earlier rows were read, and the result ends there.
    let sql = "SELECT 'a' UNION ALL SELECT CAST(x'ff' AS TEXT) UNION ALL SELECT 'b'";
    let statement = db.prepare(sql).unwrap();
    let page = statement.query(none, 1, false).unwrap();
    assert_eq!(read(&page.rows), [[Value::Text("a".into())]]);
    let cursor = page.rest.unwrap();
    assert_eq!(cursor.next(1).unwrap_err().kind, ErrorKind::NotUtf8);
    assert!(cursor.next(1).unwrap().is_empty());

    // If its whole result cannot be returned, a statement that writes has written nothing.
    db.execute_script("CREATE TABLE t(a)").unwrap();
    let sql = "INSERT INTO t VALUES (CAST(x'ff' AS TEXT)) RETURNING a";
    assert_eq!(
        db.query(sql, none, false).unwrap_err().kind,
        ErrorKind::NotUtf8
    );
    let table = db.query("SELECT count(*) FROM t", none, false).unwrap();
    assert!(matches!(read(&table.rows)[0][0], Value::Integer(0)));

    // Nor can a guest bind such text.
    let insert = db.prepare("INSERT INTO t VALUES (?1)").unwrap();
    let row = [1, 0, 0, 0, 3, 1, 0, 0, 0, 0xff];
    for error in [
        insert.execute_many(&row).unwrap_err(),
        insert.execute(&row).unwrap_err(),
        insert.query(&row, 1, false).unwrap_err(),
        db.execute("INSERT INTO t VALUES (?1)", &row).unwrap_err(),
        db.query("SELECT ?1", &row, false).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::NotUtf8);
    }
}
