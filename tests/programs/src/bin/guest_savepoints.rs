//! Savepoints: kept, undone, nested, and when SQLite ends the transaction.

use millpond_guest::{Connection, ErrorKind, Result, TransactionMode, db};

fn insert(db: &Connection, n: i64) -> Result<()> {
    db.execute("INSERT INTO t VALUES (?1)", [n]).map(drop)
}

fn kept(db: &Connection) -> Result<Vec<i64>> {
    db.query_map("SELECT n FROM t ORDER BY n", (), |row| row.get(0))?
        .collect()
}

fn main() -> Result<()> {
    let db = db()?;
    db.execute_script("CREATE TABLE t(n UNIQUE)")?;
    inside_a_transaction(&db)?;
    outside_a_transaction(&db)?;
    in_any_order(&db)?;
    ended_by_sqlite(&db)
}

fn inside_a_transaction(db: &Connection) -> Result<()> {
    let transaction = db.begin(TransactionMode::Immediate)?;
    insert(&transaction, 1)?;
    {
        let mut outer = transaction.savepoint()?;
        insert(&outer, 2)?;
        let inner = outer.savepoint()?;
        insert(&inner, 3)?;
        inner.commit()?;
        drop({
            let inner = outer.savepoint()?;
            insert(&inner, 4)?;
            inner
        });
        assert_eq!(kept(&outer)?, [1, 2, 3]);
        // It stays open.
        outer.rollback()?;
        assert_eq!(kept(&outer)?, [1]);
        insert(&outer, 5)?;
        outer.rollback()?;
        insert(&outer, 6)?;
        outer.commit()?;
    }
    let error = {
        let dropped = transaction.savepoint()?;
        insert(&dropped, 7)?;
        insert(&dropped, 6).unwrap_err()
    };
    assert_eq!(error.kind(), ErrorKind::ConstraintUnique);
    assert!(db.in_transaction());
    transaction.commit()?;
    assert_eq!(kept(db)?, [1, 6]);
    db.execute("DELETE FROM t", ()).map(drop)
}

fn outside_a_transaction(db: &Connection) -> Result<()> {
    let savepoint = db.savepoint()?;
    assert!(db.in_transaction());
    insert(&savepoint, 1)?;
    savepoint.commit()?;
    assert!(!db.in_transaction());
    let savepoint = db.savepoint()?;
    insert(&savepoint, 2)?;
    drop(savepoint);
    assert!(!db.in_transaction());
    assert_eq!(kept(db)?, [1]);

    // A commit that fails undoes everything.
    db.execute_script(
        "CREATE TABLE p(id PRIMARY KEY); \
         CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    )?;
    let savepoint = db.savepoint()?;
    insert(&savepoint, 2)?;
    savepoint.execute("INSERT INTO c VALUES (1)", ())?;
    let error = savepoint.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConstraintForeignKey);
    assert!(!db.in_transaction());
    assert_eq!(kept(db)?, [1]);
    db.execute("DELETE FROM t", ()).map(drop)
}

fn in_any_order(db: &Connection) -> Result<()> {
    let transaction = db.begin(TransactionMode::Immediate)?;
    let first = db.savepoint()?;
    insert(db, 1)?;
    let second = db.savepoint()?;
    insert(db, 2)?;
    // The second is inside the first, and is kept or undone with it.
    first.commit()?;
    let third = db.savepoint()?;
    insert(db, 3)?;
    assert_eq!(second.commit().unwrap_err().kind(), ErrorKind::Sql);
    drop(third);
    assert_eq!(kept(db)?, [1, 2]);
    transaction.rollback()?;
    assert_eq!(kept(db)?, [0_i64; 0]);

    // A savepoint whose transaction has ended does not affect the next one.
    let savepoint = db.savepoint()?;
    db.execute_script("COMMIT; BEGIN")?;
    insert(db, 4)?;
    drop(savepoint);
    assert_eq!(kept(db)?, [4]);
    db.execute_script("ROLLBACK")
}

fn ended_by_sqlite(db: &Connection) -> Result<()> {
    insert(db, 1)?;
    let conflict = "INSERT OR ROLLBACK INTO t VALUES (1)";

    // One that began the transaction ends it.
    let savepoint = db.savepoint()?;
    insert(&savepoint, 2)?;
    assert!(savepoint.execute(conflict, ()).unwrap_err().rolled_back());
    let error = savepoint.commit().unwrap_err();
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    assert!(!db.in_transaction());

    // One inside a transaction does not end it.
    let transaction = db.begin(TransactionMode::Immediate)?;
    let mut savepoint = transaction.savepoint()?;
    insert(&savepoint, 2)?;
    assert!(savepoint.execute(conflict, ()).unwrap_err().rolled_back());
    assert!(savepoint.rollback().unwrap_err().rolled_back());
    drop(savepoint);
    assert!(transaction.savepoint().unwrap_err().rolled_back());
    assert!(db.in_transaction());
    transaction.rollback()?;
    assert!(!db.in_transaction());
    assert_eq!(kept(db)?, [1]);
    Ok(())
}
