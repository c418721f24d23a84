//! Databases are created, suspended, resumed and deleted.

use std::thread;

use millpond_sqlite::FolderError;
use millpond_sqlite::backup::Restore;

use super::other_process::OtherProcess;
use super::*;

fn folder(here: &tempfile::TempDir) -> Folder {
    let folder = Folder::open(here.path()).expect("a folder");
    folder.migrations(migrations(&[NOTE]))
}

fn with_tenants(keys: &[&str]) -> tempfile::TempDir {
    let here = tempfile::tempdir().expect("a folder");
    for name in keys {
        folder(&here).create_database(&key(name)).expect("created");
    }
    here
}

async fn kind(pools: &Pools, key: &str) -> Option<ErrorKind> {
    pools.get(key).await.err().map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_database_is_refused_at_once_by_all_processes() {
    let here = with_tenants(&["a", "b"]);
    let pools = folder(&here)
        .pools(PoolsSettings::default())
        .expect("pools");
    let mut other = OtherProcess::start(here.path());
    insert(&pools, "a", 1).await;
    assert_eq!(other.tell("get a"), "done");
    let running = pools.get("a").await.expect("a pool");
    let running = running.get(Access::ReadWrite).await.expect("a connection");

    assert!(folder(&here).suspend(&key("a")).expect("suspended"));
    assert!(!folder(&here).suspend(&key("a")).expect("suspended already"));
    assert_eq!(kind(&pools, "a").await, Some(ErrorKind::Unavailable));
    assert_eq!(other.tell("get a"), "Unavailable");
    // One that is in use stays usable, until its pool is closed.
    let done = running.execute("INSERT INTO note VALUES (2)", &NONE).await;
    done.expect("it runs");
    pools.close_one("a", Duration::ZERO).await;
    let done = running.execute("INSERT INTO note VALUES (3)", &NONE).await;
    done.expect_err("it was closed");
    assert_eq!(kind(&pools, "a").await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(&pools, "b").await, None);

    assert!(folder(&here).resume(&key("a")).expect("resumed"));
    assert!(!folder(&here).resume(&key("a")).expect("resumed already"));
    assert_eq!(sum(&pools, "a").await, Value::Real(3.0));
    assert_eq!(other.tell("get a"), "done");
    let missing = folder(&here).suspend(&key("c"));
    assert!(
        matches!(missing, Err(FolderError::Missing(_))),
        "{missing:?}"
    );
    pools.close(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_has_open_is_not_deleted() {
    let here = with_tenants(&["a", "a-b", "ab"]);
    let pools = folder(&here)
        .pools(PoolsSettings::default())
        .expect("pools");
    let mut other = OtherProcess::start(here.path());
    assert_eq!(other.tell("get a"), "done");
    assert_eq!(other.tell("get ab"), "done");
    let refused = folder(&here).delete_database(&key("a"));
    assert!(matches!(refused, Err(FolderError::InUse(_))), "{refused:?}");
    // It is served as before.
    assert_eq!(other.tell("get a"), "done");
    insert(&pools, "a", 1).await;

    // Now this process has it open too, and a request in it.
    let running = pools.get("a").await.expect("a pool");
    let running = running.get(Access::ReadWrite).await.expect("a connection");
    let refused = folder(&here)
        .delete(&key("a"), &pools, Duration::ZERO)
        .await;
    assert!(matches!(refused, Err(FolderError::InUse(_))), "{refused:?}");
    drop(running);
    assert_eq!(other.tell("get a"), "Unavailable");
    assert_eq!(other.tell("close a"), "done");
    let deleted = folder(&here)
        .delete(&key("a"), &pools, Duration::ZERO)
        .await;
    deleted.expect("nothing has it open");

    assert_eq!(kind(&pools, "a").await, Some(ErrorKind::NoSuchDatabase));
    assert_eq!(other.tell("get a"), "NoSuchDatabase");
    assert_eq!(other.tell("get ab"), "done");
    drop(other);
    assert_eq!(names(here.path()), ["a-b.db", "ab.db"]);
    let missing = folder(&here).delete_database(&key("a"));
    assert!(
        matches!(missing, Err(FolderError::Missing(_))),
        "{missing:?}"
    );
    // One of the same key has nothing of it.
    folder(&here).create_database(&key("a")).expect("created");
    assert_eq!(sum(&pools, "a").await, Value::Real(0.0));
    pools.close(Duration::ZERO).await;
}

#[test]
fn what_is_left_of_a_deletion_is_deleted() {
    let here = with_tenants(&["a"]);
    // As after a crash: SQLite would take the log for that of a new database, if it could.
    for rest in [
        &["x.db-wal", "x.suspended"][..],
        &["x.db-shm"],
        &["x.suspended"],
    ] {
        for name in rest {
            fs::write(here.path().join(name), "rest").expect("a file");
        }
        let refused = folder(&here).create_database(&key("x"));
        assert!(
            matches!(refused, Err(FolderError::Exists(_))),
            "{refused:?}"
        );
        folder(&here).delete_database(&key("x")).expect("deleted");
        assert_eq!(names(here.path()), ["a.db"]);
    }
    // A damaged one too.
    fs::write(here.path().join("x.db"), [b'x'; 4096]).expect("a file");
    folder(&here).delete_database(&key("x")).expect("deleted");
    assert_eq!(names(here.path()), ["a.db"]);
}

#[test]
fn what_a_backup_was_restored_over_is_deleted_too() {
    let here = with_tenants(&["a", "ab"]);
    let copy = tempfile::tempdir().expect("a folder");
    let copy = copy.path().join("copy.db");
    for name in ["a.db", "ab.db"] {
        let path = here.path().join(name);
        fs::copy(&path, &copy).expect("a copy");
        for _ in 0..2 {
            let restored = Restore::of(&copy).overwrite(true).write(&path);
            restored.expect("restored");
        }
    }
    let of = |key: &str| {
        let former = format!("{key}.db.before-");
        let all = names(here.path());
        all.iter().filter(|name| name.starts_with(&former)).count()
    };
    assert_eq!((of("a"), of("ab")), (2, 2));
    fs::write(here.path().join("a.db.before-the-move"), "a note").expect("a file");
    folder(&here).delete_database(&key("a")).expect("deleted");
    assert_eq!(
        (of("a"), of("ab")),
        (1, 2),
        "but not what someone else named so"
    );
    assert!(here.path().join("ab.db").exists());
}

#[test]
fn a_database_is_created_once_and_whole() {
    let here = with_tenants(&[]);
    let created = thread::scope(|scope| {
        let create = || scope.spawn(|| folder(&here).create_database(&key("a")));
        let threads: Vec<_> = (0..4).map(|_| create()).collect();
        let created = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        created.filter(Result::is_ok).count()
    });
    assert_eq!(created, 1);
    assert_eq!(names(here.path()), ["a.db"]);
    let broken = Folder::open(here.path()).expect("a folder");
    let broken = broken.migrations(migrations(&[NOTE, ("2-broken.sql", "SELECT nothing;")]));
    let failed = broken.create_database(&key("b"));
    assert!(
        matches!(failed, Err(FolderError::Migration { .. })),
        "{failed:?}"
    );
    assert_eq!(names(here.path()), ["a.db"]);
}
