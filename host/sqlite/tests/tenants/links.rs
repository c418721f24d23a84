//! Links and folders that were planted among the databases lead nowhere.
#![cfg(unix)]

use std::ops::ControlFlow;
use std::os::unix::fs::symlink;

use super::*;

/// A folder with the databases `me` and `victim`, which has a log too, and a database elsewhere.
async fn planted() -> (tempfile::TempDir, Pools) {
    let here = tempfile::tempdir().expect("a folder");
    let tenants = here.path().join("tenants");
    fs::create_dir(&tenants).expect("a folder");
    let folder = Folder::open(&tenants).expect("a folder");
    let folder = folder.migrations(migrations(&[NOTE]));
    for name in ["me", "victim"] {
        folder.create_database(&key(name)).expect("created");
    }
    let victim = folder.pools(PoolsSettings::default()).expect("pools");
    insert(&victim, "victim", 7).await;
    fs::copy(tenants.join("victim.db"), here.path().join("elsewhere.db")).expect("copied");
    (here, victim)
}

/// The files that no tenant but `victim` may read or write.
fn contents(here: &Path) -> Vec<Vec<u8>> {
    let files = ["tenants/victim.db", "tenants/victim.db-wal", "elsewhere.db"];
    files
        .map(|file| fs::read(here.join(file)).expect("a file"))
        .to_vec()
}

#[tokio::test]
async fn planted_links_reach_no_other_database() {
    for (planted_as, target) in [
        ("me.db", "victim.db"),
        ("me.db", "../elsewhere.db"),
        ("me.db", "missing.db"),
        ("me.db-wal", "victim.db-wal"),
        ("me.db-wal", "../elsewhere.db"),
        ("me.db-wal", "missing"),
        ("me.db-shm", "victim.db-shm"),
        ("me.db-shm", "victim.db"),
        ("me.db-journal", "victim.db"),
    ] {
        let (here, victim) = planted().await;
        let tenants = here.path().join("tenants");
        let link = tenants.join(planted_as);
        if link.exists() {
            fs::remove_file(&link).expect("removed");
        }
        symlink(target, &link).expect("a link");
        let before = contents(here.path());
        let folder = Folder::open(&tenants).expect("a folder").create(true);
        let pools = folder.pools(PoolsSettings::default()).expect("pools");
        // It may work without that file, but not with the other's.
        if let Ok(pool) = pools.get("me").await
            && let Ok(connection) = pool.get(Access::ReadWrite).await
        {
            let sum = connection.query("SELECT total(n) FROM note", &NONE).await;
            if let Ok(sum) = sum {
                assert_eq!(sum.rows.to_vec()[0][0], Value::Real(0.0), "{planted_as}");
            }
            let sql = "INSERT INTO note VALUES (666)";
            drop(connection.execute(sql, &NONE).await);
        }
        pools.close(Duration::ZERO).await;
        let more = [NOTE, ("2-more.sql", "CREATE TABLE more(n);")];
        let migrated = folder.clone().migrations(migrations(&more));
        drop(migrated.migrate_all(1, |_| ControlFlow::Continue(())));
        drop(folder.delete_database(&key("me")));
        let after = contents(here.path());
        assert_eq!(after[2], before[2], "{planted_as} -> {target}: elsewhere");
        assert_eq!(
            sum(&victim, "victim").await,
            Value::Real(7.0),
            "{planted_as}"
        );
        victim.close(Duration::ZERO).await;
        assert!(!tenants.join("missing").exists() && !tenants.join("missing.db").exists());
    }
}

#[tokio::test]
async fn a_folder_or_a_hard_link_is_no_database() {
    let (here, victim) = planted().await;
    let tenants = here.path().join("tenants");
    fs::create_dir(tenants.join("folder.db")).expect("a folder");
    fs::hard_link(here.path().join("elsewhere.db"), tenants.join("hard.db")).expect("a link");
    let before = contents(here.path());
    let folder = Folder::open(&tenants).expect("a folder").create(true);
    let pools = folder.pools(PoolsSettings::default()).expect("pools");
    for name in ["folder", "hard"] {
        let error = pools.get(name).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::CannotOpen, "{name}");
        folder.delete_database(&key(name)).expect_err(name);
    }
    assert_eq!(contents(here.path()), before);
    victim.close(Duration::ZERO).await;
}
