//! Two connections of one request: busy at once, instead of waiting for itself, and an outdated
//! snapshot.

use millpond_guest::{Access, Error, ErrorKind, TransactionMode, get};

fn main() -> Result<(), Error> {
    let (one, two) = (
        get("default", Access::ReadWrite)?,
        get("default", Access::ReadWrite)?,
    );
    one.execute_script("CREATE TABLE t(a)")?;
    let transaction = one.begin(TransactionMode::Immediate)?;
    for sql in [
        "INSERT INTO t VALUES (1)",
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
    assert_eq!(
        two.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0))?,
        0
    );
    transaction.commit()?;

    let old = one.begin(TransactionMode::Deferred)?;
    old.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0))?;
    two.execute("INSERT INTO t VALUES (1)", ())?;
    let error = one.execute("INSERT INTO t VALUES (2)", ()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::BusySnapshot, 517));
    assert!(one.in_transaction() && !error.rolled_back());
    old.rollback()?;
    one.execute("INSERT INTO t VALUES (2)", ())?;
    Ok(())
}
