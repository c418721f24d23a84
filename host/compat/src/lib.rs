//! Database interfaces of other hosts, for guests that were written for those: each is a thin
//! translation onto the connections that a request's [`SqliteCtx`](millpond_wasmtime::SqliteCtx) grants,
//! with their rights and limits. An embedder adds them to its linker, beside
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
