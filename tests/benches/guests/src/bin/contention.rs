//! The sandboxed side of the bench `contention`: does one thing for a given time, and writes how
//! long each took.
//!
//! It writes numbers of 32 bits: how often it failed, and then nanoseconds.

use std::io::Write;
use std::time::{Duration, Instant};

use millpond_bench_guests::{CODE, HELD, INSERT, POINT, TITLE, keys};
use millpond_guest::{Error, Result, Row, TransactionMode, db};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let millis = args
        .next()
        .and_then(|millis| millis.parse().ok())
        .unwrap_or(0);
    let db = db()?;
    let mut keys = keys();
    let mut next_key = || keys.next().unwrap_or(1);
    let measured = match what.as_str() {
        "read" => {
            let mut statement = db.prepare(POINT)?;
            measure(millis, || {
                statement.query_row([next_key()], code_and_size).map(drop)
            })
        }
        "write" => {
            let mut statement = db.prepare(INSERT)?;
            measure(millis, || {
                statement.execute((CODE, next_key(), TITLE, 1.5)).map(drop)
            })
        }
        "hold" => measure(millis, || {
            db.transaction_with(TransactionMode::Deferred, |tx| {
                tx.query_row(POINT, [next_key()], code_and_size)?;
                std::thread::sleep(HELD);
                Ok::<_, Error>(())
            })
        }),
        other => panic!("nothing is named {other:?}"),
    };
    let bytes: Vec<u8> = measured
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    std::io::stdout()
        .write_all(&bytes)
        .expect("room for what was measured");
    Ok(())
}

fn code_and_size(row: &Row<'_>) -> Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn measure(millis: u64, mut work: impl FnMut() -> Result<()>) -> Vec<u32> {
    let mut measured = vec![0];
    let start = Instant::now();
    let mut before = start;
    while before - start < Duration::from_millis(millis) {
        match work() {
            Ok(()) => {
                let nanos = before.elapsed().as_nanos();
                measured.push(u32::try_from(nanos).unwrap_or(u32::MAX));
            }
            Err(_) => measured[0] += 1,
        }
        before = Instant::now();
    }
    measured
}
