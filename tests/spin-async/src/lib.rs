//! The asynchronous functions of Spin's SQLite: results as streams, and calls at the same time.
//! With an argument, it does what `pending.rs` does under this name. As an HTTP handler:
//!
//! - `/hold` writes in a transaction that it commits at the end of the request's body.
//! - `/compute` begins to write, and computes for 3 seconds before it looks at the result.
//! - `/add` writes.
//!
//! Empty for any other target, whose linker does not accept a component's export names.
#![cfg(target_family = "wasm")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use wasip3::cli::environment::get_arguments;
use wasip3::exports::{cli, http};
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::StreamResult;
use wasip3::wit_future;

use self::generated::spin::sqlite3_1_0::sqlite::{Connection, Error, RowResult, Value};

mod pending;

mod generated {
    wit_bindgen::generate!({
        path: "../../host/compat/wit/spin",
        world: "millpond:spin/async-imports",
        generate_all,
    });
}

struct Program;

wasip3::cli::command::export!(Program);
wasip3::http::service::export!(Program);

impl cli::run::Guest for Program {
    async fn run() -> Result<(), ()> {
        if let Some(name) = get_arguments().get(1) {
            pending::run(name).await;
            return Ok(());
        }
        rows_arrive_in_order().await;
        the_end_tells_of_errors().await;
        rows_may_be_left().await;
        a_connection_lives_as_long_as_its_rows().await;
        streams_are_counted().await;
        connections_are_counted().await;
        counters().await;
        Ok(())
    }
}

impl http::handler::Guest for Program {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let db = open().await;
        run(&db, "CREATE TABLE IF NOT EXISTS t(a)").await;
        match request.get_path_with_query().as_deref() {
            Some("/hold") => {
                run(&db, "BEGIN IMMEDIATE").await;
                run(&db, "INSERT INTO t VALUES (1)").await;
                read(request).await;
                run(&db, "COMMIT").await;
            }
            Some("/compute") => {
                let mut insert = Box::pin(run(&db, "INSERT INTO t VALUES (1)"));
                let now = poll_fn(|context| Poll::Ready(insert.as_mut().poll(context))).await;
                assert!(now.is_pending());
                let since = Instant::now();
                while since.elapsed() < Duration::from_secs(3) {}
                insert.await;
            }
            _ => run(&db, "INSERT INTO t VALUES (1)").await,
        }
        let (_, trailers) = wit_future::new(|| Ok(None));
        Ok(Response::new(Fields::new(), None, trailers).0)
    }
}

async fn read(request: Request) {
    let (_, consumed) = wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Request::consume_body(request, consumed);
    while let (StreamResult::Complete(_), _) = body.read(Vec::with_capacity(1024)).await {}
}

const NUMBERS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    SELECT i AS number FROM n";

/// A result: the columns' names, the rows, and how reading them ended.
type Streams = (
    Vec<String>,
    wit_bindgen::StreamReader<RowResult>,
    wit_bindgen::FutureReader<Result<(), Error>>,
);

async fn open() -> Connection {
    Connection::open_async("default".to_owned()).await.unwrap()
}

async fn execute(db: &Connection, sql: &str, parameters: &[i64]) -> Result<Streams, Error> {
    let parameters = parameters.iter().map(|value| Value::Integer(*value));
    db.execute_async(sql.to_owned(), parameters.collect()).await
}

/// Run a statement that yields no rows.
async fn run(db: &Connection, sql: &str) {
    let (columns, _rows, end) = execute(db, sql, &[]).await.unwrap();
    assert!(columns.is_empty());
    // The rows need not be read.
    end.await.unwrap();
}

fn number(row: &RowResult) -> i64 {
    match row.values[..] {
        [Value::Integer(number)] => number,
        ref other => panic!("{other:?}"),
    }
}

fn fails<T>(result: Result<T, Error>, kind: &str) {
    match result {
        Err(Error::Io(message)) if message.starts_with(&format!("{kind}: ")) => {}
        Err(other) => panic!("{other:?}, and not {kind}"),
        Ok(_) => panic!("no {kind}"),
    }
}

