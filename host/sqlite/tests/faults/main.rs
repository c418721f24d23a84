//! The disk fails, at every system call in turn: the pool stays intact, the next borrower gets a
//! clean connection, no acknowledged write is lost, and no transaction is kept in part.
//!
//! Every third call fails in each way; with `MILLPOND_ALL_FAULTS=1`, every call.
#![cfg(target_os = "linux")]

mod system_calls;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, Error, ErrorKind, Parameters, Pool, Result, Rows, TransactionMode, Value,
    block_on,
};
use millpond_sqlite::{PoolBuilder, Synchronous};

use self::system_calls::{Fault, Over, ReleaseOnDrop, arm, arm_hang, disarm, hangs, release};

static NONE: Parameters = Parameters::NONE;

/// The results that a run got for its writes. Each group of rows must exist completely or not at
/// all.
#[derive(Debug, Default)]
struct Told {
    kept: Vec<Vec<i64>>,
    /// Rolled back, or never begun.
    undone: Vec<Vec<i64>>,
    /// The call failed: either outcome is correct.
    unknown: Vec<Vec<i64>>,
    /// The run got an error after which the connection must be closed.
    unhealthy: bool,
}

impl Told {
    fn note<T>(&mut self, rows: impl IntoIterator<Item = i64>, result: &Result<T>) {
        let rows = rows.into_iter().collect();
        match result {
            Ok(_) => self.kept.push(rows),
            Err(error) => {
                self.see(error);
                self.unknown.push(rows);
            }
        }
    }

    fn see(&mut self, error: &Error) {
        self.unhealthy |= matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupt);
    }
}

fn builder() -> PoolBuilder {
    PoolBuilder::new()
        .max_size(2)
        .busy_timeout(Duration::ZERO)
        // The cache overflows, so that writing begins before the commit.
        .cache_size(64 << 10)
        .synchronous(Synchronous::Full)
}

fn insert(connection: &Connection, id: i64) -> Result<millpond_pool::Summary> {
    let values = Parameters::from([Value::Integer(id)]);
    let sql = "INSERT INTO t VALUES (?1, zeroblob(3000))";
    block_on(connection.execute(sql, &values))
}

/// A transaction of two rows. Whatever fails in it, no write escapes it.
fn transaction(connection: &Connection, told: &mut Told, first: i64) {
    let rows = [first, first + 1];
    let transaction = match block_on(connection.begin(TransactionMode::Immediate)) {
        Ok(transaction) => transaction,
        Err(error) => {
            told.see(&error);
            return told.undone.push(rows.to_vec());
        }
    };
    for id in rows {
        if let Err(error) = insert(connection, id) {
            told.see(&error);
            if error.rolled_back() {
                let later = insert(connection, first + 2).expect_err("its transaction has ended");
                assert!(later.rolled_back(), "{later:?}");
            }
            told.undone.push(vec![first, first + 1, first + 2]);
            return drop(transaction);
        }
    }
    told.note(rows, &block_on(transaction.commit()));
}

fn work(pool: &Pool, told: &mut Told) -> Result<()> {
    let connection = pool.get_blocking(Access::ReadWrite)?;
    for id in 0..3 {
        told.note([id], &insert(&connection, id));
    }
    transaction(&connection, told, 10);
    // The same by text.
    let script = "BEGIN; INSERT INTO t VALUES (20, zeroblob(3000));
                  INSERT INTO t VALUES (21, zeroblob(90000)); COMMIT";
    told.note([20, 21], &block_on(connection.execute_script(script)));
    if connection.in_transaction() {
        let _ = block_on(connection.execute("ROLLBACK", &NONE));
    }
    // Committed once it has been read to the end, and not before.
    let read = block_on(connection.prepare("INSERT INTO t VALUES (30, 1), (31, 1) RETURNING id"))
        .and_then(|statement| {
            let page = block_on(statement.query(&NONE, 1, false))?;
            let rest = page
                .rest
                .map(|cursor| block_on(cursor.next(9)))
                .transpose()?;
            Ok((page.rows, rest))
        });
    told.note([30, 31], &read);
    let rows = Rows::from_rows((40..45).map(|id| [id]))?;
    let many = block_on(connection.prepare("INSERT INTO t VALUES (?1, zeroblob(30000))"))
        .and_then(|statement| block_on(statement.execute_many(&rows)));
    told.note(40..45, &many);
    transaction(&connection, told, 50);
    let reader = pool.get_blocking(Access::ReadOnly)?;
    if let Err(error) = block_on(reader.query("SELECT id, v FROM t", &NONE)) {
        told.see(&error);
    }
    Ok(())
}

