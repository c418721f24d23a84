//! The sandboxed side of the bench `boundary`: does one thing a given number of times.

use std::hint::black_box;

use millpond_bench_guests::{
    BLOB, CODE, INSERT, POINT, READ_BLOB, READ_TOGETHER, SCAN, SCANNED, TITLE, WRITE_BLOB, WRITTEN,
    keys,
};
use millpond_guest::{Access, Connection, Error, Result, Row, TransactionMode, Value, db, get};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let row = args.next().unwrap_or_default();
    let count = args
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let db = db()?;
    match row.as_str() {
        "empty host call" => {
            for _ in 0..count {
                black_box(db.in_transaction());
            }
        }
        "get and return" => {
            for _ in 0..count {
                drop(black_box(get("default", Access::ReadWrite)?));
            }
        }
        "point read, prepared" => {
            let mut statement = db.prepare(POINT)?;
            for key in keys().take(count) {
                black_box(statement.query_row([key], code_and_size)?);
            }
        }
        "point read, one-shot typed" => {
            for key in keys().take(count) {
                black_box(db.query(POINT, [key])?);
            }
        }
        "10 point reads in a transaction" => {
            let mut keys = keys();
            for _ in 0..count {
                db.transaction_with(TransactionMode::Deferred, |tx| {
                    let mut statement = tx.prepare(POINT)?;
                    for key in keys.by_ref().take(READ_TOGETHER as usize) {
                        black_box(statement.query_row([key], code_and_size)?);
                    }
                    Ok::<_, Error>(())
                })?;
            }
        }
        "scan of 100,000 rows" => {
            for _ in 0..count {
                scan(&db, SCANNED)?;
            }
        }
        "scan of 100,000 rows, typed" => {
            for _ in 0..count {
                let table = db.query(SCAN, [SCANNED])?;
                for row in table.rows {
                    black_box::<Vec<Value>>(row);
                }
            }
        }
        "scan of a number of rows" => scan(&db, count as i64)?,
        "insert in a transaction" => {
            for _ in 0..count {
                db.transaction(|tx| {
                    let mut statement = tx.prepare(INSERT)?;
                    for size in 0..WRITTEN {
                        statement.execute((CODE, size, TITLE, 1.5))?;
                    }
                    Ok::<_, Error>(())
                })?;
            }
        }
        "execute_many" => {
            for _ in 0..count {
                let rows = (0..WRITTEN).map(|size| (CODE, size, TITLE, 1.5));
                db.execute_many(INSERT, rows)?;
            }
        }
        "1 MB blob, write" => {
            let blob = vec![7_u8; BLOB];
            for _ in 0..count {
                db.execute(WRITE_BLOB, [blob.as_slice()])?;
            }
        }
        "1 MB blob, read" => {
            let mut statement = db.prepare(READ_BLOB)?;
            for _ in 0..count {
                black_box(statement.query_row((), |row| row.get::<Vec<u8>>(0))?);
            }
        }
        other => panic!("no row is named {other:?}"),
    }
    Ok(())
}

fn code_and_size(row: &Row<'_>) -> Result<(String, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn scan(db: &Connection, rows: i64) -> Result<()> {
    let mut statement = db.prepare(SCAN)?;
    let mut rows = statement.query([rows])?;
    while let Some(row) = rows.next()? {
        let item: (i64, String, i64, String, f64) = (
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        );
        black_box(item);
    }
    Ok(())
}
