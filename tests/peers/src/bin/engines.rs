//! What Millpond costs on a libSQL server: the same work through a pool of `millpond-libsql` and
//! through the `libsql` crate, alternately, on one server.
//!
//! `MILLPOND_SQLD=… cargo run --release --manifest-path tests/peers/Cargo.toml --bin engines`

#[expect(dead_code, reason = "shared with the tests of the engine")]
#[path = "../../../../host/libsql/tests/server/sqld.rs"]
mod sqld;

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_libsql::PoolBuilder;
use millpond_pool::{
    Access, ErrorKind, Grant, Parameters, Pool, Request, Rows, TransactionMode, Value,
};
use tokio::task::JoinSet;

use self::sqld::Sqld;

/// How often each side does a row's work, and about how long each time.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(400);

const ROWS: i64 = 100_000;
const MANY: i64 = 10_000;
const TITLE: &str = "a title that is sixty bytes long, which is what titles often";
const POINT: &str = "SELECT code, size FROM item WHERE id = ?1";
const SCAN: &str = "SELECT id, code, size, title, price FROM item WHERE id <= ?1";
const INSERT: &str = "INSERT INTO entry (code, size, title, price) VALUES (?1, ?2, ?3, ?4)";

/// The two sides.
struct Sides {
    pool: Pool,
    direct: libsql::Database,
}

/// One caller's work, `count` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Point,
    Insert,
    Transaction,
    Scan(i64),
    Many,
}

const WORK: &[(&str, Work, &[usize])] = &[
    ("point read", Work::Point, &[1, 8, 32]),
    ("insert", Work::Insert, &[1, 8]),
    ("transaction of three statements", Work::Transaction, &[1]),
    ("scan of 40,000 rows", Work::Scan(40_000), &[1]),
    ("scan of 100,000 rows", Work::Scan(100_000), &[1]),
    ("10,000 rows in one call", Work::Many, &[1]),
];

fn main() -> Result<()> {
    let server = Sqld::start().context("set MILLPOND_SQLD: see above")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let url = server.url();
        let sides = Arc::new(Sides {
            pool: PoolBuilder::new()
                .max_size(32)
                .max_result_bytes(64 << 20)
                .open(&url)
                .await?,
            direct: libsql::Builder::new_remote(url, String::new())
                .build()
                .await?,
        });
        fill(&sides.pool).await?;
        println!("| | callers | libsql crate | Millpond | ratio | least | most |\n|---|---|---|---|---|---|---|");
        for (name, work, callers) in WORK {
            for callers in *callers {
                compare(&sides, name, *work, *callers).await?;
            }
        }
        sides.pool.close(Duration::from_secs(1)).await;
        Ok(())
    })
}

async fn fill(pool: &Pool) -> Result<()> {
    let connection = pool.get(Access::ReadWrite).await?;
    connection
        .execute_script(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT, size INTEGER, title TEXT, price REAL);
             CREATE TABLE entry (id INTEGER PRIMARY KEY, code TEXT, size INTEGER, title TEXT, price REAL)",
        )
        .await?;
    let sql = "INSERT INTO item
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               SELECT i, 'code-0123456', i * 3, ?2, i / 7.0 FROM n";
    let values = Parameters::positional([Value::Integer(ROWS), Value::Text(TITLE.to_owned())]);
    connection.execute(sql, &values).await?;
    Ok(())
}

/// Measures both sides alternately, and prints the medians.
async fn compare(sides: &Arc<Sides>, name: &str, work: Work, callers: usize) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let counts = [
        enough(|count| run(sides, work, callers, count, false)).await?,
        enough(|count| run(sides, work, callers, count, true)).await?,
    ];
    for _ in 0..ROUNDS {
        theirs.push(run(sides, work, callers, counts[0], false).await? / counts[0] as f64);
        ours.push(run(sides, work, callers, counts[1], true).await? / counts[1] as f64);
    }
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(&theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    let median = |of: &mut Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let (ratio, theirs, ours) = (median(&mut ratios), median(&mut theirs), median(&mut ours));
    println!(
        "| {name} | {callers} | {} | {} | {ratio:.2} | {:.2} | {:.2} |",
        time(theirs),
        time(ours),
        ratios[0],
        ratios[ratios.len() - 1]
    );
    Ok(())
}

fn time(seconds: f64) -> String {
    match seconds {
        long if long >= 1e-3 => format!("{:.2} ms", long * 1e3),
        short => format!("{:.0} µs", short * 1e6),
    }
}

/// How often a side does its work within [`ROUND`].
async fn enough<F: Future<Output = Result<f64>>>(run: impl Fn(usize) -> F) -> Result<usize> {
    let mut count = 1;
    loop {
        let took = run(count).await?;
        if took > ROUND.as_secs_f64() / 4.0 {
            return Ok(((count as f64 * ROUND.as_secs_f64() / took) as usize).max(1));
        }
        count *= 4;
    }
}

