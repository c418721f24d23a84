//! A restored database is the backup, whole; and no one has it open when it is replaced.

#[cfg(target_os = "linux")]
mod stepped;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millpond_pool::{Access, ErrorKind, Parameters, block_on};
use millpond_sqlite::PoolBuilder;
use millpond_sqlite::backup::{Backup, BackupError, Cancel, Phase, Restore, RestoreReport};
use rusqlite::Connection;

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A backup with 5,000 rows, and the database after it, with 10 rows of another table.
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let f = Fixture { folder };
        f.run(
            "CREATE TABLE early(x);
             WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 5000)
             INSERT INTO early SELECT randomblob(400) FROM r",
        );
        Backup::of(f.database())
            .write(f.backup())
            .expect("a backup");
        f.run(
            "DROP TABLE early; CREATE TABLE late(x);
             INSERT INTO late VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)",
        );
        f
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn run(&self, sql: &str) {
        let conn = Connection::open(self.database()).expect("a database");
        conn.execute_batch("PRAGMA journal_mode = WAL")
            .expect("set");
        conn.execute_batch(sql).expect(sql);
    }

    fn restore(&self) -> Result<RestoreReport, BackupError> {
        Restore::of(self.backup())
            .overwrite(true)
            .write(self.database())
    }

    /// The files besides the backup.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path())
            .expect("a folder")
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.to_str().expect("text").to_owned()
            });
        let mut names: Vec<_> = names.filter(|name| name != "backup").collect();
        names.sort_unstable();
        names
    }
}

/// Which of the two contents a sound database has: `early`, `late`.
fn contents(path: &Path) -> &'static str {
    let conn = Connection::open(path).expect("a database");
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0));
    assert_eq!(
        one("PRAGMA integrity_check").as_deref(),
        Ok("ok"),
        "{path:?}"
    );
    match one("SELECT (SELECT group_concat(name) FROM sqlite_schema) || count(*) FROM early") {
        Ok(text) if text == "early5000" => "early",
        _ => {
            let text =
                one("SELECT (SELECT group_concat(name) FROM sqlite_schema) || count(*) FROM late");
            assert_eq!(text.as_deref(), Ok("late10"));
            "late"
        }
    }
}

#[test]
fn a_backup_replaces_the_database_and_the_old_one_is_kept() {
    let f = Fixture::new();
    let refused = Restore::of(f.backup()).write(f.database());
    assert!(
        matches!(refused, Err(BackupError::Exists { .. })),
        "{refused:?}"
    );
    assert_eq!(contents(&f.database()), "late");

    let shared = fs::Permissions::from_mode(0o640);
    fs::set_permissions(f.database(), shared).expect("set");
    let report = f.restore().expect("a restore");
    let mode = fs::metadata(f.database())
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(
        report.bytes,
        fs::metadata(f.database()).expect("a file").len()
    );
    let old = report.old.expect("it is kept");
    assert_eq!(
        f.files(),
        [
            "app.db",
            old.file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
        ]
    );
    assert_eq!(contents(&f.database()), "early");
    assert_eq!(contents(&old), "late");

    // The backup is as it was, and a pool opens the database.
    let pool = PoolBuilder::new().open(f.database()).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("DELETE FROM early", &Parameters::NONE)).expect("deleted");
    drop(connection);
    pool.close_blocking(Duration::ZERO);
    let again = Restore::of(f.backup()).overwrite(true).keep_old(false);
    assert_eq!(again.write(f.database()).expect("a restore").old, None);
    assert_eq!(contents(&f.database()), "early");
    assert_eq!(f.files().len(), 2);
}

#[test]
fn a_database_that_is_missing_is_restored_without_what_was_beside_it() {
    let f = Fixture::new();
    // What a process that was killed leaves: a log with commits.
    let conn = Connection::open(f.database()).expect("a database");
    conn.execute_batch("INSERT INTO late SELECT x FROM late")
        .expect("rows");
    for suffix in ["-wal", "-shm"] {
        let name = f.folder.path().join(format!("app.db{suffix}"));
        fs::copy(&name, name.with_extension("saved")).expect("copied");
    }
    drop(conn);
    fs::remove_file(f.database()).expect("removed");
    fs::rename(
        f.folder.path().join("app.saved"),
        f.folder.path().join("app.db-wal"),
    )
    .expect("renamed");
    fs::write(f.folder.path().join("app.db-shm"), [7; 32768]).expect("a file");
    fs::write(f.folder.path().join("app.db-journal"), "stale").expect("a file");
    let report = Restore::of(f.backup())
        .write(f.database())
        .expect("a restore");
    assert_eq!(report.old, None);
    assert_eq!(contents(&f.database()), "early");
    // In no one's way, but not lost.
    let files = f.files();
    assert!(
        files.len() == 3 && files[1].starts_with("app.db.before-"),
        "{files:?}"
    );
}

