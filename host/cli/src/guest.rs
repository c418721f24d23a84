//! What one instance gets: its streams, its databases and its limits. No files, no network.

use std::collections::BTreeMap;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use http::{Request, Response};
use millpond_wasmtime::{InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store, StoreLimits, WasmBacktraceDetails};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::arguments;
use crate::failure::Reached;

/// The options for every guest.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guest")]
pub(crate) struct GuestOptions {
    /// Set an environment variable of the guest; without VAL, to the command's own value
    ///
    /// The guest gets no other variables.
    #[arg(long, value_name = "NAME[=VAL]", value_parser = arguments::variable)]
    env: Vec<(String, String)>,

    /// Maximum size of each linear memory of an instance, in bytes or with a unit (powers of 1024):
    /// 64KiB to 4GiB.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = max_memory)]
    pub(crate) max_memory_size: usize,

    /// Show source lines in the backtrace of a guest that fails, if the component has DWARF
    ///
    /// Reading it takes the host tens to hundreds of milliseconds, each time that a guest traps or
    /// exits. Do not use it for components that you do not trust.
    #[arg(long)]
    source_lines: bool,

    #[command(flatten)]
    wasm: WasmLimits,
}

/// The limits of an instance, besides its memory.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guest")]
struct WasmLimits {
    /// Maximum number of linear memories of an instance: 1 to 16.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = up_to(16),
        hide_short_help = true
    )]
    max_memories: u32,

    /// Maximum number of tables of an instance: 1 to 64.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = up_to(64),
        hide_short_help = true
    )]
    max_tables: u32,

    /// Maximum number of entries of each table: 1 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20_000,
        value_parser = up_to(1_000_000),
        hide_short_help = true
    )]
    max_table_entries: u32,

    /// Maximum number of core modules in an instance: 1 to 256.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = up_to(256),
        hide_short_help = true
    )]
    max_instances: u32,

    /// Maximum number of open handles of all kinds together: 1 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4096,
        value_parser = up_to(1_000_000),
        hide_short_help = true
    )]
    max_handles: u32,

    /// Stack for the guest's own frames, in bytes or with a unit: 64KiB to 16MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "512KiB",
        value_parser = max_stack,
        hide_short_help = true
    )]
    max_stack_size: usize,

    /// Maximum size of one call's arguments, such as a statement's parameters or the rows of
    /// `execute-many`, in bytes or with a unit: 64KiB to 1GiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "32MiB",
        value_parser = max_call,
        hide_short_help = true
    )]
    max_call_size: usize,

    /// Maximum number of random bytes that one call returns, in bytes or with a unit: 64 to 1MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64KiB",
        value_parser = max_random,
        hide_short_help = true
    )]
    max_random_size: usize,
}

fn up_to(most: i64) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=most)
}

fn max_stack(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=16 << 20, "64KiB", "16MiB")
}

fn max_call(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=1 << 30, "64KiB", "1GiB")
}

fn max_random(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64..=1 << 20, "64", "1MiB")
}

fn max_memory(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 64 << 10..=4 << 30, "64KiB", "4GiB")
}

impl GuestOptions {
    /// A guest without files and network.
    pub(crate) fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        // If a variable is set twice, the last value counts, as in a shell; a guest uses the first
        // that it finds.
        let env: BTreeMap<_, _> = self.env.iter().map(|(name, value)| (name, value)).collect();
        for (name, value) in env {
            wasi.env(name, value);
        }
        wasi.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        wasi.max_random_size(self.wasm.max_random_size as u64);
        wasi
    }

    /// The limits of an instance.
    pub(crate) fn limits(&self) -> InstanceLimits {
        let wasm = &self.wasm;
        InstanceLimits::new()
            .max_memory_size(self.max_memory_size)
            .max_memories(wasm.max_memories)
            .max_tables(wasm.max_tables)
            .max_table_entries(wasm.max_table_entries)
            .max_instances(wasm.max_instances)
            .max_handles(wasm.max_handles)
            .max_stack_size(wasm.max_stack_size)
            .max_call_size(wasm.max_call_size)
    }

    /// Whether backtraces have source lines.
    pub(crate) fn lines(&self) -> WasmBacktraceDetails {
        match self.source_lines {
            true => WasmBacktraceDetails::Enable,
            false => WasmBacktraceDetails::Disable,
        }
    }

    pub(crate) fn store(&self, engine: &Engine, wasi: WasiCtx, sqlite: SqliteCtx) -> Store<Guest> {
        let limits = self.limits();
        let guest = Guest {
            wasi,
            sqlite,
            http: WasiHttpCtx::new(),
            no_requests: NoRequests,
            table: limits.resource_table(),
            limits: Limits {
                inner: limits.store_limits(),
                reached: None,
            },
        };
        limits.store(engine, guest, |guest| &mut guest.limits)
    }
}

/// Define everything that a guest may import.
pub(crate) fn linker(
    engine: &Engine,
    component: &Component,
    concurrency: bool,
) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    millpond_wasmtime::add_to_linker(&mut linker)?;
    millpond_compat::add_to_linker(&mut linker, component, concurrency)?;
    Ok(linker)
}

/// The data of a guest's store. Dropping it returns every connection.
pub(crate) struct Guest {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    http: WasiHttpCtx,
    no_requests: NoRequests,
    table: ResourceTable,
    limits: Limits,
}

impl Guest {
    /// The first database that the guest asked for but was not granted.
    pub(crate) fn unknown_database(&self) -> Option<&str> {
        self.sqlite.unknown_database()
    }

    /// Add the limit that the guest reached to its error: the error alone rarely says it.
    pub(crate) fn explain(&mut self, error: wasmtime::Error) -> wasmtime::Error {
        match self.limits.reached.take() {
            Some(reached) => error.context(reached),
            None => error,
        }
    }

    /// The last limit that refused the instance something, unless an error was
    /// [explained](Guest::explain) by it.
    pub(crate) fn reached(&self) -> Option<Reached> {
        self.limits.reached
    }
}

/// The limits of an instance, and the last one that refused it something.
struct Limits {
    inner: StoreLimits,
    reached: Option<Reached>,
}

impl Limits {
    fn note(
        &mut self,
        flag: &'static str,
        allowed: wasmtime::Result<bool>,
    ) -> wasmtime::Result<bool> {
        if !matches!(allowed, Ok(true)) {
            self.reached = Some(Reached(flag));
        }
        allowed
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.inner.memory_growing(current, desired, maximum);
        self.note("--max-memory-size", allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.inner.memory_grow_failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.inner.table_growing(current, desired, maximum);
        self.note("--max-table-entries", allowed)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.inner.table_grow_failed(error)
    }

    fn instances(&self) -> usize {
        self.inner.instances()
    }

    fn tables(&self) -> usize {
        self.inner.tables()
    }

    fn memories(&self) -> usize {
        self.inner.memories()
    }
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

/// Refuses outgoing HTTP requests of a guest: `http-request-denied`.
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
