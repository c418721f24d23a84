//! SQLite for WebAssembly components, through the host's connection pool.
//!
//! A guest never opens a file. It takes a connection from the host by the name of a database,
//! works through it, and gives it back; whatever it forgets, the host takes back when the
//! request ends. This crate gives that contract (`millpond:sqlite`, re-exported as
//! [`bindings`]) the shape that Rust authors know from rusqlite.
//!
//! ```no_run
//! use millpond_guest::{Error, OptionalExtension, db, params};
//!
//! fn rename(id: i64, title: &str) -> Result<Option<String>, Error> {
//!     let db = db()?;
//!     db.transaction(|tx| {
//!         tx.execute("UPDATE notes SET title = ?2 WHERE id = ?1", params![id, title])?;
//!         tx.query_row("SELECT title FROM notes WHERE id = ?1", [id], |row| row.get(0))
//!             .optional()
//!     })
//! }
//! ```
//!
//! # What waits
//!
//! [`db`] and [`get`] wait for a free connection. What writes waits for its turn to write: one
//! connection at a time writes to a database. Both wait up to the pool's timeout, 10 seconds
//! unless the host chose otherwise, and then fail with [`ErrorKind::PoolTimeout`] or
//! [`ErrorKind::Busy`]. Reads never wait for a writer. Where the database is across a network, what is
//! said here not to wait may wait for that.
//!
//! # What is forgotten
//!
//! A [`Transaction`] dropped without [`commit`](Transaction::commit) rolls back, a [`Savepoint`]
//! undoes its part of the transaction, a [`Connection`] dropped goes back to the pool, and what a
//! request still holds when it ends, by a panic too, goes back the same way.
//!
//! # Errors
//!
//! Every call that can fail returns [`Error`]. Match on its [`kind`](Error::kind): the message
//! is for people. Nothing here panics on what a database or a caller holds.
//!
//! # Outside a component
//!
//! The crate compiles for any target, so that what is built on it can be tested natively as far
//! as it needs no database. A call to the host fails there with [`ErrorKind::Unavailable`].
//!
//! # Features
//!
//! All are off by default.
//!
//! | feature      | bind and read as columns | stored as |
//! |--------------|--------------------------|-----------|
//! | `uuid`       | `uuid::Uuid` | a blob of 16 bytes |
//! | `chrono`     | `NaiveDate`, `NaiveTime`, `NaiveDateTime` | text |
//! | `chrono`     | `DateTime` of `Utc`, `Local` (stored in UTC), `FixedOffset` | text |
//! | `time`       | `Date`, `Time`, `PrimitiveDateTime`, `UtcDateTime`, `OffsetDateTime` | text |
//! | `jiff`       | `civil::Date`, `civil::Time`, `civil::DateTime`, `Timestamp` | text |
//! | `serde_json` | `serde_json::Value` | null, a number, or text |
//! | `url`        | `url::Url` | text |
//!
//! The formats are those of rusqlite's features of the same names, so that a database can be shared
//! with a program that uses it.
//!
//! The feature `serde` adds `Row::deserialize`, which makes a struct of a row, and implements
//! `Serialize` for [`PoolStats`] and [`Summary`].
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

pub mod bindings;
mod cells;
mod connection;
mod db;
#[cfg(feature = "serde")]
mod deserialize;
mod error;
mod from_sql;
mod params;
mod row;
mod rows;
mod savepoint;
#[cfg(feature = "serde")]
mod serialize;
mod statement;
mod to_sql;
mod transaction;
mod types;
mod value;

pub use bindings::connections::{Column, Summary, TransactionMode};
pub use bindings::pool::{Access, PoolStats};
pub use connection::{Connection, databases, get, stats};
pub use db::{db, db_read_only, return_db};
pub use error::{Error, ErrorKind, OptionalExtension};
pub use from_sql::{FromSql, FromSqlError, FromSqlResult};
pub use params::{ManyParams, Params, ParamsFromIter, params_from_iter};
pub use row::{Row, RowIndex};
pub use rows::{AndThenRows, MappedRows, Rows, Table};
pub use savepoint::Savepoint;
pub use statement::Statement;
pub use to_sql::{ToSql, ToSqlOutput};
pub use transaction::Transaction;
pub use value::{Value, ValueRef};

/// What a call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
