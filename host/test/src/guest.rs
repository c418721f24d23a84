//! What one instance gets: its streams, its clock, its databases and its limits. No files, no
//! network.

use std::time::Duration;

use http::{Request, Response};
use millpond_wasmtime::{InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView, StoreData};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

pub(crate) fn add_to_linker(
    linker: &mut Linker<Guest>,
    component: &Component,
    concurrency: bool,
) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(linker)?;
        wasmtime_wasi_http::p3::add_to_linker(linker)?;
    }
    millpond_wasmtime::add_to_linker(linker)?;
    millpond_compat::add_to_linker(linker, component, concurrency)
}

/// The data of a guest's store. Dropping it returns every connection.
pub(crate) struct Guest {
    data: StoreData,
    http: WasiHttpCtx,
    no_requests: NoRequests,
}

impl Guest {
    pub(crate) fn store(engine: &Engine, wasi: WasiCtx, sqlite: SqliteCtx) -> Store<Guest> {
        let limits = InstanceLimits::new();
        let guest = Guest {
            data: StoreData::new(wasi, sqlite, &limits),
            http: WasiHttpCtx::new(),
            no_requests: NoRequests,
        };
        limits.store(engine, guest, |guest| guest.data.limiter())
    }

    /// The first database that the guest asked for but was not granted.
    pub(crate) fn unknown_database(&mut self) -> Option<&str> {
        self.data.sqlite().ctx.unknown_database()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.data.ctx()
    }
}

impl SqliteView for Guest {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        self.data.sqlite()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.no_requests,
            table: self.data.ctx().table,
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

/// A wall clock that stands still, at a time since 1970.
pub(crate) struct Frozen(pub(crate) Duration);

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}
