//! One writer at a time, in order, and readers that never wait for one.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Rows, TransactionMode, Value,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture(timeout: Duration) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .timeout(timeout)
        .busy_timeout(Duration::from_millis(1))
        .open(folder.path().join("app.db"))
        .expect("a pool");
    get(&pool)
        .await
        .execute_script("CREATE TABLE t(a UNIQUE)")
        .await
        .expect("a table");
    Fixture { folder, pool }
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

async fn count(connection: &Connection) -> i64 {
    match connection
        .query("SELECT count(*) FROM t", &NONE)
        .await
        .expect("a count")
        .rows
        .to_vec()[0][0]
    {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

const INSERT: &str = "INSERT INTO t VALUES (random())";

#[tokio::test]
async fn writers_queue_in_order_for_as_long_as_a_transaction_lasts() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two, three) = (get(&f.pool).await, get(&f.pool).await, get(&f.pool).await);
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    let mut by_statement = pin!(two.execute(INSERT, &NONE));
    let mut by_text = pin!(three.execute("BEGIN IMMEDIATE", &NONE));
    assert!(is_pending(by_statement.as_mut()));
    assert!(is_pending(by_text.as_mut()));
    one.execute(INSERT, &NONE).await.expect("a row");
    assert!(
        is_pending(by_statement.as_mut()),
        "a statement ended the transaction's turn"
    );
    transaction.commit().await.expect("a commit");
    assert!(is_pending(by_text.as_mut()), "served out of order");
    by_statement.await.expect("its turn");
    by_text.await.expect("its turn");
    three.execute("COMMIT", &NONE).await.expect("a commit");
    one.execute(INSERT, &NONE).await.expect("a free turn");
    assert_eq!(count(&one).await, 3);
}

#[tokio::test]
async fn every_kind_of_call_uses_the_turn_that_it_waited_for() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two, three) = (get(&f.pool).await, get(&f.pool).await, get(&f.pool).await);
    let prepared = two
        .prepare("INSERT INTO t VALUES (random()) RETURNING a")
        .await
        .expect("compiled");
    let rows = Rows::from_rows([[Value::Null]]).expect("a row");
    let many = two
        .prepare("INSERT INTO t VALUES (?1)")
        .await
        .expect("compiled");
    type Wait<'a> = std::pin::Pin<Box<dyn Future<Output = bool> + 'a>>;
    let waits: [(&str, Wait<'_>); 6] = [
        (
            "execute",
            Box::pin(async { two.execute(INSERT, &NONE).await.is_ok() }),
        ),
        (
            "query",
            Box::pin(async { two.query(INSERT, &NONE).await.is_ok() }),
        ),
        (
            "execute_script",
            Box::pin(async { two.execute_script(INSERT).await.is_ok() }),
        ),
        (
            "statement.execute",
            Box::pin(async { prepared.execute(&NONE).await.is_ok() }),
        ),
        (
            "statement.query",
            Box::pin(async { prepared.query(&NONE, 0, false).await.is_ok() }),
        ),
        (
            "statement.execute_many",
            Box::pin(async { many.execute_many(&rows).await.is_ok() }),
        ),
    ];
    for (how, mut wait) in waits {
        let transaction = one
            .begin(TransactionMode::Immediate)
            .await
            .expect("a transaction");
        let mut context = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut context).is_pending(), "{how}");
        // Another waits behind it, who would get the turn if it were handed on.
        let mut behind = pin!(three.execute(INSERT, &NONE));
        assert!(is_pending(behind.as_mut()));
        transaction.commit().await.expect("a commit");
        assert!(
            matches!(wait.as_mut().poll(&mut context), Poll::Ready(true)),
            "{how}"
        );
        behind.await.expect("its turn");
    }
}

#[tokio::test]
async fn a_transaction_begun_by_text_keeps_its_turn_until_it_ends() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    for (begin, end) in [
        ("BEGIN IMMEDIATE", "COMMIT"),
        ("BEGIN; INSERT INTO t VALUES (random())", "ROLLBACK"),
        ("SAVEPOINT s; INSERT INTO t VALUES (random())", "RELEASE s"),
    ] {
        one.execute_script(begin).await.expect(begin);
        let mut other = pin!(two.execute(INSERT, &NONE));
        assert!(is_pending(other.as_mut()), "{begin}");
        one.execute_script(end).await.expect(end);
        other.await.expect("its turn");
    }
}

