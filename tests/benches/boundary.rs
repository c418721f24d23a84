//! What the sandbox costs: a guest does the same work through the contract as rusqlite in the
//! host's own process, on a copy of the same file and with the same settings.
//!
//! ```text
//! cargo bench --bench boundary [-- [part of a row's name]… [--json FILE]]
//! ```
//!
//! Both sides do a row's work alternately, several times; the table has the medians, and the spread
//! of the ratio.

mod support;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use millpond_bench_guests::{
    BLOB, CODE, INSERT, ITEMS, POINT, READ_BLOB, READ_TOGETHER, SCAN, SCANNED, SCHEMA, TITLE,
    WRITE_BLOB, WRITTEN, keys,
};
use millpond_pool::Pool;
use millpond_sqlite::{PoolBuilder, Synchronous};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};
use tokio::runtime::Runtime;

use self::support::native::{self, Manager};
use self::support::sandbox::Sandbox;
use self::support::table::{Column, Table, mebibytes, ratio, time, wanted};
use self::support::{guests, median};

/// How often each side does a row's work.
const ROUNDS: usize = 9;
/// About how long a side works each time.
const ROUND: Duration = Duration::from_millis(150);

const COLUMNS: &[Column] = &[
    Column {
        key: "native_ns",
        title: "native",
        print: time,
    },
    Column {
        key: "guest_ns",
        title: "guest",
        print: time,
    },
    Column {
        key: "ratio",
        title: "ratio",
        print: ratio,
    },
    Column {
        key: "ratio_least",
        title: "least",
        print: ratio,
    },
    Column {
        key: "ratio_most",
        title: "most",
        print: ratio,
    },
];

/// One row: the native side's work for a number of times, and how many items one time has.
struct Work {
    name: &'static str,
    things: i64,
    native: fn(&Native, usize),
}

const WORK: &[Work] = &[
    Work {
        name: "empty host call",
        things: 1,
        native: Native::nothing,
    },
    Work {
        name: "get and return",
        things: 1,
        native: Native::get,
    },
    Work {
        name: "point read, prepared",
        things: 1,
        native: Native::point,
    },
    Work {
        name: "point read, one-shot typed",
        things: 1,
        native: Native::point_typed,
    },
    Work {
        name: "10 point reads in a transaction",
        things: 1,
        native: Native::points_together,
    },
    Work {
        name: "scan of 100,000 rows",
        things: 1,
        native: Native::scan,
    },
    Work {
        name: "scan of 100,000 rows, typed",
        things: 1,
        native: Native::scan_typed,
    },
    Work {
        name: "insert in a transaction",
        things: WRITTEN,
        native: Native::insert,
    },
    Work {
        name: "execute_many",
        things: WRITTEN,
        native: Native::insert,
    },
    Work {
        name: "1 MB blob, write",
        things: 1,
        native: Native::write_blob,
    },
    Work {
        name: "1 MB blob, read",
        things: 1,
        native: Native::read_blob,
    },
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, part, guest, path, rows] = args.as_slice()
        && part == PEAK_MEMORY
    {
        return print_peak_memory(Path::new(guest), Path::new(path), rows);
    }
    let guest = guests().remove("boundary").expect("the guest");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    fill(&path).expect("the rows");
    // On a copy, because what a pool does for its readers would help the other side too.
    let copy = folder.path().join("native.db");
    std::fs::copy(&path, &copy).expect("a copy");

    let bench = Bench {
        runtime: runtime(),
        sandbox: Sandbox::new(&guest),
        pool: pool(&path),
        native: Native {
            conn: native::open(&copy, Synchronous::Full).expect("a connection"),
            pool: native::pool(&copy, Synchronous::Full, 5),
        },
    };
    let mut table = Table::new(COLUMNS);
    for work in WORK.iter().filter(|work| wanted(work.name)) {
        bench.compare(work, &mut table);
    }
    bench.compare_instances(&mut table);
    table.finish();
    drop(bench);
    compare_memory(&guest, &path);
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn pool(path: &Path) -> Pool {
    // A typed scan reads its whole result at once.
    let pool = PoolBuilder::new().max_result_bytes(64 << 20);
    pool.open(path).expect("a pool")
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let conn = native::open(path, Synchronous::Full)?;
    conn.execute_batch(SCHEMA)?;
    conn.execute(
        "INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         SELECT i, ?2, i * 3, ?3, i / 7.0 FROM n",
        params![ITEMS, CODE, TITLE],
    )?;
    conn.execute(WRITE_BLOB, [vec![7_u8; BLOB]])?;
    Ok(())
}

