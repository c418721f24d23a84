//! Limits of time and space, and what happens beyond them.

use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, TransactionMode, Value,
    block_on,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

const FOREVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

/// Long enough that nothing else in a test takes as long.
const HOUR: Duration = Duration::from_secs(3600);

/// Short enough that a test can wait for it to pass.
const SHORT: Duration = Duration::from_millis(30);

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture(max_size: u32) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(max_size)
        .timeout(Duration::from_secs(30))
        .busy_timeout(HOUR)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let f = Fixture { folder, pool };
    let connection = f.get(f.grant()).await;
    let tables = "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)";
    connection.execute_script(tables).await.expect("a table");
    f
}

impl Fixture {
    fn grant(&self) -> Grant {
        Grant::new(&self.pool, Access::ReadWrite)
    }

    async fn get(&self, grant: Grant) -> Connection {
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        connection.expect("a connection")
    }
}

#[tokio::test]
async fn a_statement_ends_when_its_time_is_over() {
    let f = fixture(1).await;
    let connection = f.get(f.grant().max_statement_time(SHORT)).await;
    let error = connection.query(FOREVER, &NONE).await.expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // Each has its own time.
    for _ in 0..20 {
        connection.query("SELECT 1", &NONE).await.expect("in time");
    }
    let statement = connection.prepare(FOREVER).await.expect("a statement");
    for _ in 0..2 {
        let error = statement.query(&NONE, 1, false).await.expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
    // A transaction in which a statement ran out of time can be rolled back, and distinguished from
    // one that SQLite has rolled back.
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let error = connection.query(FOREVER, &NONE).await.expect_err("endless");
    assert!(!error.rolled_back());
    connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect("still open");
    transaction.rollback().await.expect("rolled back");
}

#[tokio::test]
async fn a_transaction_held_too_long_makes_way_for_the_next_writer() {
    let f = fixture(2).await;
    let slow = f.get(f.grant().max_transaction_time(SHORT)).await;
    let transaction = slow.begin(TransactionMode::Immediate).await.expect("begun");
    slow.execute("DELETE FROM t", &NONE).await.expect("in time");
    // Its owner does nothing any more; the next has thirty seconds to wait.
    let next = f.get(f.grant()).await;
    let since = Instant::now();
    next.execute("INSERT INTO t VALUES (4)", &NONE)
        .await
        .expect("its turn");
    assert!(since.elapsed() < Duration::from_secs(15));
    let count = next
        .query("SELECT count(*) FROM t", &NONE)
        .await
        .expect("a count");
    assert_eq!(count.rows, [[Value::Integer(4)]]);
    for sql in ["INSERT INTO t VALUES (5)", "SELECT 1", "BEGIN"] {
        let error = slow.execute(sql, &NONE).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::StaleHandle);
        assert!(error.rolled_back());
    }
    assert!(transaction.commit().await.expect_err("ended").rolled_back());
    slow.execute("INSERT INTO t VALUES (6)", &NONE)
        .await
        .expect("a new one");
}

#[tokio::test]
async fn a_transaction_held_too_long_ends_at_its_owners_next_call() {
    let f = fixture(1).await;
    let slow = f.get(f.grant().max_transaction_time(Duration::ZERO)).await;
    for begin in ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s"] {
        slow.execute(begin, &NONE).await.expect(begin);
        let error = slow
            .execute("DELETE FROM t", &NONE)
            .await
            .expect_err("too late");
        assert_eq!(error.kind(), ErrorKind::StaleHandle, "{begin}");
        assert!(error.rolled_back() && slow.in_transaction());
        slow.execute("ROLLBACK", &NONE).await.expect("ended");
        assert!(!slow.in_transaction());
    }
    let count = slow
        .query("SELECT count(*) FROM t", &NONE)
        .await
        .expect("a count");
    assert_eq!(count.rows, [[Value::Integer(3)]]);
}