#[tokio::test]
async fn a_definition_waits_its_turn_even_if_there_is_nothing_to_do() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    // SQLite considers these reads, until there is something to drop or to create.
    let drop_trigger = two
        .prepare("-- nothing yet\nDROP TRIGGER IF EXISTS r")
        .await
        .expect("a statement");
    assert!(
        !drop_trigger
            .describe()
            .await
            .expect("a statement")
            .read_only
    );
    one.execute_script("CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END; BEGIN IMMEDIATE")
        .await
        .expect("a writer");
    let mut dropping = pin!(drop_trigger.execute(&NONE));
    assert!(is_pending(dropping.as_mut()));
    one.execute("COMMIT", &NONE).await.expect("a commit");
    dropping.await.expect("its turn");
}

#[tokio::test]
async fn readers_never_wait_for_a_writer() {
    let f = fixture(Duration::from_secs(10)).await;
    let writer = get(&f.pool).await;
    let _transaction = writer
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    writer.execute(INSERT, &NONE).await.expect("a row");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let reader = f.pool.get(access).await.expect("a connection");
        let mut query = pin!(reader.query("SELECT count(*) FROM t", &NONE));
        let Poll::Ready(Ok(table)) = query.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("a reader waits");
        };
        assert_eq!(
            table.rows,
            [[Value::Integer(0)]],
            "a reader saw what is not committed"
        );
    }
}

#[tokio::test]
async fn a_request_that_would_wait_for_itself_is_busy_at_once() {
    let f = fixture(Duration::from_secs(3600)).await;
    let request = Request::new();
    let grant = Grant::new(&f.pool, Access::ReadWrite);
    let one = grant.get(Access::ReadWrite, &request).await.expect("one");
    let two = grant.get(Access::ReadWrite, &request).await.expect("two");
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    let error = two
        .execute(INSERT, &NONE)
        .await
        .expect_err("its own transaction");
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(transaction);
    two.execute(INSERT, &NONE).await.expect("its turn");
}

#[tokio::test]
async fn a_wait_for_the_turn_ends_with_busy() {
    let f = fixture(Duration::from_millis(5)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    let _transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    assert_eq!(
        two.execute(INSERT, &NONE).await.expect_err("busy").kind(),
        ErrorKind::Busy
    );
}

#[tokio::test]
async fn a_writer_that_leaves_the_queue_loses_nothing() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two, three) = (get(&f.pool).await, get(&f.pool).await, get(&f.pool).await);
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    {
        let mut cancelled = pin!(two.execute(INSERT, &NONE));
        assert!(is_pending(cancelled.as_mut()));
    }
    let mut next = pin!(three.execute(INSERT, &NONE));
    assert!(is_pending(next.as_mut()));
    drop(transaction);
    next.await.expect("its turn");
    assert_eq!(count(&two).await, 1);
}

#[tokio::test]
async fn returning_a_connection_in_a_transaction_hands_the_turn_on() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    one.execute_script("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .expect("a row");
    drop(one);
    two.execute(INSERT, &NONE).await.expect("its turn");
    assert_eq!(count(&two).await, 1);
    assert_eq!(f.pool.stats().rolled_back, 1);
}

#[tokio::test]
async fn writing_after_a_later_commit_is_busy_snapshot() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    let transaction = one
        .begin(TransactionMode::Deferred)
        .await
        .expect("a transaction");
    assert_eq!(count(&one).await, 0);
    two.execute(INSERT, &NONE).await.expect("a row");
    let error = one
        .execute(INSERT, &NONE)
        .await
        .expect_err("an old snapshot");
    assert_eq!(error.kind(), ErrorKind::BusySnapshot);
    assert!(!error.rolled_back());
    // The turn was not kept by the connection that could not use it.
    two.execute(INSERT, &NONE).await.expect("its turn");
    transaction.rollback().await.expect("a rollback");
    one.execute(INSERT, &NONE).await.expect("a new snapshot");
}

#[tokio::test]
async fn a_writer_of_another_process_is_busy() {
    let f = fixture(Duration::from_secs(10)).await;
    // Another pool on the same file stands for another process: it shares no queue.
    let other = PoolBuilder::new()
        .open(f.folder.path().join("app.db"))
        .expect("a pool");
    let (one, two) = (get(&f.pool).await, get(&other).await);
    let _transaction = two
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    let error = one.execute(INSERT, &NONE).await.expect_err("busy");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Busy, 5));
}

