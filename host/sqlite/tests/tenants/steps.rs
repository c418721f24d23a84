//! At each of its steps, a process that creates or deletes a database is killed, or another one
//! acts.

use std::process::Command;

use millpond_sqlite::FolderError;
use rusqlite::Connection;

use super::stepped::{self, Stepped};
use super::*;

const FOLDER: &str = "MILLPOND_TENANTS_STEPS";
const WHAT: &str = "MILLPOND_TENANTS_WHAT";

/// This program again, stepped while it does `what` with the database `x`.
fn child(folder: &Path, what: &str) -> Stepped {
    Stepped::start(
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "steps::child_steps", "--nocapture"])
            .env(FOLDER, folder)
            .env(WHAT, what),
    )
}

fn folder(path: &Path) -> Folder {
    let folder = Folder::open(path).expect("a folder");
    folder.migrations(migrations(&[NOTE]))
}

/// Does something only in a child process.
#[test]
fn child_steps() {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let what = std::env::var(WHAT).expect("what to do");
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        stepped::be_stepped();
        match what.as_str() {
            "create" => drop(folder(path.as_ref()).create_database(&key("x"))),
            "delete" => drop(folder(path.as_ref()).delete_database(&key("x"))),
            _ => use_new(path.as_ref()).await,
        }
    });
}

/// Creates the database by using it, and keeps it open.
async fn use_new(path: &Path) {
    let pools = Folder::open(path)
        .expect("a folder")
        .create(true)
        .pool(PoolBuilder::new().busy_timeout(Duration::ZERO))
        .pools(PoolsSettings::default())
        .expect("pools");
    let used = async {
        let connection = pools.get("x").await?.get(Access::ReadWrite).await?;
        let sql = "CREATE TABLE note(n); INSERT INTO note VALUES (1)";
        connection.execute_script(sql).await?;
        Ok::<_, millpond_pool::Error>(connection)
    };
    let used = used.await;
    println!("\nanswer={}", used.is_ok());
    std::io::stdin().lines().for_each(drop);
}

/// Run `process` for `steps` steps. Returns whether it still runs.
fn run(process: &mut Stepped, steps: usize) -> bool {
    (0..steps).all(|_| process.next(|call| call.changes_names()).is_some())
}

#[test]
fn a_deletion_does_not_delete_the_log_of_a_database_that_is_created_meanwhile() {
    let (mut used, mut refused) = (0, 0);
    for steps in 1.. {
        let here = tempfile::tempdir().expect("a folder");
        // What is left of a deletion.
        fs::write(here.path().join("x.db-wal"), "rest").expect("a file");
        let mut user = child(here.path(), "use");
        user.next(|call| call.creates())
            .expect("it creates the file");
        let mut deletes = child(here.path(), "delete");
        let runs = run(&mut deletes, steps);
        user.release();
        let is_used = user.answer() == "true";
        if runs {
            deletes.release();
        }
        deletes.end();
        if is_used {
            used += 1;
            let conn = Connection::open(here.path().join("x.db")).expect("a database");
            let count = conn.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0));
            assert_eq!(count, Ok(1), "after {steps} steps");
        } else {
            refused += 1;
        }
        user.end();
        if !runs {
            break;
        }
    }
    assert!(used > 1 && refused > 0, "{used}, {refused}");
}

#[test]
fn a_creation_that_is_killed_leaves_no_database_or_a_whole_one() {
    let (mut none, mut whole) = (0, 0);
    for steps in 1.. {
        let here = tempfile::tempdir().expect("a folder");
        let mut creates = child(here.path(), "create");
        let killed = run(&mut creates, steps);
        match killed {
            true => creates.kill(),
            false => creates.end(),
        }
        let tenant = folder(here.path()).look(&key("x")).expect("the folder");
        match tenant {
            None => {
                none += 1;
                let resumed = folder(here.path()).resume(&key("x"));
                assert!(
                    matches!(resumed, Err(FolderError::Missing(_))),
                    "{resumed:?}"
                );
                let created = folder(here.path()).create_database(&key("x"));
                created.unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
            }
            Some(tenant) => {
                whole += 1;
                assert!(!tenant.is_suspended, "after {steps} steps");
            }
        }
        let conn = Connection::open(here.path().join("x.db")).expect("a database");
        conn.execute_batch("SELECT n FROM note").expect("its table");
        drop(conn);
        folder(here.path())
            .delete_database(&key("x"))
            .expect("deleted");
        let left = names(here.path());
        assert!(left.is_empty(), "{left:?}");
        if !killed {
            break;
        }
    }
    assert!(none > 2 && whole > 0, "{none}, {whole}");
}

