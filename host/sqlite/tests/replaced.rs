//! The file of an open pool is moved, replaced or deleted: no acknowledged write is lost, and the
//! new file is left alone.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use millpond_pool::{Access, ErrorKind, Parameters, Pool, Value, block_on};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

fn pool(path: &Path) -> Pool {
    let pool = PoolBuilder::new().max_size(2).open(path).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let script = "CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES ('old')";
    block_on(connection.execute_script(script)).expect("a table");
    drop(connection);
    pool
}

/// A backup, as an operator would make it.
fn backup(path: &Path) {
    let conn = rusqlite::Connection::open(path).expect("a file");
    conn.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES ('backup')")
        .expect("a table");
}

/// Wait for the coarse clock: the pool checks the file at most once per tick.
fn tick() {
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    let before = now();
    while now() == before {
        std::thread::yield_now();
    }
}

/// What happens to the file at `path`, given another file.
type Change = fn(&Path, &Path);

const CHANGES: &[(&str, Change)] = &[
    ("replaced", |path, backup| {
        fs::rename(backup, path).expect("renamed")
    }),
    ("copied over its name", |path, backup| {
        fs::remove_file(path).expect("removed");
        fs::copy(backup, path).expect("copied");
    }),
    ("moved away", |path, _| {
        fs::rename(path, path.with_extension("moved")).expect("renamed")
    }),
    ("deleted", |path, _| fs::remove_file(path).expect("removed")),
    ("deleted with its log", |path, _| {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let _ = fs::remove_file(name);
        }
    }),
];

#[test]
fn nothing_is_acknowledged_that_is_lost() {
    for (what, change) in CHANGES {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (
            folder.path().join("app.db"),
            folder.path().join("backup.db"),
        );
        let pool = pool(&path);
        backup(&other);
        let held = pool.get_blocking(Access::ReadWrite).expect("a connection");
        let insert = block_on(held.prepare("INSERT INTO t VALUES (?1)")).expect("a statement");
        let value = Parameters::from([Value::Integer(1)]);
        block_on(insert.execute(&value)).expect("in place");
        block_on(held.execute("BEGIN IMMEDIATE", &NONE)).expect("begun");
        block_on(insert.execute(&value)).expect("in place");
        change(&path, &other);
        tick();

        let error = block_on(held.execute("COMMIT", &NONE)).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Io, "{what}: {error:?}");
        assert!(error.rolled_back(), "{what}");
        let error = block_on(insert.execute(&value)).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Io, "{what}: {error:?}");
        drop((insert, held));
        // Idle, or opened.
        for _ in 0..2 {
            let error = pool.get_blocking(Access::ReadOnly).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::CannotOpen, "{what}: {error:?}");
        }
        pool.close_blocking(Duration::ZERO);
    }
}

#[test]
fn the_new_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (
        folder.path().join("app.db"),
        folder.path().join("backup.db"),
    );
    let pool = pool(&path);
    let held = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(held.execute("INSERT INTO t VALUES ('late')", &NONE)).expect("in place");
    backup(&other);
    for suffix in ["-wal", "-shm"] {
        fs::rename(
            folder.path().join(format!("app.db{suffix}")),
            folder.path().join(format!("old.db{suffix}")),
        )
        .expect("moved");
    }
    fs::rename(&path, folder.path().join("old.db")).expect("moved");
    fs::rename(&other, &path).expect("replaced");
    // Another process already uses the new file, with its own log next to it.
    let process = rusqlite::Connection::open(&path).expect("the new file");
    process
        .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO t VALUES ('new')")
        .expect("a row");
    drop(held);
    pool.close_blocking(Duration::ZERO);
    drop(pool);
    assert!(folder.path().join("app.db-wal").exists());
    process
        .execute_batch("INSERT INTO t VALUES ('newer')")
        .expect("a row");
    let second = rusqlite::Connection::open(&path).expect("the new file");
    let rows: String = second
        .query_row("SELECT group_concat(a) FROM t", [], |row| row.get(0))
        .expect("rows");
    assert_eq!(rows, "backup,new,newer");
    let check: String = second
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok");
    // And so is the old one, with everything that was acknowledged.
    let old = rusqlite::Connection::open(folder.path().join("old.db")).expect("the old file");
    let rows: String = old
        .query_row("SELECT group_concat(a) FROM t", [], |row| row.get(0))
        .expect("rows");
    assert_eq!(rows, "old,late");
}

#[test]
fn a_file_that_comes_back_is_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = pool(&path);
    let away = folder.path().join("away.db");
    fs::rename(&path, &away).expect("moved");
    tick();
    assert!(pool.get_blocking(Access::ReadWrite).is_err());
    fs::rename(&away, &path).expect("moved back");
    tick();
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("INSERT INTO t VALUES ('again')", &NONE)).expect("in place");
}

/// The checkpoint thread has its own connection, which is the last one here.
#[test]
fn no_connection_of_the_pool_takes_the_new_files_log_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (
        folder.path().join("app.db"),
        folder.path().join("backup.db"),
    );
    let pool = pool(&path);
    let held = pool.get_blocking(Access::ReadWrite).expect("a connection");
    // Enough for the thread to have something to do.
    let much = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000)
        INSERT INTO t SELECT zeroblob(4000) FROM n";
    block_on(held.execute(much, &NONE)).expect("in place");
    backup(&other);
    for suffix in ["-wal", "-shm"] {
        let name = |stem: &str| folder.path().join(format!("{stem}.db{suffix}"));
        fs::rename(name("app"), name("old")).expect("moved");
    }
    fs::rename(&path, folder.path().join("old.db")).expect("moved");
    fs::rename(&other, &path).expect("replaced");
    let process = rusqlite::Connection::open(&path).expect("the new file");
    process
        .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO t VALUES ('new')")
        .expect("a row");
    tick();
    drop(held);
    assert!(pool.get_blocking(Access::ReadWrite).is_err());
    // Every connection is closed by then, even the thread's.
    pool.close_blocking(Duration::ZERO);
    drop(pool);
    assert!(folder.path().join("app.db-wal").exists());
    let second = rusqlite::Connection::open(&path).expect("the new file");
    let rows: String = second
        .query_row("SELECT group_concat(a) FROM t", [], |row| row.get(0))
        .expect("rows");
    assert_eq!(rows, "backup,new");
}
