//! A statement that fails in a transaction has changed nothing, or has ended the transaction and
//! says so.

use millpond_pool::{Access, Connection, ErrorKind, Parameters, Pool, Rows, Value};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let setup = get(&pool).await;
    let script = "CREATE TABLE t(a UNIQUE)";
    setup.execute_script(script).await.expect("a table");
    Fixture {
        _folder: folder,
        pool,
    }
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

async fn count(connection: &Connection, table: &str) -> Value {
    let sql = format!("SELECT count(*) FROM {table}");
    let rows = connection.query(&sql, &NONE).await.expect("a count");
    rows.rows.to_vec()[0][0].clone()
}

/// A statement in a savepoint is undone with it. SQLite does not report row changes in a table
/// without rowids, nor does the pool see a trigger's changes.
#[tokio::test]
async fn a_statement_that_sqlite_undoes_ends_no_transaction() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    let setup = "CREATE TABLE w(k TEXT PRIMARY KEY, n INT) STRICT, WITHOUT ROWID;
         INSERT INTO w VALUES ('a', 0), ('b', 0);
         CREATE TABLE s(n INT) STRICT; CREATE TABLE log(x);
         CREATE TRIGGER tr AFTER INSERT ON s BEGIN INSERT INTO log VALUES (new.n); END";
    connection.execute_script(setup).await.expect("tables");
    let begun = "BEGIN; INSERT INTO t VALUES (1)";
    connection.execute_script(begun).await.expect("begun");
    for sql in [
        "UPDATE w SET n = CASE k WHEN 'b' THEN 'text' ELSE 1 END RETURNING n",
        "INSERT INTO s VALUES (1), ('text') RETURNING n",
    ] {
        let error = connection.query(sql, &NONE).await.expect_err(sql);
        let what = (error.kind(), error.rolled_back());
        assert_eq!(what, (ErrorKind::ConstraintOther, false), "{sql}");
    }
    let rows = Rows::from_rows([[Value::from(1)], ["text".into()]]).expect("rows");
    let insert = connection.prepare("INSERT INTO s VALUES (?1)").await;
    let insert = insert.expect("a statement");
    let error = insert.execute_many(&rows).await.expect_err("a wrong type");
    let what = (error.kind(), error.rolled_back());
    assert_eq!(what, (ErrorKind::ConstraintOther, false));
    connection.execute("COMMIT", &NONE).await.expect("a commit");
    assert_eq!(count(&connection, "t").await, Value::Integer(1));
    for left in ["w WHERE n <> 0", "s", "log"] {
        assert_eq!(count(&connection, left).await, Value::Integer(0), "{left}");
    }
}

/// A statement that no longer compiles when it begins has changed nothing.
#[tokio::test]
async fn a_statement_whose_table_is_gone_ends_no_transaction() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    let insert = "INSERT INTO gone(a) VALUES (1), (2)";
    let script = format!("CREATE TABLE gone(a); {insert}");
    connection.execute_script(&script).await.expect("a table");
    connection
        .execute(insert, &NONE)
        .await
        .expect("kept for the next time");
    let script = "BEGIN; INSERT INTO t VALUES (1); DROP TABLE gone";
    connection.execute_script(script).await.expect("begun");
    let error = connection
        .execute(insert, &NONE)
        .await
        .expect_err("no table");
    assert_eq!((error.kind(), error.rolled_back()), (ErrorKind::Sql, false));
    connection.execute("COMMIT", &NONE).await.expect("a commit");
    assert_eq!(count(&connection, "t").await, Value::Integer(1));
}

