//! The summary of a statement.

use millpond_guest::{Error, db};

fn main() -> Result<(), Error> {
    let db = db()?;
    let done = db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", ())?;
    assert_eq!((done.changes, done.last_insert_rowid), (0, 0));
    let done = db.execute("INSERT INTO t(a) VALUES (1), (2), (3)", ())?;
    assert_eq!((done.changes, done.last_insert_rowid), (3, 3));
    let done = db.execute("UPDATE t SET a = a + 1 WHERE id > 1", ())?;
    assert_eq!((done.changes, done.last_insert_rowid), (2, 3));
    assert_eq!(db.execute("UPDATE t SET a = 0 WHERE 0", ())?.changes, 0);
    assert_eq!(db.execute("DELETE FROM t WHERE id = 1", ())?.changes, 1);
    // Not the changes of the previous statement.
    assert_eq!(db.execute("SELECT 1", ())?.changes, 0);
    assert_eq!(db.execute("CREATE INDEX i ON t(a)", ())?.changes, 0);
    let done = db.execute("INSERT INTO t(id) VALUES (9223372036854775807)", ())?;
    assert_eq!(done.last_insert_rowid, i64::MAX);
    // A trigger's changes are not the statement's.
    db.execute_script("CREATE TRIGGER tr AFTER DELETE ON t BEGIN DELETE FROM t; END")?;
    assert_eq!(db.execute("DELETE FROM t WHERE id = 2", ())?.changes, 1);
    Ok(())
}
