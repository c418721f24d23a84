//! The next guest does not find what the last one left: one plants, another looks, on the same
//! connection.

use std::fmt::Write;

use millpond_pool::Access;
use millpond_sqlite::PoolBuilder;
use millpond_tests::{Lab, foreach_clean};
use serde::Deserialize;

use crate::assert_test_exists;

foreach_clean!(assert_test_exists);

/// The list in `tests/leaks.toml`, which `tests/peers` tries on other pools too.
#[derive(Debug, Deserialize)]
struct Leaks {
    leak: Vec<Leak>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Leak {
    pub(crate) name: String,
    pub(crate) plant: String,
    pub(crate) look: String,
}

pub(crate) fn leaks() -> Vec<Leak> {
    let leaks: Leaks = toml::from_str(include_str!("../../leaks.toml")).expect("a list of leaks");
    leaks.leak
}

/// What guests look at.
pub(crate) const TABLES: &str = "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);
    CREATE TABLE u(a UNIQUE); INSERT INTO u VALUES (1);
    CREATE TABLE v(a INTEGER PRIMARY KEY);
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(p REFERENCES parent(id));
    CREATE TABLE checked(a CHECK (a > 0))";

async fn lab() -> Lab {
    let lab = Lab::with(PoolBuilder::new().max_size(1));
    make_tables(&lab).await;
    lab
}

/// Create [`TABLES`].
pub(crate) async fn make_tables(lab: &Lab) {
    let connection = lab
        .pool()
        .get(Access::ReadWrite)
        .await
        .expect("a connection");
    connection.execute_script(TABLES).await.expect("tables");
}

async fn look(lab: &Lab, script: &str) -> String {
    lab.run("clean_look").arg(script).await.succeeds().output
}

#[tokio::test]
async fn clean_look() {
    let fresh = look(&lab().await, "").await;
    assert!(
        fresh.contains("last_insert_rowid(): Ok([[Integer(0)]])"),
        "{fresh}"
    );
}

#[tokio::test]
async fn clean_plant() {
    let mut found = String::new();
    for leak in leaks() {
        let fresh = look(&lab().await, &leak.look).await;
        let lab = lab().await;
        lab.run("clean_plant").arg(&leak.plant).await.succeeds();
        let leaks = look(&lab, &leak.look).await != fresh;
        // The very same connection: the pool has only opened one.
        assert_eq!(lab.pool().stats().connections_created, 1, "{}", leak.name);
        writeln!(found, "{leaks} {}", leak.name).expect("text");
    }
    // For `tests/peers`, which compares it with other pools.
    let table = concat!(env!("CARGO_TARGET_TMPDIR"), "/leaks.txt");
    std::fs::write(table, &found).expect("what leaks");
    assert!(!found.contains("true "), "{found}");
}