/// A new file.
fn prepare(folder: &Path) -> PathBuf {
    let path = folder.join("app.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("app.db{suffix}")));
    }
    let setup = rusqlite::Connection::open(&path).expect("a file");
    setup
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        )
        .expect("a table");
    path
}

/// One run with one fault. Returns how many calls failed.
fn run(folder: &Path, nth: i64, fault: Fault) -> i64 {
    let context = format!("{nth}: {fault:?}");
    let path = prepare(folder);
    let mut told = Told::default();
    arm(nth, fault);
    let pool = builder().open(&path);
    if let Ok(pool) = &pool {
        // If no connection can be opened, there is nothing more to do.
        let _ = work(pool, &mut told);
    }
    let failed = disarm();
    check(&path, pool, told, &context);
    failed
}

/// One run in which a call hangs until all others have come as far as they can. Returns whether
/// there was such a call.
fn run_with_hang(folder: &Path, nth: i64) -> bool {
    let context = format!("{nth} hangs");
    let path = prepare(folder);
    let pool = builder().open(&path).expect("a pool");
    arm_hang(nth);
    let (hung, told) = std::thread::scope(|scope| {
        let both = scope.spawn(|| {
            let _over = Over;
            let reader = scope.spawn(|| {
                let connection = pool.get_blocking(Access::ReadOnly)?;
                block_on(connection.query("SELECT count(*) FROM t", &NONE))
            });
            let mut told = Told::default();
            work(&pool, &mut told).expect(&context);
            reader.join().expect("no panic").expect(&context);
            told
        });
        let hung = hangs();
        // The pool itself responds, whatever its connections wait for.
        assert!(pool.stats().in_use <= 2, "{context}");
        release();
        (hung, both.join().expect("no panic"))
    });
    check(&path, Ok(pool), told, &context);
    hung
}

/// Check that everything is intact.
fn check(path: &Path, pool: Result<Pool>, mut told: Told, context: &str) {
    let folder = path.parent().expect("a folder");
    if let Ok(pool) = pool {
        let stats = pool.stats();
        assert_eq!(stats.in_use, 0, "{context}");
        let open = stats.connections_created - stats.connections_closed;
        assert_eq!(open, u64::from(stats.idle), "{context}");
        assert!(
            !told.unhealthy || stats.discarded > 0,
            "{context}: {stats:?}"
        );
        // The disk works again, and so does the pool.
        let next = pool.get_blocking(Access::ReadWrite).expect(context);
        assert!(!next.in_transaction(), "{context}");
        for (sql, value) in [
            ("SELECT last_insert_rowid()", 0),
            ("SELECT count(*) FROM temp.sqlite_schema", 0),
        ] {
            let table = block_on(next.query(sql, &NONE)).expect(context);
            assert_eq!(table.rows, [[Value::Integer(value)]], "{context}");
        }
        told.note([90], &insert(&next, 90));
        assert!(told.kept.contains(&vec![90]), "{context}");
        drop(next);
        pool.close_blocking(Duration::ZERO);
        assert!(!folder.join("app.db-wal").exists(), "{context}");
    }

    let file = rusqlite::Connection::open(path).expect(context);
    let check: String = file
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect(context);
    assert_eq!(check, "ok", "{context}");
    let mut ids = file.prepare("SELECT id FROM t").expect(context);
    let ids = ids.query_map([], |row| row.get(0)).expect(context);
    let there: BTreeSet<i64> = ids.map(|id| id.expect("an id")).collect();
    for rows in &told.kept {
        assert!(
            rows.iter().all(|id| there.contains(id)),
            "{context}: {rows:?} is lost"
        );
    }
    for rows in &told.undone {
        assert!(
            !rows.iter().any(|id| there.contains(id)),
            "{context}: {rows:?} is there"
        );
    }
    for rows in &told.unknown {
        let some = rows.iter().any(|id| there.contains(id));
        let all = rows.iter().all(|id| there.contains(id));
        assert_eq!(some, all, "{context}: {rows:?} is half there");
    }
}

