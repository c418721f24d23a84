//! Store data for guests that use only WASI and Millpond.

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, StoreLimits};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView};

/// Store data for guests that use only WASI and Millpond, within [`InstanceLimits`].
///
/// ```
/// # fn main() -> wasmtime::Result<()> {
/// use millpond_wasmtime::{InstanceLimits, SqliteCtx, StoreData};
/// use wasmtime::component::Linker;
/// use wasmtime_wasi::WasiCtx;
///
/// let limits = InstanceLimits::new();
/// let engine = limits.engine()?;
/// let mut linker = Linker::<StoreData>::new(&engine);
/// wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
/// millpond_wasmtime::add_to_linker(&mut linker)?;
///
/// // For each request:
/// let (wasi, sqlite) = (WasiCtx::default(), SqliteCtx::builder().build());
/// let store = StoreData::store(&engine, wasi, sqlite, &limits);
/// # drop(store);
/// # Ok(())
/// # }
/// ```
///
/// For a guest that uses more, put it into your own data:
///
/// ```
/// use millpond_wasmtime::{SqliteCtxView, SqliteView, StoreData};
/// use wasmtime_wasi::{WasiCtxView, WasiView};
///
/// struct Host {
///     data: StoreData,
///     // … and what your own interfaces need
/// }
///
/// impl WasiView for Host {
///     fn ctx(&mut self) -> WasiCtxView<'_> {
///         self.data.ctx()
///     }
/// }
///
/// impl SqliteView for Host {
///     fn sqlite(&mut self) -> SqliteCtxView<'_> {
///         self.data.sqlite()
///     }
/// }
/// // For each request: limits.store(&engine, host, |host| host.data.limiter())
/// ```
#[expect(missing_debug_implementations, reason = "WASI's context has none")]
pub struct StoreData {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl StoreData {
    /// Create the data of one store. Dropping the store ends the request.
    pub fn new(wasi: WasiCtx, sqlite: SqliteCtx, limits: &InstanceLimits) -> StoreData {
        StoreData {
            wasi,
            sqlite,
            table: limits.resource_table(),
            limits: limits.store_limits(),
        }
    }

    /// Create a store for an asynchronous guest, as [`InstanceLimits::store`].
    pub fn store(
        engine: &Engine,
        wasi: WasiCtx,
        sqlite: SqliteCtx,
        limits: &InstanceLimits,
    ) -> Store<StoreData> {
        let data = StoreData::new(wasi, sqlite, limits);
        limits.store(engine, data, StoreData::limiter)
    }

    /// The limiter, for [`InstanceLimits::store`] and [`store_sync`](InstanceLimits::store_sync).
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = (&mut self.wasi, &mut self.table);
        WasiCtxView { ctx, table }
    }
}

impl SqliteView for StoreData {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        let (ctx, table) = (&mut self.sqlite, &mut self.table);
        SqliteCtxView { ctx, table }
    }
}
