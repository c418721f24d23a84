//! Transactions by handle: committed, rolled back, dropped; and by the guest library.

use millpond_guest::{Error, ErrorKind, TransactionMode, db, params};

fn main() -> Result<(), Error> {
    let db = db()?;
    db.execute_script("CREATE TABLE t(a)")?;
    let count = || db.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0));
    for mode in [TransactionMode::Deferred, TransactionMode::Immediate] {
        let transaction = db.begin(mode)?;
        assert!(db.in_transaction());
        transaction.execute("INSERT INTO t VALUES (1)", ())?;
        assert_eq!(db.begin(mode).unwrap_err().kind(), ErrorKind::Sql);
        assert!(
            db.in_transaction(),
            "a refused transaction ended the open one"
        );
        transaction.rollback()?;
        assert_eq!((count()?, db.in_transaction()), (0, false));

        let transaction = db.begin(mode)?;
        transaction.execute("INSERT INTO t VALUES (1)", ())?;
        drop(transaction);
        assert_eq!(count()?, 0);

        let transaction = db.begin(mode)?;
        transaction.execute("INSERT INTO t VALUES (1)", ())?;
        transaction.commit()?;
        assert_eq!(count()?, 1);
        db.execute("DELETE FROM t", ())?;
    }

    let failed: Result<(), Error> = db.transaction(|tx| {
        tx.execute("INSERT INTO t VALUES (?1)", params![1])?;
        tx.execute("INSERT INTO missing VALUES (1)", ())?;
        Ok(())
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Sql);
    assert_eq!((count()?, db.in_transaction()), (0, false));
    let two = db.transaction(|tx| {
        tx.execute_many("INSERT INTO t VALUES (?1)", [[1], [2]])?;
        Ok::<_, Error>(2)
    })?;
    assert_eq!(count()?, two);
    Ok(())
}