#[tokio::test]
async fn a_cursor_held_too_long_is_stale() {
    let f = fixture(2).await;
    let slow = f.get(f.grant().max_transaction_time(SHORT)).await;
    let write = slow
        .prepare("UPDATE t SET a = a + 1 RETURNING a")
        .await
        .expect("a statement");
    let page = write.query(&NONE, 1, false).await.expect("a row");
    let next = f.get(f.grant()).await;
    next.execute("INSERT INTO t VALUES (9)", &NONE)
        .await
        .expect("its turn");
    let error = page
        .rest
        .expect("a cursor")
        .next(1)
        .await
        .expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    // A cursor that is read in time continues.
    let read = slow.prepare("SELECT a FROM t").await.expect("a statement");
    let page = read.query(&NONE, 1, false).await.expect("a row");
    drop(page);
    slow.execute("INSERT INTO t VALUES (9)", &NONE)
        .await
        .expect("nothing is open");
}

#[tokio::test]
async fn a_connection_held_too_long_makes_way_for_the_next() {
    let f = fixture(1).await;
    let slow = f.get(f.grant().max_hold_time(SHORT)).await;
    slow.execute_script("BEGIN; DELETE FROM t")
        .await
        .expect("in time");
    let statement = slow.prepare("SELECT 1").await.expect("a statement");
    let since = Instant::now();
    let next = f.get(f.grant()).await;
    assert!(since.elapsed() < Duration::from_secs(15));
    let count = next
        .query("SELECT count(*) FROM t", &NONE)
        .await
        .expect("a count");
    assert_eq!(count.rows, [[Value::Integer(3)]]);
    let error = slow
        .execute("SELECT 1", &NONE)
        .await
        .expect_err("taken back");
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    assert_eq!(
        statement
            .execute(&NONE)
            .await
            .expect_err("taken back")
            .kind(),
        ErrorKind::StaleHandle
    );
    drop(slow);
    assert_eq!(f.pool.stats().in_use, 1, "only the next borrower's");
    drop(next);
    let stats = f.pool.stats();
    assert_eq!(
        (stats.in_use, stats.rolled_back, stats.connections_created),
        (0, 1, 1)
    );

    let slow = f.get(f.grant().max_hold_time(Duration::ZERO)).await;
    let error = slow.prepare("SELECT 1").await.expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    assert_eq!(f.pool.stats().in_use, 0);
}

