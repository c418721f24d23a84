//! Checkpoints run while others read and write, and the log restarts however many read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, TransactionMode, Value,
    block_on,
};
use millpond_sqlite::{PoolBuilder, Synchronous};

static NONE: Parameters = Parameters::NONE;
/// A row that fills a page.
const INSERT: &str = "INSERT INTO t VALUES (zeroblob(3500))";
const COUNT: &str = "SELECT ifnull(max(rowid), 0) FROM t";
/// A page and its header in the log.
const PAGE: u64 = 4096 + 24;

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = PoolBuilder::new()
            .synchronous(Synchronous::Normal)
            .open(folder.path().join("app.db"))
            .expect("a pool");
        let connection = get(&pool, Access::ReadWrite);
        block_on(connection.execute_script("CREATE TABLE t(a)")).expect("a table");
        Fixture { folder, pool }
    }

    fn wal(&self) -> PathBuf {
        self.folder.path().join("app.db-wal")
    }

    fn size(&self) -> u64 {
        size(&self.folder.path().join("app.db"))
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn get(pool: &Pool, access: Access) -> Connection {
    pool.get_blocking(access).expect("a connection")
}

fn insert(connection: &Connection, times: usize) {
    for _ in 0..times {
        block_on(connection.execute(INSERT, &NONE)).expect("room in the log");
    }
}

fn count(connection: &Connection) -> i64 {
    match block_on(connection.query(COUNT, &NONE))
        .expect("a count")
        .rows
        .to_vec()[0][0]
    {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

/// Each reads for 30 ms at a time, so that there is always a reader.
#[test]
fn overlapping_readers_do_not_make_the_log_grow_without_bound() {
    const PAGES: usize = 15_000;
    let f = Fixture::new();
    let over = AtomicBool::new(false);
    let mut longest = 0;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let connection = get(&f.pool, Access::ReadOnly);
                let mut before = 0;
                while !over.load(Ordering::Relaxed) {
                    let transaction = block_on(connection.begin(TransactionMode::Deferred))
                        .expect("a transaction");
                    let first = count(&connection);
                    assert!(first >= before, "what was committed stays");
                    std::thread::sleep(Duration::from_millis(30));
                    assert_eq!(count(&connection), first, "one snapshot");
                    before = first;
                    block_on(transaction.commit()).expect("nothing to be in the way");
                }
            });
        }
        let writer = get(&f.pool, Access::ReadWrite);
        for _ in 0..PAGES / 50 {
            insert(&writer, 50);
            longest = longest.max(size(&f.wal()));
        }
        assert_eq!(count(&writer), PAGES as i64);
        over.store(true, Ordering::Relaxed);
    });
    // On a busy machine much is written before the readers finish.
    assert!(longest <= (PAGES as u64 / 2) * PAGE, "{longest}");
    f.pool.close_blocking(Duration::ZERO);
    assert!(!f.wal().exists());
}

/// SQLite itself would not wait either, but the thread must not make everyone wait.
#[test]
fn a_reader_that_does_not_end_is_not_waited_for() {
    let f = Fixture::new();
    let slow = get(&f.pool, Access::ReadOnly);
    let _snapshot = block_on(slow.begin(TransactionMode::Deferred)).expect("a transaction");
    let before = count(&slow);
    let over = AtomicBool::new(false);
    let held_back = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let connection = get(&f.pool, Access::ReadOnly);
            let mut held_back = 0;
            while !over.load(Ordering::Relaxed) {
                let since = Instant::now();
                count(&connection);
                held_back += u32::from(since.elapsed() > Duration::from_millis(90));
            }
            held_back
        });
        insert(&get(&f.pool, Access::ReadWrite), 20_000);
        over.store(true, Ordering::Relaxed);
        reader.join().expect("a count")
    });
    // Not every time that the log is long, which is 20 times.
    assert!(held_back <= 5, "{held_back}");
    assert_eq!(count(&slow), before, "its snapshot");
    assert!(size(&f.wal()) > 10_000 * PAGE);
}

#[test]
fn a_reader_that_is_held_back_ends_in_time() {
    let f = Fixture::new();
    let slow = get(&f.pool, Access::ReadOnly);
    let _snapshot = block_on(slow.begin(TransactionMode::Deferred)).expect("a transaction");
    count(&slow);
    let writer = get(&f.pool, Access::ReadWrite);
    let grant = Grant::new(&f.pool, Access::ReadOnly);
    let mut late = 0;
    // Too few for the thread, which must wait for the slow reader while others come.
    insert(&writer, 300);
    for _ in 0..20_000 {
        if late >= 3 {
            break;
        }
        insert(&writer, 1);
        let deadline = Instant::now() + Duration::from_millis(20);
        let request = Request::new().deadline(deadline);
        let connection = block_on(grant.get(Access::ReadOnly, &request)).expect("a connection");
        match block_on(connection.query(COUNT, &NONE)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
                late += 1;
            }
        }
    }
    assert!(late > 0, "no reader waited");
}

/// A commit has a deadline to keep, and the checkpoint takes as long as the disk does.
#[test]
fn no_commit_waits_for_a_checkpoint() {
    let f = Fixture::new();
    let writer = get(&f.pool, Access::ReadWrite);
    let many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 5000)
                INSERT INTO t SELECT zeroblob(3800) FROM n";
    // A reader keeps the thread from it.
    let reader = get(&f.pool, Access::ReadOnly);
    let transaction = block_on(reader.begin(TransactionMode::Deferred)).expect("a transaction");
    count(&reader);
    block_on(writer.execute(many, &NONE)).expect("rows");
    assert!(f.size() < 1_000 * 4096, "{}", f.size());
    block_on(transaction.commit()).expect("its end");
    insert(&writer, 1_000);
    // The thread does it eventually.
    let until = Instant::now() + Duration::from_secs(60);
    while f.size() < 5_000 * 4096 {
        assert!(Instant::now() < until, "{}", f.size());
        std::thread::yield_now();
    }
}

#[test]
fn the_log_does_not_grow_with_the_number_of_commits() {
    let f = Fixture::new();
    let writer = get(&f.pool, Access::ReadWrite);
    insert(&writer, 500);
    for _ in 0..20 {
        let again = "UPDATE t SET a = zeroblob(3800) WHERE rowid <= 500";
        block_on(writer.execute(again, &NONE)).expect("an update");
    }
    assert!(size(&f.wal()) < 30 << 20, "{}", size(&f.wal()));
}

/// The thread has its own connection, which could keep the log.
#[test]
fn a_pool_that_is_dropped_leaves_no_log() {
    let f = Fixture::new();
    let writer = get(&f.pool, Access::ReadWrite);
    insert(&writer, 1_500);
    let (wal, path) = (f.wal(), f.folder.path().join("app.db"));
    drop(writer);
    drop(f.pool);
    assert!(!wal.exists());
    let again = PoolBuilder::new().open(path).expect("a pool");
    assert_eq!(count(&get(&again, Access::ReadOnly)), 1_500);
}
