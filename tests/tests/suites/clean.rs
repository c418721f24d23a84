//! What one guest leaves behind, the next does not find: one plants, another looks, on the same
//! connection.

use millpond_pool::{Access, Pool};
use millpond_tests::{Lab, foreach_clean};

use crate::assert_test_exists;

foreach_clean!(assert_test_exists);

/// The rest of what leaks from a connection is planted in the pool's own tests: here is one of
/// each way that a guest has.
const PLANT: &[&str] = &[
    "BEGIN; INSERT INTO t VALUES (99)",
    "SAVEPOINT s; INSERT INTO t VALUES (99)",
    "BEGIN; PRAGMA defer_foreign_keys = ON; INSERT INTO child VALUES (99)",
    "BEGIN; INSERT OR ROLLBACK INTO u VALUES (1)",
    "CREATE TEMP TABLE t(a); INSERT INTO temp.t VALUES ('evil')",
    "CREATE TEMP VIEW t AS SELECT 'evil' AS a",
    "CREATE TEMP TRIGGER spy AFTER INSERT ON main.t BEGIN DELETE FROM u; END",
    "CREATE VIRTUAL TABLE temp.planted USING fts5(a)",
    "INSERT INTO v VALUES (4711); DELETE FROM v",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA query_only = ON",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA user_version = 7",
    "PRAGMA hard_heap_limit = 1000000",
    "PRAGMA journal_mode = DELETE",
    "ATTACH 'plan' || 'ted.db' AS planted",
    "VACUUM INTO 'planted.db'",
    "SELECT * FROM missing",
];

async fn lab() -> Lab {
    let lab = Lab::with(Pool::builder().max_size(1));
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    connection
        .execute_script(
            "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);
             CREATE TABLE u(a UNIQUE); INSERT INTO u VALUES (1);
             CREATE TABLE v(a INTEGER PRIMARY KEY);
             CREATE TABLE parent(id INTEGER PRIMARY KEY);
             CREATE TABLE child(p REFERENCES parent(id))",
        )
        .await
        .expect("tables");
    lab
}

async fn look(lab: &Lab) -> String {
    lab.run("clean_look").await.succeeds().output
}

#[tokio::test]
async fn clean_look() {
    let fresh = look(&lab().await).await;
    assert!(
        fresh.contains("last_insert_rowid(): Ok([[Value::Integer(0)]])"),
        "{fresh}"
    );
}

#[tokio::test]
async fn clean_plant() {
    let fresh = look(&lab().await).await;
    for plant in PLANT {
        let lab = lab().await;
        lab.run("clean_plant").arg(plant).await.succeeds();
        assert_eq!(look(&lab).await, fresh, "{plant}");
        // The very same connection: the pool has opened one in all.
        assert_eq!(lab.pool().stats().connections_created, 1, "{plant}");
    }
}