/// A deletion also removes what a killed creation has left.
#[test]
fn what_is_left_of_a_creation_is_deleted() {
    let here = tempfile::tempdir().expect("a folder");
    let mut creates = child(here.path(), "create");
    while !here.path().join(".x.db.part").exists() {
        creates.next(|call| call.changes_names()).expect("a part");
    }
    let running = folder(here.path()).delete_database(&key("x"));
    assert!(matches!(running, Err(FolderError::InUse(_))), "{running:?}");
    creates.kill();
    folder(here.path())
        .delete_database(&key("x"))
        .expect("deleted");
    assert!(names(here.path()).is_empty());
}

#[test]
fn a_suspension_outlasts_the_creation_and_a_deletion_that_fails() {
    let mut suspended = 0;
    for steps in 1.. {
        let here = tempfile::tempdir().expect("a folder");
        let mut creates = child(here.path(), "create");
        let runs = run(&mut creates, steps);
        let result = folder(here.path()).suspend(&key("x"));
        if runs {
            creates.release();
        }
        creates.end();
        let tenant = folder(here.path()).look(&key("x")).expect("the folder");
        let is_suspended = tenant.expect("it was created").is_suspended;
        match result {
            Ok(is_new) => assert!(is_new && is_suspended, "after {steps} steps"),
            Err(FolderError::Missing(_)) => assert!(!is_suspended, "after {steps} steps"),
            Err(other) => panic!("{other}"),
        }
        suspended += usize::from(is_suspended);
        if !runs {
            break;
        }
    }
    assert!(suspended > 0);

    // The deletion fails, because the database is open here.
    for steps in 1.. {
        let here = tempfile::tempdir().expect("a folder");
        let folder = folder(here.path());
        folder.create_database(&key("x")).expect("created");
        let open = Connection::open(here.path().join("x.db")).expect("a database");
        open.execute_batch("SELECT n FROM note").expect("a read");
        let mut deletes = child(here.path(), "delete");
        let runs = run(&mut deletes, steps);
        assert!(folder.suspend(&key("x")).expect("suspended"));
        if runs {
            deletes.release();
        }
        deletes.end();
        let tenant = folder.look(&key("x")).expect("the folder");
        assert!(tenant.expect("it is open").is_suspended);
        if !runs {
            break;
        }
    }
}

/// After each step of a deletion, the database is there with all commits, or is not there at all.
#[test]
fn a_deletion_that_is_killed_leaves_the_whole_database_or_none() {
    let (mut none, mut whole) = (0, 0);
    for steps in 1.. {
        let here = tempfile::tempdir().expect("a folder");
        let path = here.path().join("x.db");
        folder(here.path())
            .create_database(&key("x"))
            .expect("created");
        // A log with a commit, as a server that was killed leaves it.
        let conn = Connection::open(&path).expect("a database");
        conn.execute_batch("INSERT INTO note VALUES (7)")
            .expect("a row");
        for suffix in ["", "-wal"] {
            let name = format!("x.db{suffix}");
            fs::copy(here.path().join(&name), here.path().join(name + "-copy")).expect("copied");
        }
        drop(conn);
        for suffix in ["", "-wal"] {
            let name = format!("x.db{suffix}");
            fs::rename(
                here.path().join(name.clone() + "-copy"),
                here.path().join(name),
            )
            .expect("renamed");
        }
        let mut deletes = child(here.path(), "delete");
        let killed = run(&mut deletes, steps);
        match killed {
            true => deletes.kill(),
            false => deletes.end(),
        }
        match path.exists() {
            true => {
                whole += 1;
                let conn = Connection::open(&path).expect("a database");
                let n = conn.query_row("SELECT n FROM note", [], |row| row.get::<_, i64>(0));
                assert_eq!(n, Ok(7), "after {steps} steps");
            }
            false => none += 1,
        }
        if !killed {
            break;
        }
    }
    assert!(none > 0 && whole > 1, "{none}, {whole}");
}
