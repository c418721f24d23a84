//! A libSQL server as the engine of a pool: one database for many hosts, and the same connections,
//! statements, cursors and transactions as on a file.
//!
//! ```no_run
//! use millpond_libsql::PoolBuilder;
//! use millpond_pool::{Access, Parameters};
//!
//! # async fn write() -> Result<(), millpond_pool::Error> {
//! let pool = PoolBuilder::new()
//!     .token_file("/run/secrets/libsql-token")
//!     .open("libsql://db.example.com")
//!     .await?;
//! let connection = pool.get(Access::ReadWrite).await?;
//! let body = Parameters::from(["hello"]);
//! connection.execute("INSERT INTO note(body) VALUES (?1)", &body).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a network changes
//!
//! What a call meets that it does not on a file:
//!
//! - [`Unavailable`](millpond_pool::ErrorKind::Unavailable): nothing was sent, or nothing ran, or
//!   it only read. Try again.
//! - [`OutcomeUnknown`](millpond_pool::ErrorKind::OutcomeUnknown): a write was sent outside of a
//!   transaction, or a `COMMIT`, and no answer came, by the deadline or because the connection
//!   failed. It may have been committed, and may be committed later. **A write is never sent
//!   again**, unless the server said that it had not run it. What only reads is, once.
//! - [`rolled_back`](millpond_pool::Error::rolled_back): the transaction is gone. A server ends one
//!   that has held the lock for five seconds while another waits, one that has been silent for ten,
//!   and all of them when it restarts; a connection that fails takes its own with it. From then on
//!   every call of the connection fails with
//!   [`StaleHandle`](millpond_pool::ErrorKind::StaleHandle), until the borrower ends the
//!   transaction too. Each statement of a transaction carries the condition that there is one: none
//!   runs outside of it.
//! - A server that cannot be reached is tried again after 25 to 50 ms, and after longer the longer
//!   it is away, at most after 0.8 s. Until then, a call that would have to connect waits for up to
//!   0.15 s if that is enough, and otherwise fails at once with
//!   [`Unavailable`](millpond_pool::ErrorKind::Unavailable). Then one call tries.
//!   [`PoolStats::unreachable`](millpond_pool::PoolStats::unreachable) tells.
//! - A read on a replica sees what any connection of the pool wrote before it: with each statement
//!   goes the number of the newest state that the pool has seen, and the replica waits until it has
//!   that.
//!
//! # Round trips
//!
//! | | round trips |
//! |---|---|
//! | getting and returning a connection | 0 |
//! | a statement, as text or prepared | 1 |
//! | preparing a statement | 1, or 0 where its text was prepared before |
//! | a transaction of *n* statements, by its handle | *n* + 1: its `BEGIN` goes with the first |
//! | a transaction of none | 0 |
//! | `execute_many` | 1 for each 20,000 rows or 8 MiB |
//! | a script | 1 for each 200 statements that end or begin no transaction |
//! | a result of up to the server's `--max-response-size` (10 MB), read page by page | 1 |
//! | a larger one | 2 |
//!
//! Because a handle's `BEGIN` goes with its first statement, that is the one which waits for other
//! writers, and may fail with [`Busy`](millpond_pool::ErrorKind::Busy). It can then be tried again.
//! A second connection of the same request gets that error at once when it would write: it would
//! wait for its own request, and the server would end the transaction after 5 seconds.
//!
//! # What is refused
//!
//! Before anything is sent, with [`Unsupported`](millpond_pool::ErrorKind::Unsupported): `ATTACH`,
//! `DETACH`, `VACUUM`, `ANALYZE`, `REINDEX`; temporary tables, views, indexes and triggers;
//! `load_extension`; other databases than `main` in a pragma; and every pragma but these:
//!
//! - without a value: `application_id`, `auto_vacuum`, `cache_size`, `collation_list`,
//!   `compile_options`, `data_version`, `defer_foreign_keys`, `encoding`, `foreign_key_check`,
//!   `foreign_keys`, `freelist_count`, `function_list`, `integrity_check`, `journal_mode`,
//!   `page_count`, `page_size`, `query_only`, `quick_check`, `read_uncommitted`, `schema_version`,
//!   `synchronous`, `table_list`, `user_version`;
//! - of a table or an index: `foreign_key_check`, `foreign_key_list`, `index_info`, `index_list`,
//!   `index_xinfo`, `integrity_check`, `quick_check`, `table_info`, `table_list`, `table_xinfo`;
//! - to set something: `user_version`, `defer_foreign_keys`, and `foreign_keys = ON`, which holds
//!   anyhow.
//!
//! With [`NotAuthorized`](millpond_pool::ErrorKind::NotAuthorized): writes on a read-only
//! connection, changes of the schema where the grant allows none, functions and tables that tell of
//! the server, virtual tables of other modules than `fts5`, `fts5vocab`, `rtree` and `rtree_i32`,
//! and writes that name a table of the host's (`millpond_…`). A statement is taken to read where
//! its first word says so; where that leaves a doubt, the server is asked what the statement is.
//!
//! When a grant is made, with [`Unsupported`](millpond_pool::ErrorKind::Unsupported): what cannot
//! be enforced from here, which is tables and columns (unless
//! [`server_enforces_tables`](PoolBuilder::server_enforces_tables)), temporary objects, and a limit
//! of steps.
//!
//! # Differences from a file
//!
//! - A statement that ran out of time goes on in the server, which no client can interrupt.
//! - A primary key that is there already is reported as
//!   [`ConstraintUnique`](millpond_pool::ErrorKind::ConstraintUnique): the server tells the primary
//!   result code alone, and its message is the same for both. Errors tell no offset in a statement.
//! - Where a statement that writes yields rows which cannot be told (too large, not UTF-8), its
//!   transaction is rolled back; outside of one it has been committed, and the error is
//!   `OutcomeUnknown`. A text that is not UTF-8 ends the transaction after a read, too.
//! - A cursor over a result that is larger than the server answers at once, which is 10 MB of JSON,
//!   takes some 20 µs a row, nearly ten times as long as any other. In a transaction no other call
//!   can be made until it has been read or dropped ([`Busy`](millpond_pool::ErrorKind::Busy)).
//!   Raise `--max-response-size` where this matters.
//! - `changes()`, `total_changes()` and `last_insert_rowid()` in SQL tell of the server's stream.
//!   Where an earlier borrower wrote on it, another one is taken, or if it is too late for that,
//!   the statement is `Unsupported`. Views and triggers that call them are not seen. After nine
//!   seconds without a call they begin anew. An insert into a `WITHOUT ROWID` table may report an
//!   older rowid, and so may a statement after an insert that failed.
//! - The server reads SQL with a parser of its own, which refuses some texts that SQLite takes,
//!   such as a column of the name `nothing`, or `"text"` in double quotes.
//!
//! # Why not the crate `libsql`
//!
//! Its client for servers (0.10) is built on hyper 0.14 and rustls-webpki 0.102, both of which get
//! no more fixes, it has no timeout for any request, and what is abandoned goes on unseen. It never
//! sends a `replication_index`, so a replica shows stale rows to a client that has just written
//! (100 of 200 reads, as measured), and after a transaction was lost the next statement commits by
//! itself. The part of Hrana that a pool needs is a few hundred lines over hyper 1, which every
//! embedder has already.
//!
//! The protocol is spoken as Protocol Buffers and not as JSON, in which an infinity cannot be
//! written.
//!
//! # Where to find what
//!
//! `session` is a connection at work, and `session/core` keeps its books. `hrana` is the protocol,
//! `http` a connection to the server, and `sql` reads statements before they are sent. `engine` is
//! a database, and `shared` what its sessions have in common.

mod builder;
mod circuit;
mod engine;
mod error;
mod hrana;
mod http;
mod migrator;
mod runtime;
mod session;
mod settings;
mod shared;
mod sql;
mod target;
mod token;

pub use builder::PoolBuilder;
pub use migrator::Migrator;
