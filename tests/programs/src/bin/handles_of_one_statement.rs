//! A statement and its cursors: run again, dropped, reused.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, integers, read};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let three = "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3";

    // A cursor outlives its statement's handle.
    let statement = db.prepare(three).unwrap();
    let cursor = statement.query(none, 1, false).unwrap().rest.unwrap();
    drop(statement);
    assert_eq!(integers(&cursor.next(0).unwrap()), [2, 3]);
    drop(cursor);

    // Run again, in any way, the first cursor is stale, and stays so.
    for again in ["query", "execute"] {
        let statement = db.prepare(three).unwrap();
        let cursor = statement.query(none, 1, false).unwrap().rest.unwrap();
        let second = match again {
            "query" => statement.query(none, 1, false).unwrap().rest,
            _ => {
                statement.execute(none).unwrap();
                None
            }
        };
        assert_eq!(
            cursor.next(1).unwrap_err().kind,
            ErrorKind::StaleHandle,
            "{again}"
        );
        drop(cursor);
        // Dropping the stale one does not end the new one.
        if let Some(second) = second {
            assert_eq!(integers(&second.next(0).unwrap()), [2, 3]);
        }
    }

    // The same text twice is two independent statements.
    let (one, two) = (db.prepare(three).unwrap(), db.prepare(three).unwrap());
    let (a, b) = (
        one.query(none, 1, false).unwrap().rest.unwrap(),
        two.query(none, 2, false).unwrap().rest.unwrap(),
    );
    assert_eq!(integers(&a.next(1).unwrap()), [2]);
    assert_eq!(integers(&b.next(1).unwrap()), [3]);
    assert_eq!(integers(&a.next(1).unwrap()), [3]);

    // A cursor that is dropped early blocks nothing: the table can be dropped.
    db.execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)")
        .unwrap();
    let scan = db.prepare("SELECT a FROM t").unwrap();
    drop(scan.query(none, 1, false).unwrap());
    db.execute("DROP TABLE t", none).unwrap();

    // Rows of a statement that writes: the first row means that all is written.
    db.execute_script("CREATE TABLE t(a)").unwrap();
    let insert = db
        .prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a")
        .unwrap();
    let page = insert.query(none, 1, false).unwrap();
    assert_eq!(integers(&page.rows), [1]);
    drop(page);
    let count = db.query("SELECT count(*) FROM t", none, false).unwrap();
    assert_eq!(read(&count.rows).len(), 1);
}
