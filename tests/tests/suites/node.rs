//! `jco:node/sqlite` on a granted database.

use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, count_polls, foreach_node};

use crate::assert_test_exists;

foreach_node!(assert_test_exists);

#[tokio::test]
async fn node_limits() {
    // Enough for all that a database may hold.
    let lab = Lab::with(PoolBuilder::new().max_memory_bytes(256 << 20));
    lab.run("node_limits").await.succeeds();
}

/// Other tasks run between the values of one row.
#[tokio::test]
async fn node_copies() {
    let lab = Lab::with(PoolBuilder::new().max_memory_bytes(256 << 20));
    let (ended, polls) = count_polls(lab.run("node_copies").go()).await;
    ended.succeeds();
    assert!(polls > 12, "{polls}");
}

#[tokio::test]
async fn node_read_only() {
    Lab::new()
        .run("node_read_only")
        .read_only()
        .await
        .succeeds();
}