#[tokio::test]
async fn a_running_statement_ends_with_its_transaction_or_connection() {
    let f = fixture(1).await;
    let connection = f.get(f.grant().max_hold_time(SHORT)).await;
    let error = connection.query(FOREVER, &NONE).await.expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let connection = f.get(f.grant().max_transaction_time(SHORT)).await;
    connection.execute("BEGIN", &NONE).await.expect("begun");
    let error = connection.query(FOREVER, &NONE).await.expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_wait_for_another_process_ends_with_the_request() {
    let f = fixture(1).await;
    let path = f.folder.path().join("app.db");
    let other = rusqlite::Connection::open(path).expect("another process");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    // The pool would wait an hour for it.
    let deadline = Instant::now() + SHORT;
    let connection = f
        .grant()
        .get(Access::ReadWrite, &Request::new().deadline(deadline))
        .await
        .expect("a connection");
    let error = connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop(connection);
    let connection = f.get(f.grant().max_statement_time(SHORT)).await;
    let error = connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    other.execute_batch("COMMIT").expect("unlocked");
    connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect("unlocked");
}

#[tokio::test]
async fn closing_ends_a_wait_for_another_process() {
    let f = fixture(1).await;
    let path = f.folder.path().join("app.db");
    let other = rusqlite::Connection::open(path).expect("another process");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let connection = f
        .get(f.grant().max_statement_time(HOUR).max_hold_time(HOUR))
        .await;
    let pool = f.pool.clone();
    let waiting = std::thread::spawn(move || {
        millpond_pool::block_on(connection.execute("DELETE FROM t", &NONE))
    });
    pool.close(SHORT).await;
    let error = waiting.join().expect("no panic").expect_err("closed");
    assert!(
        [ErrorKind::PoolClosed, ErrorKind::StaleHandle].contains(&error.kind()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_database_grows_to_its_quota() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new()
        .max_database_bytes(1 << 20)
        .open(&path)
        .expect("a pool");
    // Every connection has the limit, not only the first.
    let first = pool.get(Access::ReadWrite).await.expect("a connection");
    let second = pool.get(Access::ReadWrite).await.expect("a connection");
    first
        .execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("a table");
    let fill = "INSERT INTO t VALUES (zeroblob(100000))";
    let mut written = 0;
    let error = loop {
        match second.execute(fill, &NONE).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!((5..=10).contains(&written), "{written}");
    let error = second
        .execute("PRAGMA max_page_count = 100000", &NONE)
        .await;
    assert_eq!(
        error.expect_err("not theirs").kind(),
        ErrorKind::NotAuthorized
    );
    second
        .execute("DELETE FROM t", &NONE)
        .await
        .expect("room again");
    second.execute(fill, &NONE).await.expect("room again");
    drop((first, second));
    pool.close(HOUR).await;
    assert!(std::fs::metadata(path).expect("the file").len() <= 1 << 20);
}

#[tokio::test]
async fn texts_and_parameters_have_a_maximum_size() {
    let f = fixture(1).await;
    let connection = f.get(f.grant()).await;
    let long = format!("SELECT 1 -- {}", "x".repeat(100_000));
    let error = connection.query(&long, &NONE).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for sql in [
        "SELECT ?32767".to_owned(),
        format!("SELECT {}1", "(".repeat(3_000)),
        format!("SELECT 1{}", "+1".repeat(1_100)),
        vec!["SELECT 1"; 501].join(" UNION ALL "),
        format!("SELECT max({})", vec!["1"; 1_001].join(", ")),
        format!("SELECT 'a' LIKE '{}'", "%".repeat(1001)),
        "SELECT zeroblob(5000000)".to_owned(),
    ] {
        connection
            .query(&sql, &NONE)
            .await
            .expect_err(sql.get(..40).unwrap_or(&sql));
    }
    let blob = Parameters::from([Value::Blob(vec![0; 5_000_000])]);
    let error = connection
        .query("SELECT ?1", &blob)
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn sqlite_takes_no_more_memory_than_it_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(1)
        .max_memory_bytes(8 << 20)
        .open(folder.path().join("t.db"))
        .expect("a pool");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    connection
        .execute_script("CREATE TABLE kept(a); BEGIN; INSERT INTO kept VALUES (1)")
        .await
        .expect("a transaction");
    let many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100000)";
    for hog in [
        // Sorting, deduplicating, and values that are large together.
        format!("{many} SELECT randomblob(1000) FROM n ORDER BY 1 LIMIT 1 OFFSET 99999"),
        format!("{many} SELECT count(*) FROM (SELECT DISTINCT randomblob(1000) FROM n)"),
        format!("SELECT {}", ["randomblob(900000)"; 12].join(", ")),
    ] {
        let error = connection.query(&hog, &NONE).await.expect_err("too much");
        assert!(
            matches!(error.kind(), ErrorKind::QuotaExceeded | ErrorKind::TooLarge),
            "{hog}: {error:?}"
        );
    }
    // A statement that only reads has not ended the transaction.
    connection.execute("COMMIT", &NONE).await.expect("a commit");
    let table = connection.query("SELECT a FROM kept", &NONE).await;
    assert_eq!(table.expect("the row").rows.len(), 1);

    let error = PoolBuilder::new()
        .cache_size(8 << 20)
        .max_memory_bytes(8 << 20)
        .open(folder.path().join("t.db"))
        .expect_err("the cache alone would fill it");
    assert_eq!(error.kind(), ErrorKind::Config);
}

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

#[tokio::test]
async fn a_request_is_interrupted_in_whatever_it_does() {
    let f = fixture(1).await;
    let grant = f.grant().max_statement_time(HOUR);
    let request = Request::new();
    let connection = grant
        .get(Access::ReadWrite, &request)
        .await
        .expect("a connection");
    let start = "BEGIN; INSERT INTO t VALUES (99)";
    connection
        .execute_script(start)
        .await
        .expect("a transaction");

    // During a statement, on another thread.
    let running = std::thread::spawn(move || {
        let ended = block_on(connection.query(ENDLESS, &NONE));
        (connection, ended)
    });
    // Before it begins or while it runs: either way it ends.
    request.interrupt();
    let (connection, ended) = running.join().expect("it does not panic");
    assert_eq!(
        ended.expect_err("endless").kind(),
        ErrorKind::DeadlineExceeded
    );
    let error = connection.query("SELECT 1", &NONE).await.expect_err("over");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // It may still roll back.
    connection
        .execute("ROLLBACK", &NONE)
        .await
        .expect("the end");

    // During a wait for a connection: there is one, and this request has it.
    let error = grant
        .get(Access::ReadWrite, &request)
        .await
        .expect_err("over");
    assert!(
        matches!(error.kind(), ErrorKind::PoolTimeout { .. }),
        "{error:?}"
    );
    assert_eq!(f.pool.stats().timeouts, 0);
    drop(connection);

    // Too late: the connection has its next borrower.
    let connection = f.get(f.grant()).await;
    request.interrupt();
    connection
        .query("SELECT 1", &NONE)
        .await
        .expect("another request");
    drop(connection);
    assert_eq!(f.pool.stats().connections_created, 1);
    // A connection can still be lent to it, but is stopped at once.
    let connection = grant
        .get(Access::ReadWrite, &request)
        .await
        .expect("a connection");
    let error = connection.query("SELECT 1", &NONE).await.expect_err("over");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn one_tenant_does_not_take_the_connections_of_another() {
    let f = fixture(3).await;
    let (flood, honest) = (f.grant().share(2), f.grant());
    let first = f.get(flood.clone()).await;
    let _second = f.get(flood.clone()).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let grant = flood.clone();
        waiting.push(tokio::spawn(async move {
            grant.get(Access::ReadWrite, &Request::new()).await
        }));
        tokio::task::yield_now().await;
    }
    // One is left, in whatever order they came.
    assert_eq!(f.pool.stats().in_use, 2);
    let third = f.get(honest).await;
    assert_eq!(f.pool.stats().in_use, 3);
    drop(third);
    // A returned connection goes to the next in the tenant's own queue.
    drop(first);
    let next = waiting
        .remove(0)
        .await
        .expect("it does not panic")
        .expect("a connection");
    assert_eq!(f.pool.stats().in_use, 2);
    for waiting in waiting {
        waiting.abort();
    }
    drop(next);
}

#[tokio::test]
async fn a_statement_has_a_limit_of_steps() {
    let f = fixture(1).await;
    let connection = f.get(f.grant().max_statement_steps(10_000)).await;
    let count = |rows: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows})
             SELECT max(i) FROM n"
        )
    };
    connection
        .query(&count(100), &NONE)
        .await
        .expect("few enough");
    let error = connection
        .query(&count(10_000), &NONE)
        .await
        .expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // Each statement has its own limit.
    for _ in 0..20 {
        connection
            .query(&count(100), &NONE)
            .await
            .expect("few enough");
    }
}

