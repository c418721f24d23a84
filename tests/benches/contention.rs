//! Many guests at once on one file, compared with as many threads that share a pool of rusqlite
//! connections, and wait for a lock as SQLite does (`busy_timeout`).
//!
//! ```text
//! cargo bench --bench contention [-- [part of a row's name]… [--json FILE]]
//! ```

mod support;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millpond_bench_guests::{CODE, HELD, INSERT, POINT, SCHEMA, TITLE, keys};
use millpond_sqlite::{PoolBuilder, Synchronous};

use rusqlite::{Connection, Row, params};
use tokio::runtime::Runtime;

use self::support::native::{self, Manager};
use self::support::sandbox::Sandbox;
use self::support::table::{Column, Table, mebibytes, number, ratio, time, wanted};
use self::support::{guests, median, percentile};

/// How long each side works each time, and how often.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// The maximum number of connections of either pool.
const CONNECTIONS: u32 = 40;
/// Rows to read.
const ITEMS: i64 = 100_000;

const COLUMNS: &[Column] = &[
    Column {
        key: "per_second",
        title: "a second",
        print: number,
    },
    Column {
        key: "p50_ns",
        title: "p50",
        print: time,
    },
    Column {
        key: "p99_ns",
        title: "p99",
        print: time,
    },
    Column {
        key: "longest_ns",
        title: "longest",
        print: time,
    },
    Column {
        key: "slowest_to_fastest",
        title: "slow/fast",
        print: ratio,
    },
    Column {
        key: "failures",
        title: "failures",
        print: number,
    },
    Column {
        key: "largest_wal_bytes",
        title: "log",
        print: mebibytes,
    },
];

/// What one thread does. If there are several kinds, the first is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Read,
    Write,
    Hold,
}

struct Scenario {
    name: &'static str,
    synchronous: Synchronous,
    jobs: &'static [(Job, usize)],
}

const FULL: Synchronous = Synchronous::Full;
const NORMAL: Synchronous = Synchronous::Normal;

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1 reader",
        synchronous: FULL,
        jobs: &[(Job::Read, 1)],
    },
    Scenario {
        name: "2 readers",
        synchronous: FULL,
        jobs: &[(Job::Read, 2)],
    },
    Scenario {
        name: "8 readers",
        synchronous: FULL,
        jobs: &[(Job::Read, 8)],
    },
    Scenario {
        name: "32 readers",
        synchronous: FULL,
        jobs: &[(Job::Read, 32)],
    },
    Scenario {
        name: "1 reader beside a writer",
        synchronous: FULL,
        jobs: &[(Job::Read, 1), (Job::Write, 1)],
    },
    Scenario {
        name: "8 readers beside a writer",
        synchronous: FULL,
        jobs: &[(Job::Read, 8), (Job::Write, 1)],
    },
    Scenario {
        name: "32 readers beside a writer",
        synchronous: FULL,
        jobs: &[(Job::Read, 32), (Job::Write, 1)],
    },
    Scenario {
        name: "1 writer, FULL",
        synchronous: FULL,
        jobs: &[(Job::Write, 1)],
    },
    Scenario {
        name: "8 writers, FULL",
        synchronous: FULL,
        jobs: &[(Job::Write, 8)],
    },
    Scenario {
        name: "32 writers, FULL",
        synchronous: FULL,
        jobs: &[(Job::Write, 32)],
    },
    Scenario {
        name: "1 writer, NORMAL",
        synchronous: NORMAL,
        jobs: &[(Job::Write, 1)],
    },
    Scenario {
        name: "8 writers, NORMAL",
        synchronous: NORMAL,
        jobs: &[(Job::Write, 8)],
    },
    Scenario {
        name: "32 writers, NORMAL",
        synchronous: NORMAL,
        jobs: &[(Job::Write, 32)],
    },
    Scenario {
        name: "a writer beside 4 slow readers",
        synchronous: NORMAL,
        jobs: &[(Job::Write, 1), (Job::Hold, 4)],
    },
];

fn main() {
    let guest = guests().remove("contention").expect("the guest");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let sandbox = Arc::new(Sandbox::new(&guest));
    let mut table = Table::new(COLUMNS);
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let (mut guests, mut natives) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            natives.push(with_file(|path| native_side(path, scenario)));
            guests.push(with_file(|path| {
                guest_side(path, scenario, &sandbox, &runtime)
            }));
        }
        add(&mut table, &format!("{}: Millpond", scenario.name), &guests);
        add(&mut table, &format!("{}: r2d2", scenario.name), &natives);
    }
    table.finish();
}

/// The results of one side in one round.
struct Round {
    /// Nanoseconds, sorted.
    times: Vec<u32>,
    slowest_to_fastest: f64,
    failures: u64,
    largest_wal: u64,
}

fn add(table: &mut Table, name: &str, rounds: &[Round]) {
    let of =
        |value: &dyn Fn(&Round) -> f64| Some(median(&rounds.iter().map(value).collect::<Vec<_>>()));
    table.row(
        name,
        &[
            of(&|round| round.times.len() as f64 / ROUND.as_secs_f64()),
            of(&|round| f64::from(percentile(&round.times, 50.0))),
            of(&|round| f64::from(percentile(&round.times, 99.0))),
            of(&|round| f64::from(percentile(&round.times, 100.0))),
            of(&|round| round.slowest_to_fastest),
            of(&|round| round.failures as f64),
            of(&|round| round.largest_wal as f64),
        ],
    );
}

