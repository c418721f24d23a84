//! A backup of a database in use is what was committed at one moment, in one file; or there is none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use millpond_pool::{Access, ErrorKind, Parameters, Pool, TransactionMode, Value, block_on};
use millpond_sqlite::PoolBuilder;
use millpond_sqlite::backup::{Backup, BackupError, Cancel, Phase};
use rusqlite::{Connection, OpenFlags};

/// Two tables that each transaction changes together, and enough pages for many steps.
const SCHEMA: &str = "CREATE TABLE a(n INTEGER); CREATE TABLE b(n INTEGER);
    CREATE TABLE filler(x); CREATE INDEX by_x ON filler(x)";

/// How long to wait for what will come, unless the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

impl Fixture {
    fn new(megabytes: u32) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = PoolBuilder::new()
            .max_size(6)
            .open(folder.path().join("app.db"))
            .expect("a pool");
        let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
        block_on(connection.execute_script(SCHEMA)).expect("tables");
        for _ in 0..megabytes {
            let sql = "INSERT INTO filler SELECT randomblob(500) FROM generate_series(1, 1000)";
            block_on(connection.execute(sql, &Parameters::NONE)).expect("rows");
        }
        drop(connection);
        Fixture { folder, pool }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backup<'a>(&self) -> Backup<'a> {
        Backup::of(self.path("app.db"))
    }

    /// The files that are there, besides the database's.
    fn others(&self) -> Vec<String> {
        others(self.folder.path())
    }
}

fn others(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.to_str().expect("text").to_owned()
    });
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("app.db")).collect();
    names.sort_unstable();
    names
}

fn read_only(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database")
}

fn one<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> T {
    conn.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// Each writer changes both tables in a transaction, until `over`.
fn write(pool: &Pool, over: &AtomicBool) {
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("a turn");
        let n = Parameters::from([number]);
        for sql in ["INSERT INTO a VALUES (?1)", "INSERT INTO b VALUES (?1)"] {
            block_on(connection.execute(sql, &n)).expect("a row");
        }
        block_on(transaction.commit()).expect("a commit");
    }
}

/// Ends the other threads, also where the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_beside_writers_here_and_elsewhere_is_of_one_moment() {
    let f = Fixture::new(10);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetAtEnd(&over);
        for _ in 0..2 {
            scope.spawn(|| write(&f.pool, &over));
        }
        // As another program: with a connection that the pool does not know.
        scope.spawn(|| {
            let other = Connection::open(f.path("app.db")).expect("a database");
            other.busy_timeout(Duration::from_secs(30)).expect("set");
            while !over.load(Ordering::Relaxed) {
                let sql =
                    "BEGIN IMMEDIATE; INSERT INTO a VALUES (0); INSERT INTO b VALUES (0); COMMIT";
                other.execute_batch(sql).expect("a commit");
            }
        });
        for round in 0..3 {
            let copy = f.path(&format!("copy-{round}.db"));
            let rows = |conn: &Connection| one::<i64>(conn, "SELECT count(*) FROM a");
            let before = rows(&read_only(&f.path("app.db")));
            let mut told = Vec::new();
            let report = f.backup().on_progress(|progress| told.push(progress));
            let report = report.write(&copy).expect("a backup");
            let after = rows(&read_only(&f.path("app.db")));

            assert_eq!(report.bytes, fs::metadata(&copy).expect("a file").len());
            assert_eq!(report.bytes, report.pages * 4096);
            let copying = told.iter().filter(|p| p.phase == Phase::Copying);
            let done: Vec<_> = copying.map(|p| p.pages_done).collect();
            assert!(done.len() > 5 && done.is_sorted(), "{done:?}");
            assert_eq!(done.last(), Some(&report.pages));
            assert_eq!(
                told.last().map(|p| (p.phase, p.pages_done)),
                Some((Phase::Checking, report.pages))
            );

            let copy = read_only(&copy);
            assert_eq!(one::<String>(&copy, "PRAGMA integrity_check"), "ok");
            assert_eq!(one::<String>(&copy, "PRAGMA journal_mode"), "delete");
            let both = "SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b)";
            assert_eq!(one::<i64>(&copy, both), 0, "half a transaction");
            let kept = rows(&copy);
            assert!(before <= kept && kept <= after, "{before} {kept} {after}");
            assert!(after > before, "the writers were not held up");
        }
    });
    assert_eq!(f.others(), ["copy-0.db", "copy-1.db", "copy-2.db"]);
}

