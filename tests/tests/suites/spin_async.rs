//! A guest of Spin's asynchronous functions on a runtime with several threads, as an embedder may
//! have one: its statements run on a worker, and the guest beside them.

use std::time::{Duration, Instant};

use millpond_pool::{Access, Parameters};
use millpond_sqlite::PoolBuilder;
use millpond_tests::Lab;
use millpond_wasmtime::Grant;
use tokio::time::timeout;

/// How long a statement may run. Only a failing test takes that long.
const LONG: Duration = Duration::from_secs(30);

async fn ends_soon(case: &str) {
    let lab = Lab::new();
    let grant = Grant::new(lab.pool(), Access::ReadWrite).max_statement_time(LONG);
    let run = lab.run("spin_streams").arg(case);
    let run = run.ctx(|ctx| ctx.grant("default", grant));
    let since = Instant::now();
    let ended = timeout(LONG, run.go_concurrently()).await;
    ended.expect("it does not hang").succeeds();
    assert!(since.elapsed() < LONG, "it waits for the statement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_running_statement_does_not_hold_up_the_end() {
    ends_soon("end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dropping_a_stream_does_not_wait_for_a_running_statement() {
    ends_soon("drop a stream").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dropping_a_result_does_not_wait_for_a_running_statement() {
    ends_soon("drop a page").await;
}

/// Calls that a guest does not poll do not hold up those that it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn counters_that_wait_do_not_hold_up_others() {
    ends_soon("count").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reads_that_wait_do_not_hold_up_others() {
    ends_soon("read").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn statements_that_wait_are_bounded() {
    ends_soon("texts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_guest_that_waits_for_a_connection_keeps_none_from_others() {
    let lab = Lab::with(PoolBuilder::new().max_size(2));
    let held = lab.pool().get(Access::ReadWrite).await.expect("one");
    let brief = Grant::new(lab.pool(), Access::ReadWrite).max_hold_time(Duration::from_millis(1));
    let run = lab.run("spin_streams").arg("open");
    let guest = run.ctx(|ctx| ctx.grant("brief", brief)).go_concurrently();
    let other = async {
        while lab.pool().stats().waiting != 1 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let connection = lab.pool().get(Access::ReadWrite).await.expect("its place");
        let insert = "INSERT INTO t VALUES (1)";
        let done = connection.execute(insert, &Parameters::NONE).await;
        done.expect("a row");
        // Until the guest has ended: it counts what is in use.
        connection
    };
    let (ended, _connection) = tokio::join!(guest, other);
    ended.succeeds();
}