#[tokio::test]
async fn a_read_only_connection_writes_nothing() {
    let f = fixture(Duration::from_secs(10)).await;
    let reader = f.pool.get(Access::ReadOnly).await.expect("a connection");
    for sql in [
        INSERT,
        "DELETE FROM t",
        "CREATE TABLE u(a)",
        "CREATE TEMP TABLE u(a)",
        "BEGIN IMMEDIATE",
        "WITH n AS (SELECT 1) INSERT INTO t SELECT * FROM n",
        "PRAGMA query_only = 0",
    ] {
        let error = reader.execute(sql, &NONE).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
    let error = reader
        .begin(TransactionMode::Immediate)
        .await
        .expect_err("a writer");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    let transaction = reader
        .begin(TransactionMode::Deferred)
        .await
        .expect("a reader");
    assert_eq!(count(&reader).await, 0);
    transaction.commit().await.expect("nothing to do");
    // A statement compiled for a writer is cached, and does not write for a reader.
    drop(reader);
    drop(
        f.pool
            .get(Access::ReadWrite)
            .await
            .expect("a connection")
            .prepare(INSERT)
            .await,
    );
    let reader = f.pool.get(Access::ReadOnly).await.expect("a connection");
    let statement = reader.prepare(INSERT).await.expect("a statement");
    let error = statement.execute(&NONE).await.expect_err("a write");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    assert_eq!(f.pool.stats().connections_created, 1);
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_is_reported_until_the_guest_ends_it() {
    let f = fixture(Duration::from_secs(10)).await;
    let one = get(&f.pool).await;
    one.execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("a row");
    for end in [
        "drop",
        "commit",
        "rollback",
        "text",
        "COMMIT",
        "end transaction",
    ] {
        let transaction = one
            .begin(TransactionMode::Immediate)
            .await
            .expect("a transaction");
        one.execute("INSERT INTO t VALUES (2)", &NONE)
            .await
            .expect("a row");
        let error = one
            .execute("INSERT OR ROLLBACK INTO t VALUES (1)", &NONE)
            .await
            .expect_err("a constraint");
        assert_eq!(error.kind(), ErrorKind::ConstraintUnique);
        assert!(error.rolled_back());
        // No write runs in a transaction of its own.
        for sql in [
            "INSERT INTO t VALUES (3)",
            "SELECT 1",
            "BEGIN",
            "EXPLAIN ROLLBACK",
        ] {
            let error = one.execute(sql, &NONE).await.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::StaleHandle, "{sql}");
            assert!(error.rolled_back());
        }
        assert!(one.in_transaction());
        match end {
            "drop" => drop(transaction),
            "commit" => assert!(transaction.commit().await.expect_err("ended").rolled_back()),
            "rollback" => transaction
                .rollback()
                .await
                .expect("what was to happen has"),
            // Like applications that commit whatever happened: it fails, and they continue.
            "COMMIT" | "end transaction" => {
                let statement = one.prepare(end).await.expect("a statement");
                let error = statement.execute(&NONE).await.expect_err("nothing is left");
                assert!(error.rolled_back(), "{error}");
                assert!(!one.in_transaction());
                drop(transaction);
            }
            _ => {
                one.execute("ROLLBACK", &NONE).await.expect("ended");
                let error = transaction.commit().await.expect_err("ended");
                assert_eq!(
                    (error.kind(), error.rolled_back()),
                    (ErrorKind::StaleHandle, false)
                );
            }
        }
        assert_eq!(count(&one).await, 1);
    }
    one.execute("INSERT INTO t VALUES (3)", &NONE)
        .await
        .expect("a transaction of its own");
}

#[tokio::test]
async fn a_transaction_ended_by_text_makes_its_handle_stale() {
    let f = fixture(Duration::from_secs(10)).await;
    let one = get(&f.pool).await;
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    one.execute(INSERT, &NONE).await.expect("a row");
    one.execute("COMMIT", &NONE).await.expect("a commit");
    one.execute("BEGIN", &NONE)
        .await
        .expect("another transaction");
    one.execute(INSERT, &NONE).await.expect("a row");
    // The old handle must not end the new transaction.
    assert_eq!(
        transaction.rollback().await.expect_err("ended").kind(),
        ErrorKind::StaleHandle
    );
    one.execute("COMMIT", &NONE).await.expect("still open");
    assert_eq!(count(&one).await, 2);
}

#[tokio::test]
async fn a_commit_that_fails_is_rolled_back() {
    let f = fixture(Duration::from_secs(10)).await;
    let one = get(&f.pool).await;
    one.execute_script(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY);
         CREATE TABLE child(p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)",
    )
    .await
    .expect("tables");
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    one.execute("INSERT INTO child VALUES (7)", &NONE)
        .await
        .expect("deferred");
    let error = transaction.commit().await.expect_err("no parent");
    assert_eq!(error.kind(), ErrorKind::ConstraintForeignKey);
    assert!(error.rolled_back() && !one.in_transaction());
    get(&f.pool)
        .await
        .execute(INSERT, &NONE)
        .await
        .expect("a free turn");
}

