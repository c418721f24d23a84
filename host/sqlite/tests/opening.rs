//! Unusable files and invalid settings are clear errors, at once.

use std::fs;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use millpond_pool::{Access, Error, ErrorKind, Parameters, Value, block_on};
use millpond_sqlite::{PoolBuilder, Synchronous};

static NONE: Parameters = Parameters::NONE;

fn refused(path: &Path) -> Error {
    let error = PoolBuilder::new().open(path).expect_err("refused");
    let name = path.file_name().expect("a name").to_str().expect("UTF-8");
    assert!(
        error.to_string().contains(name),
        "{error} does not name {name}"
    );
    error
}

#[test]
fn what_is_not_a_database_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    assert_eq!(
        refused(folder.path()).kind(),
        ErrorKind::CannotOpen,
        "a directory"
    );
    assert_eq!(refused(&at("missing/app.db")).kind(), ErrorKind::CannotOpen);

    fs::write(
        at("text.db"),
        "This is no database, and long enough to be told from one.".repeat(20),
    )
    .expect("written");
    let error = refused(&at("text.db"));
    assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, 26));

    // A database whose schema page is damaged.
    let pool = PoolBuilder::new().open(at("damaged.db")).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("CREATE TABLE t(a)", &NONE)).expect("a table");
    drop(connection);
    pool.close_blocking(std::time::Duration::ZERO);
    let mut bytes = fs::read(at("damaged.db")).expect("the file");
    bytes[100..4096].fill(0xA5);
    fs::write(at("damaged.db"), bytes).expect("written");
    assert_eq!(refused(&at("damaged.db")).kind(), ErrorKind::Corrupt);
}

#[cfg(unix)]
#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket.db");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    assert_eq!(refused(&socket).kind(), ErrorKind::CannotOpen);
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_disk_is_refused() {
    // The only file system that is read-only even for the superuser.
    let error = refused(Path::new("/proc/app.db"));
    assert_eq!(error.kind(), ErrorKind::CannotOpen);
}

#[test]
fn a_name_in_a_folder_stays_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("inner")).expect("a folder");
    let inner = folder.path().join("inner");
    let dir = Dir::open_ambient_dir(&inner, ambient_authority()).expect("the folder");
    let pool = PoolBuilder::new().open_in(&dir, "app.db").expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("CREATE TABLE t(a)", &NONE)).expect("a table");
    assert!(inner.join("app.db").exists());

    for name in [
        "../app.db",
        "/app.db",
        "a/b.db",
        "..",
        ".",
        "",
        "a\0b",
        "file:x",
        "C:x",
    ] {
        let error = PoolBuilder::new().open_in(&dir, name).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::CannotOpen, "{name:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("outside.db"), inner.join("link.db"))
            .expect("a link");
        PoolBuilder::new()
            .open_in(&dir, "link.db")
            .expect_err("a link out of the folder");
        assert!(!folder.path().join("outside.db").exists());
    }
}

#[cfg(unix)]
#[test]
fn a_file_with_another_name_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    fs::write(&path, "").expect("a file");
    fs::hard_link(&path, folder.path().join("other.db")).expect("a link");
    assert_eq!(refused(&path).kind(), ErrorKind::CannotOpen);
    fs::remove_file(folder.path().join("other.db")).expect("removed");
    PoolBuilder::new().open(&path).expect("a pool");
}

