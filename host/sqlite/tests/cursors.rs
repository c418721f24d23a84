//! Results that are read page by page, while the connection continues to work.

use std::future::Future;
use std::pin::Pin;

use millpond_pool::{
    Access, Connection, ErrorKind, Parameters, Pool, Rows, TransactionMode, Value,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture() -> (Fixture, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_value_bytes(100_000)
        .max_result_bytes(200_000)
        .max_page_bytes(10_000)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    connection
        .execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)")
        .await
        .expect("rows");
    let fixture = Fixture {
        _folder: folder,
        pool,
    };
    (fixture, connection)
}

async fn count(connection: &Connection) -> Value {
    let table = connection.query("SELECT count(*) FROM t", &NONE).await;
    table.expect("a count").rows.to_vec()[0][0].clone()
}

const WRITE: &str = "UPDATE t SET a = a + 10 RETURNING a";

#[tokio::test]
async fn a_kept_cursor_does_not_read_a_later_statement() {
    let (_f, connection) = fixture().await;
    let first = connection
        .prepare("SELECT a FROM t")
        .await
        .expect("a statement");
    let page = first.query(&NONE, 1, false).await.expect("a row");
    let kept = page.rest.expect("a cursor");
    first.execute(&NONE).await.expect("run again");
    drop(first);
    // In the first one's slot, with as many runs.
    let second = connection
        .prepare("SELECT a * 100 FROM t")
        .await
        .expect("a statement");
    let page = second.query(&NONE, 1, false).await.expect("a row");
    let cursor = page.rest.expect("a cursor");
    assert_eq!(
        kept.next(1).await.expect_err("stale").kind(),
        ErrorKind::StaleHandle
    );
    drop(kept);
    assert_eq!(
        cursor.next(9).await.expect("rows"),
        [[Value::Integer(200)], [Value::Integer(300)]]
    );
}

#[tokio::test]
async fn no_write_is_acknowledged_while_another_is_not_committed() {
    let (f, connection) = fixture().await;
    let write = connection.prepare(WRITE).await.expect("a statement");
    let many = connection
        .prepare("INSERT INTO t VALUES (?1)")
        .await
        .expect("a statement");
    let rows = Rows::from_rows([[Value::Null]]).expect("a row");
    let page = write.query(&NONE, 1, false).await.expect("a row");
    let cursor = page.rest.expect("a cursor");
    type Attempt<'a> = Pin<Box<dyn Future<Output = Option<ErrorKind>> + 'a>>;
    let attempts: [(&str, Attempt<'_>); 7] = [
        (
            "execute",
            Box::pin(async {
                connection
                    .execute(WRITE, &NONE)
                    .await
                    .err()
                    .map(|e| e.kind())
            }),
        ),
        (
            "query",
            Box::pin(async { connection.query(WRITE, &NONE).await.err().map(|e| e.kind()) }),
        ),
        (
            "execute_many",
            Box::pin(async { many.execute_many(&rows).await.err().map(|e| e.kind()) }),
        ),
        (
            "begin",
            Box::pin(async {
                let begun = connection.begin(TransactionMode::Deferred).await;
                begun.err().map(|e| e.kind())
            }),
        ),
        (
            "BEGIN",
            Box::pin(async {
                connection
                    .execute("BEGIN", &NONE)
                    .await
                    .err()
                    .map(|e| e.kind())
            }),
        ),
        (
            "SAVEPOINT",
            Box::pin(async {
                connection
                    .execute("SAVEPOINT s", &NONE)
                    .await
                    .err()
                    .map(|e| e.kind())
            }),
        ),
        (
            "script",
            Box::pin(async {
                connection
                    .execute_script(WRITE)
                    .await
                    .err()
                    .map(|e| e.kind())
            }),
        ),
    ];
    for (how, attempt) in attempts {
        assert_eq!(attempt.await, Some(ErrorKind::Busy), "{how}");
    }
    // Reading continues.
    assert_eq!(count(&connection).await, Value::Integer(3));
    drop(cursor);
    many.execute_many(&rows).await.expect("nothing is open");
    // What was acknowledged is visible to everybody.
    let other = f.pool.get(Access::ReadOnly).await.expect("a connection");
    assert_eq!(count(&other).await, Value::Integer(4));
    let table = other.query("SELECT max(a) FROM t", &NONE).await;
    assert_eq!(table.expect("rows").rows, [[Value::Integer(13)]]);
}

#[tokio::test]
async fn in_a_transaction_writes_go_on_beside_a_cursor() {
    let (f, connection) = fixture().await;
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let write = connection.prepare(WRITE).await.expect("a statement");
    let page = write.query(&NONE, 1, false).await.expect("a row");
    connection
        .execute("INSERT INTO t VALUES (4)", &NONE)
        .await
        .expect("a row");
    drop(page);
    transaction.commit().await.expect("a commit");
    let other = f.pool.get(Access::ReadOnly).await.expect("a connection");
    assert_eq!(count(&other).await, Value::Integer(4));
}

#[tokio::test]
async fn one_row_is_no_larger_than_a_result() {
    let (_f, connection) = fixture().await;
    let row = |columns: usize| format!("SELECT {}", vec!["zeroblob(90000)"; columns].join(", "));
    for columns in [3, 300] {
        let sql = row(columns);
        let error = connection.query(&sql, &NONE).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let statement = connection.prepare(&sql).await.expect("a statement");
        let error = statement
            .query(&NONE, 1, false)
            .await
            .expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        statement.execute(&NONE).await.expect("nothing is kept");
    }
    // A row that fits may exceed the size of a page.
    let statement = connection.prepare(&row(2)).await.expect("a statement");
    let page = statement.query(&NONE, 0, false).await.expect("a row");
    assert_eq!(page.rows.as_bytes().len(), 4 + 2 * 5 + 180_000);
    let error = connection
        .prepare(&format!("SELECT {}", vec!["1"; 2001].join(", ")))
        .await
        .expect_err("too many columns");
    assert_eq!(error.kind(), ErrorKind::Sql);
}
