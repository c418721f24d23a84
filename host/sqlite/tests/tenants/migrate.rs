//! All databases of a folder are migrated.

use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::thread;

use millpond_sqlite::migrations::MigrationError;
use millpond_sqlite::{Migrated, MigratedAll};

use super::other_process::OtherProcess;
use super::*;

const MORE: (&str, &str) = ("2-more.sql", "CREATE TABLE more(n INTEGER);");

fn folder(here: &tempfile::TempDir, texts: &[(&str, &str)]) -> Folder {
    let folder = Folder::open(here.path()).expect("a folder");
    folder.migrations(migrations(texts))
}

fn with_tenants(count: usize) -> tempfile::TempDir {
    let here = tempfile::tempdir().expect("a folder");
    for n in 0..count {
        let name = key(&format!("tenant-{n:02}"));
        folder(&here, &[NOTE])
            .create_database(&name)
            .expect("created");
    }
    here
}

/// migrated, current, failed, skipped.
fn numbers(all: MigratedAll) -> [u64; 4] {
    [all.migrated, all.current, all.failed, all.skipped]
}

fn all(folder: &Folder, threads: usize) -> [u64; 4] {
    let goes_on = |_: &Migrated| ControlFlow::Continue(());
    numbers(folder.migrate_all(threads, goes_on).expect("a folder"))
}

#[test]
fn each_failure_is_told_and_the_others_are_migrated() {
    let here = with_tenants(12);
    let broken = rusqlite::Connection::open(here.path().join("tenant-03.db")).expect("a database");
    broken
        .execute_batch("CREATE TABLE more(x)")
        .expect("a table");
    drop(broken);
    fs::write(here.path().join("tenant-05.db"), [b'x'; 4096]).expect("a file");
    folder(&here, &[])
        .suspend(&key("tenant-07"))
        .expect("suspended");
    let folder = folder(&here, &[NOTE, MORE]);
    let mut failed = BTreeMap::new();
    let mut dones = Vec::new();
    let result = folder.migrate_all(3, |migrated| {
        dones.push((migrated.done, migrated.total));
        if let Err(error) = &migrated.outcome {
            let is_failed = matches!(error, MigrationError::Failed { .. });
            failed.insert(migrated.key.to_string(), is_failed);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(numbers(result.expect("a folder")), [10, 0, 2, 0]);
    let expected = [
        ("tenant-03".to_owned(), true),
        ("tenant-05".to_owned(), false),
    ];
    assert_eq!(failed, BTreeMap::from(expected));
    assert_eq!(dones, (1..=12).map(|n| (n, 12)).collect::<Vec<_>>());
    // Again: only those that failed are tried.
    assert_eq!(all(&folder, 1), [0, 10, 2, 0]);
    // Suspended ones are migrated, and stay suspended.
    let suspended = folder.look(&key("tenant-07")).expect("readable");
    assert!(suspended.expect("there").is_suspended);
}

#[test]
fn a_migration_that_was_cancelled_goes_on_where_it_stopped() {
    let here = with_tenants(12);
    let folder = folder(&here, &[NOTE, MORE]);
    let cancelled = folder.migrate_all(2, |migrated| match migrated.done {
        3.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let [migrated, current, failed, skipped] = numbers(cancelled.expect("a folder"));
    // Those that had begun are finished.
    assert!((3..12).contains(&migrated), "{migrated}");
    assert_eq!((current, failed, skipped), (0, 0, 12 - migrated));
    assert_eq!(all(&folder, 64), [skipped, migrated, 0, 0]);
    assert_eq!(all(&folder, 0), [0, 12, 0, 0]);
}

#[test]
fn a_migration_waits_for_a_writer_of_another_process() {
    let here = with_tenants(4);
    let mut other = OtherProcess::start(here.path());
    assert_eq!(other.tell("get tenant-01"), "done");
    let path = here.path().join("tenant-02.db");
    let (begin, begun) = channel();
    let (end, ended) = channel::<()>();
    let writer = thread::spawn(move || {
        let writer = rusqlite::Connection::open(path).expect("a database");
        writer
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO note VALUES (1)")
            .expect("begun");
        begin.send(()).expect("waited for");
        ended.recv().expect("told");
        writer.execute_batch("COMMIT").expect("committed");
    });
    begun.recv().expect("begun");
    let mut keys = Vec::new();
    let result = folder(&here, &[NOTE, MORE]).migrate_all(2, |migrated| {
        keys.push(migrated.key.to_string());
        // All but the one that is being written.
        if migrated.done == 3 {
            end.send(()).expect("it waits");
        }
        ControlFlow::Continue(())
    });
    assert_eq!(numbers(result.expect("a folder")), [4, 0, 0, 0]);
    assert_eq!(keys.last().map(String::as_str), Some("tenant-02"));
    writer.join().expect("written");
    // The process that had one open goes on with it.
    assert_eq!(other.tell("get tenant-01"), "done");
}

#[test]
fn no_database_is_created_by_migrating() {
    let here = with_tenants(0);
    assert_eq!(all(&folder(&here, &[NOTE]), 4), [0, 0, 0, 0]);
    assert_eq!(names(here.path()), [""; 0]);
}
