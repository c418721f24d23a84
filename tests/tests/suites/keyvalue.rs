//! `wasi:keyvalue` on a granted database.

use millpond_pool::{Access, Connection, Parameters, Value};
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, foreach_keyvalue};
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

/// Through several pools, so that the counts of each cannot be told from one pool's order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyvalue_counts() {
    let lab = Lab::new();
    let mut runs = JoinSet::new();
    for _ in 0..4 {
        let path = lab.path();
        runs.spawn(async move {
            let lab = Lab::at(&path, PoolBuilder::new());
            drop(lab.run("keyvalue_counts").await.succeeds());
        });
    }
    while let Some(run) = runs.join_next().await {
        run.expect("no panic");
    }
    let sql = "SELECT value FROM \"keyvalue_counts\" WHERE key = 'runs'";
    assert_eq!(value(&lab, sql).await, Value::Blob(b"40".to_vec()));
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