#[tokio::test]
async fn rows_of_execute_many_are_kept_all_or_none() {
    let f = fixture(Duration::from_secs(10)).await;
    let one = get(&f.pool).await;
    let insert = one
        .prepare("INSERT INTO t VALUES (?1)")
        .await
        .expect("a statement");
    let rows = |integers: &[i64]| {
        Rows::from_rows(integers.iter().map(|integer| [*integer])).expect("rows")
    };
    let done = insert
        .execute_many(&rows(&[1, 2, 3]))
        .await
        .expect("three rows");
    assert_eq!((done.changes, done.last_insert_rowid), (3, 3));
    let error = insert
        .execute_many(&rows(&[4, 5, 1]))
        .await
        .expect_err("1 is there");
    assert_eq!(error.kind(), ErrorKind::ConstraintUnique);
    assert!(!error.rolled_back() && !one.in_transaction());
    assert_eq!(count(&one).await, 3);
    let transaction = one
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    one.execute("INSERT INTO t VALUES (9)", &NONE)
        .await
        .expect("a row");
    insert
        .execute_many(&rows(&[4, 1]))
        .await
        .expect_err("1 is there");
    transaction.commit().await.expect("the rest is kept");
    assert_eq!(count(&one).await, 4);
}

#[tokio::test]
async fn a_result_too_large_undoes_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_result_bytes(64 * 1024)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let one = get(&pool).await;
    one.execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("a table");
    let sql = "INSERT INTO t SELECT zeroblob(40000) UNION ALL SELECT zeroblob(40001) RETURNING a";
    let error = one.query(sql, &NONE).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(count(&one).await, 0);
    assert!(!one.in_transaction());
}

#[tokio::test]
async fn an_open_cursor_of_a_write_keeps_the_turn_until_it_is_dropped() {
    let f = fixture(Duration::from_secs(10)).await;
    let (one, two) = (get(&f.pool).await, get(&f.pool).await);
    let insert = one
        .prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a")
        .await
        .expect("a statement");
    let page = insert.query(&NONE, 1, false).await.expect("a row");
    let mut other = pin!(two.execute(INSERT, &NONE));
    assert!(is_pending(other.as_mut()));
    drop(page.rest.expect("two more"));
    other.await.expect("its turn");
    assert_eq!(count(&two).await, 4);
}

#[tokio::test]
async fn waits_for_the_turn_and_for_a_connection_are_counted_separately() {
    const TIMEOUT: Duration = Duration::from_millis(30);
    let f = fixture(TIMEOUT).await;
    let (holder, other) = (get(&f.pool).await, get(&f.pool).await);
    let transaction = holder
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    let error = other.execute(INSERT, &NONE).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Busy);
    let stats = f.pool.stats();
    assert_eq!((stats.writer_timeouts, stats.writers_waiting), (1, 0));
    assert!(stats.writer_wait_time >= TIMEOUT, "{stats:?}");
    assert_eq!((stats.timeouts, stats.wait_time), (0, Duration::ZERO));
    {
        let mut waits = pin!(other.execute(INSERT, &NONE));
        assert!(is_pending(waits.as_mut()));
        assert_eq!(f.pool.stats().writers_waiting, 1);
        transaction.commit().await.expect("a commit");
        waits.await.expect("its turn");
    }
    let after = f.pool.stats();
    assert_eq!((after.writer_timeouts, after.writers_waiting), (1, 0));
    assert!(after.writer_wait_time > stats.writer_wait_time);
}

#[tokio::test]
async fn a_transaction_that_has_read_does_not_wait_for_a_writer_in_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new()
        .busy_timeout(Duration::from_secs(3600))
        .open(&path)
        .expect("a pool");
    let connection = get(&pool).await;
    let table = "CREATE TABLE t(a UNIQUE)";
    connection.execute_script(table).await.expect("a table");
    let other = rusqlite::Connection::open(&path).expect("the file");

    let deferred = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    assert_eq!(count(&connection).await, 0);
    other.execute_batch("BEGIN IMMEDIATE").expect("begun");
    let error = connection.execute(INSERT, &NONE).await.expect_err("taken");
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::Busy, false)
    );
    // It may continue, if the other does not commit.
    other.execute_batch("ROLLBACK").expect("ended");
    connection.execute(INSERT, &NONE).await.expect("free again");
    deferred.commit().await.expect("a commit");

    let deferred = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    assert_eq!(count(&connection).await, 1);
    other.execute_batch(INSERT).expect("a row");
    let error = connection
        .execute(INSERT, &NONE)
        .await
        .expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::BusySnapshot);
    deferred.rollback().await.expect("ended");
}
