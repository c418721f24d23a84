//! Only some of a pool's connections may run what may not stop in time. Other such calls wait.

use std::pin::pin;
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, TransactionMode, Value,
};
use millpond_sqlite::PoolBuilder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

impl Fixture {
    async fn new(max_size: u32) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let builder = PoolBuilder::new().max_size(max_size);
        // An abandoned statement takes seconds, and more on a busy machine.
        let builder = builder.timeout(Duration::from_secs(60));
        let pool = builder.open(folder.path().join("app.db")).expect("a pool");
        let f = Fixture {
            _folder: folder,
            pool,
        };
        let connection = f.get(|grant| grant).await;
        let sql = "CREATE TABLE t(a, b)";
        connection.execute(sql, &NONE).await.expect("a table");
        f
    }

    async fn get(&self, change: impl FnOnce(Grant) -> Grant) -> Connection {
        let grant = Grant::new(&self.pool, Access::ReadWrite);
        let grant = change(grant.max_statement_time(Duration::from_secs(600)));
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        connection.expect("a connection")
    }

    /// Have `count` calls abandoned, which then run for seconds.
    async fn abandon(&self, count: usize) {
        self.create_wide_tables().await;
        self.abandon_joins(count).await;
    }

    async fn create_wide_tables(&self) {
        let columns = |table: usize| {
            let columns: Vec<_> = (0..999).map(|at| format!("d{table}_{at}")).collect();
            format!("CREATE TABLE j{table}({});", columns.join(","))
        };
        let script: String = (0..60).map(columns).collect();
        let connection = self.get(|grant| grant).await;
        connection.execute_script(&script).await.expect("tables");
    }

    async fn abandon_joins(&self, count: usize) {
        let sql = wide_join();
        for _ in 0..count {
            let connection = self.get(|grant| grant).await;
            connection.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
            let error = connection
                .query(&sql, &NONE)
                .await
                .expect_err("unstoppable");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        assert_eq!(self.pool.stats().abandoned, count as u64);
    }

    async fn count(&self, what: &str) -> i64 {
        let connection = self.get(|grant| grant).await;
        let sql = format!("SELECT count(*) FROM t WHERE {what}");
        let rows = connection.query(&sql, &NONE).await.expect("a row").rows;
        match rows.to_vec()[0][0] {
            Value::Integer(count) => count,
            ref other => panic!("{other:?}"),
        }
    }
}

/// A statement that takes seconds to compile, and cannot be stopped.
fn wide_join() -> String {
    let tables: Vec<_> = (0..60).map(|at| format!("j{at}")).collect();
    format!("SELECT 1 FROM {}", tables.join(" NATURAL JOIN "))
}

