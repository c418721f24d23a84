//! A pool that is unused does its database's upkeep, and delays no other use.

#[path = "../../pool/tests/engine/recorder.rs"]
mod recorder;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Connection, Parameters, Pool, TransactionMode, Value, block_on};
use millpond_sqlite::{PoolBuilder, Synchronous};

use crate::recorder::Recorder;

static NONE: Parameters = Parameters::NONE;
/// Six megabytes, of a table that has an index.
const FILL: &str = "INSERT INTO t SELECT value % 7, randomblob(600) FROM generate_series(1, 10000)";

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
    recorder: Arc<Recorder>,
}

fn fixture(before: &str, builder: PoolBuilder) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let setup = rusqlite::Connection::open(&path).expect("a database");
    let schema = "CREATE TABLE t(a, b); CREATE INDEX by_a ON t(a)";
    setup
        .execute_batch(&format!("{before}; {schema}"))
        .expect("tables");
    drop(setup);
    let recorder = Arc::new(Recorder::default());
    let pool = builder
        .synchronous(Synchronous::Normal)
        .observer(recorder.clone())
        .open(path)
        .expect("a pool");
    Fixture {
        folder,
        pool,
        recorder,
    }
}

fn quick() -> PoolBuilder {
    PoolBuilder::new().upkeep_after(Duration::from_millis(5))
}

impl Fixture {
    fn get(&self) -> Connection {
        self.pool
            .get_blocking(Access::ReadWrite)
            .expect("a connection")
    }

    fn run(&self, sql: &str) {
        block_on(self.get().execute(sql, &NONE)).expect(sql);
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("app.db-wal")
    }
}

fn one(connection: &Connection, sql: &str) -> Value {
    let found = block_on(connection.query(sql, &NONE)).expect(sql);
    found.rows.to_vec()[0][0].clone()
}

#[test]
fn statistics_are_made_and_the_log_is_emptied_once_the_pool_is_quiet() {
    let f = fixture("", quick());
    // A guest's statement, compiled before.
    let connection = f.get();
    let sql = "SELECT count(*) FROM t WHERE a = 1";
    assert_eq!(one(&connection, sql), Value::Integer(0));
    block_on(connection.execute(FILL, &NONE)).expect("rows");
    f.recorder.wait("upkeep: complete, 1 tables, 0 pages");
    assert_eq!(fs::metadata(f.log()).expect("a log").len(), 0);
    let plain = rusqlite::Connection::open(f.folder.path().join("app.db")).expect("a database");
    let statistics = "SELECT count(*) FROM sqlite_stat1 WHERE idx = 'by_a'";
    let count = plain.query_row(statistics, [], |row| row.get::<_, i64>(0));
    assert_eq!(count, Ok(1));
    assert_eq!(one(&connection, sql), Value::Integer(1429));
    drop(connection);

    // No tenfold change: only the log.
    f.run(FILL);
    f.recorder.wait("upkeep: complete, 0 tables, 0 pages");
    f.pool.close_blocking(Duration::ZERO);
}

#[test]
fn free_pages_are_given_back_only_if_the_schema_says_so() {
    for (mode, is_freed) in [("INCREMENTAL", true), ("NONE", false)] {
        let f = fixture(&format!("PRAGMA auto_vacuum = {mode}"), quick());
        f.run(FILL);
        f.recorder.wait("upkeep: complete, 1");
        let path = f.folder.path().join("app.db");
        let before = fs::metadata(&path).expect("a file").len();
        // Deleting all rows without WHERE would write next to nothing.
        f.run("DELETE FROM t WHERE a < 100");
        let told = f.recorder.wait("upkeep: complete");
        let after = fs::metadata(&path).expect("a file").len();
        assert_eq!(
            after < before / 2,
            is_freed,
            "{mode}: {before}, {after}, {told:?}"
        );
        let check = millpond_sqlite::backup::Verify::of(&path).run();
        assert!(check.expect("a check").is_sound());
    }
}

/// That there is none before is in `checkpoint_tests`.
#[test]
fn upkeep_follows_when_a_transaction_or_a_read_ends() {
    let f = fixture("", quick());
    let connection = f.get();
    let reader = f.get();
    for transaction in [TransactionMode::Immediate, TransactionMode::Deferred] {
        block_on(connection.execute(FILL, &NONE)).expect("rows");
        f.recorder.wait("checkpoint");
        let user = match transaction {
            TransactionMode::Immediate => &connection,
            _ => &reader,
        };
        let open = block_on(user.begin(transaction)).expect("a transaction");
        one(user, "SELECT count(*) FROM t");
        block_on(open.commit()).expect("its end");
        f.recorder.wait("upkeep: complete");
    }
}

#[test]
fn zero_means_never_and_a_pool_closes_at_once() {
    let f = fixture("", PoolBuilder::new().upkeep_after(Duration::ZERO));
    f.run(FILL);
    f.recorder.wait("checkpoint");
    let since = Instant::now();
    f.pool.close_blocking(Duration::ZERO);
    assert!(since.elapsed() < Duration::from_secs(4));
    assert!(
        f.recorder
            .events()
            .iter()
            .all(|told| !told.starts_with("upkeep"))
    );
}