#[test]
fn what_is_only_in_the_log_is_kept_with_the_old_file() {
    let f = Fixture::new();
    let folder = tempfile::tempdir().expect("a folder");
    let crashed = folder.path().join("app.db");
    let conn = Connection::open(f.database()).expect("a database");
    conn.execute_batch("CREATE TABLE later(x)")
        .expect("a table");
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(
            f.folder.path().join(format!("app.db{suffix}")),
            folder.path().join(format!("app.db{suffix}")),
        )
        .expect("copied");
    }
    let report = Restore::of(f.backup())
        .overwrite(true)
        .write(&crashed)
        .expect("a restore");
    assert_eq!(contents(&crashed), "early");
    let old = Connection::open(report.old.expect("it is kept")).expect("a database");
    old.execute_batch("SELECT * FROM later")
        .expect("the last commit");
}

/// A damaged database is why one restores.
#[test]
fn a_damaged_database_is_replaced_and_kept_with_its_log() {
    for damage in ["header", "page", "short", "empty"] {
        let f = Fixture::new();
        let bytes = fs::read(f.database()).expect("a file");
        let bytes = match damage {
            "header" => b"garbage ".repeat(1000),
            "page" => [&bytes[..100], &[0x5a; 3996], &bytes[4096..]].concat(),
            "short" => bytes[..5000].to_vec(),
            _ => Vec::new(),
        };
        fs::write(f.database(), &bytes).expect("a file");
        fs::write(f.folder.path().join("app.db-wal"), "a log").expect("a file");
        let report = f.restore().expect(damage);
        assert_eq!(contents(&f.database()), "early");
        let old = report.old.expect("it is kept");
        if damage != "page" {
            assert!(fs::read(&old).expect("a file") == bytes, "{damage}");
        }
        assert!(
            f.files().iter().all(|name| !name.ends_with("db-wal")),
            "{:?}",
            f.files()
        );
    }
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let f = Fixture::new();
    let bytes = fs::read(f.backup()).expect("a file");
    let mut damaged = bytes.clone();
    damaged[40_960..41_000].fill(0x55);
    for bytes in [&bytes[..bytes.len() / 2], &damaged, b"text"] {
        fs::write(f.backup(), bytes).expect("a file");
        let result = f.restore();
        match result {
            Err(BackupError::Damaged { .. }) => {}
            Err(BackupError::Database(error)) if error.kind() == ErrorKind::Corrupt => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(contents(&f.database()), "late");
        assert_eq!(f.files(), ["app.db"]);
    }
    let itself = Restore::of(f.database())
        .overwrite(true)
        .write(f.database());
    assert!(
        matches!(itself, Err(BackupError::SameFile { .. })),
        "{itself:?}"
    );
}

#[test]
fn a_restore_that_is_cancelled_changes_nothing() {
    let f = Fixture::new();
    let cancel = Cancel::new();
    let restore = Restore::of(f.backup()).overwrite(true).cancel(&cancel);
    let restore = restore.on_progress(|progress| {
        if progress.phase == Phase::Checking {
            cancel.cancel();
        }
    });
    let result = restore.write(f.database());
    assert!(matches!(result, Err(BackupError::Cancelled)), "{result:?}");
    assert_eq!(contents(&f.database()), "late");
    assert_eq!(f.files(), ["app.db"]);
}

#[test]
fn a_database_with_an_open_pool_of_this_process_is_not_replaced() {
    let f = Fixture::new();
    let pool = PoolBuilder::new().open(f.database()).expect("a pool");
    let result = f.restore();
    assert!(
        matches!(result, Err(BackupError::InUse { .. })),
        "{result:?}"
    );
    // The attempt has not cost the pool its locks.
    let result = f.restore();
    assert!(
        matches!(result, Err(BackupError::InUse { .. })),
        "{result:?}"
    );
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("DELETE FROM late WHERE x = 0", &Parameters::NONE))
        .expect("a write");
    drop(connection);
    pool.close_blocking(Duration::ZERO);
    assert_eq!(contents(&f.database()), "late");
    f.restore().expect("a restore");
    assert_eq!(contents(&f.database()), "early");
}

