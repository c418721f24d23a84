//! A pool of SQLite connections, for many borrowers who do not trust each other.
//!
//! A [`Pool`] lends [`Connection`]s to one database, up to a number, to callers in the order they
//! came. What a borrower leaves behind (an open transaction, temporary tables, a last insert
//! rowid, statements half-way) is undone when its connection comes back, or the connection is
//! closed: the next borrower cannot see it.
//!
//! ```
//! use millpond_pool::{Access, Parameters, Pool, Value};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), millpond_pool::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("app.db");
//! let pool = Pool::builder().max_size(5).open(path)?;
//! {
//!     let connection = pool.get(Access::ReadWrite).await?;
//!     connection.execute_script("CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT)").await?;
//!     let body = Parameters::from(["hello"]);
//!     let done = connection.execute("INSERT INTO note(body) VALUES (?1)", &body).await?;
//!     assert_eq!((done.changes, done.last_insert_rowid), (1, 1));
//! } // The connection goes back here.
//! let connection = pool.get(Access::ReadOnly).await?;
//! let table = connection.query("SELECT body FROM note", &Parameters::NONE).await?;
//! assert_eq!(table.rows, [[Value::Text("hello".into())]]);
//! # drop(connection);
//! # pool.close(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Readers and writers
//!
//! The database is in write-ahead logging mode (<https://sqlite.org/wal.html>): readers see the
//! last commit and never wait for a writer. One connection at a time writes; the others wait for
//! their turn in the pool, in order, without a thread and without SQLite's polling. A turn begins
//! with the first statement that writes, however it is written, and lasts until its transaction
//! ends.
//!
//! Single statements outside of a transaction that wait at the same time are committed together, by
//! the one whose turn it is, each under its own grant and limits: so a commit's wait for the disk is
//! shared. Nobody is answered before that commit, and a statement that fails, or takes longer than
//! some milliseconds, runs by itself and harms no other.
//!
//! # Where to find what
//!
//! `slots` is the heart: places, idle connections and counters, without SQLite. `turn` is the
//! writers' queue, `db::group` what they commit together. `db` is a connection at work; `connection`, `statement` and `transaction` are
//! the handles to it, `grant` what their holder may do. `open` and `policy` decide how a connection
//! is set up and what it runs. Unsafe code is in `raw` (statements), `functions` (SQL functions),
//! `fts5` (full-text search), `memory` (SQLite's allocator) and `vfs` (its files), and nowhere
//! else.

#![cfg_attr(
    test,
    expect(
        clippy::duplicate_mod,
        reason = "`scheduled_tests` compiles some sources once more, with other locks"
    )
)]

mod aside;
mod block_on;
mod builder;
mod cache;
mod cells;
mod changes;
mod checkpoint;
mod clock;
mod connection;
mod db;
mod error;
mod fts5;
mod functions;
mod gate;
mod grant;
mod hints;
mod identity;
mod lent;
mod like;
mod math;
mod memory;
pub mod migrations;
mod open;
mod policy;
mod pool;
mod program;
mod raw;
mod read_mark;
mod request;
#[cfg(test)]
mod scheduled_tests;
mod self_test;
mod series;
mod settings;
mod slots;
#[cfg(test)]
mod slots_tests;
mod statement;
mod stats;
mod sync;
mod text;
mod transaction;
mod turn;
mod value;
mod vfs;
mod watch;
#[cfg(test)]
mod watch_tests;
mod watchdog;
mod worker;

pub use block_on::block_on;
pub use builder::PoolBuilder;
pub use connection::Connection;
pub use db::{Access, TransactionMode};
pub use error::{Error, ErrorKind, Result};
pub use grant::{Grant, StatsScope, TableGrant};
pub use memory::set_process_memory_limit;
pub use pool::Pool;
pub use request::Request;
pub use settings::Synchronous;
pub use statement::{Cursor, Description, Page, Statement};
pub use stats::PoolStats;
pub use transaction::Transaction;
pub use value::{Column, Parameters, Row, Rows, RowsIter, Summary, Table, Value, ValueRef};
