//! A file that is opened read-only is not changed, and is read wherever SQLite can read it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millpond_pool::{Access, ErrorKind, Parameters, Pool, Value, block_on};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

fn make(path: &Path, mode: &str) {
    let conn = rusqlite::Connection::open(path).expect("a file");
    let script =
        format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    conn.execute_batch(&script).expect("a table");
}

fn count(pool: &Pool) -> Result<Value, ErrorKind> {
    let connection = pool
        .get_blocking(Access::ReadOnly)
        .map_err(|error| error.kind())?;
    let table = block_on(connection.query("SELECT count(*) FROM t", &NONE));
    table
        .map(|table| table.rows.to_vec()[0][0].clone())
        .map_err(|error| error.kind())
}

#[test]
fn the_file_is_read_and_not_changed() {
    for mode in ["DELETE", "WAL", "TRUNCATE"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("odd name?#%.db");
        make(&path, mode);
        let before = fs::read(&path).expect("the file");
        let pool = PoolBuilder::new()
            .read_only(true)
            .open(&path)
            .expect("a pool");
        assert_eq!(count(&pool), Ok(Value::Integer(1)), "{mode}");
        let error = pool.get_blocking(Access::ReadWrite).expect_err("a writer");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
        let reader = pool.get_blocking(Access::ReadOnly).expect("a connection");
        for sql in [
            "INSERT INTO t VALUES (2)",
            "CREATE TABLE u(a)",
            "PRAGMA user_version = 3",
        ] {
            let error = block_on(reader.execute(sql, &NONE)).expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
        }
        // While another process writes.
        let other = rusqlite::Connection::open(&path).expect("the file");
        other
            .execute_batch("INSERT INTO t VALUES (2)")
            .expect("a row");
        drop(reader);
        assert_eq!(count(&pool), Ok(Value::Integer(2)), "{mode}");
        other
            .execute_batch("DELETE FROM t WHERE a = 2; PRAGMA wal_checkpoint")
            .expect("undone");
        drop(other);
        pool.close_blocking(Duration::ZERO);
        // Except for the change counter, which the other process has incremented.
        let after = fs::read(&path).expect("the file");
        assert_eq!(before.len(), after.len());
        assert_eq!(before[16..24], after[16..24], "{mode}");
    }
}

#[test]
fn a_missing_file_is_not_created() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let error = PoolBuilder::new()
        .read_only(true)
        .open(&path)
        .expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::CannotOpen);
    assert!(!path.exists());
    let error = PoolBuilder::new()
        .read_only(true)
        .open_in_memory()
        .expect_err("of no use");
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// Needs permission to mount, in its own namespace; without it, tests nothing.
#[test]
fn a_file_on_a_read_only_disk_is_read() {
    const INSIDE: &str = "MILLPOND_READ_ONLY_DISK";
    if let Some(folder) = std::env::var_os(INSIDE) {
        let folder = Path::new(&folder);
        let open = |name| PoolBuilder::new().read_only(true).open(folder.join(name));
        for name in ["delete.db", "wal.db"] {
            let pool = open(name).expect(name);
            assert_eq!(count(&pool), Ok(Value::Integer(1)), "{name}");
            pool.close_blocking(Duration::ZERO);
        }
        let error = open("logged.db").expect_err("its log is not empty");
        assert_eq!(error.kind(), ErrorKind::CannotOpen, "{error:?}");
        let error = PoolBuilder::new()
            .open(folder.join("wal.db"))
            .expect_err("no disk to write");
        assert_eq!(error.kind(), ErrorKind::CannotOpen, "{error:?}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    make(&folder.path().join("delete.db"), "DELETE");
    make(&folder.path().join("wal.db"), "WAL");
    make(&folder.path().join("copied.db"), "WAL");
    let open = rusqlite::Connection::open(folder.path().join("copied.db")).expect("a file");
    open.execute_batch("INSERT INTO t VALUES (2)")
        .expect("a row");
    for suffix in ["", "-wal"] {
        let name = |stem| folder.path().join(format!("{stem}.db{suffix}"));
        fs::copy(name("copied"), name("logged")).expect("copied");
    }
    let mount = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77
        exec "$2" --exact a_file_on_a_read_only_disk_is_read"#;
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", mount, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this program"))
        .env(INSIDE, folder.path())
        .output();
    match run {
        Ok(output) if output.status.code() == Some(77) => println!("may not mount: nothing tried"),
        Ok(output) if output.status.success() => {}
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            println!("may not make a namespace: nothing tried");
        }
        Ok(output) => panic!("{output:?}"),
        Err(error) => println!("no unshare: {error}: nothing tried"),
    }
}

/// As a user who may neither write the files nor their folder. Root may write everything, so it
/// runs this again as another user.
#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_read_or_explained() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const INSIDE: &str = "MILLPOND_FOLDER_OF_ANOTHER";
    /// `nobody`.
    const OTHER: u32 = 65_534;
    if let Some(folder) = std::env::var_os(INSIDE) {
        let folder = Path::new(&folder);
        let open = |name| PoolBuilder::new().read_only(true).open(folder.join(name));
        let pool = open("delete.db").expect("a pool");
        assert_eq!(count(&pool), Ok(Value::Integer(1)));
        // SQLite could not create the shared memory, and without it another user could write
        // unseen.
        let error = open("wal.db").expect_err("no shared memory");
        assert_eq!(error.kind(), ErrorKind::CannotOpen, "{error}");
        assert!(error.to_string().contains("write-ahead log"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let permit = |path: &Path, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, mode).expect("permissions");
    };
    for (name, mode) in [("delete.db", "DELETE"), ("wal.db", "WAL")] {
        let path = folder.path().join(name);
        make(&path, mode);
        permit(&path, 0o444);
    }
    permit(folder.path(), 0o555);
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again
        .args([
            "--exact",
            "a_folder_that_may_not_be_written_is_read_or_explained",
        ])
        .env(INSIDE, folder.path());
    let may_write_all = fs::File::create(folder.path().join("probe")).is_ok();
    if may_write_all {
        again.uid(OTHER).gid(OTHER);
    }
    match again.output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => println!("{error}: nothing tried"),
    }
    permit(folder.path(), 0o755);
}
