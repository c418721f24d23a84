//! Two connections of one request: busy at once, instead of waiting for itself, and an outdated
//! snapshot.

use millpond_guest::{Access, Connection, Error, ErrorKind, TransactionMode, get};
use millpond_test_programs::differs;

fn main() -> Result<(), Error> {
    let (one, two) = (
        get("default", Access::ReadWrite)?,
        get("default", Access::ReadWrite)?,
    );
    one.execute_script("CREATE TABLE t(a)")?;
    let transaction = one.begin(TransactionMode::Immediate)?;
    busy(&two)?;
    one.execute("DELETE FROM t", ())?;
    busy(&two)?;
    transaction.commit()?;

    // A deferred one writes from its first write on.
    let transaction = one.begin(TransactionMode::Deferred)?;
    two.execute("INSERT INTO t VALUES (1)", ())?;
    one.execute("DELETE FROM t", ())?;
    busy(&two)?;
    transaction.rollback()?;
    two.execute("DELETE FROM t", ())?;

    let old = one.begin(TransactionMode::Deferred)?;
    old.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0))?;
    two.execute("INSERT INTO t VALUES (1)", ())?;
    let error = one.execute("INSERT INTO t VALUES (2)", ()).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        differs(
            "a write after another's, in an old snapshot",
            (ErrorKind::BusySnapshot, 517),
            (ErrorKind::BusySnapshot, 5)
        )
    );
    assert!(one.in_transaction() && !error.rolled_back());
    old.rollback()?;
    one.execute("INSERT INTO t VALUES (2)", ())?;
    Ok(())
}

/// While the other connection of the request writes, this one reads, and does not wait to write.
fn busy(two: &Connection) -> Result<(), Error> {
    for sql in [
        "INSERT INTO t VALUES (1)",
        "WITH n AS (SELECT 1) INSERT INTO t SELECT * FROM n",
        "BEGIN IMMEDIATE",
        "CREATE TABLE u(a)",
    ] {
        assert_eq!(
            two.execute(sql, ()).unwrap_err().kind(),
            ErrorKind::Busy,
            "{sql}"
        );
    }
    assert_eq!(
        two.begin(TransactionMode::Immediate).unwrap_err().kind(),
        ErrorKind::Busy
    );
    // Reading does not wait.
    two.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0))?;
    two.query_row(
        "WITH n AS (SELECT 1) SELECT replace('a', 'b', 'c')",
        (),
        |row| row.get::<String>(0),
    )?;
    Ok(())
}
