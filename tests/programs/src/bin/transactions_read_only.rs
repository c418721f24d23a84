//! A read-only connection reads a consistent snapshot and writes nothing.

use millpond_guest::{Access, Error, ErrorKind, TransactionMode, get};
use millpond_test_programs::differs;

fn main() -> Result<(), Error> {
    if std::env::args().nth(1).as_deref() == Some("granted read-only") {
        let error = get("default", Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
        let reader = get("default", Access::ReadOnly)?;
        assert_eq!(
            reader.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0))?,
            1
        );
        return Ok(());
    }
    let writer = get("default", Access::ReadWrite)?;
    writer.execute_script("CREATE TABLE t(a)")?;
    let reader = get("default", Access::ReadOnly)?;
    for sql in [
        "INSERT INTO t VALUES (1)",
        "WITH n AS (SELECT 1) INSERT INTO t SELECT * FROM n",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u(a)",
        "CREATE TEMP TABLE u(a)",
        "BEGIN IMMEDIATE",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version = 1",
    ] {
        let kind = match sql {
            "CREATE TEMP TABLE u(a)" | "PRAGMA query_only = OFF" => {
                differs(sql, ErrorKind::NotAuthorized, ErrorKind::Unsupported)
            }
            _ => ErrorKind::NotAuthorized,
        };
        assert_eq!(reader.execute(sql, ()).unwrap_err().kind(), kind, "{sql}");
        assert_eq!(reader.query(sql, ()).unwrap_err().kind(), kind, "{sql}");
    }
    let error = reader.begin(TransactionMode::Immediate).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);

    let count = || reader.query_row("SELECT count(*) FROM t", (), |row| row.get::<i64>(0));
    let snapshot = reader.begin(TransactionMode::Deferred)?;
    assert_eq!(count()?, 0);
    writer.execute("INSERT INTO t VALUES (1)", ())?;
    assert_eq!(count()?, 0, "the snapshot moved");
    snapshot.commit()?;
    assert_eq!(count()?, 1);
    Ok(())
}
