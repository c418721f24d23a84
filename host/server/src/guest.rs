//! What one instance gets: its streams, its databases and its limits. No files, no network.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, Request, Response};
use millpond_wasmtime::{InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store, StoreLimits};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::failure::Reached;

/// What each instance of a component gets, besides its databases, and the limits on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestSettings {
    /// The arguments: by convention the first is the program's name. Defaults to none.
    pub args: Vec<String>,
    /// The environment variables. The guest gets no others. Defaults to none.
    pub env: BTreeMap<String, String>,
    /// The limits on an instance. Defaults to those of [`InstanceLimits::new`].
    pub limits: InstanceLimits,
    /// The maximum number of random bytes that one call returns. Defaults to 64 KiB.
    pub max_random_size: usize,
}

impl Default for GuestSettings {
    fn default() -> GuestSettings {
        GuestSettings {
            args: Vec::new(),
            env: BTreeMap::new(),
            limits: InstanceLimits::new(),
            max_random_size: 64 << 10,
        }
    }
}

impl GuestSettings {
    /// WASI for a guest: the arguments, the environment, and no files and no network.
    pub fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        wasi.args(&self.args);
        for (name, value) in &self.env {
            wasi.env(name, value);
        }
        wasi.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        wasi.max_random_size(self.max_random_size as u64);
        wasi
    }

    /// A store for one instance, within the limits.
    pub fn store(&self, engine: &Engine, wasi: WasiCtx, sqlite: SqliteCtx) -> Store<Guest> {
        let guest = Guest {
            wasi,
            sqlite,
            http: WasiHttpCtx::new(),
            no_requests: NoRequests,
            table: self.limits.resource_table(),
            limits: Limits {
                inner: self.limits.store_limits(),
                reached: None,
                memory: 0,
                kept_memory: self.limits.memory_size() / KEPT_SHARE,
            },
        };
        self.limits.store(engine, guest, |guest| &mut guest.limits)
    }
}

/// An instance that has more than 1/`KEPT_SHARE` of the memory or the handles that it may have
/// handles no other request.
const KEPT_SHARE: usize = 2;

/// To fill so much memory takes a millisecond or longer.
pub(crate) const LARGE: usize = 4 << 20;

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
pub struct Guest {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    http: WasiHttpCtx,
    no_requests: NoRequests,
    table: ResourceTable,
    limits: Limits,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("sqlite", &self.sqlite)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// The first database that the guest asked for but was not granted.
    pub fn unknown_database(&self) -> Option<&str> {
        self.sqlite.unknown_database()
    }

    /// Add the limit that the guest reached to its error: the error alone rarely says it.
    pub fn explain(&mut self, error: wasmtime::Error) -> wasmtime::Error {
        match self.limits.reached.take() {
            Some(reached) => error.context(reached),
            None => error,
        }
    }

    /// The last limit that refused the instance something, unless an error was
    /// [explained](Guest::explain) by it.
    pub fn reached(&self) -> Option<Reached> {
        self.limits.reached
    }

    /// What limits its growth.
    pub(crate) fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Whether to fill its memory, or to drop it, may take milliseconds.
    pub(crate) fn is_large(&self) -> bool {
        self.limits.memory > LARGE
    }

    /// The instance has started. It may keep the memory that it has now.
    pub(crate) fn has_started(&mut self) {
        self.limits.kept_memory = self.limits.kept_memory.max(self.limits.memory);
    }

    /// The guest runs no more SQL in this request: return its connections.
    pub(crate) fn end_statements(&mut self) {
        self.sqlite.end_request();
    }

    /// End the request. Another may follow, in the same instance, unless this returns false: the
    /// instance has grown too large, or reached a limit.
    pub(crate) fn end_request(&mut self) -> bool {
        self.sqlite.end_request();
        self.limits.reached.is_none()
            && self.limits.memory <= self.limits.kept_memory
            && self.table.iter_mut().count() <= self.table.max_capacity() / KEPT_SHARE
    }

    /// Begin another request.
    pub(crate) fn next_request(&mut self, sqlite: SqliteCtx) {
        self.sqlite.next_request(sqlite);
    }
}

/// The limits of an instance, and the last one that refused it something.
pub(crate) struct Limits {
    inner: StoreLimits,
    reached: Option<Reached>,
    /// The size of the largest linear memory.
    memory: usize,
    /// How large that may be for the instance to handle another request.
    kept_memory: usize,
}

impl Limits {
    /// Note that a limit refused `desired`, unless the module's own `maximum` did.
    fn note(
        &mut self,
        name: &'static str,
        desired: usize,
        maximum: Option<usize>,
        allowed: wasmtime::Result<bool>,
    ) -> wasmtime::Result<bool> {
        if !matches!(allowed, Ok(true)) && maximum.is_none_or(|most| desired <= most) {
            self.reached = Some(Reached(name));
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
        if matches!(allowed, Ok(true)) {
            self.memory = self.memory.max(desired);
        }
        self.note("max-memory-size", desired, maximum, allowed)
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
        self.note("max-table-entries", desired, maximum, allowed)
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

/// The largest part of a response's body that a guest hands over at once. A connection compresses
/// it in one go, and holds it until the client takes it.
const CHUNK: usize = 64 << 10;

/// Refuses outgoing HTTP requests of a guest: `http-request-denied`.
struct NoRequests;

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        // The default allocates for each header.
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), HttpError>> + Send> {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_limits_of_the_host_are_noted() {
        const PAGE: usize = 64 << 10;
        let mut limits = Limits {
            inner: InstanceLimits::new()
                .max_memory_size(4 * PAGE)
                .max_table_entries(4)
                .store_limits(),
            reached: None,
            memory: 0,
            kept_memory: 0,
        };
        let refused = |allowed: wasmtime::Result<bool>| !allowed.expect("no error");
        assert!(refused(limits.memory_growing(PAGE, 2 * PAGE, Some(PAGE))));
        assert!(refused(limits.table_growing(1, 2, Some(1))));
        assert!(limits.reached.is_none());
        assert!(refused(limits.memory_growing(
            PAGE,
            5 * PAGE,
            Some(8 * PAGE)
        )));
        assert_eq!(
            limits.reached.take().map(|limit| limit.0),
            Some("max-memory-size")
        );
        assert!(refused(limits.table_growing(1, 5, None)));
        assert_eq!(
            limits.reached.take().map(|limit| limit.0),
            Some("max-table-entries")
        );
    }
}