struct Bench {
    runtime: Runtime,
    sandbox: Sandbox,
    pool: Pool,
    native: Native,
}

impl Bench {
    fn compare(&self, work: &Work, table: &mut Table) {
        let native = |count: usize| {
            let start = Instant::now();
            (work.native)(&self.native, count);
            start.elapsed()
        };
        let guest = |count: usize| {
            self.runtime.block_on(async {
                let mut instance = self
                    .sandbox
                    .instance(&self.pool, &[work.name, &count.to_string()])
                    .await;
                let start = Instant::now();
                instance.run().await;
                start.elapsed()
            })
        };
        let counts = (enough(native), enough(guest));
        let rounds = || {
            let native = native(counts.0).as_nanos() as f64 / counts.0 as f64;
            let guest = guest(counts.1).as_nanos() as f64 / counts.1 as f64;
            (native / work.things as f64, guest / work.things as f64)
        };
        add(table, work.name, rounds);
    }

    /// What a request costs before HTTP: a new instance, with limits and a deadline, that reads a
    /// row.
    fn compare_instances(&self, table: &mut Table) {
        const NAME: &str = "a new instance and one point read";
        const COUNT: usize = 3_000;
        if !wanted(NAME) {
            return;
        }
        add(table, NAME, || {
            let start = Instant::now();
            for key in keys().take(COUNT) {
                let conn = self.native.pool.get().expect("a connection");
                let mut statement = conn.prepare_cached(POINT).expect("a statement");
                black_box(statement.query_row([key], code_and_size).expect("a row"));
            }
            let native = start.elapsed();
            let start = Instant::now();
            self.runtime.block_on(async {
                for _ in 0..COUNT {
                    let mut instance = self
                        .sandbox
                        .instance(&self.pool, &["point read, prepared", "1"])
                        .await;
                    instance.run().await;
                }
            });
            let each = |time: Duration| time.as_nanos() as f64 / COUNT as f64;
            (each(native), each(start.elapsed()))
        });
    }
}

/// How often a side does its work within [`ROUND`].
fn enough(run: impl Fn(usize) -> Duration) -> usize {
    let mut count = 1;
    loop {
        let took = run(count);
        if took > ROUND / 4 {
            let more = ROUND.as_secs_f64() / took.as_secs_f64();
            return ((count as f64 * more) as usize).max(1);
        }
        count *= 4;
    }
}

/// Measures both sides alternately, and adds the medians to the table.
fn add(table: &mut Table, name: &str, mut rounds: impl FnMut() -> (f64, f64)) {
    let (native, guest): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| rounds()).unzip();
    let mut ratios: Vec<f64> = native
        .iter()
        .zip(&guest)
        .map(|(native, guest)| guest / native)
        .collect();
    ratios.sort_by(f64::total_cmp);
    table.row(
        name,
        &[
            Some(median(&native)),
            Some(median(&guest)),
            Some(median(&ratios)),
            ratios.first().copied(),
            ratios.last().copied(),
        ],
    );
}

/// The side without a sandbox.
struct Native {
    conn: Connection,
    pool: r2d2::Pool<Manager>,
}

impl Native {
    fn nothing(&self, count: usize) {
        for _ in 0..count {
            black_box(self.conn.is_autocommit());
        }
    }

    fn get(&self, count: usize) {
        for _ in 0..count {
            drop(black_box(self.pool.get().expect("a connection")));
        }
    }

    fn point(&self, count: usize) {
        let mut statement = self.conn.prepare_cached(POINT).expect("a statement");
        for key in keys().take(count) {
            black_box(statement.query_row([key], code_and_size).expect("a row"));
        }
    }

