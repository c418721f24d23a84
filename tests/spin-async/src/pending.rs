//! Calls that wait while a statement runs on another thread of the host. The host's runtime must
//! have one worker, so that calls begin in their order.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;

use super::{Connection, Error, NUMBERS, Streams, Value, execute, number, open};

/// Runs until it is stopped.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT count(*) FROM n";

/// Runs for long enough to begin other calls meanwhile.
const LONG: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
    SELECT count(*) FROM n";

pub(super) async fn run(name: &str) {
    let db = open().await;
    super::run(&db, "CREATE TABLE t(a)").await;
    match name {
        "end" => end(db).await,
        "drop a stream" => drop_a_stream(&db).await,
        "drop a page" => drop_a_page(&db).await,
        "count" => count(&db).await,
        "read" => {
            for cancelled in [false, true] {
                read(&db, cancelled).await;
            }
        }
        "texts" => texts(&db).await,
        "open" => open_late(&db).await,
        other => panic!("{other}"),
    }
}

type Call<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Begin a call, without waiting for it.
async fn begin<'a, T: 'a>(call: impl Future<Output = T> + 'a) -> Call<'a, T> {
    let mut call: Call<'a, T> = Box::pin(call);
    let now = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    match now {
        Poll::Pending => call,
        // The host may be that quick.
        Poll::Ready(done) => Box::pin(ready(done)),
    }
}

/// Begin to write, so that [`run_after_commit`] can tell when that has ended.
async fn begin_transaction(db: &Connection) {
    super::run(db, "BEGIN IMMEDIATE").await;
}

/// Begin to commit, and to run a statement after it. Return while that runs. Meanwhile, none of the
/// guest's other calls is polled.
async fn run_after_commit<'a>(
    db: &'a Connection,
    other: &Connection,
    sql: &'a str,
) -> [Call<'a, Result<Streams, Error>>; 2] {
    let commit = begin(execute(db, "COMMIT", &[])).await;
    let statement = begin(execute(db, sql, &[])).await;
    loop {
        match other.execute("INSERT INTO t VALUES (1)", &[]) {
            Ok(_) => return [commit, statement],
            Err(Error::Io(message)) if message.starts_with("busy: ") => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The request ends while a task, which the guest has cancelled, runs a statement.
async fn end(db: Connection) {
    let other = open().await;
    begin_transaction(&db).await;
    drop(run_after_commit(&db, &other, ENDLESS).await);
}

/// A result of which a page has been read.
async fn read_a_page(db: &Connection) -> Streams {
    let (columns, mut rows, end) = execute(db, NUMBERS, &[200]).await.unwrap();
    for expected in 1..=64 {
        assert_eq!(number(&rows.next().await.unwrap()), expected);
    }
    (columns, rows, end)
}

async fn drop_a_stream(db: &Connection) {
    let other = open().await;
    begin_transaction(db).await;
    let (_, mut rows, _end) = read_a_page(db).await;
    let _calls = run_after_commit(db, &other, ENDLESS).await;
    let next = begin(rows.next()).await;
    // Meanwhile the host begins to read.
    super::run(&other, "INSERT INTO t VALUES (1)").await;
    drop(next);
    drop(rows);
}

async fn drop_a_page(db: &Connection) {
    let other = open().await;
    begin_transaction(db).await;
    let page = begin(execute(db, NUMBERS, &[200])).await;
    let _calls = run_after_commit(db, &other, ENDLESS).await;
    drop(page);
}

async fn count(db: &Connection) {
    let other = open().await;
    begin_transaction(db).await;
    let _calls = run_after_commit(db, &other, LONG).await;
    let changes = begin(db.changes_async()).await;
    let rowid = begin(db.last_insert_rowid_async()).await;
    assert_eq!(db.changes(), changes.await);
    assert_eq!(db.last_insert_rowid(), rowid.await);
}

async fn read(db: &Connection, cancelled: bool) {
    let other = open().await;
    begin_transaction(db).await;
    let (_, mut rows, _end) = read_a_page(db).await;
    let _calls = run_after_commit(db, &other, LONG).await;
    let next = begin(rows.next()).await;
    super::run(&other, "INSERT INTO t VALUES (1)").await;
    let next = match cancelled {
        true => {
            drop(next);
            db.changes();
            rows.next().await
        }
        false => {
            db.changes();
            next.await
        }
    };
    assert_eq!(number(&next.unwrap()), 65);
}

/// Statements that wait may have 32 MiB together.
async fn texts(db: &Connection) {
    let other = open().await;
    begin_transaction(db).await;
    let _calls = run_after_commit(db, &other, ENDLESS).await;
    let text = format!("SELECT 1 -- {}", " ".repeat(17 << 20));
    let _waiting = begin(execute(db, &text, &[])).await;
    super::fails(execute(db, &text, &[]).await, "too-large");
}

/// Waits for a connection, and polls no call until another request has used the place.
async fn open_late(db: &Connection) {
    let opening = begin(Connection::open_async("brief".to_owned())).await;
    loop {
        let result = db.execute("SELECT count(*) FROM t", &[]).unwrap();
        match result.rows[0].values[..] {
            [Value::Integer(0)] => {}
            [Value::Integer(1)] => break,
            ref other => panic!("{other:?}"),
        }
    }
    let opened = opening.await.unwrap();
    let result = opened.execute("SELECT 1", &[]);
    assert!(matches!(result, Err(Error::InvalidConnection)));
}
