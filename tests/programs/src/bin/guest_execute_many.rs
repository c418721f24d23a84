//! `execute_many` with more rows than fit one block, or one transaction, and with rows that fail.

use millpond_guest::{Connection, Error, ErrorKind, Result, Summary, TransactionMode, db};
use millpond_test_programs::{differs, is_on_server};

const INSERT: &str = "INSERT INTO t VALUES (?1, ?2)";

fn count(db: &Connection) -> Result<i64> {
    db.query_row("SELECT count(*) FROM t", (), |row| row.get(0))
}

fn numbers(count: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..count).map(|n| (n, n * n))
}

#[derive(Debug, PartialEq)]
enum Failed {
    Millpond(ErrorKind, bool),
    Own(i64),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Millpond(error.kind(), error.rolled_back())
    }
}

/// Rows of which number `bad` fails.
fn failing(bad: i64) -> impl Iterator<Item = Result<(i64, i64), Failed>> {
    (0..).map(move |n| match n == bad {
        true => Err(Failed::Own(n)),
        false => Ok((n, n)),
    })
}

fn main() -> Result<()> {
    let db = db()?;
    db.execute_script("CREATE TABLE t(a, b)")?;
    if let Some(rows) = std::env::args().nth(1) {
        let rows = rows.parse().expect("a number");
        assert_eq!(db.execute_many(INSERT, numbers(rows))?.changes, rows as u64);
        assert_eq!(count(&db)?, rows);
        return Ok(());
    }

    // In the first block and in a later one, inside the guest's transaction and without one.
    for bad in [0, 1, 40_000] {
        let failed = db.execute_many(INSERT, failing(bad));
        assert_eq!(failed, Err(Failed::Own(bad)));
        assert!(!db.in_transaction());
        assert_eq!(count(&db)?, 0);

        let transaction = db.begin(TransactionMode::Immediate)?;
        db.execute("INSERT INTO t VALUES (-1, -1)", ())?;
        let failed = db.execute_many(INSERT, failing(bad));
        assert_eq!(failed, Err(Failed::Own(bad)));
        assert_eq!(count(&db)?, 1);
        let done: Result<Summary, Failed> =
            db.execute_many(INSERT, failing(bad).take(bad as usize));
        assert_eq!(done.map(|done| done.changes), Ok(bad as u64));
        assert_eq!(count(&db)?, 1 + bad);
        transaction.rollback()?;
    }

    // More than one transaction may write, which is 1 MiB in this pool: none is kept.
    // A server has no such limit, and takes longer for each row.
    let too_many = if is_on_server() { 60_000 } else { 400_000 };
    let all = db.execute_many(INSERT, numbers(too_many));
    assert_eq!(
        all.map(drop).map_err(|error| error.kind()),
        differs(
            "more than one transaction may write",
            Err(ErrorKind::QuotaExceeded),
            Ok(())
        )
    );
    assert!(!db.in_transaction());
    if is_on_server() {
        db.execute("DELETE FROM t", ())?;
    } else {
        assert_eq!(count(&db)?, 0);
        let failed = db.execute_many(INSERT, numbers(too_many).map(Ok::<_, Failed>));
        assert!(matches!(
            failed,
            Err(Failed::Millpond(ErrorKind::QuotaExceeded, _))
        ));
        assert_eq!(count(&db)?, 0);
    }

    // In batches, all of them.
    let mut statement = db.prepare(INSERT)?;
    let mut rows = numbers(too_many).peekable();
    while rows.peek().is_some() {
        statement.execute_many(rows.by_ref().take(30_000))?;
    }
    assert_eq!(count(&db)?, too_many);

    // Rows without values would never fill a block.
    let mut fixed = db.prepare("DELETE FROM t")?;
    let error = fixed.execute_many(std::iter::repeat(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameters);
    assert_eq!(count(&db)?, too_many);
    Ok(())
}
