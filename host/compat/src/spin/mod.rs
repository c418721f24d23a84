//! Spin's SQLite on granted databases, for guests that were built with Spin's SDKs:
//! `fermyon:spin/sqlite` 2.0.0, and `spin:sqlite` 3.0.0 and 3.1.0, whose asynchronous functions
//! [`add_async_to_linker`] defines.
//!
//! A guest opens a database by the name under which it is granted, with the access that is granted.
//! Each handle is one of the request's connections until the guest drops it, or the request ends.
//! Then the connection goes back to the pool, and a transaction that is still open is rolled back.
//! If a guest drops a handle before it has read the rows of `execute-async`, the connection goes
//! back after the last of them, or when the guest drops the stream.
//!
//! # What differs from Spin
//!
//! | | in Spin | here |
//! |---|---|---|
//! | names of databases | those in the application's manifest | those that the host grants |
//! | `open` | opens a file; up to 256 at once | waits for a connection of the pool, for up to its timeout; up to [`max_connections`] at once (4 by default) |
//! | a write while another connection writes | retries for 5 s | waits for its turn, in order, for up to the timeout |
//! | a transaction left open | lasts while its connection does | rolled back when its time or the request ends |
//! | `ATTACH` of `''` and `':memory:'`, pragmas, functions | all but `ATTACH` of a file | those that the contract allows; otherwise `io` |
//! | more than one statement in a text, or none | depends on the version | `io` |
//! | a result of `execute` | up to 128 MiB | up to the pool's limit, 16 MiB by default, 1 MiB for each value, and [`MAX_RESULT_BYTES`] |
//! | a statement that fails in `execute-async` | reported by the future | reported by the call itself; by the future if it fails after its first rows |
//! | other statements of a connection, while rows of `execute-async` are left | may wait until they have been read | run |
//! | dropping rows before their end | an error in the future | not an error |
//! | time of a statement and of a transaction | no limit | the grant's, and the request's deadline |
//!
//! `last-insert-rowid` and `changes` are those of the connection since `open`, as in Spin.
//!
//! A guest in a language with garbage collection may keep handles that it no longer uses. Let it
//! open a database once for each request, or dispose of its handles, or grant it more connections.
//!
//! # Limits
//!
//! A request may have [`max_cursors`] calls of `execute-async` under way or with rows left, 64 by
//! default. At most 64 rows of each, and one page of the pool's in bytes, are read ahead. The
//! statements of a connection's calls that run or wait at the same time may have 32 MiB together,
//! with their parameters.
//!
//! `execute` returns up to [`MAX_RESULT_BYTES`]. If its rows have more, it fails with `io`
//! (`too-large`), but what a statement with `RETURNING` has written stays.
//!
//! # Errors
//!
//! - `access-denied`: no database of this name is granted. As in Spin, a guest does not learn
//!   whether there is one, so `no-such-database` does not occur.
//! - `invalid-connection`: the connection was held for too long, and has been taken back.
//! - `database-full`: the database or the transaction has reached its largest size.
//! - `io`: any other error: the kind of the contract's error, such as `busy`, `not-authorized` or
//!   `too-many-handles`, a colon, and its message.
//!
//! `last-insert-rowid` and `changes` have no errors. If they fail, the guest traps.
//!
//! # Other interfaces of Spin
//!
//! Spin's SDKs import much of Spin into every guest. [`add_traps_to_linker`] lets such a guest run,
//! and ends it when it calls something else than SQLite.
//!
//! [`max_connections`]: millpond_pool::Grant::max_connections
//! [`max_cursors`]: millpond_wasmtime::SqliteCtxBuilder::max_cursors

mod concurrent;
mod connection;
mod rest;
mod streams;
mod task;
mod types;

use millpond_wasmtime::{SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};

use self::connection::Open;
pub use self::rest::{add_traps_to_linker, is_spin_interface, is_trapping_interface};
pub use self::types::MAX_RESULT_BYTES;
use self::types::{Error, Value};

