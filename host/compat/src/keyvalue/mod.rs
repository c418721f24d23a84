//! `wasi:keyvalue` (0.2.0-draft: `store`, `atomics` and `batch`) on a granted database, for guests
//! that were written for it. What they store is persistent, and other guests and SQL can read it.
//!
//! A bucket's identifier is `bucket`, in the database that is granted as `default`, or
//! `database/bucket`. The empty identifier is the bucket `default`. A bucket's name has 1 to 64
//! letters, digits, `-`, `_` and `.`.
//!
//! A bucket is one table, `keyvalue_` and its name, of the columns `id`, `key` and `value`. An upper-case
//! letter is `^` and its lower case there, because SQLite's names have no case. Opening
//! creates it, if there is none and the grant allows that ([`Grant::schema`](millpond_pool::Grant::schema)). Otherwise
//! create it in a migration:
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
//! - `increment` works on numbers from 0 to 2⁶⁴−1, stored as decimal digits, and is atomic.
//! - `set-many` and `delete-many` are atomic. `get-many` reads one snapshot, and returns at most 16 MiB of
//!   keys and values.
//! - `list-keys` returns up to 1,000 keys at once, in the order in which they were first set. Rows that SQL
//!   has stored with an `id` below 1 are not listed.
//!
//! # Errors
//!
//! `no-such-store`: the database is not granted, the bucket has no valid name, or it has no table and
//! the grant is read-only. `access-denied`: the grant does not allow it. `other`: the kind of the
//! contract's error, such as `busy` or `outcome-unknown`, and its message.

mod bucket;

use millpond_wasmtime::{Sqlite, SqliteCtxView, SqliteView};
use wasmtime::component::{Linker, Resource};

use self::bucket::{Bucket, Failure};
use self::generated::wasi::keyvalue::{atomics, batch, store};

mod generated {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::bucket::Bucket },
        trappable_error_type: { "wasi:keyvalue/store.error" => super::bucket::Failure },
        require_store_data_send: true,
    });
}

/// Define `wasi:keyvalue` in a linker for asynchronous guests.
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
    generated::Imports::add_to_linker::<T, Sqlite>(linker, get)
}

type Handle = Resource<Bucket>;

impl store::Host for SqliteCtxView<'_> {
    async fn open(&mut self, identifier: String) -> Result<Handle, Failure> {
        let bucket = Bucket::open(self.ctx, &identifier).await?;
        Ok(self.table.push(bucket)?)
    }

    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<store::Error> {
        match failure {
            Failure::NoSuchStore => Ok(store::Error::NoSuchStore),
            Failure::AccessDenied => Ok(store::Error::AccessDenied),
            Failure::Other(message) => Ok(store::Error::Other(message)),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for SqliteCtxView<'_> {
    async fn get(&mut self, this: Handle, key: String) -> Result<Option<Vec<u8>>, Failure> {
        self.table.get(&this)?.get(self.ctx, &key).await
    }

    async fn set(&mut self, this: Handle, key: String, value: Vec<u8>) -> Result<(), Failure> {
        self.table.get(&this)?.set(self.ctx, key, value).await
    }

    async fn delete(&mut self, this: Handle, key: String) -> Result<(), Failure> {
        self.table.get(&this)?.delete(self.ctx, key).await
    }

    async fn exists(&mut self, this: Handle, key: String) -> Result<bool, Failure> {
        self.table.get(&this)?.exists(self.ctx, key).await
    }

    async fn list_keys(
        &mut self,
        this: Handle,
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse, Failure> {
        let (keys, cursor) = self.table.get(&this)?.list_keys(self.ctx, cursor).await?;
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl atomics::Host for SqliteCtxView<'_> {
    async fn increment(&mut self, this: Handle, key: String, delta: u64) -> Result<u64, Failure> {
        let bucket = self.table.get(&this)?;
        bucket.increment(self.ctx, key, delta).await
    }
}

impl batch::Host for SqliteCtxView<'_> {
    async fn get_many(
        &mut self,
        this: Handle,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Failure> {
        self.table.get(&this)?.get_many(self.ctx, keys).await
    }

    async fn set_many(
        &mut self,
        this: Handle,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Failure> {
        self.table.get(&this)?.set_many(self.ctx, pairs).await
    }

    async fn delete_many(&mut self, this: Handle, keys: Vec<String>) -> Result<(), Failure> {
        self.table.get(&this)?.delete_many(self.ctx, keys).await
    }
}
