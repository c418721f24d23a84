//! `wasi:keyvalue` (0.2.0-draft and 0.2.0-draft2: `store`, `atomics` and `batch`) on a granted
//! database, for guests that were written for it. What they store is persistent, and other guests
//! and SQL can read it. Both versions see the same buckets.
//!
//! A bucket's identifier is `bucket`, in the database that is granted as `default`, or
//! `database/bucket`. The empty identifier is the bucket `default`. A bucket's name has 1 to 64
//! letters, digits, `-`, `_` and `.`.
//!
//! A bucket is a table named `keyvalue_` and the bucket's name, with the columns `id`, `key` and
//! `value`. SQLite's names are case-insensitive, so an upper-case letter is written as `^` and its
//! lower case. Opening a bucket creates its table if there is none and the grant allows it
//! ([`Grant::schema`](millpond_pool::Grant::schema)). Otherwise create it in a migration:
//!
//! ```sql
//! CREATE TABLE "keyvalue_default" (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
//! ```
//!
//! Each call takes a connection from the grant and returns it, in addition to those that the guest
//! holds: it waits for one for up to the pool's timeout, and for its turn to write. The grant's
//! rights and limits, and the request's deadline, apply. A call that writes fails while the same
//! request has a transaction open that writes.
//!
//! - `increment` works on numbers from 0 to 2⁶⁴−1, in draft2 from −2⁶³ to 2⁶³−1, stored as decimal
//!   digits, and is atomic.
//! - `swap` is atomic. It fails with `cas-failed` if the value is not what it was when the handle
//!   was made, or when `current` last returned it. Its keys have at most 4 KiB.
//! - `set-many` and `delete-many` are atomic. `get-many` reads one snapshot, and returns at most
//!   16 MiB of keys and values.
//! - `list-keys` returns up to 1,000 keys at once, in the order of `id`, which is usually that in
//!   which they were first set. Keys that SQL has stored as blobs, or with other bytes than UTF-8,
//!   are not listed.
//!
//! # Errors
//!
//! `no-such-store`: the database is not granted, the bucket has no valid name, or it has no table
//! and the grant is read-only. `access-denied`: the grant does not allow it. `other`: the kind of
//! the contract's error, such as `busy` or `outcome-unknown`, and its message. If a host serves
//! several requests with one instance, a bucket is the request's that opened it: `stale-handle` in
//! the next.

mod bucket;
mod cas;
mod draft;
mod draft2;
mod failure;

use millpond_wasmtime::{Sqlite, SqliteCtxView, SqliteView};
use wasmtime::component::Linker;

/// Define both versions of `wasi:keyvalue` in a linker for asynchronous guests.
///
/// # Errors
///
/// Returns an error if the linker already defines one of the names.
pub fn add_to_linker<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    add_to_linker_with(linker, T::sqlite)
}

/// Like [`add_to_linker`], for store data whose type belongs to another crate: see
/// [`millpond_wasmtime::add_to_linker_with`].
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_with<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> SqliteCtxView<'_>,
) -> wasmtime::Result<()> {
    draft::Imports::add_to_linker::<T, Sqlite>(linker, get)?;
    draft2::Imports::add_to_linker::<T, Sqlite>(linker, get)
}
