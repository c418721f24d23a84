//! What a folder contains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

fn keys(folder: &Folder) -> Vec<String> {
    let tenants = folder.list().expect("a list");
    let mut keys: Vec<_> = tenants
        .map(|tenant| tenant.expect("a tenant").key.to_string())
        .collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn only_databases_are_listed_with_what_is_known_of_each() {
    let here = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(here.path()).expect("a folder");
    let folder = folder.migrations(migrations(&[NOTE]));
    assert_eq!(
        (keys(&folder), folder.count().expect("a count")),
        (vec![], 0)
    );
    for name in ["a", "b", "c-1"] {
        folder.create_database(&key(name)).expect("created");
    }
    for name in [
        "README",
        "Upper.db",
        ".hidden.db",
        "-x.db",
        "a.db.old",
        "d.db-wal",
        "e.suspended",
    ] {
        fs::write(here.path().join(name), "x").expect("a file");
    }
    fs::create_dir(here.path().join("folder.db")).expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink("a.db", here.path().join("link.db")).expect("a link");
    folder.suspend(&key("b")).expect("suspended");
    assert_eq!(keys(&folder), ["a", "b", "c-1"]);
    assert_eq!(folder.count().expect("a count"), 3);

    let look = |name| folder.look(&key(name)).expect("readable");
    let before = look("a").expect("a");
    assert!(before.database_bytes > 0 && before.log_bytes == 0 && !before.is_suspended);
    assert!(look("b").expect("b").is_suspended);
    for none in ["link", "folder", "d", "e", "f"] {
        assert_eq!(look(none), None, "{none}");
    }
    let pools = folder.pools(PoolsSettings::default()).expect("pools");
    insert(&pools, "a", 1).await;
    let open = look("a").expect("a");
    assert!(
        open.log_bytes > 0 && open.changed >= before.changed,
        "{open:?}"
    );
    pools.close(Duration::ZERO).await;
}

#[test]
fn a_list_has_all_that_stay_while_others_come_and_go() {
    let here = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(here.path()).expect("a folder");
    let stay: Vec<_> = (100..400).map(|n| format!("stay-{n}")).collect();
    for name in &stay {
        fs::write(here.path().join(format!("{name}.db")), "").expect("a file");
    }
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0..500).cycle() {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                let file = here.path().join(format!("go-{n}.db"));
                match n % 3 {
                    2 => drop(fs::remove_file(
                        here.path().join(format!("go-{}.db", n - 1)),
                    )),
                    _ => fs::write(file, "").expect("a file"),
                }
            }
        });
        for _ in 0..20 {
            let mut keys = keys(&folder);
            keys.retain(|key| key.starts_with("stay-"));
            assert_eq!(keys, stay);
            assert!(folder.count().expect("a count") >= 300);
        }
        is_done.store(true, Ordering::Relaxed);
    });
}
