//! The contract, function by function, as a guest sees it.

use millpond_tests::{Lab, foreach_contract};

use crate::assert_test_exists;

foreach_contract!(assert_test_exists);

#[tokio::test]
async fn contract_values() {
    Lab::new().run("contract_values").await.succeeds();
}

#[tokio::test]
async fn contract_not_utf8() {
    Lab::new().run("contract_not_utf8").await.succeeds();
}

#[tokio::test]
async fn contract_parameters() {
    Lab::new().run("contract_parameters").await.succeeds();
}

#[tokio::test]
async fn contract_statements() {
    Lab::new().run("contract_statements").await.succeeds();
}

#[tokio::test]
async fn contract_errors() {
    Lab::new().run("contract_errors").await.succeeds();
}

#[tokio::test]
async fn contract_scripts() {
    Lab::new().run("contract_scripts").await.succeeds();
}

#[tokio::test]
async fn contract_pages() {
    Lab::new().run("contract_pages").await.succeeds();
}

#[tokio::test]
async fn contract_execute_many() {
    Lab::new().run("contract_execute_many").await.succeeds();
}

#[tokio::test]
async fn contract_summaries() {
    Lab::new().run("contract_summaries").await.succeeds();
}

#[tokio::test]
async fn contract_pool() {
    Lab::new().run("contract_pool").await.succeeds();
}

#[tokio::test]
async fn contract_too_large() {
    Lab::new().run("contract_too_large").await.succeeds();
}
