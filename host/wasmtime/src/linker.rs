//! Defines the contract's functions in an embedder's linker: asynchronous, or blocking.

use millpond_pool::{Cursor, Statement, Transaction, block_on};
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use crate::bindings::connections::{
    self, HostConnection, HostCursor, HostStatement, HostTransaction, TransactionMode,
};
use crate::bindings::pool::{Access, Host as _};
use crate::convert::Failure;
use crate::ctx::{Connection, Sqlite, SqliteCtxView, SqliteView};

/// Returns the request's state in an embedder's store data.
type Getter<T> = fn(&mut T) -> SqliteCtxView<'_>;

/// Define the package `millpond:sqlite` in a linker for asynchronous guests
/// ([`instantiate_async`](Linker::instantiate_async) and related functions). Waiting does not block
/// a thread; it needs a tokio runtime with time enabled.
///
/// # Errors
///
/// Returns an error if the linker already defines one of the names.
pub fn add_to_linker<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    add_to_linker_with(linker, T::sqlite)
}

/// Like [`add_to_linker`], for store data that cannot implement [`SqliteView`] because its type
/// belongs to another crate: `get` returns the request's state.
///
/// ```
/// use millpond_wasmtime::{SqliteCtx, SqliteCtxView, add_to_linker_with};
/// use wasmtime::component::{Linker, ResourceTable};
///
/// # let engine = wasmtime::Engine::default();
/// let mut linker = Linker::<(SqliteCtx, ResourceTable)>::new(&engine);
/// add_to_linker_with(&mut linker, |(ctx, table)| SqliteCtxView { ctx, table })?;
/// # Ok::<(), wasmtime::Error>(())
/// ```
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_with<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> SqliteCtxView<'_>,
) -> wasmtime::Result<()> {
    crate::bindings::Imports::add_to_linker::<T, Sqlite>(linker, get)
}

/// Like [`add_to_linker`], for guests that are called without `async`. It needs no runtime. Every
/// call blocks its thread until it ends, at most 50 ms past its deadline unless the disk hangs:
/// call the guest on a thread without other work. On a runtime, start it with tokio's
/// `spawn_blocking` or on its own thread.
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_sync<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    add_to_linker_sync_with(linker, T::sqlite)
}

/// Like [`add_to_linker_sync`], for store data whose type belongs to another crate: see
/// [`add_to_linker_with`].
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_sync_with<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> SqliteCtxView<'_>,
) -> wasmtime::Result<()> {
    let mut connections = Blocking::new(linker, "millpond:sqlite/connections@0.1.0", get)?;
    add_connection(&mut connections)?;
    add_statement(&mut connections)?;
    connections.resource::<Cursor>("cursor", |view, this| HostCursor::drop(view, this))?;
    connections.function(
        "[method]cursor.next",
        |view, (this, max_rows): (Resource<Cursor>, u32)| {
            answer(block_on(HostCursor::next(view, this, max_rows)))
        },
    )?;
    connections.resource::<Transaction>("transaction", |view, this| {
        HostTransaction::drop(view, this)
    })?;
    connections.function(
        "[method]transaction.commit",
        |view, (this,): (Resource<Transaction>,)| {
            answer(block_on(HostTransaction::commit(view, this)))
        },
    )?;
    connections.function(
        "[method]transaction.rollback",
        |view, (this,): (Resource<Transaction>,)| {
            answer(block_on(HostTransaction::rollback(view, this)))
        },
    )?;
    add_pool(&mut Blocking::new(
        linker,
        "millpond:sqlite/pool@0.1.0",
        get,
    )?)
}

fn add_pool<T>(pool: &mut Blocking<'_, T>) -> wasmtime::Result<()> {
    pool.function(
        "get-connection",
        |view, (database, access): (String, Access)| {
            answer(block_on(view.get_connection(database, access)))
        },
    )?;
    pool.procedure(
        "return-connection",
        |view, (connection,): (Resource<Connection>,)| view.return_connection(connection),
    )?;
    pool.procedure(
        "close-connection",
        |view, (connection,): (Resource<Connection>,)| view.close_connection(connection),
    )?;
    pool.function("stats", |view, (database,): (String,)| {
        answer(view.stats(database))
    })?;
    pool.function("databases", |view, ()| view.databases())
}