    fn point_typed(&self, count: usize) {
        for key in keys().take(count) {
            let mut statement = self.conn.prepare_cached(POINT).expect("a statement");
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let rows: Vec<_> = statement.query_map([key], values).expect("rows").collect();
            black_box((names, rows));
        }
    }

    fn points_together(&self, count: usize) {
        let mut keys = keys();
        for _ in 0..count {
            let transaction = self.conn.unchecked_transaction().expect("a transaction");
            let mut statement = self.conn.prepare_cached(POINT).expect("a statement");
            for key in keys.by_ref().take(READ_TOGETHER as usize) {
                black_box(statement.query_row([key], code_and_size).expect("a row"));
            }
            drop(statement);
            transaction.commit().expect("a commit");
        }
    }

    fn scan(&self, count: usize) {
        let mut statement = self.conn.prepare_cached(SCAN).expect("a statement");
        for _ in 0..count {
            let mut rows = statement.query([SCANNED]).expect("rows");
            while let Some(row) = rows.next().expect("a row") {
                black_box(item(row).expect("an item"));
            }
        }
    }

    fn scan_typed(&self, count: usize) {
        for _ in 0..count {
            let mut statement = self.conn.prepare_cached(SCAN).expect("a statement");
            let rows = statement.query_map([SCANNED], values).expect("rows");
            let rows: Vec<Vec<Value>> = rows.collect::<Result<_, _>>().expect("rows");
            for row in rows {
                black_box(row);
            }
        }
    }

    fn insert(&self, count: usize) {
        for _ in 0..count {
            let transaction = self.conn.unchecked_transaction().expect("a transaction");
            let mut statement = self.conn.prepare_cached(INSERT).expect("a statement");
            for size in 0..WRITTEN {
                statement.execute((CODE, size, TITLE, 1.5)).expect("a row");
            }
            drop(statement);
            transaction.commit().expect("a commit");
        }
    }

    fn write_blob(&self, count: usize) {
        let blob = vec![7_u8; BLOB];
        for _ in 0..count {
            let mut statement = self.conn.prepare_cached(WRITE_BLOB).expect("a statement");
            statement.execute([&blob]).expect("a row");
        }
    }

    fn read_blob(&self, count: usize) {
        let mut statement = self.conn.prepare_cached(READ_BLOB).expect("a statement");
        for _ in 0..count {
            black_box(
                statement
                    .query_row((), |row| row.get::<_, Vec<u8>>(0))
                    .expect("a blob"),
            );
        }
    }
}

fn code_and_size(row: &Row<'_>) -> rusqlite::Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn item(row: &Row<'_>) -> rusqlite::Result<(i64, String, i64, String, f64)> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
    ))
}

fn values(row: &Row<'_>) -> rusqlite::Result<Vec<Value>> {
    (0..row.as_ref().column_count())
        .map(|column| row.get(column))
        .collect()
}

const PEAK_MEMORY: &str = "--print-peak-memory";

/// The peak memory of a scan of a million rows, next to that of an empty one, each in its own
/// process.
fn compare_memory(guest: &Path, path: &Path) {
    const NAME: &str = "scan of 1,000,000 rows: peak memory";
    if !wanted(NAME) {
        return;
    }
    println!("\n{NAME}");
    for rows in ["0", "1000000"] {
        let program: PathBuf = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(PEAK_MEMORY).arg(guest).arg(path).arg(rows);
        let output = command.output().expect("this program runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        print!(
            "{rows:>10} rows: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

fn print_peak_memory(guest: &Path, path: &Path, rows: &str) {
    let memory = runtime().block_on(async {
        let sandbox = Sandbox::new(guest);
        let pool = pool(path);
        let mut instance = sandbox
            .instance(&pool, &["scan of a number of rows", rows])
            .await;
        instance.run().await;
        instance.memory()
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().split(' ').next()?.parse::<f64>().ok());
    println!(
        "the whole process {}, the guest of that {}",
        kibibytes.map_or("unknown".to_owned(), |kibibytes| mebibytes(
            kibibytes * 1024.0
        )),
        mebibytes(memory as f64)
    );
}