fn with_file(side: impl FnOnce(&Path) -> Round) -> Round {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let conn = native::open(&path, NORMAL).expect("a connection");
    conn.execute_batch(SCHEMA).expect("the tables");
    conn.execute(
        "INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         SELECT i, ?2, i * 3, ?3, i / 7.0 FROM n",
        params![ITEMS, CODE, TITLE],
    )
    .expect("the rows");
    drop(conn);
    side(&path)
}

/// Runs the jobs, each on a thread, starting together, and watches the log's size meanwhile.
fn run(
    path: &Path,
    scenario: &Scenario,
    start: impl Fn(Job, Arc<Barrier>) -> JoinHandle<Vec<u32>>,
) -> Round {
    let threads: usize = scenario.jobs.iter().map(|(_, count)| count).sum();
    let barrier = Arc::new(Barrier::new(threads + 1));
    let mut handles = Vec::new();
    for (job, count) in scenario.jobs {
        for _ in 0..*count {
            handles.push((*job, start(*job, Arc::clone(&barrier))));
        }
    }
    let (over, largest) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let watcher = {
        let (over, largest) = (Arc::clone(&over), Arc::clone(&largest));
        let wal = wal_of(path);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let size = std::fs::metadata(&wal).map_or(0, |found| found.len());
                largest.fetch_max(size, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    barrier.wait();
    let (mut times, mut counts, mut failures) = (Vec::new(), Vec::new(), 0);
    let measured = scenario.jobs.first().map(|(job, _)| *job);
    for (job, handle) in handles {
        let mut numbers = handle
            .join()
            .expect("a thread that did its job")
            .into_iter();
        failures += u64::from(numbers.next().unwrap_or(0));
        if Some(job) == measured {
            counts.push(numbers.len() as f64);
            times.extend(numbers);
        }
    }
    over.store(true, Ordering::Relaxed);
    watcher.join().expect("the watcher");
    times.sort_unstable();
    counts.sort_by(f64::total_cmp);
    Round {
        times,
        slowest_to_fastest: counts.first().unwrap_or(&0.0) / counts.last().unwrap_or(&1.0),
        failures,
        largest_wal: largest.load(Ordering::Relaxed),
    }
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn guest_side(
    path: &Path,
    scenario: &Scenario,
    sandbox: &Arc<Sandbox>,
    runtime: &Runtime,
) -> Round {
    let pool = PoolBuilder::new()
        .max_size(CONNECTIONS)
        .synchronous(scenario.synchronous)
        .open(path)
        .expect("a pool");
    let millis = ROUND.as_millis().to_string();
    let round = run(path, scenario, |job, barrier| {
        let (sandbox, pool, runtime) =
            (Arc::clone(sandbox), pool.clone(), runtime.handle().clone());
        let millis = millis.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let what = match job {
                    Job::Read => "read",
                    Job::Write => "write",
                    Job::Hold => "hold",
                };
                let mut instance = sandbox.instance(&pool, &[what, &millis]).await;
                barrier.wait();
                instance.run().await;
                let output = instance.output();
                let numbers = output
                    .chunks_exact(4)
                    .map(|bytes| bytes.try_into().map(u32::from_le_bytes));
                numbers.collect::<Result<_, _>>().expect("numbers")
            })
        })
    });
    pool.close_blocking(Duration::from_secs(10));
    round
}

fn native_side(path: &Path, scenario: &Scenario) -> Round {
    let pool = native::pool(path, scenario.synchronous, CONNECTIONS);
    run(path, scenario, |job, barrier| {
        let pool = pool.clone();
        std::thread::spawn(move || native_job(&pool, job, &barrier))
    })
}

fn native_job(pool: &r2d2::Pool<Manager>, job: Job, barrier: &Barrier) -> Vec<u32> {
    let conn = pool.get().expect("a connection");
    let mut keys = keys();
    let mut next_key = || keys.next().unwrap_or(1);
    barrier.wait();
    let mut measured = vec![0];
    let start = Instant::now();
    while start.elapsed() < ROUND {
        let before = Instant::now();
        match native_work(&conn, job, next_key()) {
            Ok(()) => measured.push(u32::try_from(before.elapsed().as_nanos()).unwrap_or(u32::MAX)),
            Err(_) => measured[0] += 1,
        }
    }
    measured
}

fn native_work(conn: &Connection, job: Job, key: i64) -> rusqlite::Result<()> {
    match job {
        Job::Read => {
            black_box(
                conn.prepare_cached(POINT)?
                    .query_row([key], code_and_size)?,
            );
        }
        Job::Write => {
            conn.prepare_cached(INSERT)?
                .execute((CODE, key, TITLE, 1.5))?;
        }
        Job::Hold => {
            let transaction = conn.unchecked_transaction()?;
            black_box(
                conn.prepare_cached(POINT)?
                    .query_row([key], code_and_size)?,
            );
            std::thread::sleep(HELD);
            transaction.commit()?;
        }
    }
    Ok(())
}

fn code_and_size(row: &Row<'_>) -> rusqlite::Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}
