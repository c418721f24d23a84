//! However a guest ends, what it held is returned and reset: the pool's counters prove it, and the
//! next writer proceeds at once.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use millpond_pool::{Access, Parameters, PoolStats, Value};
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, Run, foreach_endings};

use crate::assert_test_exists;

foreach_endings!(assert_test_exists);

static NONE: Parameters = Parameters::NONE;

async fn lab() -> Lab {
    // So that no timeout looks like an end.
    let lab = Lab::with(PoolBuilder::new().timeout(Duration::from_secs(3600)));
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("a table");
    drop(connection);
    lab
}

fn holding<'a>(lab: &'a Lab, ending: &str) -> Run<'a> {
    lab.run("endings_hold_everything").arg(ending)
}

/// Nothing is held, nothing was kept, and the next guest can write.
async fn check(lab: &Lab, before: PoolStats) {
    let after = lab.pool().stats();
    assert_eq!(after.in_use, 0);
    assert_eq!(after.rolled_back, before.rolled_back + 1);
    assert_eq!(after.idle, 2, "both connections are there to be lent again");
    assert_eq!(after.discarded, 0);
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    let table = connection
        .query("SELECT count(*) FROM t", &NONE)
        .await
        .expect("rows");
    assert_eq!(
        table.rows,
        [[Value::Integer(0)]],
        "the guest's row was kept"
    );
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("the turn is free");
    connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect("the turn is free");
}

#[tokio::test]
async fn endings_hold_everything() {
    let lab = lab().await;
    for ending in [
        "forget",
        "exit with 0",
        "exit with 1",
        "panic",
        "unreachable",
        "recursion",
    ] {
        let before = lab.pool().stats();
        let ended = holding(&lab, ending).await;
        assert!(ended.output.contains("ready"), "{ending}: {}", ended.output);
        assert_eq!(
            ended.result.is_ok(),
            ending == "forget",
            "{ending}: {:?}",
            ended.result
        );
        check(&lab, before).await;
    }
}

#[tokio::test]
async fn a_guest_that_just_returns() {
    let lab = lab().await;
    let before = lab.pool().stats();
    let ended = holding(&lab, "return").await.succeeds();
    // The transaction's own handle rolled it back before the connection was returned.
    assert_eq!(ended.stats.rolled_back, before.rolled_back);
    assert_eq!((ended.stats.in_use, ended.stats.idle), (0, 2));
}

#[tokio::test]
async fn out_of_memory() {
    let lab = lab().await;
    let before = lab.pool().stats();
    holding(&lab, "memory").memory(16 << 20).await.traps();
    check(&lab, before).await;
}

#[tokio::test]
async fn a_loop_that_the_epoch_ends() {
    let lab = lab().await;
    let before = lab.pool().stats();
    let (pool, engine) = (lab.pool().clone(), lab.engine().clone());
    let clock = std::thread::spawn(move || {
        // Once both connections are in use, the guest soon enters its loop.
        while pool.stats().in_use < 2 {
            std::thread::yield_now();
        }
        while pool.stats().in_use == 2 {
            engine.increment_epoch();
            std::thread::yield_now();
        }
    });
    let ended = holding(&lab, "loop").await;
    assert!(ended.result.is_err(), "it came out of its loop");
    clock.join().expect("no panic");
    let after = lab.pool().stats();
    assert_eq!((after.in_use, after.idle, after.discarded), (0, 2, 0));
    // The first tick may have come before the transaction.
    assert!(after.rolled_back <= before.rolled_back + 1);
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("the turn is free");
}

#[tokio::test]
async fn a_host_that_stops_waiting_for_the_guest() {
    let lab = lab().await;
    // The test holds three connections: the guest waits forever for its third.
    let held = [
        lab.pool()
            .get(Access::ReadOnly)
            .await
            .expect("a connection"),
        lab.pool()
            .get(Access::ReadOnly)
            .await
            .expect("a connection"),
        lab.pool()
            .get(Access::ReadOnly)
            .await
            .expect("a connection"),
    ];
    let mut run = Box::pin(holding(&lab, "wait").go());
    // Polled by hand until it waits in the pool's queue, and then dropped there.
    while lab.pool().stats().waiting == 0 {
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    assert_eq!(lab.pool().stats().in_use, 5);
    drop(run);
    let stats = lab.pool().stats();
    assert_eq!(
        (
            stats.in_use,
            stats.waiting,
            stats.rolled_back,
            stats.timeouts
        ),
        (3, 0, 1, 0)
    );
    drop(held);
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("the turn is free");
}

#[tokio::test]
async fn a_guest_that_is_cancelled_in_the_writers_line() {
    let lab = lab().await;
    let writer = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    writer
        .execute("BEGIN IMMEDIATE", &NONE)
        .await
        .expect("the turn");
    let mut run = Box::pin(holding(&lab, "return").go());
    // It has both connections, and waits to begin its transaction.
    while lab.pool().stats().in_use < 3 {
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    for _ in 0..3 {
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    drop(run);
    assert_eq!(lab.pool().stats().in_use, 1);
    writer.execute("COMMIT", &NONE).await.expect("a commit");
    drop(writer);
    holding(&lab, "return").await.succeeds();
}

#[tokio::test]
async fn a_statement_that_reaches_its_deadline() {
    let lab = lab().await;
    for ending in ["statement", "statement that writes"] {
        let before = lab.pool().stats();
        let since = Instant::now();
        let deadline = since + Duration::from_millis(100);
        let ended = holding(&lab, ending).deadline(deadline).await.succeeds();
        assert!(
            ended.output.contains("DeadlineExceeded"),
            "{}",
            ended.output
        );
        if ending != "statement" {
            // Interrupted while it wrote: SQLite rolled everything back, and every later call
            // says so.
            assert!(
                ended.output.contains("DeadlineExceeded, rolled back: true"),
                "{}",
                ended.output
            );
            assert!(
                ended.output.contains("StaleHandle, rolled back: true"),
                "{}",
                ended.output
            );
        }
        assert!(since.elapsed() < Duration::from_secs(10));
        let after = lab.pool().stats();
        assert_eq!((after.in_use, after.discarded), (0, before.discarded));
    }
}

/// Of two workers, with two guests in statements that do not end before their deadline.
#[test]
fn a_guest_in_a_long_statement_does_not_block_the_runtime() {
    const TIME: Duration = Duration::from_secs(5);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let labs = [lab().await, lab().await, lab().await].map(Arc::new);
        let [quick, endless @ ..] = labs;
        holding(&quick, "return").await.succeeds();
        let tasks = endless.clone().map(|lab| {
            tokio::spawn(async move {
                let run = holding(&lab, "statement");
                run.deadline(Instant::now() + TIME).await
            })
        });
        while endless.iter().any(|lab| lab.pool().stats().in_use < 2) {
            tokio::task::yield_now().await;
        }
        let quick = tokio::spawn(async move {
            for _ in 0..3 {
                holding(&quick, "return").await.succeeds();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        quick.await.expect("guests that end");
        assert!(!tasks.iter().any(|task| task.is_finished()));
        for task in tasks {
            let ended = task.await.expect("a guest");
            assert!(ended.output.contains("DeadlineExceeded"), "{ended:?}");
        }
    });
}
