//! What one instance runs with: its streams, its databases and its limits. No files, no network.

use clap::Args;
use http::{Request, Response};
use millpond_wasmtime::{SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::values;

/// The linear memories of one guest.
pub(crate) const MAX_MEMORIES: u32 = 2;
/// The tables of one guest.
pub(crate) const MAX_TABLES: u32 = 8;
/// The entries of each of its tables.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;
/// The core modules that one guest may consist of.
const MAX_INSTANCES: usize = 32;
/// The handles that one guest may have open, of all kinds together.
const MAX_HANDLES: usize = 4096;
/// What one call of the guest's may hand to the host: as many bytes as a statement's parameters, or the
/// rows of one `execute-many`, reasonably are.
const MAX_CALL_BYTES: usize = 32 << 20;
/// The random bytes that a guest gets in one call.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// What the command line says about every guest.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guest")]
pub(crate) struct GuestOptions {
    /// Set an environment variable of the guest; without VAL, to the command's own value.
    ///
    /// The guest gets no other variables.
    #[arg(long, value_name = "NAME[=VAL]", value_parser = values::variable)]
    env: Vec<(String, String)>,

    /// The most linear memory of an instance, in bytes or with a unit (powers of 1024): 64KiB to
    /// 4GiB.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = max_memory)]
    pub(crate) max_memory_size: usize,
}

fn max_memory(text: &str) -> Result<usize, String> {
    let bytes = values::size(text)?;
    let bounds = 64 << 10..=4 << 30;
    match bounds.contains(&bytes) {
        true => Ok(bytes),
        false => Err("it must be between 64KiB and 4GiB".to_string()),
    }
}

impl GuestOptions {
    /// A guest without files and without network.
    pub(crate) fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        wasi.envs(&self.env);
        wasi.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        wasi.max_random_size(MAX_RANDOM_BYTES);
        wasi
    }

    pub(crate) fn store(&self, engine: &Engine, wasi: WasiCtx, sqlite: SqliteCtx) -> Store<Guest> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.max_memory_size)
            .memories(MAX_MEMORIES as usize)
            .tables(MAX_TABLES as usize)
            .table_elements(MAX_TABLE_ELEMENTS)
            .instances(MAX_INSTANCES)
            .build();
        let guest = Guest {
            wasi,
            sqlite,
            http: WasiHttpCtx::new(),
            no_requests: NoRequests,
            table,
            limits,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(MAX_CALL_BYTES);
        // Without a deadline the first epoch would trap. At each, whoever polls the guest gets
        // to look at its own clock.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

/// Define everything that a guest may import.
pub(crate) fn linker(engine: &Engine, concurrency: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    millpond_wasmtime::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// The data of a guest's store. Dropped with it, which gives every connection back.
pub(crate) struct Guest {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    http: WasiHttpCtx,
    no_requests: NoRequests,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl SqliteView for Guest {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.sqlite,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.no_requests,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Refuses the HTTP requests that a guest would send: `http-request-denied`.
struct NoRequests;

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), HttpError>> + Send> {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}
