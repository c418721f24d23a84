//! The guest library, as a component uses it.

use std::time::Duration;

use millpond_pool::Access;
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, foreach_guest};
use millpond_wasmtime::Grant;

use crate::assert_test_exists;

foreach_guest!(assert_test_exists);

#[tokio::test]
async fn guest_execute_many() {
    const MIB: u64 = 1 << 20;
    let lab = Lab::with(PoolBuilder::new().max_transaction_bytes(MIB));
    lab.run("guest_execute_many").await.succeeds();
}

#[tokio::test]
async fn a_million_rows_from_an_iterator_take_little_memory() {
    let lab = Lab::new();
    let run = lab.run("guest_execute_many").arg("1000000");
    run.memory(4 << 20).await.succeeds();
}

#[tokio::test]
async fn guest_held_too_long() {
    let lab = Lab::new();
    let grant = Grant::new(lab.pool(), Access::ReadWrite).max_hold_time(Duration::from_secs(1));
    let run = lab.run("guest_held_too_long");
    run.ctx(|ctx| ctx.grant("default", grant)).await.succeeds();
}

#[tokio::test]
async fn guest_reads() {
    Lab::new().run("guest_reads").await.succeeds();
}

#[tokio::test]
async fn guest_savepoints() {
    Lab::new().run("guest_savepoints").await.succeeds();
}

#[tokio::test]
async fn guest_second_request() {
    let (answers, _) = Lab::new().run("guest_second_request").answers(3).await;
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3)]);
}
