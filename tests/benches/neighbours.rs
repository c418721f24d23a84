//! How long a quick request takes alone, and beside guests that never stop: `cargo bench --bench
//! neighbours`.
//!
//! First with `millpond serve`. A client requests a row 200 times a second; two others repeatedly
//! request an endless loop, in the guest's own code and in SQL, which the server stops.
//!
//! Then with an embedder's runtime of two workers. One task ticks every 5 ms, one reads a row as
//! often; other tasks run expensive statements repeatedly.

#[expect(dead_code, reason = "shared with the suites")]
#[path = "../tests/suites/process.rs"]
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond_pool::{Access, Grant, Parameters, Pool, Request};
use millpond_sqlite::PoolBuilder;

use self::process::{Server, ask};

const EVERY: Duration = Duration::from_millis(5);
const REQUESTS: u32 = 2_000;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let args = ["--no-access-log", "--request-timeout", "2s"];
    let server = Server::of("hostile_serves", &path, &args);
    measure(&server, "warm-up");
    measure(&server, "alone");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in ["/loop", "/sql"] {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let _ = ask(server.address, "GET", path, "", b"");
                }
            });
        }
        measure(&server, "beside two that never stop");
        over.store(true, Ordering::Relaxed);
    });
    drop(server);
    embedded();
}

/// How long a statement of a neighbour may take, and how long each row is measured.
const STATEMENT: Duration = Duration::from_secs(1);
const ROW: Duration = Duration::from_secs(6);
/// Between 1 and 2 ms, after which a call hands its worker over.
const QUICK: Duration = Duration::from_micros(1_500);

/// What the neighbours run, on existing tables. Each takes about as long as it may, or is refused.
fn neighbours() -> Vec<(&'static str, String)> {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let times = |count, what: &str| vec![what; count].join(",");
    let matches = |query: &str| format!("SELECT count(*) FROM g WHERE g MATCH {query}");
    vec![
        (
            "a statement that never ends",
            format!("{endless} SELECT max(i) FROM n"),
        ),
        (
            "snippet of 1 MB",
            "SELECT snippet(g, 0, '', '', '', 64) FROM g WHERE g MATCH 'a'".into(),
        ),
        (
            "highlight of 1 MB",
            "SELECT highlight(g, 0, '', '') FROM g WHERE g MATCH 'a'".into(),
        ),
        (
            "100,000 words",
            matches("replace(hex(zeroblob(50000)), '0', 'a ')"),
        ),
        (
            "30,000 times OR",
            matches("replace(hex(zeroblob(15000)), '0', 'a OR ') || 'a'"),
        ),
        (
            "40,000 times OR with a column",
            matches("replace(hex(zeroblob(20000)), '0', 'x:a OR ') || 'a'"),
        ),
        (
            "60 words near each other",
            matches(&format!("'NEAR({}b, 5)'", "a ".repeat(60))),
        ),
        (
            "45,000 names",
            format!("SELECT 1 IN ({}) FROM {}", times(45_000, "z"), {
                let wide = (0..62).map(|at| format!("v0 AS q{at}"));
                format!("{},qz", wide.collect::<Vec<_>>().join(","))
            }),
        ),
        ("990 windows", {
            let windows =
                (0..990).map(|at| format!("sum(1) OVER (ORDER BY {at}+1 ROWS {at} PRECEDING)"));
            format!("SELECT {}", windows.collect::<Vec<_>>().join(","))
        }),
        ("14,000 named parameters", {
            let names = (0..14_000).map(|at| format!(":p{at}"));
            format!("SELECT 1 IN ({})", names.collect::<Vec<_>>().join(","))
        }),
        ("45 nested views", "SELECT * FROM v45".into()),
        ("45 views of 999 columns", "PRAGMA table_list".into()),
        (
            "count(*) of 200 MB",
            "SELECT (SELECT count(*) FROM large) FROM large".into(),
        ),
        (
            "deleting 200 MB",
            "BEGIN; DELETE FROM large; ROLLBACK".into(),
        ),
        (
            "dropping 200 MB",
            "BEGIN; DROP TABLE large; ROLLBACK".into(),
        ),
        (
            "90 times json_valid of 1 MB",
            format!("{endless} SELECT {} FROM n, j", times(90, "json_valid(x)")),
        ),
    ]
}