/// The system calls belong to the process: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// In memory if there is such a folder: how the disk syncs is not tested.
fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let folder = match shared.is_dir() {
        true => tempfile::tempdir_in(shared),
        false => tempfile::tempdir(),
    };
    folder.expect("a folder")
}

fn stride() -> usize {
    match std::env::var_os("MILLPOND_ALL_FAULTS") {
        Some(_) => 1,
        None => 3,
    }
}

#[test]
fn a_disk_that_hangs_at_any_moment_leaves_everything_whole() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let mut calls = (0..).step_by(stride());
    let hung = calls
        .by_ref()
        .take_while(|nth| run_with_hang(folder.path(), *nth))
        .count();
    println!("{hung} calls hung");
    assert!(hung > 20, "only {hung}");
}

#[test]
fn a_disk_that_fails_at_any_moment_leaves_everything_whole() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, stride) = (folder(), stride() as i64);
    let (mut runs, mut faults) = (0, 0);
    for errno in [libc::EIO, libc::ENOSPC] {
        for (short, persistent) in [(false, false), (false, true), (true, false)] {
            let fault = Fault {
                errno,
                short,
                persistent,
            };
            let mut nth = 0;
            loop {
                let failed = run(folder.path(), nth, fault);
                runs += 1;
                faults += failed;
                if failed == 0 {
                    break;
                }
                nth += stride;
            }
        }
    }
    println!("{faults} faults in {runs} runs");
    assert!(
        runs > 300 && faults > runs,
        "{faults} faults in {runs} runs"
    );
}

/// The worker is only blocked by the first of several slow commits.
#[test]
fn a_slow_disk_does_not_block_a_runtime_commit_after_commit() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let path = prepare(folder.path());
    let pool = builder().max_size(1).open(&path).expect("a pool");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let beats = Arc::new(AtomicU32::new(0));
    let beat = runtime.spawn({
        let beats = Arc::clone(&beats);
        async move {
            loop {
                beats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    // So that the connection has read everything that a new one reads.
    for id in 0..3 {
        insert(
            &pool.get_blocking(Access::ReadWrite).expect("a connection"),
            id,
        )
        .expect("a row");
    }
    // While the disk hangs in the commit, call `meanwhile` with the number of beats so far.
    let commit = |id: i64, meanwhile: &dyn Fn(u32)| {
        arm_hang(0);
        let pool = pool.clone();
        let writes = runtime.spawn(async move {
            let _over = Over;
            let connection = pool.get(Access::ReadWrite).await?;
            let sql = format!("INSERT INTO t VALUES ({id}, '')");
            connection.execute(&sql, &NONE).await
        });
        assert!(hangs(), "the commit writes");
        // Release it even if an assertion fails: otherwise the runtime would never shut down.
        let hanging = ReleaseOnDrop;
        meanwhile(beats.load(Ordering::Relaxed));
        drop(hanging);
        runtime.block_on(writes).expect("no panic").expect("a row");
    };
    // A slow disk: the commit takes 50 ms.
    commit(3, &|_| std::thread::sleep(Duration::from_millis(50)));
    for id in 4..8 {
        let since = Instant::now();
        commit(id, &|before| {
            while beats.load(Ordering::Relaxed) < before + 5 {
                assert!(since.elapsed() < Duration::from_secs(10), "{id}: no beats");
                std::thread::yield_now();
            }
        });
    }
    beat.abort();
}
