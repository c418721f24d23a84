//! Getting and returning connections: order, bounds, timeouts, counters, closing.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millpond_pool::{Access, Connection, ErrorKind, Parameters, Pool, TransactionMode, Value};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

fn fixture(max_size: u32, timeout: Duration) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(max_size)
        .timeout(timeout)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    Fixture { folder, pool }
}

fn files(fixture: &Fixture) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixture.folder.path())
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

#[tokio::test]
async fn a_returned_connection_is_lent_again() {
    let f = fixture(5, Duration::from_secs(10));
    drop(get(&f.pool).await);
    drop(get(&f.pool).await);
    let stats = f.pool.stats();
    assert_eq!(
        (stats.connections_created, stats.connections_reused),
        (1, 2)
    );
    assert_eq!((stats.hits, stats.misses), (2, 0));
    assert_eq!((stats.idle, stats.in_use, stats.max_size), (1, 0, 5));
}

#[tokio::test]
async fn no_more_than_the_maximum_exist() {
    let f = fixture(2, Duration::from_millis(1));
    let (_one, _two) = (get(&f.pool).await, get(&f.pool).await);
    let error = f.pool.get(Access::ReadOnly).await.expect_err("a third");
    let ErrorKind::PoolTimeout { waited, in_use } = error.kind() else {
        panic!("{error:?}");
    };
    assert!(waited >= Duration::from_millis(1));
    assert_eq!(in_use, 2);
    let stats = f.pool.stats();
    assert_eq!(
        (stats.connections_created, stats.in_use, stats.timeouts),
        (2, 2, 1)
    );
    assert!(stats.wait_time >= Duration::from_millis(1));
    assert_eq!(stats.waiting, 0);
}

#[tokio::test]
async fn waiters_are_served_in_order_and_a_cancelled_one_is_skipped() {
    let f = fixture(1, Duration::from_secs(10));
    let held = get(&f.pool).await;
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(f.pool.get(Access::ReadWrite));
    let mut second = Box::pin(f.pool.get(Access::ReadWrite));
    let mut third = Box::pin(f.pool.get(Access::ReadWrite));
    for waiter in [&mut first, &mut second, &mut third] {
        assert!(waiter.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(f.pool.stats().waiting, 3);
    drop(first);
    drop(held);
    assert!(
        third.as_mut().poll(&mut context).is_pending(),
        "the third came before the second"
    );
    let Poll::Ready(Ok(second)) = second.as_mut().poll(&mut context) else {
        panic!("the second waits");
    };
    drop(second);
    assert!(matches!(
        third.as_mut().poll(&mut context),
        Poll::Ready(Ok(_))
    ));
    assert_eq!(f.pool.stats().connections_created, 1);
}

#[test]
fn a_thread_gets_a_connection_without_a_runtime() {
    let f = fixture(1, Duration::from_millis(20));
    let held = f
        .pool
        .get_blocking(Access::ReadWrite)
        .expect("a connection");
    let error = f
        .pool
        .get_blocking(Access::ReadWrite)
        .expect_err("none is free");
    assert!(matches!(error.kind(), ErrorKind::PoolTimeout { .. }));
    let pool = f.pool.clone();
    let waiter = std::thread::spawn(move || {
        // Long enough for the other thread, however slow the machine.
        loop {
            if let Ok(connection) = pool.get_blocking(Access::ReadWrite) {
                return connection;
            }
        }
    });
    while f.pool.stats().waiting == 0 {
        std::thread::yield_now();
    }
    drop(held);
    waiter.join().expect("no panic");
}

#[test]
fn a_task_that_blocks_waits_any_number_of_times() {
    let f = fixture(1, Duration::from_millis(1));
    let pool = f.pool.clone();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let _held = get(&pool).await;
            // More often than tokio's cooperative budget allows.
            let timeouts = (0..300)
                .filter(|_| pool.get_blocking(Access::ReadWrite).is_err())
                .count();
            let _ = done.send(timeouts);
        });
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(300));
}

#[tokio::test]
async fn a_closed_connection_is_not_lent_again() {
    let f = fixture(5, Duration::from_secs(10));
    get(&f.pool).await.close();
    let stats = f.pool.stats();
    assert_eq!(
        (stats.connections_closed, stats.idle, stats.in_use),
        (1, 0, 0)
    );
    drop(get(&f.pool).await);
    assert_eq!(f.pool.stats().connections_created, 2);
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_idle(1)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let (one, two) = (get(&pool).await, get(&pool).await);
    drop((one, two));
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.stats().connections_closed, 1);
}

