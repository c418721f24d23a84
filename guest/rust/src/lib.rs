//! SQLite for WebAssembly components, through the host's connection pool.
//!
//! A guest never opens a file. It gets a connection from the host by the name of a database, uses
//! it, and returns it; the host takes back whatever the guest forgets when the request ends. This
//! crate wraps that contract (`millpond:sqlite`, re-exported as [`bindings`]) in an API that
//! resembles rusqlite's.
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
//! [`db`] and [`get`] wait for a free connection. Writes wait for their turn: one connection at a
//! time writes to a database. Both wait up to the pool's timeout, 10 seconds unless the host chose
//! otherwise, and then fail with [`ErrorKind::PoolTimeout`] or [`ErrorKind::Busy`]. Reads never
//! wait for a writer. If the database is across a network, calls documented as not waiting may wait
//! for the network.
//!
//! # What dropping does
//!
//! Dropping a [`Transaction`] without [`commit`](Transaction::commit) rolls it back. Dropping a
//! [`Savepoint`] undoes its part of the transaction. Dropping a [`Connection`] returns it to the
//! pool. When a request ends, even by a panic, everything it still holds is returned the same way.
//!
//! # Errors
//!
//! Every call that can fail returns [`Error`]. Match on its [`kind`](Error::kind): the message is
//! for people. Nothing here panics on data from a database or a caller.
//!
//! # Outside a component
//!
//! The crate compiles for any target, so that code that needs no database can be tested natively.
//! There, a call to the host fails with [`ErrorKind::Unavailable`].
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
//! The feature `serde` adds `Row::deserialize`, which deserializes a row into a struct, and
//! implements `Serialize` for [`PoolStats`] and [`Summary`].
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

pub mod bindings;
mod blocks;
mod cells;
mod connection;
mod db;
#[cfg(feature = "serde")]
mod deserialize;
mod error;
mod from_sql;
mod params;
mod prepared;
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
pub use rows::{AndThenRows, MappedRows, ResultSet, Rows};
pub use savepoint::Savepoint;
pub use statement::Statement;
pub use to_sql::{ToSql, ToSqlOutput};
pub use transaction::Transaction;
pub use value::{Value, ValueRef};

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
