//! What a real server seldom does, played by one of the tests: answers that come late, or cut, or
//! not at all, streams that are gone, garbage.

mod faults;
mod garbage;
mod protocol;
mod round_trips;
mod server;
mod tls;
mod transactions;
#[path = "../../src/hrana/wire.rs"]
#[expect(dead_code, reason = "the tests write less than the crate does")]
mod wire;

use std::fmt::Debug;
use std::time::Duration;

use millpond_libsql::PoolBuilder;
use millpond_pool::{Access, Connection, Error, ErrorKind, Parameters, Pool, Result};

use self::server::Server;

static NONE: Parameters = Parameters::NONE;
const WRITE: &str = "INSERT INTO t VALUES (1)";
const READ: &str = "SELECT a FROM t";

async fn pool_of(server: &Server, builder: PoolBuilder) -> Pool {
    let pool = builder.open(&server.url()).await.expect("a pool");
    server.seen();
    pool
}

async fn pool(server: &Server) -> Pool {
    pool_of(server, PoolBuilder::new().max_size(2)).await
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

fn error<T: Debug>(result: Result<T>) -> Error {
    result.expect_err("an error")
}

fn kind<T: Debug>(result: Result<T>) -> ErrorKind {
    error(result).kind()
}

/// Close a pool, of which every connection has come back.
async fn close(pool: Pool) {
    let stats = pool.stats();
    assert_eq!(stats.in_use, 0, "{stats:?}");
    pool.close(Duration::from_secs(5)).await;
    let stats = pool.stats();
    assert_eq!(
        stats.connections_created, stats.connections_closed,
        "{stats:?}"
    );
}
