//! Transactions, begun and ended in every way.

use millpond_tests::{Lab, foreach_transactions};

use crate::assert_test_exists;

foreach_transactions!(assert_test_exists);

#[tokio::test]
async fn transactions_by_handle() {
    Lab::new().run("transactions_by_handle").await.succeeds();
}

#[tokio::test]
async fn transactions_by_text() {
    Lab::new().run("transactions_by_text").await.succeeds();
}

#[tokio::test]
async fn transactions_read_only() {
    let lab = Lab::new();
    lab.run("transactions_read_only").await.succeeds();
    lab.run("transactions_read_only")
        .read_only()
        .arg("granted read-only")
        .await
        .succeeds();
}

#[tokio::test]
async fn transactions_of_two_connections() {
    Lab::new()
        .run("transactions_of_two_connections")
        .await
        .succeeds();
}

#[tokio::test]
async fn transactions_ended_by_sqlite() {
    Lab::new()
        .run("transactions_ended_by_sqlite")
        .await
        .succeeds();
}