#[tokio::test]
async fn a_transaction_has_a_limit_of_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(1)
        .cache_size(64 << 10)
        .max_transaction_bytes(4 << 20)
        .open(folder.path().join("t.db"))
        .expect("a pool");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    let table = "CREATE TABLE t(a)";
    connection.execute(table, &NONE).await.expect("a table");
    let fill = |rows: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT {rows})
             INSERT INTO t SELECT zeroblob(3000) FROM n"
        )
    };
    let log = || {
        std::fs::metadata(folder.path().join("t.db-wal"))
            .expect("the log")
            .len()
    };

    // In one statement, and in many statements of one transaction, which may write the same pages
    // again.
    let error = connection
        .execute(&fill(100_000), &NONE)
        .await
        .expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    connection
        .execute("BEGIN", &NONE)
        .await
        .expect("a transaction");
    connection
        .execute(&fill(500), &NONE)
        .await
        .expect("little enough");
    let again = "UPDATE t SET a = randomblob(3000)";
    let error = loop {
        if let Err(error) = connection.execute(again, &NONE).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(error.rolled_back());
    connection
        .execute("ROLLBACK", &NONE)
        .await
        .expect("its end");
    assert!(log() < 8 << 20, "{}", log());

    // The next transaction starts at zero.
    for _ in 0..5 {
        connection
            .execute(&fill(500), &NONE)
            .await
            .expect("little enough");
    }
    let count = connection.query("SELECT count(*) FROM t", &NONE).await;
    assert_eq!(count.expect("a count").rows, [[Value::Integer(2500)]]);
}