/// It cannot be detected; but the pool finds out.
#[test]
fn a_pool_without_connections_does_not_write_to_the_restored_file() {
    let f = Fixture::new();
    let pool = PoolBuilder::new()
        .max_idle(0)
        .open(f.database())
        .expect("a pool");
    drop(pool.get_blocking(Access::ReadOnly).expect("a connection"));
    f.restore().expect("a restore");
    let refused = pool.get_blocking(Access::ReadWrite);
    assert_eq!(
        refused.map(drop).map_err(|error| error.kind()),
        Err(ErrorKind::CannotOpen)
    );
    assert_eq!(contents(&f.database()), "early");
}

const CHILD: &str = "MILLPOND_RESTORE_CHILD";

/// This program again, doing `what` in `folder`.
fn child(folder: &Path, what: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_does", "--nocapture"])
        .env(CHILD, folder)
        .env("MILLPOND_RESTORE_WHAT", what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// The first `count` lines that the child prints on purpose.
fn told(child: &mut Child, count: usize) {
    let output = BufReader::new(child.stdout.as_mut().expect("its output"));
    let lines = output.lines().map_while(Result::ok);
    lines
        .filter(|line| line.starts_with("told"))
        .take(count)
        .for_each(drop);
}

#[test]
fn a_database_that_another_process_has_open_is_not_replaced() {
    for what in ["pool", "plain", "damaged"] {
        let f = Fixture::new();
        let mut child = child(
            f.folder.path(),
            if what == "damaged" { "plain" } else { what },
        );
        told(&mut child, 1);
        if what == "damaged" {
            // Its header is gone while another process has it open.
            let mut file = fs::OpenOptions::new()
                .write(true)
                .open(f.database())
                .expect("a file");
            file.write_all(&[0x55; 4096]).expect("written");
        }
        let result = f.restore();
        assert!(
            matches!(result, Err(BackupError::InUse { .. })),
            "{what}: {result:?}"
        );
        child.kill().expect("killed");
        child.wait().expect("ended");
        f.restore().expect(what);
        assert_eq!(contents(&f.database()), "early");
    }
}

/// While a restore runs, another process cannot open the database.
#[test]
fn no_one_opens_the_database_during_a_restore() {
    let f = Fixture::new();
    let mut tried = Vec::new();
    Restore::of(f.backup())
        .overwrite(true)
        .on_progress(|_| {
            let pool = PoolBuilder::new()
                .busy_timeout(Duration::ZERO)
                .open(f.database());
            tried.push(pool.map(drop).map_err(|error| error.kind()));
        })
        .write(f.database())
        .expect("a restore");
    assert!(
        tried.len() > 2
            && tried
                .iter()
                .all(|tried| *tried == Err(ErrorKind::CannotOpen)),
        "{tried:?}"
    );
}

/// A process that is killed at any moment of a restore leaves the old database or the new one,
/// whole, and keeps the old one.
#[test]
fn a_restore_that_is_killed_leaves_one_of_the_two() {
    let (mut early, mut late) = (0, 0);
    for round in 0..12 {
        let f = Fixture::new();
        // A log with commits, as the server that was killed has left it.
        let mut server = child(f.folder.path(), "writes");
        told(&mut server, 1);
        server.kill().expect("killed");
        server.wait().expect("ended");
        let mut child = child(f.folder.path(), "restore");
        // It is told some times while it copies, and twice after.
        told(&mut child, 1 + round % 6);
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(f.database().exists(), "{:?}", f.files());
        match contents(&f.database()) {
            "early" => early += 1,
            _ => late += 1,
        }
        let pool = PoolBuilder::new().open(f.database()).expect("a pool");
        pool.close_blocking(Duration::ZERO);
        let kept = f.files().into_iter().filter(|name| name.contains("before"));
        for old in kept {
            contents(&f.folder.path().join(old));
        }
        f.restore().expect("a restore");
        assert_eq!(contents(&f.database()), "early");
    }
    println!("{early} early, {late} late");
    assert!(early > 0 && late > 0);
}

/// This program again, stepped while it does `what` in `folder`.
#[cfg(target_os = "linux")]
fn stepped_child(folder: &Path, what: &str) -> stepped::Stepped {
    stepped::Stepped::start(
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child_does", "--nocapture"])
            .env(CHILD, folder)
            .env("MILLPOND_RESTORE_WHAT", what),
    )
}

/// At each step at which a restore over a damaged database is killed, the old file is there with
/// its log, or the new one without: nothing of the log is lost, and none is taken for the new
/// file's.
#[cfg(target_os = "linux")]
#[test]
fn a_damaged_database_keeps_its_log_at_each_step_of_a_restore() {
    for what in ["stepped", "stepped, discards"] {
        let (mut old, mut new) = (0, 0);
        for steps in 1.. {
            let f = Fixture::new();
            let damaged = b"garbage ".repeat(1000);
            fs::write(f.database(), &damaged).expect("a file");
            fs::write(f.folder.path().join("app.db-wal"), "a log").expect("a file");
            let mut child = stepped_child(f.folder.path(), what);
            let killed = (0..steps).all(|_| child.next(|call| call.changes_names()).is_some());
            match killed {
                true => child.kill(),
                false => child.end(),
            }
            let is_with_log = |name: &str| {
                let path = f.folder.path().join(name);
                let log = f.folder.path().join(format!("{name}-wal"));
                fs::read(path).is_ok_and(|bytes| bytes == damaged)
                    && fs::read(log).is_ok_and(|log| log == b"a log")
            };
            let files = f.files();
            let kept = files.iter().any(|name| is_with_log(name));
            match fs::read(f.database()).expect("a database") == damaged {
                true => {
                    assert!(kept, "{what}, after {steps} steps: {files:?}");
                    old += 1;
                }
                false => {
                    assert!(!files.iter().any(|name| name == "app.db-wal"), "{files:?}");
                    assert_eq!(contents(&f.database()), "early");
                    assert!(kept || what != "stepped", "{files:?}");
                    new += 1;
                }
            }
            f.restore().expect("a restore");
            assert_eq!(contents(&f.database()), "early");
            if !killed {
                break;
            }
        }
        assert!(old > 5 && new > 1, "{old}, {new}");
    }
}

/// Another thread opens the new database as soon as it has its name: what the restore does then
/// must not cost it its lock.
#[cfg(target_os = "linux")]
#[test]
fn a_restore_does_not_unlock_the_database_that_it_has_put_in_place() {
    use std::os::unix::fs::MetadataExt;
    let f = Fixture::new();
    let inode = || fs::metadata(f.database()).expect("a file").ino();
    let before = inode();
    let mut child = stepped_child(f.folder.path(), "stepped, opened");
    while inode() == before {
        child.next(|call| call.renamed()).expect("it is replaced");
    }
    child.tell("open");
    assert_eq!(child.answer(), "locked");
    // The restore is over when it prints.
    child.next(|call| call.prints()).expect("it prints");
    let conn = Connection::open(f.database()).expect("a database");
    conn.busy_timeout(Duration::ZERO).expect("set");
    let refused = conn.execute_batch("BEGIN IMMEDIATE");
    let code = refused.expect_err("it is locked").sqlite_error_code();
    assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy));
    child.release();
    child.end();
}

