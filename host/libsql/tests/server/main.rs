//! On a real server, where the variable `MILLPOND_SQLD` names one.

mod admin;
mod cursors;
mod faults;
mod grants;
mod lost;
mod many;
mod migrator;
mod observe;
#[path = "../../../pool/tests/engine/recorder.rs"]
mod recorder;
mod replicas;
mod sqld;
mod statements;
mod transactions;

use std::fmt::Debug;
use std::time::Duration;

use millpond_pool::{Access, Connection, Error, ErrorKind, Parameters, Pool, Result, Value};

static NONE: Parameters = Parameters::NONE;

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

fn kind<T: Debug>(result: Result<T>) -> ErrorKind {
    error(result).kind()
}

fn error<T: Debug>(result: Result<T>) -> Error {
    result.expect_err("an error")
}

/// The one value of a query.
async fn value(connection: &Connection, sql: &str) -> Value {
    let table = connection.query(sql, &NONE).await;
    let table = table.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let row = table.rows.iter().next().expect("a row");
    row.get(0).expect("a value").into()
}

/// Close a pool, of which every connection has come back.
async fn close(pool: Pool) {
    let stats = pool.stats();
    assert_eq!(stats.in_use, 0, "{stats:?}");
    assert_eq!(
        stats.connections_created - stats.connections_closed,
        u64::from(stats.idle),
        "{stats:?}"
    );
    pool.close(Duration::from_secs(5)).await;
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle), (0, 0), "{stats:?}");
}
