//! Statements that take long do not block the runtime that they were sent from.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use millpond_pool::{Access, Error, ErrorKind, Grant, Parameters, Request};
use millpond_sqlite::PoolBuilder;

use crate::attacks::{Attack, attack, compiling};
use crate::{ENDLESS, NONE, always_late, attacks, large_table};

/// How long each statement may take here, and how much later than expected another task may run:
/// much less.
const STATEMENT_TIME: Duration = Duration::from_millis(300);
const MAX_DELAY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 50 });
/// How often a task of the runtime becomes ready.
const EVERY: Duration = Duration::from_millis(5);

/// Two guests with the same statement on a runtime of two workers, beside a task that only sleeps.
#[test]
fn the_runtime_continues_whatever_a_statement_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let endless = attack("endless", "", ENDLESS);
    let too_late: Vec<_> = attacks()
        .chain([endless])
        .filter_map(|attack| {
            always_late(MAX_DELAY, || {
                runtime.block_on(longest_delay(&attack, 2, 1, |_| ()))
            })
        })
        .collect();
    assert!(too_late.is_empty(), "{too_late:#?}");
}

/// A statement that compiles for a while is compiled again and again, by guests that share a
/// runtime. SQLite asks its authorizer nothing while it derives the columns of views.
#[test]
fn the_runtime_continues_while_views_are_compiled_repeatedly() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let views = compiling()
        .into_iter()
        .find(|attack| attack.name == "views");
    let views = views.expect("the attack");
    let late = always_late(MAX_DELAY, || {
        runtime.block_on(longest_delay(&views, 4, 4, |_| ()))
    });
    assert_eq!(late, None);
}

/// SQLite calls nothing of ours while it counts, but for the pages.
#[test]
fn the_runtime_continues_while_a_large_table_is_counted_repeatedly() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let count = attack("count", "", "SELECT count(*) FROM t");
    let late = always_late(MAX_DELAY, || {
        runtime.block_on(longest_delay(&count, 4, 8, large_table))
    });
    assert_eq!(late, None);
}

/// The longest delay of the sleeping task while some guests ran the statement, each several times.
async fn longest_delay(
    attack: &Attack,
    guests: u32,
    times: u32,
    prepare: impl FnOnce(&Path),
) -> (Duration, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    prepare(&path);
    let pool = PoolBuilder::new()
        .max_size(guests)
        .open(path)
        .expect("a pool");
    let grant = Grant::new(&pool, Access::ReadWrite).temporary(true);
    let connection = grant.get(Access::ReadWrite, &Request::new()).await;
    let connection = connection.expect("a connection");
    let setup = connection.execute_script(&attack.setup).await;
    setup.expect(attack.name);
    drop(connection);
    let (beats, over) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let beat = tokio::spawn({
        let (beats, over) = (Arc::clone(&beats), Arc::clone(&over));
        async move {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let since = Instant::now();
                tokio::time::sleep(EVERY).await;
                longest = longest.max(since.elapsed().saturating_sub(EVERY));
                beats.fetch_add(1, Ordering::Relaxed);
            }
            longest
        }
    });
    // If it started after the statements, it would not notice that they blocked it.
    while beats.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let guests: Vec<_> = (0..guests)
        .map(|_| {
            let grant = grant.clone().max_statement_time(STATEMENT_TIME);
            let (before, sql) = (attack.before, attack.sql.clone());
            let parameters = Parameters::from(attack.parameters.clone());
            tokio::spawn(async move {
                let connection = grant.get(Access::ReadWrite, &Request::new()).await?;
                connection.execute_script(before).await?;
                for _ in 1..times {
                    // Whatever the result, as below.
                    let _ = connection.query(&sql, &parameters).await;
                    tokio::task::yield_now().await;
                }
                connection.query(&sql, &parameters).await
            })
        })
        .collect();
    for guest in guests {
        // Whatever the result: other tests check it.
        let _ = guest.await.expect("no panic");
    }
    over.store(true, Ordering::Relaxed);
    let longest = beat.await.expect("no panic");
    let what = format!("{}: {longest:.1?} too late", attack.name);
    println!("{what}");
    (longest, what)
}

/// A runtime of two workers, with four statements that never end, each for longer than the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_statements_do_not_block_the_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(8).open(path).expect("a pool");
    let grant = Grant::new(&pool, Access::ReadOnly).max_statement_time(Duration::from_secs(600));
    let request = Request::new();
    let endless: Vec<_> = (0..4)
        .map(|_| {
            let (grant, request) = (grant.clone(), request.clone());
            tokio::spawn(async move {
                let connection = grant.get(Access::ReadOnly, &request).await?;
                connection.query(ENDLESS, &NONE).await
            })
        })
        .collect();
    let quick = tokio::spawn(async move {
        for _ in 0..100 {
            let connection = grant.get(Access::ReadOnly, &Request::new()).await?;
            connection.query("SELECT 1", &NONE).await?;
            drop(connection);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<(), Error>(())
    });
    assert_eq!(quick.await.expect("no panic"), Ok(()));
    assert!(!endless.iter().any(|task| task.is_finished()));
    request.interrupt();
    for task in endless {
        let result = task.await.expect("no panic");
        let error = result.expect_err("it was interrupted");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}

/// Calls on a connection whose statement is running block their threads, and not the runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_busy_connection_do_not_block_the_runtime() {
    let limit = Duration::from_secs(10);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(2).open(path).expect("a pool");
    let grant = Grant::new(&pool, Access::ReadWrite).max_statement_time(limit);
    let request = Request::new();
    let connection = grant.get(Access::ReadWrite, &request).await;
    let connection = Arc::new(connection.expect("one"));
    let created = connection.execute("CREATE TABLE t(a)", &NONE).await;
    created.expect("a table");
    let endless = tokio::spawn({
        let connection = Arc::clone(&connection);
        let sql = format!("INSERT INTO t {ENDLESS}");
        async move { connection.execute(&sql, &NONE).await }
    });
    let other = pool.get(Access::ReadWrite).await.expect("another");
    let waiting = tokio::spawn(async move { other.execute("DELETE FROM t", &NONE).await });
    // A statement that waits shows that the other has begun.
    while pool.stats().writers_waiting != 1 {
        tokio::task::yield_now().await;
    }
    let since = Instant::now();
    let blocked = [(); 4].map(|()| {
        let connection = Arc::clone(&connection);
        tokio::spawn(async move { connection.in_transaction() })
    });
    let quick = tokio::spawn(tokio::time::sleep(Duration::from_millis(1)));
    quick.await.expect("no panic");
    assert!(since.elapsed() < limit / 2);
    request.interrupt();
    endless
        .await
        .expect("no panic")
        .expect_err("it was interrupted");
    for task in blocked {
        assert!(!task.await.expect("no panic"));
    }
    waiting.await.expect("no panic").expect("its turn");
}