#[tokio::test]
async fn closing_refuses_callers_and_leaves_no_log() {
    let f = fixture(2, Duration::from_secs(10));
    let connection = get(&f.pool).await;
    connection
        .execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("a table");
    let _other = get(&f.pool).await;
    assert!(files(&f).contains(&"app.db-wal".to_owned()));
    let mut waiter = pin!(f.pool.get(Access::ReadWrite));
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );

    let mut close = pin!(f.pool.close(Duration::from_secs(3600)));
    assert!(
        close
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_eq!(
        waiter.await.expect_err("closed").kind(),
        ErrorKind::PoolClosed
    );
    assert_eq!(
        f.pool
            .get(Access::ReadOnly)
            .await
            .expect_err("closed")
            .kind(),
        ErrorKind::PoolClosed
    );
    // The lent connections finish their work.
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("a row");
    drop((connection, _other));
    close.await;
    assert_eq!(files(&f), ["app.db"]);
    let stats = f.pool.stats();
    assert_eq!(stats.connections_created, stats.connections_closed);
    assert_eq!((stats.idle, stats.in_use), (0, 0));

    let again = PoolBuilder::new()
        .open(f.folder.path().join("app.db"))
        .expect("a pool");
    let table = get(&again)
        .await
        .query("SELECT a FROM t", &NONE)
        .await
        .expect("rows");
    assert_eq!(table.rows, [[Value::Integer(1)]]);
}

#[tokio::test]
async fn closing_ends_connections_that_are_not_returned() {
    let f = fixture(2, Duration::from_secs(10));
    let idle = get(&f.pool).await;
    idle.execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("a table");
    let transaction = idle
        .begin(TransactionMode::Immediate)
        .await
        .expect("a transaction");
    idle.execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("a row");

    // An endless statement, on another thread.
    let busy = get(&f.pool).await;
    let (started, is_started) = std::sync::mpsc::channel();
    let runner = std::thread::spawn(move || {
        started.send(()).expect("a listener");
        let forever =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        millpond_pool::block_on(busy.query(forever, &NONE))
    });
    is_started.recv().expect("started");
    let since = Instant::now();
    f.pool.close(Duration::from_millis(10)).await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "it waited for the endless statement"
    );
    let error = runner.join().expect("no panic").expect_err("stopped");
    assert!(
        matches!(error.kind(), ErrorKind::PoolClosed | ErrorKind::StaleHandle),
        "{error:?}"
    );
    assert_eq!(
        transaction.commit().await.expect_err("ended").kind(),
        ErrorKind::StaleHandle
    );
    assert_eq!(
        idle.execute("SELECT 1", &NONE)
            .await
            .expect_err("ended")
            .kind(),
        ErrorKind::StaleHandle
    );
    assert_eq!(files(&f), ["app.db"]);
    let stats = f.pool.stats();
    assert_eq!((stats.in_use, stats.idle, stats.rolled_back), (0, 0, 1));
}

