//! Lends connections to a database, in order and within limits, to many borrowers that do not trust
//! each other. It is independent of the database engine: [`engine`] defines what an engine
//! implements, and `millpond-sqlite` is one. Use it on a multi-thread tokio runtime, where a slow
//! statement blocks no other task. Anywhere else, and in the calls that block, a statement blocks
//! its thread until it ends, at the latest at its deadline: make the calls on a thread without
//! other work, as under [What blocks](#what-blocks).
//!
//! A [`Pool`] lends a bounded number of [`Connection`]s to one database, first come, first served.
//! When a connection is returned, the pool undoes what its borrower left behind (an open
//! transaction, temporary tables, a last insert rowid, unfinished statements) or closes the
//! connection: the next borrower cannot see any of it.
//!
//! [`Pools`] has many databases, by key: it opens the pool of each when it is first needed, and
//! closes those that have not been used for a while.
//!
//! A [`Grant`] says what a borrower may do, and how much. A [`Request`] is the scope whose end
//! returns everything; it can be interrupted from outside.
//!
//! [`PoolStats`] and [`PoolsStats`] have counters. An observer, as in [`observe`], is told each
//! event.
//!
//! # What blocks
//!
//! A call runs on the thread that polls it, or, if the engine might not stop in time, on the
//! connection's own thread while the call waits, without blocking. With `millpond-sqlite` it
//! returns usually within 10 ms of its deadline, and at most 50 ms after it, unless a disk hangs.
//! On a multi-thread tokio runtime, a call that takes longer than 1 to 2 ms hands its worker over
//! to another thread ([`block_in_place`](tokio::task::block_in_place)), so that the runtime's other
//! tasks continue.
//!
//! A busy tokio runtime looks for due timers and sockets only after every 61 polls. If many
//! borrowers' calls each take up to a millisecond, let it look more often: `event_interval(8)` on
//! its [`Builder`](tokio::runtime::Builder::event_interval).
//!
//! On a current-thread runtime and in a [`LocalSet`](tokio::task::LocalSet) there is no worker to
//! hand over, and [`block_on`] and [`Pool::get_blocking`] block by definition. Make the calls on a
//! blocking thread there:
//!
//! ```
//! use millpond_pool::{Access, Parameters, Pool, Result, Value, block_on};
//!
//! /// The number of notes. Blocks no other task of a current-thread runtime.
//! async fn count(pool: Pool) -> Result<Value> {
//!     let call = move || {
//!         let connection = pool.get_blocking(Access::ReadOnly)?;
//!         let notes = block_on(connection.query("SELECT count(*) FROM note", &Parameters::NONE));
//!         Ok(notes?.rows.to_vec()[0][0].clone())
//!     };
//!     tokio::task::spawn_blocking(call).await.expect("no panic")
//! }
//! ```
//!
//! # Where to find what
//!
//! `slots` is the core: places, idle sessions and counters. `lending` decides who gets which
//! session, and waits for it. `lent` is a connection while it is lent: it makes the calls, waits
//! between them, and returns the session. `connection`, `statement` and `transaction` are the
//! public handles. `stop_flag` stops a call from outside, `thread` runs a call that might not stop
//! in time, and `worker` keeps a slow call from blocking the runtime. `pools` opens and closes
//! pools by key, and `observe` tells an operator what happens. `maintenance` is the thread that
//! looks for what has been idle for too long, and `spawner` starts all threads.

#![cfg_attr(
    test,
    expect(
        clippy::duplicate_mod,
        reason = "`scheduled_tests` compiles some sources once more, with other locks"
    )
)]

mod block_on;
pub mod clock;
mod connection;
pub mod engine;
mod error;
mod flat;
#[cfg(test)]
mod flat_tests;
mod grant;
mod lending;
mod lent;
mod maintenance;
pub mod observe;
mod parameters;
mod pool;
mod pooled;
mod pools;
mod request;
mod rights;
mod rows;
#[cfg(test)]
mod scheduled_tests;
mod settings;
mod slots;
#[cfg(test)]
mod slots_tests;
pub mod spawner;
mod statement;
mod stats;
mod stop_flag;
#[cfg(test)]
mod stop_flag_tests;
mod sync;
mod thread;
mod transaction;
mod value;
mod worker;

pub use block_on::block_on;
pub use connection::Connection;
pub use error::{Error, ErrorKind, Result};
pub use grant::{Grant, StatsScope};
pub use pool::Pool;
pub use pools::{Pools, PoolsSettings, PoolsStats};
pub use request::Request;
pub use rights::TableGrant;
pub use settings::Settings;
pub use statement::{Cursor, Description, Page, Statement};
pub use stats::PoolStats;
pub use transaction::Transaction;
pub use value::{
    Access, Column, Parameters, ResultSet, Row, Rows, RowsIter, Summary, TransactionMode, Value,
    ValueRef,
};