/// Have each of the callers do the work `count` times. Returns the seconds that this took.
async fn run(
    sides: &Arc<Sides>,
    work: Work,
    callers: usize,
    count: usize,
    ours: bool,
) -> Result<f64> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let sides = Arc::clone(sides);
        tasks.spawn(async move {
            match ours {
                true => with_millpond(&sides.pool, work, caller, count).await,
                false => with_libsql(&sides.direct, work, caller, count).await,
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn keys(caller: usize) -> impl Iterator<Item = i64> {
    let mut state = 1 + caller as u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        1 + ((state >> 33) % ROWS as u64) as i64
    })
}

/// As a guest's host does: a connection for each piece of work.
async fn with_millpond(pool: &Pool, work: Work, caller: usize, count: usize) -> Result<()> {
    let grant = Grant::new(pool, Access::ReadWrite);
    let row = |size: i64| {
        [
            Value::Text("code-0123456".to_owned()),
            Value::Integer(size),
            Value::Text(TITLE.to_owned()),
            Value::Real(1.5),
        ]
    };
    for key in keys(caller).take(count) {
        let request = Request::new();
        let connection = grant.get(Access::ReadWrite, &request).await?;
        match work {
            Work::Point => {
                let parameters = Parameters::from([Value::Integer(key)]);
                ensure!(connection.query_rows(POINT, &parameters).await?.len() == 1);
            }
            Work::Insert => {
                let parameters = Parameters::from(row(key));
                // The server does not queue writers: all but one may be told to try again.
                while let Err(error) = connection.execute(INSERT, &parameters).await {
                    ensure!(error.kind() == ErrorKind::Busy, "{error}");
                }
            }
            Work::Transaction => {
                let transaction = connection.begin(TransactionMode::Immediate).await?;
                for _ in 0..3 {
                    connection
                        .execute(INSERT, &Parameters::from(row(key)))
                        .await?;
                }
                transaction.commit().await?;
            }
            Work::Scan(rows) => {
                let statement = connection.prepare(SCAN).await?;
                let page = statement
                    .query(&Parameters::positional([Value::Integer(rows)]), 0, false)
                    .await?;
                let (mut read, mut rest) = (count_cells(&page.rows), page.rest);
                while let Some(cursor) = rest.take() {
                    let next = cursor.next(0).await?;
                    if !next.is_empty() {
                        read += count_cells(&next);
                        rest = Some(cursor);
                    }
                }
                ensure!(read == 5 * rows as usize);
            }
            Work::Many => {
                let statement = connection.prepare(INSERT).await?;
                let rows = Rows::from_rows((0..MANY).map(row))?;
                statement.execute_many(&rows).await?;
            }
        }
    }
    Ok(())
}

fn count_cells(rows: &Rows) -> usize {
    rows.values().map(black_box).count()
}

/// As a program does that talks to the server itself: a connection that it keeps.
async fn with_libsql(
    database: &libsql::Database,
    work: Work,
    caller: usize,
    count: usize,
) -> Result<()> {
    let connection = database.connect()?;
    let row = |size: i64| libsql::params!["code-0123456", size, TITLE, 1.5];
    for key in keys(caller).take(count) {
        match work {
            Work::Point => {
                let mut rows = connection.query(POINT, [key]).await?;
                let row = rows.next().await?.context("a row")?;
                black_box((row.get::<String>(0)?, row.get::<i64>(1)?));
            }
            Work::Insert => {
                while let Err(error) = connection.execute(INSERT, row(key)).await {
                    ensure!(error.to_string().contains("locked"), "{error}");
                }
            }
            Work::Transaction => {
                let transaction = connection
                    .transaction_with_behavior(libsql::TransactionBehavior::Immediate)
                    .await?;
                for _ in 0..3 {
                    transaction.execute(INSERT, row(key)).await?;
                }
                transaction.commit().await?;
            }
            Work::Scan(rows) => {
                let mut found = connection.query(SCAN, [rows]).await?;
                let mut read = 0;
                while let Some(row) = found.next().await? {
                    for column in 0..5 {
                        black_box(row.get_value(column)?);
                        read += 1;
                    }
                }
                ensure!(read == 5 * rows as usize);
            }
            Work::Many => {
                let transaction = connection.transaction().await?;
                let statement = transaction.prepare(INSERT).await?;
                for size in 0..MANY {
                    statement.reset();
                    statement.execute(row(size)).await?;
                }
                drop(statement);
                transaction.commit().await?;
            }
        }
    }
    Ok(())
}