/// Does something only in a child process.
#[test]
fn child_does() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let database = folder.join("app.db");
    let wait = || {
        println!("\ntold");
        // Until it is killed.
        std::io::stdin().lines().for_each(drop);
    };
    match std::env::var("MILLPOND_RESTORE_WHAT").as_deref() {
        Ok("pool") => {
            let pool = PoolBuilder::new().open(database).expect("a pool");
            wait();
            drop(pool);
        }
        Ok("plain") => {
            let conn = Connection::open(database).expect("a database");
            conn.query_row("SELECT count(*) FROM late", [], |_| Ok(()))
                .expect("a row");
            wait();
        }
        Ok("writes") => {
            let conn = Connection::open(database).expect("a database");
            conn.execute_batch("UPDATE late SET x = x + 1")
                .expect("a commit");
            wait();
        }
        #[cfg(target_os = "linux")]
        Ok(what) if what.starts_with("stepped") => {
            let opened = what.ends_with("opened").then(|| {
                let database = database.clone();
                std::thread::spawn(move || {
                    let mut lines = std::io::stdin().lines();
                    lines.next().expect("a line").expect("text");
                    let conn = Connection::open(database).expect("a database");
                    while conn.execute_batch("BEGIN IMMEDIATE").is_err() {
                        std::thread::yield_now();
                    }
                    println!("\nanswer=locked");
                    lines.for_each(drop);
                })
            });
            stepped::be_stepped();
            Restore::of(folder.join("backup"))
                .overwrite(true)
                .keep_old(!what.ends_with("discards"))
                .write(database)
                .expect("a restore");
            println!("\nrestored");
            if let Some(opened) = opened {
                opened.join().expect("no panic");
            }
        }
        _ => {
            println!();
            Restore::of(folder.join("backup"))
                .overwrite(true)
                .on_progress(|_| println!("told"))
                .write(database)
                .expect("a restore");
        }
    }
}
