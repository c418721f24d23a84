//! A folder with one database for each key.

mod lifecycle;
mod links;
mod list;
mod migrate;
mod other_process;
#[cfg(target_os = "linux")]
#[path = "../stepped/mod.rs"]
mod stepped;
#[cfg(target_os = "linux")]
mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use millpond_pool::{Access, ErrorKind, Parameters, Pools, PoolsSettings, Value};
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Folder, PoolBuilder, TenantKey};

fn migrations(texts: &[(&str, &str)]) -> Migrations {
    let texts = texts.iter().map(|(name, text)| (*name, *text));
    Migrations::from_texts(texts).expect("valid migrations")
}

fn key(key: &str) -> TenantKey {
    TenantKey::new(key).expect("a key")
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let names = entries.map(|entry| name(entry).into_string().expect("text"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

static NONE: Parameters = Parameters::NONE;
const NOTE: (&str, &str) = ("1-note.sql", "CREATE TABLE note(n INTEGER);");

async fn insert(pools: &Pools, key: &str, n: i64) {
    let pool = pools.get(key).await.expect("a pool");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    drop(pool);
    let n = Parameters::from([n]);
    let done = connection.execute("INSERT INTO note VALUES (?1)", &n).await;
    done.expect("written");
}

async fn sum(pools: &Pools, key: &str) -> Value {
    let pool = pools.get(key).await.expect("a pool");
    let connection = pool.get(Access::ReadOnly).await.expect("a connection");
    let sum = connection.query("SELECT total(n) FROM note", &NONE).await;
    sum.expect("a sum").rows.to_vec()[0][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_nothing_is_lost_while_databases_are_closed_and_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let pools = Folder::open(folder.path())
        .expect("a folder")
        .create(true)
        .pool(PoolBuilder::new().max_size(2))
        .migrations(migrations(&[NOTE]))
        .pools(PoolsSettings::new(4).max_idle_time(Duration::from_millis(2)))
        .expect("pools");
    let tasks = (0..4_u64).map(|task| {
        let pools = pools.clone();
        tokio::spawn(async move {
            let (mut random, mut sums) = (task + 1, BTreeMap::new());
            for _ in 0..250 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let (key, n) = (
                    format!("tenant-{}", (random >> 33) % 20),
                    (random >> 40) as i64,
                );
                insert(&pools, &key, n).await;
                *sums.entry(key).or_insert(0) += n;
            }
            sums
        })
    });
    let mut sums = BTreeMap::<String, i64>::new();
    for task in tasks.collect::<Vec<_>>() {
        for (key, n) in task.await.expect("no failure") {
            *sums.entry(key).or_default() += n;
        }
    }
    for (key, n) in sums {
        assert_eq!(sum(&pools, &key).await, Value::Real(n as f64), "{key}");
    }
    let stats = pools.stats();
    assert!(
        stats.closed > 20 && stats.failed == 0 && stats.timeouts == 0,
        "{stats:?}"
    );
    pools.close(Duration::ZERO).await;
    // Each has been closed whole: no log is left.
    for entry in fs::read_dir(folder.path()).expect("the folder") {
        let name = entry.expect("an entry").file_name();
        assert!(name.to_string_lossy().ends_with(".db"), "{name:?}");
    }
}

#[tokio::test]
async fn a_key_names_no_other_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("tenants");
    fs::create_dir(&inside).expect("a folder");
    for name in [
        "outside.db",
        "tenants/plain.db",
        "tenants/.hidden.db",
        "tenants/Upper.db",
    ] {
        let pool = PoolBuilder::new()
            .open(folder.path().join(name))
            .expect("a pool");
        pool.close(Duration::ZERO).await;
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.db", inside.join("link.db")).expect("a link");
    let pools = |create| {
        let folder = Folder::open(&inside).expect("a folder").create(create);
        folder.pools(PoolsSettings::default()).expect("pools")
    };
    let long = "x".repeat(65);
    for create in [false, true] {
        let pools = pools(create);
        for key in [
            "",
            ".",
            "..",
            "../outside",
            "..%2foutside",
            "%2e%2e/outside",
            "a/../../outside",
            "/",
            "a/b",
            "a\\b",
            "a:b",
            "plain.db",
            "plain\0",
            "plain ",
            " plain",
            "Plain",
            "Upper",
            "PLAIN",
            ".hidden",
            "-plain",
            "_plain",
            "plaın",
            "ｐｌａｉｎ",
            "pla\u{200b}in",
            "plain\n",
            "file:plain",
            "\u{ff0e}\u{ff0e}",
            &long,
        ] {
            let error = pools.get(key).await.expect_err(key);
            assert_eq!(error.kind(), ErrorKind::NoSuchDatabase, "{key:?}");
        }
        pools.get("plain").await.expect("the one that is there");
        #[cfg(unix)]
        {
            let error = pools.get("link").await.expect_err("a link");
            assert_eq!(error.kind(), ErrorKind::CannotOpen);
        }
        let other = pools.get("other").await;
        match create {
            true => drop(other.expect("created")),
            false => assert_eq!(other.expect_err("none").kind(), ErrorKind::NoSuchDatabase),
        }
        pools.get(&long[..64]).await.err();
        pools.close(Duration::ZERO).await;
    }
    let names = fs::read_dir(&inside).expect("the folder");
    let mut names: Vec<_> = names
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    let longest = format!("{}.db", &long[..64]);
    let expected = [
        ".hidden.db",
        "Upper.db",
        "link.db",
        "other.db",
        "plain.db",
        &longest,
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_database_that_cannot_be_migrated_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let pools = |texts: &[(&str, &str)]| {
        let folder = Folder::open(folder.path()).expect("a folder").create(true);
        let folder = folder.migrations(migrations(texts));
        folder.pools(PoolsSettings::default()).expect("pools")
    };
    insert(&pools(&[NOTE]), "a", 1).await;
    let broken = pools(&[NOTE, ("2-broken.sql", "ALTER TABLE missing ADD COLUMN x;")]);
    let error = broken.get("a").await.expect_err("a migration fails");
    assert_eq!(error.kind(), ErrorKind::CannotOpen);
    let more = pools(&[NOTE, ("2-more.sql", "ALTER TABLE note ADD COLUMN x;")]);
    assert_eq!(sum(&more, "a").await, Value::Real(1.0));
}

#[test]
fn a_missing_folder_and_a_wrong_setting_are_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Folder::open(folder.path().join("missing"));
    assert_eq!(missing.expect_err("missing").kind(), ErrorKind::CannotOpen);
    let pools = |builder| {
        let folder = Folder::open(folder.path()).expect("a folder").pool(builder);
        folder.pools(PoolsSettings::default())
    };
    let none = PoolBuilder::new().max_size(0);
    assert_eq!(pools(none).expect_err("0").kind(), ErrorKind::Config);
    let never = PoolBuilder::new().max_idle_time(Duration::ZERO);
    assert_eq!(pools(never).expect_err("0").kind(), ErrorKind::Config);
}