/// In a transaction, SQLite keeps what such statements have changed before the row that fails: then
/// the whole transaction is rolled back, and its guest is told.
#[tokio::test]
async fn a_statement_that_fails_in_a_transaction_keeps_no_partial_changes() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    let setup = "CREATE TABLE s(a INTEGER PRIMARY KEY, n INT, b ANY) STRICT;
         CREATE TABLE w(a INTEGER PRIMARY KEY, n INT, b ANY) STRICT, WITHOUT ROWID;
         CREATE TABLE c(a INTEGER PRIMARY KEY, n INT CHECK (n <> 7), b ANY) STRICT;
         CREATE TABLE u(a INTEGER PRIMARY KEY, n, b); CREATE TABLE log(x);
         CREATE TRIGGER tr AFTER INSERT ON u BEGIN
             INSERT INTO log VALUES (new.n), (new.b || new.b);
         END;
         INSERT INTO s VALUES (1, 0, 1), (2, 0, 2), (3, 0, hex(zeroblob(400000)));
         INSERT INTO w SELECT * FROM s; INSERT INTO c SELECT * FROM s;
         CREATE TABLE before AS SELECT 's', * FROM s UNION ALL SELECT 'w', * FROM w
             UNION ALL SELECT 'c', * FROM c";
    connection.execute_script(setup).await.expect("tables");
    let bad = "CASE WHEN a = 3 THEN 'text' ELSE 1 END";
    for (sql, kind, ends_it) in [
        (
            format!("UPDATE s SET n = {bad}"),
            ErrorKind::ConstraintOther,
            true,
        ),
        (
            format!("UPDATE w SET n = {bad}"),
            ErrorKind::ConstraintOther,
            true,
        ),
        (
            "UPDATE s SET b = b || b || 'x'".to_owned(),
            ErrorKind::TooLarge,
            true,
        ),
        (
            "DELETE FROM s WHERE b || b || b IS NOT NULL".to_owned(),
            ErrorKind::TooLarge,
            true,
        ),
        (
            "INSERT INTO u(n, b) SELECT n, b || b FROM s".to_owned(),
            ErrorKind::TooLarge,
            true,
        ),
        // SQLite undoes a statement that changes more than one row, if it knows that it may fail.
        (
            format!("UPDATE c SET n = {bad}"),
            ErrorKind::ConstraintOther,
            false,
        ),
        (
            "UPDATE c SET n = CASE WHEN a = 3 THEN 7 ELSE 1 END".to_owned(),
            ErrorKind::ConstraintCheck,
            false,
        ),
        (
            "UPDATE c SET n = 1, b = b || b || 'x'".to_owned(),
            ErrorKind::TooLarge,
            false,
        ),
        (
            "UPDATE s SET a = CASE WHEN a = 3 THEN 'x' ELSE a + 10 END".to_owned(),
            ErrorKind::ConstraintOther,
            false,
        ),
        (
            "UPDATE s SET n = abs(-9223372036854775807 - (a = 3))".to_owned(),
            ErrorKind::Sql,
            false,
        ),
        // One row alone, too.
        (
            "UPDATE s SET n = 'text' WHERE a = 3".to_owned(),
            ErrorKind::ConstraintOther,
            false,
        ),
        (
            "UPDATE s SET b = b || b || 'x' WHERE a = 3".to_owned(),
            ErrorKind::TooLarge,
            false,
        ),
        (
            "INSERT INTO s VALUES (9, 'text', 1)".to_owned(),
            ErrorKind::ConstraintOther,
            false,
        ),
    ] {
        let begun = "BEGIN; INSERT INTO log VALUES (1)";
        connection.execute_script(begun).await.expect("begun");
        let error = connection.execute(&sql, &NONE).await.expect_err(&sql);
        assert_eq!(
            (error.kind(), error.rolled_back()),
            (kind, ends_it),
            "{sql}: {error}"
        );
        let after = connection.query("SELECT count(*) FROM log", &NONE).await;
        match after {
            Ok(table) => assert_eq!(table.rows, [[Value::Integer(1)]], "{sql}"),
            Err(after) => assert!(after.rolled_back() && ends_it, "{sql}: {after}"),
        }
        let differs = "SELECT * FROM (SELECT 's', * FROM s UNION ALL SELECT 'w', * FROM w
             UNION ALL SELECT 'c', * FROM c EXCEPT SELECT * FROM before)";
        let end = if ends_it { "ROLLBACK" } else { "COMMIT" };
        connection.execute(end, &NONE).await.expect("ended");
        let differs = connection.query(differs, &NONE).await.expect("rows");
        assert!(differs.rows.is_empty(), "{sql}: {:?}", differs.rows);
        connection
            .execute("DELETE FROM log", &NONE)
            .await
            .expect("as before");
    }
}