fn embedded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(32).open(&path).expect("a pool");
    let columns: Vec<_> = (0..999).map(|at| format!("c{at}")).collect();
    let views: String = (0..45)
        .map(|at| format!("CREATE VIEW v{} AS SELECT * FROM v{at};", at + 1))
        .collect();
    let script = format!(
        "CREATE VIRTUAL TABLE g USING fts5(x);
         INSERT INTO g SELECT replace(hex(zeroblob(500000)), '00', 'a ');
         CREATE TABLE j(x); INSERT INTO j SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]';
         CREATE TABLE large(a); CREATE TABLE qz(z); CREATE TABLE v0({}); {views}",
        columns.join(",")
    );
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000)
                INSERT INTO large SELECT zeroblob(4000) FROM n";
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    millpond_pool::block_on(connection.execute_script(&script)).expect("tables");
    for _ in 0..5 {
        millpond_pool::block_on(connection.execute(rows, &Parameters::NONE)).expect("rows");
    }
    drop(connection);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // As the documentation recommends for many guests.
        .event_interval(8)
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "\na runtime of two workers: longest gap between beats of 5 ms; p50, p99 of quick reads"
    );
    row(&runtime, &pool, "alone", "", 0);
    for count in [1, 4, 16] {
        beside_threads(count, || {
            row(&runtime, &pool, &format!("{count} threads"), "", 0)
        });
        beside_tasks(&runtime, count, || {
            row(&runtime, &pool, &format!("{count} tasks"), "", 0)
        });
    }
    for (name, sql) in neighbours() {
        for count in [1, 4, 16] {
            row(&runtime, &pool, &format!("{count} x {name}"), &sql, count);
        }
    }
    // Lock the database, as another process could.
    let other = rusqlite::Connection::open(&path).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("its lock");
    for count in [1, 4, 16] {
        let name = format!("{count} x a write, while another process has the lock");
        row(&runtime, &pool, &name, "INSERT INTO qz VALUES (1)", count);
    }
}

/// Shows what this machine can do: measure while `count` threads compute that have nothing to do
/// with the runtime.
fn beside_threads(count: usize, measure: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        measure();
        over.store(true, Ordering::Relaxed);
    });
}

/// Shows what tokio can do: measure while `count` tasks compute for [`QUICK`] at a time, as a call
/// may before it hands over its worker.
fn beside_tasks(runtime: &tokio::runtime::Runtime, count: usize, measure: impl FnOnce()) {
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let over = Arc::clone(&over);
            runtime.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                    let since = Instant::now();
                    while since.elapsed() < QUICK {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    measure();
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime.block_on(task).expect("a task");
    }
}

/// Measure while `count` tasks run `sql` repeatedly.
fn row(runtime: &tokio::runtime::Runtime, pool: &Pool, name: &str, sql: &str, count: usize) {
    let over = Arc::new(AtomicBool::new(false));
    let grant = Grant::new(pool, Access::ReadWrite).max_statement_time(STATEMENT);
    let neighbours: Vec<_> = (0..count)
        .map(|_| {
            let (over, grant, sql) = (Arc::clone(&over), grant.clone(), sql.to_owned());
            runtime.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    // As wasmtime does with a guest's computing: a task that never yields would
                    // block its worker, with statements that are refused at once too.
                    tokio::task::yield_now().await;
                    // Abandoned statements may have used up the pool.
                    if let Ok(connection) = grant.get(Access::ReadWrite, &Request::new()).await {
                        // Most are stopped at their deadline.
                        let _ = connection.execute_script(&sql).await;
                    }
                }
            })
        })
        .collect();
    let beat = runtime.spawn(async move {
        let (start, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while start.elapsed() < ROW {
            tokio::time::sleep(EVERY).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest.saturating_sub(EVERY)
    });
    let reads = runtime.spawn(async move {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < ROW {
            let since = Instant::now();
            // If there is no connection, the time that it waited counts.
            if let Ok(connection) = grant.get(Access::ReadOnly, &Request::new()).await {
                let read = connection.query("SELECT 1", &Parameters::NONE).await;
                read.expect("a row");
            }
            times.push(since.elapsed());
            tokio::time::sleep(EVERY).await;
        }
        times.sort();
        times
    });
    let gap = runtime.block_on(beat).expect("beats");
    let times = runtime.block_on(reads).expect("reads");
    over.store(true, Ordering::Relaxed);
    for neighbour in neighbours {
        runtime.block_on(neighbour).expect("a neighbour");
    }
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    let gap = gap.as_secs_f64() * 1e3;
    println!("{name}: {gap:.1} ms; {:.3}, {:.3} ms", at(50), at(99));
}

/// Send requests at fixed times, however long the last response took, and print the latencies from
/// when each request was due.
fn measure(server: &Server, name: &str) {
    let start = Instant::now();
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|number| {
            let due = start + EVERY * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            server.ask("GET", "/quick", None).is(200);
            due.elapsed()
        })
        .collect();
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!(
        "{name}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        at(50),
        at(99),
        times[times.len() - 1].as_secs_f64() * 1e3
    );
}