/// It needs no file beside it, which a reader in WAL mode would create.
#[test]
fn a_backup_is_one_file_that_only_its_owner_reads_and_that_a_read_only_pool_opens() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new(0);
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("a copy: 1.db");
    f.backup().write(&copy).expect("a backup");
    let mode = fs::metadata(&copy).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pool = PoolBuilder::new()
        .read_only(true)
        .open(&copy)
        .expect("a pool");
    let connection = pool.get_blocking(Access::ReadOnly).expect("a connection");
    let count = block_on(connection.query("SELECT count(*) FROM a", &Parameters::NONE));
    assert_eq!(count.expect("a row").rows.to_vec()[0][0], Value::Integer(0));
    assert_eq!(others(folder.path()), ["a copy: 1.db"]);
}

#[test]
fn nothing_is_overwritten_unless_told() {
    let f = Fixture::new(0);
    let copy = f.path("copy.db");
    fs::write(&copy, "precious").expect("a file");
    let refused = f.backup().write(&copy);
    assert!(
        matches!(refused, Err(BackupError::Exists { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&copy).expect("a file"), b"precious");
    f.backup().overwrite(true).write(&copy).expect("a backup");
    assert_eq!(one::<i64>(&read_only(&copy), "SELECT count(*) FROM a"), 0);

    let itself = f.backup().overwrite(true).write(f.path("app.db"));
    assert!(
        matches!(itself, Err(BackupError::SameFile { .. })),
        "{itself:?}"
    );
    let in_use = PoolBuilder::new().open(&copy).expect("a pool");
    let refused = f.backup().overwrite(true).write(&copy);
    assert!(
        matches!(refused, Err(BackupError::File { .. })),
        "{refused:?}"
    );
    in_use.close_blocking(Duration::ZERO);

    fs::create_dir(f.path("folder")).expect("a folder");
    let folder = f.backup().overwrite(true).write(f.path("folder"));
    assert!(
        matches!(folder, Err(BackupError::File { .. })),
        "{folder:?}"
    );
    let nowhere = f.backup().write(f.path("no/copy.db"));
    assert!(
        matches!(nowhere, Err(BackupError::Database(_))),
        "{nowhere:?}"
    );
    let missing = Backup::of(f.path("no.db")).write(f.path("copy-2.db"));
    match missing {
        Err(BackupError::Database(error)) => assert_eq!(error.kind(), ErrorKind::CannotOpen),
        other => panic!("{other:?}"),
    }
    assert_eq!(f.others(), ["copy.db", "folder"]);
}

#[test]
fn a_cancelled_backup_leaves_nothing() {
    let f = Fixture::new(4);
    for phase in [Phase::Copying, Phase::Checking] {
        let cancel = Cancel::new();
        let backup = f.backup().cancel(&cancel).on_progress(|progress| {
            if progress.phase == phase {
                cancel.cancel();
            }
        });
        let result = backup.write(f.path("copy.db"));
        assert!(matches!(result, Err(BackupError::Cancelled)), "{result:?}");
        assert!(f.others().is_empty(), "{:?}", f.others());
    }
}

#[test]
fn a_damaged_database_makes_no_backup() {
    let f = Fixture::new(4);
    f.pool.close_blocking(Duration::ZERO);
    let mut bytes = fs::read(f.path("app.db")).expect("a file");
    // Pages of a table and its index: to read them, one must look at them.
    for page in (20..800).step_by(7) {
        bytes[page * 4096..][..64].fill(0x55);
    }
    fs::write(f.path("app.db"), &bytes).expect("a file");
    let result = f.backup().write(f.path("copy.db"));
    assert!(
        matches!(result, Err(BackupError::Damaged { .. })),
        "{result:?}"
    );
    fs::write(
        f.path("app.db"),
        "not a database, but text, and more than a header's worth of it. ".repeat(9),
    )
    .expect("a file");
    let result = f.backup().write(f.path("copy.db"));
    assert!(
        matches!(&result, Err(BackupError::Database(error)) if error.kind() == ErrorKind::Corrupt),
        "{result:?}"
    );
    assert!(f.others().is_empty(), "{:?}", f.others());
}

#[test]
fn the_file_of_an_open_folder_is_backed_up() {
    let f = Fixture::new(0);
    let dir = Dir::open_ambient_dir(f.folder.path(), ambient_authority()).expect("a folder");
    let backup = Backup::of_file_in(&dir, "app.db").expect("a folder");
    backup.write(f.path("copy.db")).expect("a backup");
    let outside = Backup::of_file_in(&dir, "../app.db").expect("a folder");
    assert!(outside.write(f.path("copy-2.db")).is_err());
}

/// It does not block the runtime: a task on the only worker runs meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_backup_hands_its_worker_over() {
    let f = Fixture::new(0);
    let path = (f.path("app.db"), f.path("copy.db"));
    let runtime = tokio::runtime::Handle::current();
    let backup = tokio::spawn(async move {
        let progress = |_| {
            let (ran, runs) = std::sync::mpsc::channel();
            runtime.spawn(async move { ran.send(()) });
            runs.recv_timeout(PATIENCE).expect("the task has run");
        };
        Backup::of(path.0).on_progress(progress).write(path.1)
    });
    backup.await.expect("no panic").expect("a backup");
}

const CHILD: &str = "MILLPOND_BACKUP_CHILD";

/// A process that is killed at any moment of a backup leaves the whole backup, or none of its name;
/// and the next backup succeeds.
#[test]
fn a_backup_that_is_killed_has_no_name() {
    let f = Fixture::new(6);
    let (mut whole, mut none) = (0, 0);
    for lines in 0..20 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child_backs_up", "--nocapture"])
            .env(CHILD, f.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let told = output.lines().map_while(Result::ok);
        let told = told.filter(|line| line.starts_with("progress"));
        // It stops here after so many lines, or at its end.
        told.take(lines).for_each(drop);
        child.kill().expect("killed");
        child.wait().expect("ended");
        match f.path("copy.db").exists() {
            true => {
                let copy = read_only(&f.path("copy.db"));
                assert_eq!(one::<String>(&copy, "PRAGMA integrity_check"), "ok");
                assert_eq!(one::<i64>(&copy, "SELECT count(*) FROM filler"), 6000);
                fs::remove_file(f.path("copy.db")).expect("removed");
                whole += 1;
            }
            false => none += 1,
        }
    }
    println!("{whole} whole, {none} none");
    assert!(none > 5);
    f.backup().write(f.path("copy.db")).expect("a backup");
    assert_eq!(f.others(), ["copy.db"]);
}

/// Does something only in a child process.
#[test]
fn child_backs_up() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    println!();
    Backup::of(folder.join("app.db"))
        .overwrite(true)
        .on_progress(|progress| println!("progress {progress:?}"))
        .write(folder.join("copy.db"))
        .expect("a backup");
}

/// While one is being written, another to the same name is refused, from this process too.
#[test]
fn one_backup_at_a_time_has_a_name() {
    let f = Fixture::new(1);
    let mut inner = None;
    f.backup()
        .on_progress(|_| {
            inner.get_or_insert_with(|| f.backup().write(f.path("copy.db")));
        })
        .write(f.path("copy.db"))
        .expect("a backup");
    assert!(
        matches!(inner, Some(Err(BackupError::Running { .. }))),
        "{inner:?}"
    );
    assert_eq!(f.others(), ["copy.db"]);
}
