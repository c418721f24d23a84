//! SQLite as the engine of a pool, for many borrowers who do not trust each other.
//!
//! ```
//! use millpond_pool::{Access, Parameters, Value};
//! use millpond_sqlite::PoolBuilder;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), millpond_pool::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("app.db");
//! let pool = PoolBuilder::new().max_size(5).open(path)?;
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
//! A borrower is given what its [`Grant`](millpond_pool::Grant) says, and SQLite asks for it while it
//! compiles a statement (<https://sqlite.org/c3ref/set_authorizer.html>):
//!
//! ```
//! use millpond_pool::{Access, ErrorKind, Grant, Parameters, Request, TableGrant, block_on};
//! use millpond_sqlite::PoolBuilder;
//!
//! let pool = PoolBuilder::new().open_in_memory()?;
//! let setup = pool.get_blocking(Access::ReadWrite)?;
//! block_on(setup.execute_script("CREATE TABLE note(body, author); CREATE TABLE secret(x)"))?;
//!
//! let grant = Grant::new(&pool, Access::ReadWrite)
//!     .table("note", TableGrant::new().read().insert().hide("author"));
//! let connection = block_on(grant.get(Access::ReadWrite, &Request::new()))?;
//! block_on(connection.execute("INSERT INTO note VALUES ('a', 'me')", &Parameters::NONE))?;
//! let refused = block_on(connection.execute("DELETE FROM note", &Parameters::NONE));
//! assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotAuthorized);
//! # Ok::<(), millpond_pool::Error>(())
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
//! shared. None is answered before that commit, and a statement that fails, or takes longer than
//! some milliseconds, runs by itself and harms no other.
//!
//! # Checkpoints
//!
//! What is committed goes to the write-ahead log. A thread of the pool, with a connection of its
//! own, writes a log of 1,000 pages into the database, beside those who read and write, and has it
//! start anew (<https://sqlite.org/wal.html#ckpt>). For that it waits up to 100 ms until those who
//! read have come to their end: who begins to read meanwhile waits too, and so do writers once the
//! log has 3,500 pages. Where a reader takes longer, the log grows until that one ends, and is
//! not waited for again.
//!
//! While much is read and little committed, the same connection keeps a read mark
//! (<https://sqlite.org/walformat.html>), which spares every other reader of the process two system
//! calls: a row is found in half the time. It lets go of it before it writes the log, and once a
//! second for checkpoints of other processes, which find the database read until then.
//!
//! The thread is there only while there is something to do, and 5 seconds longer. In memory there
//! is no log, and no mark.
//!
//! # Where to find what
//!
//! `engine` is a database, `session` a connection at work. `open` decides how a connection is set
//! up, `policy` what it runs, `deadline` when it stops. `writers` holds the queue of
//! those who write, what they commit together, and the checkpoints. All unsafe code is in `ffi`.

#![cfg_attr(
    test,
    expect(
        clippy::duplicate_mod,
        reason = "`scheduled_tests` compiles some sources once more, with other locks"
    )
)]

mod builder;
mod deadline;
mod engine;
mod error;
mod ffi;
mod like;
mod limits;
mod math;
pub mod migrations;
mod open;
mod policy;
#[cfg(test)]
mod scheduled_tests;
mod session;
mod sync;
mod text;
mod writers;

pub use builder::PoolBuilder;
pub use ffi::memory::set_process_memory_limit;
pub use open::settings::Synchronous;
