//! Transactions by SQL text, alone and mixed with handles.

use millpond_guest::{Error, ErrorKind, TransactionMode, db};

fn main() -> Result<(), Error> {
    let db = db()?;
    db.execute_script("CREATE TABLE t(a)")?;
    let count = || db.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0));
    db.execute("BEGIN IMMEDIATE", ())?;
    db.execute("INSERT INTO t VALUES (1)", ())?;
    assert!(db.in_transaction());
    db.execute("ROLLBACK", ())?;
    assert_eq!((count()?, db.in_transaction()), (0, false));

    db.execute("SAVEPOINT a", ())?;
    db.execute("INSERT INTO t VALUES (1)", ())?;
    db.execute("SAVEPOINT b", ())?;
    db.execute("INSERT INTO t VALUES (2)", ())?;
    db.execute("ROLLBACK TO b", ())?;
    assert!(db.in_transaction());
    db.execute("RELEASE a", ())?;
    assert_eq!((count()?, db.in_transaction()), (1, false));

    // Text ends what a handle began: the handle is stale, and ends nothing else.
    for end in ["COMMIT", "ROLLBACK"] {
        let transaction = db.begin(TransactionMode::Immediate)?;
        db.execute(end, ())?;
        assert_eq!(
            transaction.commit().unwrap_err().kind(),
            ErrorKind::StaleHandle
        );
    }
    let transaction = db.begin(TransactionMode::Immediate)?;
    db.execute("COMMIT", ())?;
    db.execute("BEGIN", ())?;
    db.execute("INSERT INTO t VALUES (2)", ())?;
    drop(transaction);
    assert!(
        db.in_transaction(),
        "a stale handle rolled back another transaction"
    );
    db.execute("COMMIT", ())?;
    assert_eq!(count()?, 2);
    assert_eq!(db.execute("COMMIT", ()).unwrap_err().kind(), ErrorKind::Sql);
    assert_eq!(
        db.execute("ROLLBACK", ()).unwrap_err().kind(),
        ErrorKind::Sql
    );
    Ok(())
}
