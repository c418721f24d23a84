//! While there are many reads, the pool holds a read mark for its readers, which blocks no one.

use std::fs;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Connection, Parameters, Pool, Value, block_on};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;
const SCHEMA: &str = "CREATE TABLE t(a); CREATE TABLE outside(id INTEGER PRIMARY KEY, a)";
/// A row that fills a page.
const INSERT: &str = "INSERT INTO t VALUES (zeroblob(3500))";
const COUNT: &str = "SELECT ifnull(max(rowid), 0) FROM t";
/// A page and its header in the log.
const PAGE: u64 = 4096 + 24;
/// Longer than anything here should take.
const ENOUGH: Duration = Duration::from_secs(30);

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
    connection: Connection,
    /// Another connection to the file, which does not wait.
    outside: rusqlite::Connection,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        let pool = PoolBuilder::new().open(&path).expect("a pool");
        let connection = filled(&pool);
        let outside = rusqlite::Connection::open(path).expect("a connection");
        outside.busy_timeout(Duration::ZERO).expect("no timeout");
        Fixture {
            folder,
            pool,
            connection,
            outside,
        }
    }

    /// Whether the whole log can be checkpointed, which fails while anybody reads from before the
    /// last commit.
    fn is_free(&self) -> bool {
        let commit = "REPLACE INTO outside VALUES (1, 1)";
        self.outside.execute_batch(commit).expect("a commit");
        let (log, written): (i64, i64) = self
            .outside
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })
            .expect("an answer");
        log == written
    }

    fn read_until_a_mark_is_kept(&self) {
        let start = Instant::now();
        while self.is_free() {
            assert!(start.elapsed() < ENOUGH, "no mark is kept");
            read(&self.connection, 1_000);
        }
    }

    fn wal_size(&self) -> u64 {
        let wal = self.folder.path().join("app.db-wal");
        fs::metadata(wal).map_or(0, |found| found.len())
    }
}

fn filled(pool: &Pool) -> Connection {
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute_script(SCHEMA)).expect("the tables");
    insert(&connection);
    connection
}

fn insert(connection: &Connection) {
    block_on(connection.execute(INSERT, &NONE)).expect("room in the log");
}

fn count(connection: &Connection) -> i64 {
    let table = block_on(connection.query(COUNT, &NONE)).expect("a count");
    match table.rows.to_vec()[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

fn read(connection: &Connection, times: usize) {
    for _ in 0..times {
        count(connection);
    }
}

#[test]
fn a_mark_is_kept_while_much_is_read_and_no_longer() {
    let f = Fixture::new();
    read(&f.connection, 10);
    assert!(f.is_free(), "few reads need none");
    f.read_until_a_mark_is_kept();
    let start = Instant::now();
    while !f.is_free() {
        assert!(start.elapsed() < ENOUGH, "it is kept without readers");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_reader_with_a_mark_sees_the_last_commit() {
    let f = Fixture::new();
    for rows in 1..20 {
        f.read_until_a_mark_is_kept();
        assert_eq!(count(&f.connection), 2 * rows - 1);
        f.outside.execute_batch(INSERT).expect("a row");
        assert_eq!(count(&f.connection), 2 * rows);
        insert(&f.connection);
        assert_eq!(count(&f.connection), 2 * rows + 1);
    }
}

#[test]
fn the_log_restarts_however_much_is_read() {
    let f = Fixture::new();
    f.read_until_a_mark_is_kept();
    let mut longest = 0;
    for _ in 0..250 {
        for _ in 0..25 {
            insert(&f.connection);
        }
        read(&f.connection, 200);
        longest = longest.max(f.wal_size());
    }
    // Of the 6,250 pages that are written.
    assert!(longest <= 5_000 * PAGE, "{longest}");
}

#[test]
fn a_pool_that_is_closed_keeps_no_mark() {
    let f = Fixture::new();
    f.read_until_a_mark_is_kept();
    f.pool.close_blocking(Duration::ZERO);
    assert!(f.is_free());
}

/// In such a database, readers lock out writers.
#[test]
fn a_database_in_memory_has_no_marks() {
    let pool = PoolBuilder::new()
        .busy_timeout(Duration::ZERO)
        .open_in_memory()
        .expect("a pool");
    let connection = filled(&pool);
    read(&connection, 1_000);
    let other = pool.get_blocking(Access::ReadWrite).expect("a connection");
    for _ in 0..100 {
        read(&connection, 100);
        insert(&other);
    }
}
