//! SQLite ends a transaction by itself: every later call reports that, and no write escapes it.

use millpond_guest::{Error, ErrorKind, TransactionMode, db};

fn main() -> Result<(), Error> {
    let db = db()?;
    db.execute_script(
        "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1);
         CREATE TABLE u(a);
         CREATE TRIGGER tr BEFORE INSERT ON u BEGIN SELECT raise(ROLLBACK, 'no'); END",
    )?;
    for ending in [
        "INSERT OR ROLLBACK INTO t VALUES (1)",
        "INSERT INTO u VALUES (1)",
    ] {
        for begin in ["by handle", "by text"] {
            let handle = match begin {
                "by handle" => Some(db.begin(TransactionMode::Immediate)?),
                _ => {
                    db.execute("BEGIN", ())?;
                    None
                }
            };
            db.execute("INSERT INTO t VALUES (2)", ())?;
            assert!(
                db.execute(ending, ()).unwrap_err().rolled_back(),
                "{ending}"
            );
            assert!(db.in_transaction());
            for sql in [
                "INSERT INTO t VALUES (3)",
                "SELECT 1",
                "BEGIN",
                "SAVEPOINT s",
            ] {
                let error = db.execute(sql, ()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StaleHandle, "{sql}");
                assert!(error.rolled_back(), "{sql}");
            }
            assert_eq!(
                db.prepare("SELECT 1").unwrap_err().kind(),
                ErrorKind::StaleHandle
            );
            match handle {
                Some(handle) => assert!(handle.commit().unwrap_err().rolled_back()),
                None => assert!(db.execute("COMMIT", ()).unwrap_err().rolled_back()),
            }
            assert!(!db.in_transaction());
            let count: i64 = db.query_row("SELECT count(*) FROM t", (), |row| row.get(0))?;
            assert_eq!(count, 1, "something slipped out of the transaction");
        }
    }
    Ok(())
}
