//! Lends connections to a database, in order and within limits, to many borrowers who do not trust
//! each other. Knows no engine: [`engine`] is what one has to do, and `millpond-sqlite` is one.
//!
//! A [`Pool`] lends [`Connection`]s to one database, up to a number, to callers in the order they
//! came. What a borrower leaves behind (an open transaction, temporary tables, a last insert
//! rowid, statements half-way) is undone when its connection comes back, or the connection is
//! closed: the next borrower cannot see it.
//!
//! A [`Grant`] says what a borrower may do, and how much; a [`Request`] is the scope at whose end
//! everything goes back, and can be ended from outside.
//!
//! # Where to find what
//!
//! `slots` is the heart: places, idle sessions and counters. `lending` says who gets which, and waits
//! for it. `lent` is a connection while it is
//! lent: it makes the calls, waits between them, and gives the session back. `connection`,
//! `statement` and `transaction` are the handles to it. `stop_flag` is how a call is ended from
//! outside, `thread` where it goes on if it does not end, and `worker` keeps a slow one from holding
//! up the runtime.

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
mod parameters;
mod pool;
mod request;
mod rights;
mod rows;
#[cfg(test)]
mod scheduled_tests;
mod settings;
mod slots;
#[cfg(test)]
mod slots_tests;
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
pub use request::Request;
pub use rights::TableGrant;
pub use settings::Settings;
pub use statement::{Cursor, Description, Page, Statement};
pub use stats::PoolStats;
pub use transaction::Transaction;
pub use value::{
    Access, Column, Parameters, Row, Rows, RowsIter, Summary, Table, TransactionMode, Value,
    ValueRef,
};
