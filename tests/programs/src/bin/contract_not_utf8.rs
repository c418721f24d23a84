//! Text that is not UTF-8 is an error, however it is read, and the connection stays usable.

use millpond_guest::bindings::connections::{ErrorKind, TransactionMode};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, differs, is_on_server, read};

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
    let page = statement.query(none, 1, false);
    let what = "the first page, before a row that is not UTF-8";
    let read_first = page.is_ok();
    assert_eq!(read_first, differs(what, true, false));
    match page {
        Ok(page) => {
            assert_eq!(read(&page.rows), [[Value::Text("a".into())]]);
            let cursor = page.rest.unwrap();
            assert_eq!(cursor.next(1).unwrap_err().kind, ErrorKind::NotUtf8);
            assert!(cursor.next(1).unwrap().is_empty());
        }
        Err(error) => assert_eq!(error.kind, ErrorKind::NotUtf8),
    }

    // If its whole result cannot be returned, a statement that writes has written nothing.
    db.execute_script("CREATE TABLE t(a)").unwrap();
    let sql = "INSERT INTO t VALUES (CAST(x'ff' AS TEXT)) RETURNING a";
    let what = "INSERT ... RETURNING a text that is not UTF-8";
    assert_eq!(
        db.query(sql, none, false).unwrap_err().kind,
        differs(what, ErrorKind::NotUtf8, ErrorKind::OutcomeUnknown)
    );
    let table = db.query("SELECT count(*) FROM t", none, false).unwrap();
    let written = Value::Integer(i64::from(is_on_server()));
    assert_eq!(read(&table.rows), [[written]]);

    // A read leaves a transaction as it is.
    let transaction = db.begin(TransactionMode::Immediate).unwrap();
    db.execute("INSERT INTO t VALUES (1)", none).unwrap();
    let sql = "SELECT CAST(x'ff' AS TEXT)";
    let error = db.query(sql, none, false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotUtf8);
    let what = "a text that is not UTF-8, read in a transaction, rolls it back";
    assert_eq!(error.rolled_back, differs(what, false, true));
    assert_eq!(transaction.commit().is_ok(), !is_on_server());

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
