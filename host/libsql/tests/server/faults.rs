//! A server that dies under load, and hosts that share one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond_libsql::PoolBuilder;
use millpond_pool::{
    Access, Connection, Error, ErrorKind, Parameters, Pool, Rows, TransactionMode, Value,
};
use tokio::task::JoinSet;

use crate::sqld::Sqld;
use crate::{NONE, close, get, kind, value};

/// How much of a load there is: more where the environment says so.
fn times(name: &str, default: usize) -> usize {
    let told = std::env::var(name).ok();
    told.map_or(default, |told| told.parse().expect("a number"))
}

/// What became of the writes of a load, by their numbers.
#[derive(Debug, Default)]
struct Written {
    acknowledged: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
    failed: BTreeSet<i64>,
}

impl Written {
    fn note(&mut self, number: i64, result: Result<(), Error>) -> bool {
        let ended = result.is_err();
        let set = match result.map_err(|error| error.kind()) {
            Ok(()) => &mut self.acknowledged,
            Err(ErrorKind::OutcomeUnknown) => &mut self.unknown,
            Err(_) => &mut self.failed,
        };
        set.insert(number);
        ended
    }
}

/// A write of two rows: by a statement, by many rows at once, or in a transaction.
async fn write(connection: &Connection, number: i64) -> Result<(), Error> {
    let sql = "INSERT INTO t VALUES (?1, 1), (?1, 2)";
    match number % 3 {
        0 => {
            let done = connection.execute(sql, &Parameters::from([number])).await;
            done.map(drop)
        }
        1 => {
            let statement = connection.prepare("INSERT INTO t VALUES (?, ?)").await?;
            let rows = Rows::from_rows([[number, 1], [number, 2]]).expect("rows");
            statement.execute_many(&rows).await.map(drop)
        }
        _ => {
            let open = connection.begin(TransactionMode::Immediate).await?;
            for part in [1, 2] {
                let values = Parameters::from([number, part]);
                connection
                    .execute("INSERT INTO t VALUES (?, ?)", &values)
                    .await?;
            }
            open.commit().await
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_nothing_that_was_acknowledged() {
    let Some(mut server) = Sqld::start() else {
        return;
    };
    let pool = server.pool_of(PoolBuilder::new().max_size(4)).await;
    let setup = get(&pool).await;
    setup
        .execute_script("CREATE TABLE t(number, part)")
        .await
        .expect("made");
    drop(setup);
    let next = Arc::new(AtomicI64::new(1));
    let mut all = Written::default();
    for round in 0..times("MILLPOND_KILLS", 5) {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (pool, next) = (pool.clone(), Arc::clone(&next));
            let acknowledged = Arc::clone(&acknowledged);
            tasks.spawn(async move {
                let mut written = Written::default();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Ok(connection) = pool.get(Access::ReadWrite).await else {
                        return written;
                    };
                    let result = write(&connection, number).await;
                    acknowledged.fetch_add(usize::from(result.is_ok()), Ordering::SeqCst);
                    if written.note(number, result) {
                        return written;
                    }
                }
            });
        }
        while acknowledged.load(Ordering::SeqCst) < 20 + round {
            tokio::task::yield_now().await;
        }
        server.kill();
        while let Some(written) = tasks.join_next().await {
            let written = written.expect("no panic");
            all.acknowledged.extend(written.acknowledged);
            all.unknown.extend(written.unknown);
            all.failed.extend(written.failed);
        }
        server.run();
        let since = Instant::now();
        let connection = get(&pool).await;
        assert_eq!(value(&connection, "SELECT 1").await, Value::Integer(1));
        assert!(since.elapsed() < Duration::from_secs(1), "met again");
    }
    let connection = get(&pool).await;
    let kept = connection
        .query_rows(
            "SELECT number, count(*), count(DISTINCT part) FROM t GROUP BY number",
            &NONE,
        )
        .await
        .expect("rows");
    let mut found = BTreeSet::new();
    for row in kept.to_vec() {
        let [Value::Integer(number), Value::Integer(2), Value::Integer(2)] = row.as_slice() else {
            panic!("not whole, or twice: {row:?}");
        };
        found.insert(*number);
    }
    assert!(
        all.acknowledged.is_subset(&found),
        "what was acknowledged is there"
    );
    let invented: Vec<_> = all.failed.intersection(&found).collect();
    assert!(invented.is_empty(), "what failed is not: {invented:?}");
    eprintln!(
        "{} acknowledged, {} unknown (of which {} kept), {} failed",
        all.acknowledged.len(),
        all.unknown.len(),
        all.unknown.intersection(&found).count(),
        all.failed.len()
    );
    drop(connection);
    close(pool).await;
}

/// Move an amount from one account to another, or do not.
async fn transfer(pool: &Pool, seed: usize) -> Result<(), Error> {
    let connection = pool.get(Access::ReadWrite).await?;
    let open = connection.begin(TransactionMode::Immediate).await?;
    let (from, to) = (seed as i64 % 10, (seed as i64 / 10) % 10);
    let amount = seed as i64 % 7;
    for (account, amount) in [(from, -amount), (to, amount)] {
        let values = Parameters::from([account, amount]);
        connection
            .execute(
                "UPDATE account SET balance = balance + ?2 WHERE id = ?1",
                &values,
            )
            .await?;
    }
    match seed % 5 {
        0 => open.rollback().await,
        // Dropped, it is undone in the background.
        1 => Ok(()),
        _ => open.commit().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_server_keep_the_sum() {
    let Some(server) = Sqld::start() else { return };
    let builder = PoolBuilder::new().max_size(3);
    let hosts = [
        server.pool_of(builder.clone()).await,
        server.pool_of(builder).await,
    ];
    let setup = get(&hosts[0]).await;
    setup
        .execute_script(
            "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER);
             INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n
             WHERE i < 9) SELECT i, 1000 FROM n",
        )
        .await
        .expect("made");
    drop(setup);
    let count = times("MILLPOND_TRANSFERS", 400);
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let pool = hosts[task % 2].clone();
        tasks.spawn(async move {
            let mut ended = 0;
            for seed in (task..count).step_by(6) {
                match transfer(&pool, seed * 31 + task).await {
                    Ok(()) => ended += 1,
                    // It waited for so long that the server gave its lock to another.
                    Err(error) if error.rolled_back() => {}
                    Err(error) if error.kind() == ErrorKind::Busy => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            ended
        });
    }
    let mut ended = 0;
    while let Some(result) = tasks.join_next().await {
        ended += result.expect("no panic");
    }
    assert!(ended * 10 >= count * 9, "{ended} of {count}");
    let connection = get(&hosts[1]).await;
    let sum = value(&connection, "SELECT sum(balance) FROM account").await;
    assert_eq!(sum, Value::Integer(10_000));
    drop(connection);
    for pool in hosts {
        close(pool).await;
    }
}

#[tokio::test]
async fn more_connections_than_the_server_has_streams_wait_for_one() {
    let Some(server) = Sqld::start_with(&["--max-concurrent-connections", "2"]) else {
        return;
    };
    let pool = server.pool_of(PoolBuilder::new().max_size(3)).await;
    let (one, two) = (get(&pool).await, get(&pool).await);
    assert_eq!(value(&one, "SELECT 1").await, Value::Integer(1));
    assert_eq!(value(&two, "SELECT 1").await, Value::Integer(1));
    // The third is lent as soon as one of the two is closed.
    let waits = async {
        let three = get(&pool).await;
        assert_eq!(value(&three, "SELECT 1").await, Value::Integer(1));
    };
    let closes = async {
        tokio::task::yield_now().await;
        one.close();
    };
    tokio::join!(waits, closes);
    drop(two);
    close(pool).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let Some(mut server) = Sqld::start() else {
        return;
    };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    server.kill();
    // On a connection that it may not know to be closed yet.
    let lost = kind(connection.execute("CREATE TABLE t(a)", &NONE).await);
    assert!(
        matches!(lost, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown),
        "{lost:?}"
    );
    let refused = connection.execute("CREATE TABLE t(a)", &NONE).await;
    assert_eq!(kind(refused), ErrorKind::Unavailable);
    let stats = pool.stats();
    assert!(stats.unreachable && stats.connect_failures > 0, "{stats:?}");
    server.run();
    connection
        .execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("again");
    assert!(!pool.stats().unreachable);
    drop(connection);
    close(pool).await;
}

/// Not a thousand attempts to connect, of which each could take seconds.
#[tokio::test]
async fn a_server_that_is_down_is_tried_now_and_then_and_met_again_within_a_second() {
    let Some(mut server) = Sqld::start() else {
        return;
    };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    server.kill();
    let mut calls = 0;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let refused = connection.query("SELECT 1", &NONE).await;
        assert_eq!(kind(refused), ErrorKind::Unavailable);
        calls += 1;
    }
    let tried = pool.stats().connect_failures;
    assert!(calls > 100 && (4..20).contains(&tried), "{calls} {tried}");
    server.run();
    let since = Instant::now();
    while connection.query("SELECT 1", &NONE).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(since.elapsed() < Duration::from_secs(1));
    drop(connection);
    close(pool).await;
}