/// So long that compiling it may take long.
fn long(sql: &str) -> String {
    format!("{sql}, length('{}')", "x".repeat(5_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_that_others_wait_for_does_not_wait_for_them() {
    let f = Fixture::new(4).await;
    let insert = format!("{})", long("INSERT INTO t VALUES (1"));
    let holder = f.get(|grant| grant).await;
    let transaction = holder
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    holder
        .execute("INSERT INTO t VALUES (1, 1)", &NONE)
        .await
        .expect("a row");
    // They have all the room that there is, and wait for the turn.
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let (connection, insert) = (f.get(|grant| grant).await, insert.clone());
        waiting.spawn(async move { connection.execute(&insert, &NONE).await });
    }
    while f.pool.stats().writers_waiting < 3 {
        yield_now().await;
    }
    holder.execute(&insert, &NONE).await.expect("at once");
    transaction.commit().await.expect("committed");
    while let Some(result) = waiting.join_next().await {
        result.expect("no panic").expect("a row");
    }
    drop(holder);
    assert_eq!(f.count("a = 1").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_has_committed_is_not_told_as_failed() {
    let f = Fixture::new(3).await;
    let holder = f.get(|grant| grant).await;
    let transaction = holder
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let leader = f.get(|grant| grant).await;
    let leads = tokio::spawn(async move {
        let sql = "INSERT INTO t VALUES (1, 1)";
        leader.execute(sql, &NONE).await
    });
    while f.pool.stats().writers_waiting < 1 {
        yield_now().await;
    }
    let brief = f
        .get(|grant| grant.max_hold_time(Duration::from_millis(50)))
        .await;
    let follows = tokio::spawn(async move {
        let sql = "INSERT INTO t VALUES (2, 2)";
        brief.execute(sql, &NONE).await
    });
    // It is not run at all if it begins after that time.
    while f.pool.stats().writers_waiting < 2 && !follows.is_finished() {
        yield_now().await;
    }
    // It takes the connection of the one that waits with a statement for another to run.
    drop(f.get(|grant| grant).await);
    transaction.commit().await.expect("committed");
    leads.await.expect("no panic").expect("a row");
    let result = follows.await.expect("no panic");
    drop(holder);
    let kept = f.count("a = 2").await;
    match result {
        Ok(_) => assert_eq!(kept, 1),
        // Its connection was taken back before the result arrived.
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
        Err(error) => assert_eq!(kept, 0, "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_a_transaction_leaves_a_call_that_waits_its_limits() {
    let f = Fixture::new(3).await;
    let connection = f
        .get(|grant| grant.max_statement_time(Duration::from_secs(1)))
        .await;
    let transaction = connection.begin(TransactionMode::Deferred).await;
    f.abandon(2).await;
    let endless =
        long("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) + 0");
    let endless = format!("{endless} FROM n");
    let mut call = Box::pin(connection.query(&endless, &NONE));
    let begun = timeout(Duration::from_millis(1), &mut call).await;
    assert!(begun.is_err());
    transaction
        .expect("begun")
        .rollback()
        .await
        .expect("rolled back");
    let error = timeout(Duration::from_secs(60), call)
        .await
        .expect("it ends");
    assert_eq!(
        error.expect_err("endless").kind(),
        ErrorKind::DeadlineExceeded
    );
}

/// A write that turns out to need its own thread has lost the turn, and waits for it again there:
/// on its caller's thread it would lose it to the next, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_goes_aside_keeps_the_turn_that_it_waited_for() {
    let f = Fixture::new(4).await;
    let connection = f.get(|grant| grant).await;
    let sql = "CREATE VIRTUAL TABLE g USING fts5(x)";
    connection.execute(sql, &NONE).await.expect("a table");
    let begin = async || {
        let other = f.get(|grant| grant).await;
        let open = other.begin(TransactionMode::Immediate).await;
        (other, open.expect("begun"))
    };
    let waits = async |count: u32| {
        while f.pool.stats().writers_waiting < count {
            yield_now().await;
        }
    };
    let (_first, open) = begin().await;
    // More words than a call may index on its caller's thread, and too long for another's group.
    let words = Parameters::from([Value::Text("word ".repeat(30_000))]);
    let mut call = pin!(connection.execute("INSERT INTO g VALUES (?1)", &words));
    tokio::select! { result = &mut call => panic!("{result:?}"), () = waits(1) => {} }
    let mut second = pin!(begin());
    tokio::select! { _ = &mut second => panic!("it has no turn"), () = waits(2) => {} }
    open.rollback().await.expect("rolled back");
    let (_second, open) = tokio::select! {
        result = &mut call => panic!("{result:?}"),
        begun = second => begun,
    };
    tokio::select! { result = &mut call => panic!("{result:?}"), () = waits(1) => {} }
    let mut third = pin!(begin());
    tokio::select! { _ = &mut third => panic!("it has no turn"), () = waits(2) => {} }
    open.rollback().await.expect("rolled back");
    let done = timeout(Duration::from_secs(20), call)
        .await
        .expect("it ends");
    assert_eq!(done.expect("a row").changes, 1);
}

/// A script that others wait for may end that in its first statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_no_one_waits_for_any_more_waits_for_room() {
    let f = Fixture::new(4).await;
    f.create_wide_tables().await;
    let connection = f.get(|grant| grant).await;
    let open = connection.begin(TransactionMode::Immediate).await;
    connection
        .execute("INSERT INTO t VALUES (3, 3)", &NONE)
        .await
        .expect("a row");
    f.abandon_joins(2).await;
    let sql = format!("COMMIT; /* {} */ {}", "x".repeat(5_000), wide_join());
    connection.set_deadline(Some(Instant::now() + Duration::from_millis(100)));
    let error = connection.execute_script(&sql).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(!error.rolled_back());
    assert_eq!(f.pool.stats().abandoned, 2);
    drop((open, connection));
    assert_eq!(f.count("a = 3").await, 1);
}

/// Adds up the numbers up to some hundred thousand.
const ADDS_UP: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
    SELECT sum(i) FROM n;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_gives_a_call_no_more_steps() {
    let f = Fixture::new(3).await;
    // Enough for one of these, and not for two.
    let limited = async || f.get(|grant| grant.max_statement_steps(7_000_000)).await;
    let (once, twice) = (ADDS_UP, format!("{ADDS_UP} {ADDS_UP}"));
    let connection = limited().await;
    connection.execute_script(once).await.expect("enough");
    let error = connection.execute_script(&twice).await.expect_err("less");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    let holder = f.get(|grant| grant).await;
    let open = holder.begin(TransactionMode::Immediate).await;
    let script = format!("{ADDS_UP} INSERT INTO t VALUES (4, 4); {ADDS_UP}");
    let waits = tokio::spawn(async move { connection.execute_script(&script).await });
    while f.pool.stats().writers_waiting < 1 {
        yield_now().await;
    }
    open.expect("begun").rollback().await.expect("rolled back");
    let error = waits.await.expect("no panic").expect_err("less");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    drop(holder);
    assert_eq!(f.count("a = 4").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_begins_a_transaction_ends_in_its_time() {
    let f = Fixture::new(2).await;
    let connection = f
        .get(|grant| grant.max_transaction_time(Duration::from_millis(100)))
        .await;
    let endless = "BEGIN IMMEDIATE; INSERT INTO t VALUES (5, 5);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let done = timeout(Duration::from_secs(30), connection.execute_script(endless)).await;
    let error = done.expect("it ends").expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    drop(connection);
    assert_eq!(f.count("a = 5").await, 0);
}