const VERSION_2: &str = "fermyon:spin/sqlite@2.0.0";
const VERSION_3: &str = "spin:sqlite/sqlite@3.1.0";

type This = Resource<Open>;

/// Returns the request's state in an embedder's store data.
type Getter<T> = fn(&mut T) -> SqliteCtxView<'_>;

/// Define `fermyon:spin/sqlite@2.0.0` and `spin:sqlite/sqlite@3`, without the latter's asynchronous
/// functions, in a linker for asynchronous guests.
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
    add_connection(&mut linker.instance(VERSION_2)?, get)?;
    let mut version_3 = linker.instance(VERSION_3)?;
    add_connection(&mut version_3, get)?;
    add_counters(&mut version_3, get)
}

/// Define the asynchronous functions of `spin:sqlite/sqlite@3.1.0` too, after [`add_to_linker`].
/// They need an engine with [`Config::concurrency_support`](wasmtime::Config::concurrency_support).
/// A call runs in tasks of the tokio runtime that the store is polled in.
///
/// # Errors
///
/// Returns an error if the engine has no such support, or if the linker already defines one of the
/// names.
///
/// # Panics
///
/// This function does not panic, but a guest's call does if the store is polled outside of a tokio
/// runtime.
pub fn add_async_to_linker<T: SqliteView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    add_async_to_linker_with(linker, T::sqlite)
}

/// Like [`add_async_to_linker`], for store data whose type belongs to another crate: see
/// [`millpond_wasmtime::add_to_linker_with`].
///
/// # Errors and panics
///
/// As [`add_async_to_linker`].
pub fn add_async_to_linker_with<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> SqliteCtxView<'_>,
) -> wasmtime::Result<()> {
    concurrent::add_to_instance(&mut linker.instance(VERSION_3)?, get)
}

/// Define what all versions have.
fn add_connection<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    get: Getter<T>,
) -> wasmtime::Result<()> {
    instance.resource(
        "connection",
        ResourceType::host::<Open>(),
        move |mut store: StoreContextMut<'_, T>, handle| {
            // Returns it, unless rows of a stream are still to be read.
            get(store.data_mut()).table.delete(This::new_own(handle))?;
            Ok(())
        },
    )?;
    instance.func_wrap_async(
        "[static]connection.open",
        move |mut store: StoreContextMut<'_, T>, (database,): (String,)| {
            Box::new(async move {
                let view = get(store.data_mut());
                Ok((match begin_open(view.ctx, &database).await {
                    Ok(open) => Ok(view.table.push(open)?),
                    Err(error) => Err(error),
                },))
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]connection.execute",
        move |mut store: StoreContextMut<'_, T>,
              (this, statement, parameters): (This, String, Vec<Value>)| {
            Box::new(async move {
                let open = Open::of(&get(store.data_mut()), &this)?;
                Ok((open.execute(&statement, parameters).await,))
            })
        },
    )
}

/// Define what version 3 has in addition.
fn add_counters<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    get: Getter<T>,
) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]connection.last-insert-rowid",
        move |mut store: StoreContextMut<'_, T>, (this,): (This,)| {
            Box::new(async move {
                let open = Open::of(&get(store.data_mut()), &this)?;
                Ok((open.last_insert_rowid().await?,))
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]connection.changes",
        move |mut store: StoreContextMut<'_, T>, (this,): (This,)| {
            Box::new(async move {
                let open = Open::of(&get(store.data_mut()), &this)?;
                Ok((open.changes().await?,))
            })
        },
    )
}

/// Wait for a connection with the access that is granted. The future does not borrow `ctx`.
fn begin_open(
    ctx: &mut SqliteCtx,
    database: &str,
) -> impl Future<Output = Result<Open, Error>> + Send + use<> {
    let connection = ctx
        .access(database)
        .map(|access| ctx.get_connection(database, access));
    async move { Ok(Open::new(connection?.await?)) }
}