fn add_connection<T>(connections: &mut Blocking<'_, T>) -> wasmtime::Result<()> {
    type This = Resource<Connection>;
    connections
        .resource::<Connection>("connection", |view, this| HostConnection::drop(view, this))?;
    connections.function(
        "[method]connection.execute",
        |view, (this, sql, parameters): (This, String, Vec<u8>)| {
            answer(block_on(HostConnection::execute(
                view, this, sql, parameters,
            )))
        },
    )?;
    connections.function(
        "[method]connection.query",
        |view, (this, sql, parameters, with_columns): (This, String, Vec<u8>, bool)| {
            answer(block_on(HostConnection::query(
                view,
                this,
                sql,
                parameters,
                with_columns,
            )))
        },
    )?;
    connections.function(
        "[method]connection.execute-script",
        |view, (this, sql): (This, String)| answer(block_on(view.execute_script(this, sql))),
    )?;
    connections.function(
        "[method]connection.prepare",
        |view, (this, sql): (This, String)| answer(block_on(view.prepare(this, sql))),
    )?;
    connections.function(
        "[method]connection.begin",
        |view, (this, mode): (This, TransactionMode)| answer(block_on(view.begin(this, mode))),
    )?;
    connections.function(
        "[method]connection.in-transaction",
        |view, (this,): (This,)| view.in_transaction(this),
    )
}

fn add_statement<T>(connections: &mut Blocking<'_, T>) -> wasmtime::Result<()> {
    type This = Resource<Statement>;
    connections.resource::<Statement>("statement", |view, this| HostStatement::drop(view, this))?;
    connections.function("[method]statement.describe", |view, (this,): (This,)| {
        answer(block_on(view.describe(this)))
    })?;
    connections.function(
        "[method]statement.execute",
        |view, (this, parameters): (This, Vec<u8>)| {
            answer(block_on(HostStatement::execute(view, this, parameters)))
        },
    )?;
    connections.function(
        "[method]statement.execute-many",
        |view, (this, rows): (This, Vec<u8>)| answer(block_on(view.execute_many(this, rows))),
    )?;
    connections.function(
        "[method]statement.query",
        |view, (this, parameters, max_rows, with_columns): (This, Vec<u8>, u32, bool)| {
            answer(block_on(HostStatement::query(
                view,
                this,
                parameters,
                max_rows,
                with_columns,
            )))
        },
    )
}

/// Convert to what a function of the contract returns, or to a trap.
fn answer<R>(result: Result<R, Failure>) -> wasmtime::Result<Result<R, connections::Error>> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Guest(error)) => Ok(Err(error)),
        Err(Failure::Trap(error)) => Err(error),
    }
}

/// An interface of the contract in a linker, with blocking functions.
struct Blocking<'l, T: 'static> {
    instance: LinkerInstance<'l, T>,
    get: Getter<T>,
}

impl<'l, T: 'static> Blocking<'l, T> {
    fn new(linker: &'l mut Linker<T>, name: &str, get: Getter<T>) -> wasmtime::Result<Self> {
        let instance = linker.instance(name)?;
        Ok(Blocking { instance, get })
    }

    /// Define a function that returns a value.
    fn function<P, R>(
        &mut self,
        name: &str,
        call: impl Fn(&mut SqliteCtxView<'_>, P) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        R: ComponentType + Lower + 'static,
    {
        let get = self.get;
        self.instance.func_wrap(
            name,
            move |mut store: StoreContextMut<'_, T>, parameters: P| {
                Ok((call(&mut get(store.data_mut()), parameters)?,))
            },
        )
    }

    /// Define a function that returns nothing.
    fn procedure<P>(
        &mut self,
        name: &str,
        call: impl Fn(&mut SqliteCtxView<'_>, P) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
    {
        let get = self.get;
        self.instance.func_wrap(
            name,
            move |mut store: StoreContextMut<'_, T>, parameters: P| {
                call(&mut get(store.data_mut()), parameters)
            },
        )
    }

    /// Define a resource, with what happens when the guest drops its handle.
    fn resource<R: 'static>(
        &mut self,
        name: &str,
        drop: impl Fn(&mut SqliteCtxView<'_>, Resource<R>) -> wasmtime::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> wasmtime::Result<()> {
        let get = self.get;
        self.instance.resource(
            name,
            ResourceType::host::<R>(),
            move |mut store: StoreContextMut<'_, T>, handle| {
                drop(&mut get(store.data_mut()), Resource::new_own(handle))
            },
        )
    }
}
