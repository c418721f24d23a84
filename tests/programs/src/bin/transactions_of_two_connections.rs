//! Two connections of one request: busy at once, instead of waiting for itself, and an outdated
//! snapshot.

use millpond_guest::{Access, Connection, Error, ErrorKind, TransactionMode, get};
use millpond_test_programs::{differs, is_on_server};

fn main() -> Result<(), Error> {
    let (one, two) = (
        get("default", Access::ReadWrite)?,
        get("default", Access::ReadWrite)?,
    );
    one.execute_script("CREATE TABLE t(a)")?;
    match is_on_server() {
        true => wait_for_oneself(&one, &two)?,
        false => busy_at_once(&one, &two)?,
    }

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

/// A server does not know that both connections are of one request. It ends the transaction after
/// five seconds, for the other connection to write.
fn wait_for_oneself(one: &Connection, two: &Connection) -> Result<(), Error> {
    let transaction = one.begin(TransactionMode::Immediate)?;
    two.execute("INSERT INTO t VALUES (1)", ())?;
    differs(
        "a write of the other connection, after begin and before its first statement",
        "busy",
        "runs",
    );
    one.execute("INSERT INTO t VALUES (2)", ())?;
    two.execute("DELETE FROM t", ())?;
    let error = transaction.commit().unwrap_err();
    differs(
        "a write of the other connection, during the transaction",
        "busy at once",
        "runs after 5 s, and the transaction is rolled back",
    );
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    Ok(())
}

fn busy_at_once(one: &Connection, two: &Connection) -> Result<(), Error> {
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
    transaction.commit()
}
