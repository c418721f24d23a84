//! The data of a store whose guest has WASI and Millpond, and nothing else of its host's.

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView};

/// The data of a store, for a guest that has WASI and this crate's interfaces, within
/// [`InstanceLimits`]. A host with interfaces of its own defines its own data instead, or puts this
/// into it.
///
/// ```
/// # fn main() -> wasmtime::Result<()> {
/// use millpond_wasmtime::{InstanceLimits, SqliteCtx, StoreData, recommended_config};
/// use wasmtime::Engine;
/// use wasmtime::component::Linker;
/// use wasmtime_wasi::WasiCtx;
///
/// let limits = InstanceLimits::new();
/// let engine = Engine::new(&recommended_config(&limits))?;
/// let mut linker = Linker::<StoreData>::new(&engine);
/// wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
/// millpond_wasmtime::add_to_linker(&mut linker)?;
///
/// // For each request:
/// let data = StoreData::new(WasiCtx::default(), SqliteCtx::builder().build(), &limits);
/// let store = limits.store(&engine, data, StoreData::limiter);
/// # drop(store);
/// # Ok(())
/// # }
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

    /// The limiter, for [`InstanceLimits::store`].
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
