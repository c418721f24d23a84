//! `wasi:keyvalue` on a granted database.

use millpond_pool::{Access, Connection, Parameters, Value};
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, count_polls, foreach_keyvalue};
use tokio::task::JoinSet;

use crate::assert_test_exists;

foreach_keyvalue!(assert_test_exists);

async fn connection(lab: &Lab) -> Connection {
    lab.pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection")
}

async fn value(lab: &Lab, sql: &str) -> Value {
    let connection = connection(lab).await;
    let rows = connection.query_rows(sql, &Parameters::NONE).await;
    let rows = rows.expect("a row");
    Value::from(rows.values().next().expect("a value"))
}

#[tokio::test]
async fn keyvalue_stores() {
    let lab = Lab::new();
    lab.run("keyvalue_stores").await.succeeds();
    // SQL sees the same.
    let sql = "SELECT value FROM \"keyvalue_default\" WHERE key = 'count'";
    assert_eq!(value(&lab, sql).await, Value::Blob(b"6".to_vec()));
}

/// Other tasks run between the values of one answer.
#[tokio::test]
async fn keyvalue_copies() {
    let lab = Lab::new();
    let (ended, polls) = count_polls(lab.run("keyvalue_copies").go()).await;
    ended.succeeds();
    assert!(polls > 15, "{polls}");
}

#[tokio::test]
async fn keyvalue_draft2() {
    let lab = Lab::new();
    let connection = connection(&lab).await;
    // Keys and values that a guest cannot write.
    let script = "CREATE TABLE \"keyvalue_sql\" (id INTEGER PRIMARY KEY, key UNIQUE, value);
        INSERT INTO \"keyvalue_sql\" VALUES
            (-9223372036854775808, 'least', ''), (-1, 'below zero', -1), (0, 'zero', 0.5),
            (3, CAST(x'ff' AS TEXT), ''), (4, x'626c6f62', ''), (5, '17', ''), (6, 17, ''),
            (7, 'text', CAST(x'ff' AS TEXT)), (8, 'null', NULL);";
    connection.execute_script(script).await.expect("a bucket");
    drop(connection);
    lab.run("keyvalue_draft2").await.succeeds();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyvalue_counts() {
    together("keyvalue_counts", "counts", "runs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyvalue_swaps() {
    together("keyvalue_swaps", "swaps", "count").await;
}

/// Run a program that counts to ten four times at once, through several pools, so that the counts
/// of each cannot be told from one pool's order.
async fn together(program: &'static str, bucket: &str, key: &str) {
    let lab = Lab::new();
    let mut runs = JoinSet::new();
    for _ in 0..4 {
        let path = lab.path();
        runs.spawn(async move {
            let lab = Lab::at(&path, PoolBuilder::new());
            drop(lab.run(program).await.succeeds());
        });
    }
    while let Some(run) = runs.join_next().await {
        run.expect("no panic");
    }
    let sql = format!("SELECT value FROM \"keyvalue_{bucket}\" WHERE key = '{key}'");
    assert_eq!(value(&lab, &sql).await, Value::Blob(b"40".to_vec()));
}

#[tokio::test]
async fn keyvalue_refused() {
    let lab = Lab::new();
    let connection = connection(&lab).await;
    let script = "CREATE TABLE \"keyvalue_default\"
            (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
        INSERT INTO \"keyvalue_default\" (key, value) VALUES ('key', x'76616c7565');";
    connection.execute_script(script).await.expect("a bucket");
    drop(connection);
    lab.run("keyvalue_refused").read_only().await.succeeds();
}
