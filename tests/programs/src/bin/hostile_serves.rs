//! An HTTP handler that responds to `/quick` with a row, to `/uri` with the request's own, and
//! otherwise misbehaves as its path says: it loops, floods, holds what it can, or never responds;
//! or it runs the statement that it receives. `/count` responds with a number of its own for each
//! instance, and how many requests that has counted.
#![cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "natively there is no host to call the handler")
)]

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use millpond_guest::bindings::connections::TransactionMode;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, read};
use wstd::http::{Body, Error, Response};

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

thread_local! {
    static INSTANCE: u64 = RandomState::new().hash_one(0);
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The instance's number, and how many requests it has counted.
fn count() -> String {
    COUNT.set(COUNT.get() + 1);
    format!("{} {}", INSTANCE.with(|number| *number), COUNT.get())
}

#[cfg(target_family = "wasm")]
#[wstd::http_server]
async fn main(request: wstd::http::Request<Body>) -> Result<Response<Body>, Error> {
    match request.uri().path() {
        "/query" => {
            let sql = request.into_body().str_contents().await?.to_owned();
            Ok(Response::new(query(&sql).into()))
        }
        // After it has computed for longer than it may in the foreground.
        "/compute/query" => {
            let sql = request.into_body().str_contents().await?.to_owned();
            let since = std::time::Instant::now();
            while since.elapsed() < std::time::Duration::from_millis(50) {}
            Ok(Response::new(query(&sql).into()))
        }
        "/uri" => Ok(Response::new(request.uri().to_string().into())),
        path => answer(path),
    }
}

/// How a statement that the client sent ended.
fn query(sql: &str) -> String {
    let answer =
        get_connection("default", Access::ReadWrite).and_then(|db| db.query(sql, NONE, false));
    match answer {
        Ok(_) => "answered".to_owned(),
        Err(error) => format!("{:?}", error.kind),
    }
}

fn answer(path: &str) -> Result<Response<Body>, Error> {
    let db = || get_connection("default", Access::ReadWrite);
    match path {
        "/quick" => {
            let table = db().and_then(|db| db.query("SELECT 1", NONE, false));
            let table = table.map_err(|error| Error::msg(error.message))?;
            Ok(Response::new(format!("{:?}", read(&table.rows)).into()))
        }
        "/count" => Ok(Response::new(count().into())),
        // The end of the line is missing.
        "/count/print" => {
            print!("printed");
            std::io::Write::flush(&mut std::io::stdout())?;
            Ok(Response::new(count().into()))
        }
        "/count/trap" => {
            println!("trapping {}", count());
            panic!("as told")
        }
        "/count/grow" => {
            KEPT.set(vec![1; 140 << 20]);
            Ok(Response::new(count().into()))
        }
        "/count/limit" => {
            assert!(Vec::<u8>::new().try_reserve(1 << 30).is_err());
            Ok(Response::new(count().into()))
        }
        // The instance keeps their handles.
        "/count/keep" => {
            let db = db().map_err(|error| Error::msg(error.message))?;
            for _ in 0..40 {
                let statement = db.prepare("SELECT 1");
                std::mem::forget(statement.map_err(|error| Error::msg(error.message))?);
            }
            Ok(Response::new(count().into()))
        }
        "/count/begin" => {
            let db = db().map_err(|error| Error::msg(error.message))?;
            let transaction = db.begin(TransactionMode::Immediate);
            let inserted = db.execute("INSERT INTO mark VALUES (1)", NONE);
            assert!(transaction.is_ok() && inserted.is_ok());
            // The instance keeps them.
            std::mem::forget((db, transaction));
            Ok(Response::new(count().into()))
        }
        "/loop" => loop {
            std::hint::black_box(());
        },
        "/flood" => loop {
            println!("{}", "x".repeat(10_000));
        },
        "/flood/lines" => loop {
            println!();
        },
        // Not a final response.
        "/hints" => Ok(Response::builder().status(103).body(Body::empty())?),
        // Each ends in time, but the guest does not.
        "/sql" => loop {
            let _ = db().and_then(|db| db.query(ENDLESS, NONE, false));
        },
        "/hold" => {
            let all: Vec<_> = std::iter::from_fn(|| db().ok()).collect();
            let _transaction = all[0].begin(TransactionMode::Immediate);
            loop {
                std::hint::black_box(&all);
            }
        }
        "/grow" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
            }
        }
        _ => panic!("as told"),
    }
}

#[cfg(not(target_family = "wasm"))]
fn main() {}
