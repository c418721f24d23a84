//! Database interfaces of other hosts, for guests that were written for those: each is a thin
//! translation onto the connections that a request's [`SqliteCtx`](millpond_wasmtime::SqliteCtx)
//! grants, with their rights and limits. An embedder adds them to its linker, beside
//! [`millpond_wasmtime::add_to_linker`]:
//!
//! - [`keyvalue`]: `wasi:keyvalue` 0.2.0-draft and 0.2.0-draft2.
//! - [`node`]: `node:sqlite`, as jco compiles it into components of JavaScript.
//! - [`spin`]: Spin's SQLite, `fermyon:spin/sqlite` 2.0.0 and `spin:sqlite` 3.

mod error;
pub mod keyvalue;
pub mod node;
pub mod spin;
mod yielding;

use millpond_wasmtime::SqliteView;
use wasmtime::component::{Component, Linker};

/// Define all of these interfaces, for a guest that may import any of them, and what
/// [`spin::add_traps_to_linker`] defines for this component. `concurrency` says whether the engine
/// has [`Config::concurrency_support`](wasmtime::Config::concurrency_support), which asynchronous
/// functions need.
///
/// # Errors
///
/// Returns an error if the linker already defines one of the names.
pub fn add_to_linker<T: SqliteView + 'static>(
    linker: &mut Linker<T>,
    component: &Component,
    concurrency: bool,
) -> wasmtime::Result<()> {
    keyvalue::add_to_linker(linker)?;
    node::add_to_linker(linker)?;
    spin::add_to_linker(linker)?;
    if concurrency {
        spin::add_async_to_linker(linker)?;
    }
    spin::add_traps_to_linker(linker, component)
}
