//! Tries `tests/leaks.toml` on public pools of SQLite connections, with one connection each, and
//! prints a table. The last column is the result of the suite `clean` for Millpond, which must have
//! run before.
//!
//! `cargo test -p millpond-tests clean && cargo run --manifest-path tests/peers/Cargo.toml`

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Leaks {
    leak: Vec<Leak>,
}

#[derive(Debug, Deserialize)]
struct Leak {
    name: String,
    plant: String,
    look: String,
}

fn main() -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let leaks: Leaks = toml::from_str(&std::fs::read_to_string(tests.join("leaks.toml"))?)?;
    let millpond = std::fs::read_to_string(tests.join("../target/tmp/leaks.txt"));
    let millpond = millpond.context("first: cargo test -p millpond-tests clean")?;
    let millpond: HashMap<&str, bool> = millpond
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(leaks, name)| (name, leaks == "true"))
        .collect();

    let mut totals = [0; 3];
    println!("| left behind | r2d2_sqlite | deadpool-sqlite | Millpond |\n|---|---|---|---|");
    for leak in &leaks.leak {
        let found = [
            with_r2d2(leak)?,
            with_deadpool(leak)?,
            *millpond
                .get(leak.name.as_str())
                .context("the suite is older")?,
        ];
        let said = found.map(|leaks| if leaks { "leaks" } else { "no" });
        println!("| {} | {} |", leak.name, said.join(" | "));
        for (total, leaks) in totals.iter_mut().zip(found) {
            *total += u32::from(leaks);
        }
    }
    let of = leaks.leak.len();
    println!(
        "| in all | {} of {of} | {} of {of} | {} of {of} |",
        totals[0], totals[1], totals[2]
    );
    Ok(())
}

/// Create `pooled.db`, with the tables of the list of leaks, and return what `look` shows on
/// another database like it, through an unused connection.
fn fresh(folder: &Path, look: &str) -> Result<String> {
    let set_up = |name: &str| {
        let connection = Connection::open(folder.join(name))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA soft_heap_limit = 0;
             CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);
             CREATE TABLE v(a INTEGER PRIMARY KEY);
             CREATE TABLE parent(id INTEGER PRIMARY KEY);
             CREATE TABLE child(p REFERENCES parent(id));
             CREATE TABLE checked(a CHECK (a > 0))",
        )?;
        anyhow::Ok(())
    };
    set_up("pooled.db")?;
    set_up("fresh.db")?;
    let connection = Connection::open(folder.join("fresh.db"))?;
    Ok(looked(&connection, look))
}

fn plant(connection: &Connection, leak: &Leak) {
    // What cannot be planted does not leak.
    let _ = connection.execute_batch(&leak.plant);
}

fn looked(connection: &Connection, script: &str) -> String {
    let look = |sql: &str| -> rusqlite::Result<String> {
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut seen = String::new();
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                seen.push_str(&format!("{:?},", row.get_ref(column)?));
            }
        }
        Ok(seen)
    };
    let seen = script.split("; ").map(|sql| format!("{:?}", look(sql)));
    seen.collect::<Vec<_>>().join("\n")
}

fn with_r2d2(leak: &Leak) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let fresh = fresh(folder.path(), &leak.look)?;
    let manager = r2d2_sqlite::SqliteConnectionManager::file(folder.path().join("pooled.db"));
    let pool = r2d2::Pool::builder().max_size(1).build(manager)?;
    plant(&*pool.get()?, leak);
    let seen = looked(&*pool.get()?, &leak.look);
    ensure!(pool.state().connections == 1);
    Ok(seen != fresh)
}

#[tokio::main(flavor = "current_thread")]
async fn with_deadpool(leak: &Leak) -> Result<bool> {
    use deadpool_sqlite::{Config, PoolConfig, Runtime};

    let folder = tempfile::tempdir()?;
    let fresh = fresh(folder.path(), &leak.look)?;
    let mut config = Config::new(folder.path().join("pooled.db"));
    config.pool = Some(PoolConfig::new(1));
    let pool = config.create_pool(Runtime::Tokio1)?;
    let lent = pool.get().await?;
    let broke = || anyhow::anyhow!("the connection's thread broke down");
    lent.lock()
        .map(|connection| plant(&connection, leak))
        .map_err(|_| broke())?;
    drop(lent);
    let lent = pool.get().await?;
    let seen = lent
        .lock()
        .map(|connection| looked(&connection, &leak.look));
    ensure!(pool.status().size == 1);
    Ok(seen.map_err(|_| broke())? != fresh)
}
