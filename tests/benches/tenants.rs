//! Many databases in one folder, visited at random: `cargo bench --bench tenants`.
//!
//! 10,000 databases, each created and migrated before. 8 tasks on a runtime of two workers visit
//! one after another, and read a row; every tenth visit also writes one. Prints, for each number of
//! open pools, the times of visits to a database that was open and to one that was not, and the
//! most file descriptors and memory of the process (on Linux). The last rows visit 1 % of the
//! databases in 9 of 10 visits. Then it lists and migrates all of them, and gets the pool of one
//! that is open, of one that is suspended, and of one that does not exist.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millpond_pool::{Access, Parameters, Pools, PoolsSettings};
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Folder, PoolBuilder, TenantKey};

const TENANTS: u64 = 10_000;
const TASKS: u64 = 8;
const VISITS: u64 = 5_000;
const VISIT: &str = "CREATE TABLE visit(id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO visit(n) VALUES (0);";

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let since = Instant::now();
    runtime.block_on(create(folder.path()));
    println!(
        "{TENANTS} databases created and migrated in {:.1?}",
        since.elapsed()
    );
    println!(
        "| open pools | visits | open: p50, p99 | not open: share, p50, p99 | descriptors | memory |"
    );
    println!("|---|---|---|---|---|---|");
    for (of_ten, name) in [(0, "at random"), (9, "9 of 10 to 1 %")] {
        for max_open in [10, 100, 1_000] {
            runtime.block_on(measure(folder.path(), max_open, of_ten, name));
        }
    }
    manage(folder.path());
    runtime.block_on(get(folder.path()));
}

/// List and migrate all.
fn manage(path: &Path) {
    let migrations = Migrations::from_texts([
        ("1-visit.sql", VISIT),
        (
            "2-more.sql",
            "CREATE TABLE more(id INTEGER PRIMARY KEY, text TEXT);",
        ),
    ]);
    let folder = Folder::open(path).expect("the folder");
    let folder = folder.migrations(migrations.expect("migrations"));
    let since = Instant::now();
    let listed = folder.list().expect("a list").filter(Result::is_ok).count();
    println!("{listed} listed in {:.1?}", since.elapsed());
    for what in ["without the last migration", "that are current"] {
        let since = Instant::now();
        let all = folder.migrate_all(2, |_| ControlFlow::Continue(()));
        let all = all.expect("a folder");
        assert_eq!((all.failed, all.skipped), (0, 0));
        println!(
            "{TENANTS} {what}: migrated in {:.1?}, in 2 threads",
            since.elapsed()
        );
    }
}

/// Get pools of tenants, without using them.
async fn get(path: &Path) {
    const TIMES: u32 = 100_000;
    let folder = Folder::open(path).expect("the folder");
    let pools = folder.pools(PoolsSettings::new(10)).expect("pools");
    let _open = pools.get("tenant-1").await.expect("a pool");
    let suspended = TenantKey::new("tenant-2").expect("a key");
    folder.suspend(&suspended).expect("suspended");
    for (key, what) in [
        ("tenant-1", "one that is open"),
        ("tenant-2", "one that is suspended"),
        ("tenant-x", "one that does not exist"),
    ] {
        let since = Instant::now();
        for _ in 0..TIMES {
            drop(pools.get(key).await);
        }
        println!("get the pool of {what}: {:.2?}", since.elapsed() / TIMES);
    }
}

fn pools(folder: &Path, max_open: u32, create: bool) -> Pools {
    let migrations = Migrations::from_texts([("1-visit.sql", VISIT)]).expect("a migration");
    Folder::open(folder)
        .expect("the folder")
        .create(create)
        .pool(PoolBuilder::new().max_size(4))
        .migrations(migrations)
        .pools(PoolsSettings::new(max_open).timeout(Duration::from_secs(60)))
        .expect("pools")
}

async fn create(folder: &Path) {
    let pools = pools(folder, 16, true);
    for tenant in 0..TENANTS {
        pools
            .get(&format!("tenant-{tenant}"))
            .await
            .expect("a pool");
    }
    pools.close(Duration::ZERO).await;
}

async fn measure(folder: &Path, max_open: u32, of_ten: u64, name: &str) {
    let pools = pools(folder, max_open, false);
    let most = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let tasks = (0..TASKS).map(|task| {
        let (pools, most) = (pools.clone(), Arc::clone(&most));
        tokio::spawn(async move {
            let mut random = task + 1;
            let mut next = move |below: u64| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 33) % below
            };
            let (mut open, mut opened) = (Vec::new(), Vec::new());
            for number in 0..VISITS {
                let frequent = next(10) < of_ten;
                let tenant = next(if frequent { TENANTS / 100 } else { TENANTS });
                let key = format!("tenant-{tenant}");
                let was_opened = pools.stats().opened;
                let since = Instant::now();
                visit(&pools, &key, number % 10 == 0).await;
                let time = since.elapsed().as_micros() as u32;
                // Approximate: another task may have opened one meanwhile.
                match pools.stats().opened == was_opened {
                    true => open.push(time),
                    false => opened.push(time),
                }
                if number % 100 == 0 {
                    most.0.fetch_max(descriptors(), Ordering::Relaxed);
                    most.1.fetch_max(memory(), Ordering::Relaxed);
                }
            }
            (open, opened)
        })
    });
    let (mut open, mut opened) = (Vec::new(), Vec::new());
    for task in tasks.collect::<Vec<_>>() {
        let times = task.await.expect("no failure");
        open.extend(times.0);
        opened.extend(times.1);
    }
    let stats = pools.stats();
    assert_eq!((stats.failed, stats.timeouts), (0, 0));
    pools.close(Duration::ZERO).await;
    open.sort_unstable();
    opened.sort_unstable();
    let at = |sorted: &[u32], part: usize| {
        let at = sorted.get(sorted.len() * part / 100);
        at.map_or_else(
            || "-".to_owned(),
            |time| format!("{:.2} ms", f64::from(*time) / 1e3),
        )
    };
    println!(
        "| {max_open} | {name} | {}, {} | {:.0} %, {}, {} | {} | {} MiB |",
        at(&open, 50),
        at(&open, 99),
        100.0 * stats.opened as f64 / (TASKS * VISITS) as f64,
        at(&opened, 50),
        at(&opened, 99),
        most.0.load(Ordering::Relaxed),
        most.1.load(Ordering::Relaxed) >> 20,
    );
}

async fn visit(pools: &Pools, key: &str, write: bool) {
    let pool = pools.get(key).await.expect("a pool");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    let read = "SELECT n FROM visit WHERE id = 1";
    let rows = connection.query_rows(read, &Parameters::NONE).await;
    assert!(!rows.expect("a row").is_empty());
    if write {
        let update = "UPDATE visit SET n = n + 1 WHERE id = 1";
        connection
            .execute(update, &Parameters::NONE)
            .await
            .expect("written");
    }
}

/// Open file descriptors of this process; 0 if unknown.
fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}

/// Resident memory of this process, in bytes; 0 if unknown.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
