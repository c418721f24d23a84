//! SQLite as the engine of a pool, for many borrowers that do not trust each other.
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
//! A borrower may do what its [`Grant`](millpond_pool::Grant) says; SQLite asks while it compiles a
//! statement (<https://sqlite.org/c3ref/set_authorizer.html>):
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
//! last commit and never wait for a writer. One connection at a time writes. The others queue in
//! the pool for their turn, first come, first served, without blocking a thread and without
//! SQLite's polling. A turn begins with the first statement that writes, and lasts until its
//! transaction ends.
//!
//! Single statements outside a transaction that wait at the same time are committed together (group
//! commit), each under its own grant and limits, by the connection that has the turn: they share
//! one wait for the disk. Each call returns after that commit. A statement that fails, or takes
//! longer than some milliseconds, runs alone and does not affect the others.
//!
//! # Checkpoints
//!
//! Commits go to the write-ahead log. When the log has 1,000 pages, a thread of the pool, with its
//! own connection, copies it into the database while others read and write, and lets it restart
//! (<https://sqlite.org/wal.html#ckpt>). For that it waits up to 100 ms until current readers
//! finish. Meanwhile new readers wait too, and so do writers if the log has 3,500 pages. If a
//! reader takes longer, the log grows until that reader ends, and the thread does not wait for it
//! again.
//!
//! Once the pool is unused, it does its upkeep: see [`upkeep_after`](PoolBuilder::upkeep_after).
//! That ends with a checkpoint that truncates the log, if no connection of any process reads it.
//! Every other checkpoint is passive (<https://sqlite.org/c3ref/wal_checkpoint_v2.html>): it stops
//! at what a reader in another process needs, without waiting for it. While a program such as
//! Litestream keeps a read transaction open, the log does not restart.
//!
//! While there are many reads and few commits, the same connection holds a read mark
//! (<https://sqlite.org/walformat.html>), which saves every other reader of the process two system
//! calls: reading a row takes half the time. It releases the mark before a checkpoint, and once a
//! second for checkpoints of other processes, to which the database looks in use until then.
//!
//! The thread runs only while there is something to do, and 5 seconds longer. An in-memory database
//! has no log, and no read mark.
//!
//! # Where to find what
//!
//! `engine` is a database, `session` a connection at work, and `folder` has many databases.
//! [`backup`] copies, restores and checks one, and all of a folder. `lifecycle` creates, suspends
//! and deletes one of a folder. [`migrations`] makes the tables. `open` sets up a connection,
//! `policy` decides what it may run, `deadline` when it must stop. `writers` has the queue of
//! writers, group commit, and checkpoints. All unsafe code is in `ffi`.

#![cfg_attr(
    test,
    expect(
        clippy::duplicate_mod,
        reason = "`scheduled_tests` compiles some sources once more, with other locks"
    )
)]

pub mod backup;
mod builder;
mod deadline;
mod disk;
mod engine;
mod error;
mod error_kind;
mod ffi;
mod folder;
mod lifecycle;
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
mod words;
mod writers;

pub use builder::PoolBuilder;
pub use ffi::memory::set_process_memory_limit;
pub use folder::{
    Folder, FolderError, InvalidKey, Migrated, MigratedAll, Tenant, TenantKey, Tenants,
};
pub use open::settings::Synchronous;
