//! Pooled SQLite connections for WebAssembly components run by wasmtime: the package
//! `millpond:sqlite` for an embedder's [`Linker`](wasmtime::component::Linker). Use it on a
//! multi-thread tokio runtime, where a slow statement blocks no other task. On a current-thread
//! runtime, in a `LocalSet` and without `async`, a statement blocks its thread until it ends, at
//! the latest at its deadline: run each guest on its own thread there, with the function under
//! [What blocks](#what-blocks).
//!
//! A guest names a database, gets a connection from the pool behind that name, and works through
//! handles. It sees no path and no other guest's data. When its [`SqliteCtx`] is dropped, after a
//! success, a trap, a timeout or a cancellation, everything it still holds is returned to the pool
//! and reset.
//!
//! # A complete program
//!
//! The lines that an existing wasmtime program must add are marked with `// +`.
//!
//! ```
//! use millpond_wasmtime::pool::Access;                                                 // +
//! use millpond_wasmtime::sqlite::PoolBuilder;                                          // +
//! use millpond_wasmtime::{Grant, SqliteCtx, SqliteCtxView, SqliteView};                // +
//! use wasmtime::component::{Component, Linker, ResourceTable};
//! use wasmtime::{Engine, Result, Store};
//! use wasmtime_wasi::p2::bindings::Command;
//! use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
//!
//! struct Host {
//!     wasi: WasiCtx,
//!     sqlite: SqliteCtx,                                                               // +
//!     table: ResourceTable,
//! }
//!
//! impl WasiView for Host {
//!     fn ctx(&mut self) -> WasiCtxView<'_> {
//!         WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
//!     }
//! }
//!
//! impl SqliteView for Host {                                                           // +
//!     fn sqlite(&mut self) -> SqliteCtxView<'_> {                                      // +
//!         SqliteCtxView { ctx: &mut self.sqlite, table: &mut self.table }              // +
//!     }                                                                                // +
//! }                                                                                    // +
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     let engine = Engine::default();
//!     let mut linker = Linker::<Host>::new(&engine);
//!     wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
//!     millpond_wasmtime::add_to_linker(&mut linker)?;                                  // +
//!     # let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest.wat");
//!     let component = Component::from_file(&engine, guest)?;
//!
//!     # let folder = tempfile::tempdir()?;
//!     # let path = folder.path().join("app.db");
//!     let pool = PoolBuilder::new().open(path)?;                                       // +
//!
//!     // For each request:
//!     let sqlite = SqliteCtx::builder()                                                // +
//!         .grant("default", Grant::new(&pool, Access::ReadWrite))                      // +
//!         .build();                                                                    // +
//!     let wasi = WasiCtx::builder().inherit_stdio().build();
//!     let host = Host { wasi, sqlite, table: ResourceTable::new() };
//!     let mut store = Store::new(&engine, host);
//!     let command = Command::instantiate_async(&mut store, &component, &linker).await?;
//!     let outcome = command.wasi_cli_run().call_run(&mut store).await?;
//!     drop(store); // Whatever the guest still held is back in the pool now.
//!     # assert_eq!(pool.stats().in_use, 0);
//!
//!     pool.close(std::time::Duration::from_secs(10)).await;                            // +
//!     outcome.map_err(|()| wasmtime::format_err!("the guest failed"))
//! }
//! ```
//!
//! # The parts
//!
//! They are named like those of wasmtime's own host interfaces. [`SqliteCtx`] is one request's
//! state, with its [`SqliteCtxBuilder`]. The embedder implements [`SqliteView`] to give access to
//! it as a [`SqliteCtxView`]. [`Sqlite`] is the [`HasData`](wasmtime::component::HasData) marker.
//! [`add_to_linker`], and [`add_to_linker_sync`] for blocking calls, define the functions; with
//! [`add_to_linker_with`] the store's data may be of another crate's type. [`bindings`] has the
//! generated types, for an embedder's own bindings. With the feature `wasi`, `StoreData` is store
//! data for guests that use only WASI and Millpond.
//!
//! # Guests that may be hostile
//!
//! The pool and the grants limit what a guest does with SQL. [`InstanceLimits`] creates an engine
//! and stores that limit the rest: memory, stack, tables, handles, the size of one call's
//! arguments, and its computing. For an engine with a configuration of your own there are
//! [`recommended_config`] and [`start_epochs`]. The command `millpond` uses the same functions.
//!
//! # What happens
//!
//! A pool's builder has the method `observer`: an observer of connections, statements and
//! transactions. It is told the guest by [`Grant::guest`] and the request by
//! [`SqliteCtxBuilder::label`]: [`pool::observe`] has an example. The
//! features `tracing` and `prometheus` add two that ship with the pool.
//!
//! # One instance for several requests
//!
//! A new instance for each request is the default: what a guest does wrong in one request cannot
//! reach another. A guest whose instances take long to start, such as one in Python or Go, or that
//! fills a cache, may be worth keeping. Then call [`SqliteCtx::end_request`] at the end of each
//! request, and [`SqliteCtx::next_request`] at the beginning of the next one in the same store. Do
//! not assign a new context instead: the handles that the guest has kept would no longer count.
//!
//! The databases are as safe as with new instances. Everything that a request holds is returned at
//! its end, and its handles are stale. But the guest's memory is one for all of the instance's
//! requests:
//!
//! - What it has read for one client is there while it answers the next. A guest that mixes them
//!   up, or is made to, shows one client's data to another.
//! - A guest that has been corrupted, by its own mistake or by a client, stays corrupted.
//! - What it leaks adds up: memory, and handles in the table of resources.
//!
//! So serve only requests that may see the same data, never two tenants', unless you trust the
//! guest to keep them apart. Drop the store after a trap, a timeout, a call that was cancelled, and
//! a client that disconnected; and after a number of requests. `millpond serve
//! --max-instance-reuse` does all this. For a store of
//! [`store_sync`](InstanceLimits::store_sync), set the epoch deadline again for each request.
//!
//! # Components compiled ahead
//!
//! Compiling a component takes a second for each few megabytes. To do it once:
//!
//! - In one process, keep the [`Component`](wasmtime::component::Component) and its
//!   [`InstancePre`](wasmtime::component::InstancePre).
//! - On one machine, set [`Config::cache`](wasmtime::Config::cache) (wasmtime's feature `cache`):
//!   wasmtime keeps compiled code in a folder of the user's, as the command `millpond` does. No
//!   other user may write there.
//! - For other machines, compile it with [`Engine::precompile_component`], deploy the result, and
//!   load it with [`Component::deserialize_file`]. The engine needs the same version of wasmtime
//!   and the same configuration, so the same [`InstanceLimits`]: otherwise loading returns an
//!   error.
//!
//! `deserialize_file` is `unsafe`, because such a file is native code: who can write it can do
//! everything that the process can. wasmtime checks that it fits, not where it comes from. Load
//! only files that you made and that only you can write.
//!
//! ```
//! # fn main() -> wasmtime::Result<()> {
//! use millpond_wasmtime::{InstanceLimits, recommended_config};
//! use wasmtime::Engine;
//! use wasmtime::component::Component;
//!
//! # let guest = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest.wat"))?;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("guest.cwasm");
//! let engine = Engine::new(&recommended_config(&InstanceLimits::new()))?;
//! // When it is built:
//! std::fs::write(&path, engine.precompile_component(&guest)?)?;
//! // Where it runs:
//! // SAFETY: only we can write the file, and it is the one that we made.
//! let component = unsafe { Component::deserialize_file(&engine, &path)? };
//! # drop(component);
//! # Ok(())
//! # }
//! ```
//!
//! [`Engine::precompile_component`]: wasmtime::Engine::precompile_component
//! [`Component::deserialize_file`]: wasmtime::component::Component::deserialize_file
//!
//! # What blocks
//!
//! A statement runs on the thread that polls the guest until it ends: usually within 10 ms of its
//! deadline, and at most within 50 ms. On a multi-thread tokio runtime it blocks no other task. A
//! statement that takes longer than 1 to 2 ms hands its worker, with all of the worker's tasks,
//! over to another thread ([`block_in_place`]), and continues on its own. Each such statement uses
//! one of the runtime's blocking threads ([`max_blocking_threads`], 512 by default). Anything else
//! that the same task polls (`select!`, `join!`, a timeout around the call) waits for the
//! statement: set a [`deadline`](SqliteCtxBuilder::deadline).
//!
//! A read or write that the disk does not complete can't be stopped: the statement waits for it
//! beyond its deadline, and its worker is only handed over afterwards. After a commit that took
//! longer than 1 ms, the next 100 on that connection hand the worker over first.
//!
//! A statement that SQLite might not stop in time runs on its connection's own thread, while the
//! guest waits without blocking a thread. If it has not ended 20 ms after its deadline, the guest
//! continues without it, and loses the connection. There are never more of these threads than
//! connections. Each such call is counted ([`abandoned`](millpond_pool::PoolStats::abandoned)) and
//! logged, as a warning of the crate [`log`].
//!
//! A busy tokio runtime looks for due timers and sockets only after every 61 polls, and a guest can
//! make each poll take a millisecond with SQL, and an epoch, 10 ms, with computing. For many guests
//! let it look more often: [`event_interval(8)`], as the command `millpond` does.
//!
//! On a current-thread runtime, in a [`LocalSet`], and with [`add_to_linker_sync`], there is no
//! worker to hand over: a statement blocks everything on that thread. Run each guest on its own
//! thread there:
//!
//! ```
//! use std::future::Future;
//!
//! /// Run a guest on its own thread. `None` if it panics, or the thread cannot start.
//! async fn on_its_own_thread<T, F>(guest: impl FnOnce() -> F + Send + 'static) -> Option<T>
//! where
//!     T: Send + 'static,
//!     F: Future<Output = T>,
//! {
//!     let (sent, received) = tokio::sync::oneshot::channel();
//!     let thread = std::thread::Builder::new().name("guest".to_owned());
//!     thread
//!         .spawn(move || {
//!             let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
//!             let _ = runtime.map(|runtime| sent.send(runtime.block_on(guest())));
//!         })
//!         .ok()?;
//!     received.await.ok()
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let outcome = on_its_own_thread(|| async { /* instantiate, call, drop the store */ 42 }).await;
//! # assert_eq!(outcome, Some(42));
//! # }
//! ```
//!
//! Waiting, for a connection or for the turn to write, does not block a thread in the asynchronous
//! form; it needs a tokio runtime with time enabled.
//!
//! A statement also uses the stack of the guest's fiber. With wasmtime's defaults the host's part
//! of that is 1.5 MiB, and SQLite, with this crate's limits, stays far below.
//!
//! [`log`]: https://docs.rs/log/0.4/log/
//! [`block_in_place`]: https://docs.rs/tokio/1/tokio/task/fn.block_in_place.html
//! [`event_interval(8)`]: https://docs.rs/tokio/1/tokio/runtime/struct.Builder.html#method.event_interval
//! [`max_blocking_threads`]: https://docs.rs/tokio/1/tokio/runtime/struct.Builder.html#method.max_blocking_threads
//! [`LocalSet`]: https://docs.rs/tokio/1/tokio/task/struct.LocalSet.html
//!
//! # Errors and traps
//!
//! A guest's mistake is an error value of the contract. A call only traps for what a correct host
//! and a correct component cannot do: using a handle that is in no table.

pub mod bindings;
mod convert;
mod count;
mod ctx;
mod held;
mod host;
mod limits;
mod linker;
#[cfg(feature = "wasi")]
mod store_data;

pub use count::CursorPlace;
pub use ctx::{Sqlite, SqliteCtx, SqliteCtxBuilder, SqliteCtxView, SqliteView};
pub use limits::{EPOCH, EpochCount, InstanceLimits, recommended_config, start_epochs};
pub use linker::{add_to_linker, add_to_linker_sync, add_to_linker_sync_with, add_to_linker_with};
/// The pool, re-exported so that an embedder needs only one dependency.
pub use millpond_pool as pool;
pub use millpond_pool::{Grant, Request, StatsScope, TableGrant};
#[cfg(feature = "sqlite")]
pub use millpond_sqlite as sqlite;
#[cfg(feature = "wasi")]
pub use store_data::StoreData;