async fn rows_arrive_in_order() {
    let db = open().await;
    for count in [1, 63, 64, 65, 128, 5_000] {
        let (columns, rows, end) = execute(&db, NUMBERS, &[count]).await.unwrap();
        assert_eq!(columns, ["number"]);
        let rows = rows.collect().await;
        end.await.unwrap();
        assert_eq!(
            rows.iter().map(number).collect::<Vec<_>>(),
            Vec::from_iter(1..=count)
        );
    }
    // Two at the same time, one row after another.
    let (_, mut first, _end) = execute(&db, NUMBERS, &[200]).await.unwrap();
    let (_, mut second, _end) = execute(&db, NUMBERS, &[200]).await.unwrap();
    for expected in 1..=200 {
        for rows in [&mut first, &mut second] {
            assert_eq!(number(&rows.next().await.unwrap()), expected);
        }
    }
    assert!(first.next().await.is_none());
}

async fn the_end_tells_of_errors() {
    let db = open().await;
    fails(execute(&db, "SELECT * FROM missing", &[]).await, "sql");
    fails(execute(&db, "SELECT ?", &[]).await, "parameters");
    let sql = format!("SELECT iif(number < 500, number, CAST(x'ff' AS TEXT)) FROM ({NUMBERS})");
    let (_, rows, end) = execute(&db, &sql, &[1_000]).await.unwrap();
    let rows = rows.collect().await;
    assert!(rows.len() < 500, "{}", rows.len());
    fails(end.await, "not-utf8");
}

async fn rows_may_be_left() {
    let db = open().await;
    let (_, mut rows, end) = execute(&db, NUMBERS, &[1_000_000_000]).await.unwrap();
    assert_eq!(number(&rows.next().await.unwrap()), 1);
    drop(rows);
    end.await.unwrap();
    // The future, too.
    drop(execute(&db, NUMBERS, &[1_000]).await.unwrap());
    run(&db, "CREATE TABLE t(a)").await;
}

async fn a_connection_lives_as_long_as_its_rows() {
    let db = open().await;
    let (_, mut rows, end) = execute(&db, NUMBERS, &[300]).await.unwrap();
    assert_eq!(number(&rows.next().await.unwrap()), 1);
    drop(db);
    let held = [open().await, open().await, open().await];
    let database = || Connection::open_async("default".to_owned());
    fails(database().await, "too-many-handles");
    assert_eq!(rows.collect().await.len(), 299);
    end.await.unwrap();
    database().await.unwrap();
    drop(held);

    // One without rows to come is returned at once, with its transaction.
    let db = open().await;
    run(&db, "BEGIN IMMEDIATE").await;
    run(&db, "INSERT INTO t VALUES (1)").await;
    drop(db);
    let db = open().await;
    run(&db, "INSERT INTO t VALUES (2)").await;
}

/// A request may have 64 cursors.
async fn streams_are_counted() {
    let db = open().await;
    let mut results = Vec::new();
    for _ in 0..64 {
        results.push(execute(&db, NUMBERS, &[1]).await.unwrap());
    }
    fails(execute(&db, NUMBERS, &[1]).await, "too-many-handles");
    results.pop();
    // A stream is over when its reader has seen its end.
    for _ in 0..100 {
        let (_, rows, _) = execute(&db, NUMBERS, &[100]).await.unwrap();
        assert_eq!(rows.collect().await.len(), 100);
    }
}

/// A request may have 4 connections, and those that it waits for count.
async fn connections_are_counted() {
    let opening = (0..6).map(|_| Connection::open_async("default".to_owned()));
    let opened = join(opening).await;
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 4);
    for refused in opened.into_iter().filter(Result::is_err) {
        fails(refused, "too-many-handles");
    }
    let db = &open().await;
    let inserts = (0..20).map(|number| async move {
        let sql = "INSERT INTO t VALUES (?) RETURNING a";
        let (_, rows, end) = execute(db, sql, &[100 + number]).await.unwrap();
        let rows = rows.collect().await;
        end.await.unwrap();
        number_of_one(&rows)
    });
    assert_eq!(join(inserts).await, Vec::from_iter(100..120));
}

fn number_of_one(rows: &[RowResult]) -> i64 {
    assert_eq!(rows.len(), 1);
    number(&rows[0])
}

async fn counters() {
    let db = open().await;
    assert_eq!(db.last_insert_rowid_async().await, 0);
    run(&db, "DELETE FROM t").await;
    assert_eq!(db.changes_async().await, 21);
    run(&db, "INSERT INTO t VALUES (1)").await;
    assert_eq!((db.changes_async().await, db.changes()), (1, 1));
    assert_eq!(db.last_insert_rowid_async().await, db.last_insert_rowid());
}

/// The results of all, which run at the same time.
async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut results: Vec<_> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, result) in running.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(context)
            {
                *result = Some(done);
            }
        }
        match results.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}