#[tokio::test]
async fn a_deadline_ends_a_statement_and_not_the_next_borrowers() {
    let f = fixture(1, Duration::from_secs(10));
    let connection = get(&f.pool).await;
    connection.set_deadline(Some(Instant::now()));
    let forever =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let error = connection
        .query(forever, &NONE)
        .await
        .expect_err("a deadline");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop(connection);
    let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT max(i) FROM n";
    let table = get(&f.pool)
        .await
        .query(long, &NONE)
        .await
        .expect("no deadline");
    assert_eq!(table.rows, [[Value::Integer(50_000)]]);
    assert_eq!(f.pool.stats().connections_created, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_counters_hold_under_load() {
    let f = fixture(3, Duration::from_secs(60));
    let mut tasks = Vec::new();
    for task in 0..16 {
        let pool = f.pool.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..200 {
                let connection = get(&pool).await;
                if (task + round) % 7 == 0 {
                    connection.close();
                } else {
                    drop(connection);
                }
                let stats = pool.stats();
                let open = stats.connections_created - stats.connections_closed;
                assert_eq!(open, u64::from(stats.idle + stats.in_use));
                assert!(open <= 3);
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let stats = f.pool.stats();
    assert_eq!(stats.hits + stats.misses, 16 * 200);
    assert_eq!((stats.in_use, stats.waiting, stats.timeouts), (0, 0, 0));
}

#[tokio::test]
async fn a_text_of_many_short_statements_ends_in_time() {
    let f = fixture(1, Duration::from_secs(10));
    let connection = get(&f.pool).await;
    // A deadline much too short for a text that is copied for each of its statements, and long
    // enough for one that is not.
    connection.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
    let empty = ";".repeat(90_000);
    connection
        .execute_script(&empty)
        .await
        .expect("nothing to do");
    let error = connection
        .execute(&empty, &NONE)
        .await
        .expect_err("no statement");
    assert_eq!(error.kind(), ErrorKind::Sql);
    let short = "SELECT 1;".repeat(100_000);
    connection
        .execute_script(&short)
        .await
        .expect("short statements");

    // No statement of these runs long enough to be stopped: the text does.
    connection.set_deadline(Some(Instant::now()));
    for text in [&empty, &short] {
        let error = connection
            .execute_script(text)
            .await
            .expect_err("a deadline");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}

#[tokio::test]
async fn a_transaction_can_be_rolled_back_after_the_deadline() {
    let f = fixture(2, Duration::from_secs(10));
    let connection = get(&f.pool).await;
    connection
        .execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("a table");
    for end in ["drop", "text"] {
        connection.set_deadline(None);
        let transaction = connection
            .begin(TransactionMode::Immediate)
            .await
            .expect("begun");
        connection
            .execute("INSERT INTO t VALUES (1)", &NONE)
            .await
            .expect("a row");
        connection.set_deadline(Some(Instant::now()));
        let error = connection.execute("INSERT INTO t VALUES (2)", &NONE).await;
        assert_eq!(
            error.expect_err("a deadline").kind(),
            ErrorKind::DeadlineExceeded
        );
        match end {
            "drop" => drop(transaction),
            _ => drop(
                connection
                    .execute("ROLLBACK", &NONE)
                    .await
                    .expect("a rollback"),
            ),
        }
        assert!(!connection.in_transaction(), "{end}");
        let other = get(&f.pool).await;
        other
            .execute("INSERT INTO t VALUES (3)", &NONE)
            .await
            .expect("the turn is free");
    }
}

#[test]
fn closing_under_load_ends_everything_and_leaves_no_log() {
    for round in 0..20 {
        let f = fixture(3, Duration::from_secs(10));
        let setup = f
            .pool
            .get_blocking(Access::ReadWrite)
            .expect("a connection");
        millpond_pool::block_on(setup.execute("CREATE TABLE t(a)", &NONE)).expect("a table");
        drop(setup);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    // Some are in the queue, some are being lent to, some write, some are being
                    // returned.
                    while let Ok(connection) = f.pool.get_blocking(Access::ReadWrite) {
                        let _ = millpond_pool::block_on(
                            connection.execute("INSERT INTO t VALUES (1)", &NONE),
                        );
                    }
                });
            }
            while f.pool.stats().connections_reused < 10 + round {
                std::thread::yield_now();
            }
            // Two at once, one of them without grace.
            scope.spawn(|| f.pool.close_blocking(Duration::ZERO));
            f.pool.close_blocking(Duration::from_millis(1));
        });
        f.pool.close_blocking(Duration::ZERO);
        let stats = f.pool.stats();
        assert_eq!((stats.in_use, stats.idle, stats.waiting), (0, 0, 0));
        assert_eq!(stats.connections_created, stats.connections_closed);
        assert_eq!(files(&f), ["app.db"]);
    }
}

/// If another process is writing, the log stays, and the next process to open it takes it over.
#[test]
fn closing_without_grace_does_not_wait_for_another_process() {
    const HOUR: Duration = Duration::from_secs(3600);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new()
        .busy_timeout(HOUR)
        .open(&path)
        .expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let script = "CREATE TABLE t(a); INSERT INTO t VALUES (1)";
    millpond_pool::block_on(connection.execute_script(script)).expect("a table");
    drop(connection);
    let other = rusqlite::Connection::open(&path).expect("another process, as far as locks go");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    pool.close_blocking(Duration::ZERO);
    other
        .execute_batch("INSERT INTO t VALUES (2); COMMIT")
        .expect("a row");
    let count = other.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(count, Ok(2));
}