#[cfg(unix)]
#[test]
fn an_open_folder_is_kept_when_another_takes_its_place() {
    let root = tempfile::tempdir().expect("a folder");
    let (inner, moved) = (root.path().join("inner"), root.path().join("moved"));
    let outside = root.path().join("outside");
    fs::create_dir(&inner).expect("a folder");
    fs::create_dir(&outside).expect("a folder");
    let dir = Dir::open_ambient_dir(&inner, ambient_authority()).expect("the folder");
    let pool = PoolBuilder::new()
        .max_size(2)
        .max_idle(0)
        .open_in(&dir, "app.db")
        .expect("a pool");
    let first = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(first.execute("CREATE TABLE t(a)", &NONE)).expect("a table");

    fs::rename(&inner, &moved).expect("moved");
    std::os::unix::fs::symlink(&outside, &inner).expect("a link");
    let second = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(second.execute("INSERT INTO t VALUES (1)", &NONE)).expect("the same database");
    drop((first, second));
    pool.close_blocking(std::time::Duration::ZERO);
    let left: Vec<_> = fs::read_dir(&moved).expect("the folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read_dir(&outside).expect("the folder").count(), 0);
}

/// How often to open a connection while another thread replaces files by links:
/// `MILLPOND_RACE_OPENS`, or few enough for every test run.
#[cfg(unix)]
fn race_opens() -> u32 {
    let given = std::env::var("MILLPOND_RACE_OPENS").ok();
    given.map_or(1_000, |opens| opens.parse().expect("a number"))
}

#[cfg(unix)]
#[test]
fn no_link_is_followed_whenever_it_appears() {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    let root = tempfile::tempdir().expect("a folder");
    let (inner, outside) = (root.path().join("inner"), root.path().join("outside"));
    fs::create_dir(&inner).expect("a folder");
    fs::create_dir(&outside).expect("a folder");
    let dir = Dir::open_ambient_dir(&inner, ambient_authority()).expect("the folder");
    let names = ["app.db", "app.db-wal", "app.db-shm", "app.db-journal"];
    let over = AtomicBool::new(false);
    let mut opened = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in names {
                    // Long enough for some to be opened in between.
                    (0..50).for_each(|_| std::thread::yield_now());
                    // Replace a file by a link to somewhere outside, and then restore it. Any of
                    // this may fail, as files appear and disappear.
                    let (here, aside) = (inner.join(name), inner.join(format!("{name}-aside")));
                    let _ = fs::rename(&here, &aside);
                    let _ = symlink(outside.join(name), &here);
                    std::thread::yield_now();
                    let _ = fs::remove_file(&here);
                    let _ = fs::rename(&aside, &here);
                }
                // The same with the folder itself.
                let aside = root.path().join("aside");
                fs::rename(&inner, &aside).expect("moved");
                symlink(&outside, &inner).expect("a link");
                std::thread::yield_now();
                fs::remove_file(&inner).expect("removed");
                fs::rename(&aside, &inner).expect("moved back");
            }
        });
        for _ in 0..race_opens() {
            let builder = PoolBuilder::new().busy_timeout(std::time::Duration::ZERO);
            let Ok(pool) = builder.open_in(&dir, "app.db") else {
                continue;
            };
            if let Ok(connection) = pool.get_blocking(Access::ReadWrite) {
                let sql = "CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1)";
                opened += u32::from(block_on(connection.execute_script(sql)).is_ok());
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let escaped: Vec<_> = fs::read_dir(&outside).expect("the folder").collect();
    assert!(escaped.is_empty(), "{escaped:?}");
    println!(
        "{opened} of {} opened, written, and none outside",
        race_opens()
    );
    assert!(opened > 0);
}

#[cfg(unix)]
#[test]
fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().open(&path).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute("CREATE TABLE t(a)", &NONE)).expect("a table");
    for name in ["app.db", "app.db-wal", "app.db-shm"] {
        let mode = fs::metadata(folder.path().join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_setting_out_of_its_bounds_is_refused() {
    let hour = std::time::Duration::from_secs(3600);
    let more = hour + std::time::Duration::from_nanos(1);
    let builder = PoolBuilder::new;
    for (name, builder) in [
        ("max_size", builder().max_size(0)),
        ("max_size", builder().max_size(1025)),
        ("timeout", builder().timeout(more)),
        ("max_idle", builder().max_idle(6)),
        ("cache_size", builder().cache_size(1)),
        ("mmap_size", builder().mmap_size(u64::MAX)),
        ("statement_cache", builder().statement_cache(10_001)),
        ("busy_timeout", builder().busy_timeout(more)),
        ("max_value_bytes", builder().max_value_bytes(1 << 30)),
        ("max_result_bytes", builder().max_result_bytes(0)),
        ("max_page_bytes", builder().max_page_bytes(0)),
    ] {
        let error = builder.open_in_memory().expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let pool = builder()
        .max_size(1024)
        .timeout(hour)
        .max_idle(0)
        .statement_cache(0)
        .mmap_size(1 << 20)
        .synchronous(Synchronous::Normal)
        .open_in_memory()
        .expect("within bounds");
    assert_eq!(pool.stats().idle, 0);
}

#[test]
fn a_database_in_memory_is_shared_by_its_pool_alone() {
    let pool = PoolBuilder::new()
        .max_idle(0)
        .open_in_memory()
        .expect("a pool");
    let one = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(one.execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1)")).expect("a row");
    drop(one);
    let two = pool.get_blocking(Access::ReadOnly).expect("a connection");
    let table = block_on(two.query("SELECT a FROM t", &NONE)).expect("rows");
    assert_eq!(table.rows, [[Value::Integer(1)]]);
    let other = PoolBuilder::new().open_in_memory().expect("a pool");
    let three = other.get_blocking(Access::ReadOnly).expect("a connection");
    block_on(three.query("SELECT a FROM t", &NONE)).expect_err("another database");
}

#[test]
fn a_file_that_vanished_does_not_come_back_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_idle(0).open(&path).expect("a pool");
    fs::remove_file(&path).expect("removed");
    let error = pool.get_blocking(Access::ReadWrite).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::CannotOpen);
    assert_eq!(pool.stats().in_use, 0);
}
