//! Handles that outlive their connection or transaction, and too many handles.

use millpond_tests::{Lab, foreach_handles};

use crate::assert_test_exists;

foreach_handles!(assert_test_exists);

#[tokio::test]
async fn handles_stale_after_return() {
    Lab::new()
        .run("handles_stale_after_return")
        .await
        .succeeds();
}

#[tokio::test]
async fn handles_of_one_statement() {
    Lab::new().run("handles_of_one_statement").await.succeeds();
}

#[tokio::test]
async fn handles_too_many() {
    Lab::new().run("handles_too_many").await.succeeds();
}

#[tokio::test]
async fn handles_of_earlier_requests() {
    let lab = Lab::new();
    let (answers, _) = lab.run("handles_of_earlier_requests").answers(3).await;
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3)]);
}
