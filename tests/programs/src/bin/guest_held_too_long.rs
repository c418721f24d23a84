//! What `db` returns after the host took the connection back, during a transaction and after it.

use millpond_guest::{Error, ErrorKind, Result, TransactionMode, db};

const COUNT: &str = "SELECT count(*) FROM t";

/// Calls the host until it has taken the connection back.
fn until_stale(mut call: impl FnMut() -> Result<i64>) {
    loop {
        match call() {
            Ok(_) => {}
            // It was running when its time was over.
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {}
            Err(error) => return assert_eq!(error.kind(), ErrorKind::StaleHandle),
        }
    }
}

/// The number of committed rows. A connection may be taken back between two calls.
fn committed() -> Result<i64> {
    loop {
        match db()?.query_row(COUNT, (), |row| row.get(0)) {
            Err(error) if error.kind() == ErrorKind::StaleHandle => {}
            other => return other,
        }
    }
}

fn write() -> Result<(), Error> {
    db()?.execute("INSERT INTO t VALUES (1)", ()).map(drop)
}

fn main() -> Result<()> {
    db()?.execute_script("CREATE TABLE t(n)")?;

    let held = db()?;
    let transaction = held.begin(TransactionMode::Immediate)?;
    let mut insert = transaction.prepare("INSERT INTO t VALUES (?1)")?;
    write()?;
    until_stale(|| transaction.query_row(COUNT, (), |row| row.get(0)));
    // On its own connection it would be committed alone.
    assert_eq!(write().unwrap_err().kind(), ErrorKind::StaleHandle);
    // A stale statement has no parameters, but that must not be the error.
    let error = insert.execute_many([[1]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    drop(insert);
    drop(transaction);
    assert_eq!(committed()?, 0);

    let held = db()?;
    let savepoint = held.savepoint()?;
    until_stale(|| savepoint.query_row(COUNT, (), |row| row.get(0)));
    assert_eq!(write().unwrap_err().kind(), ErrorKind::StaleHandle);
    drop(savepoint);
    assert_eq!(committed()?, 0);
    Ok(())
}
