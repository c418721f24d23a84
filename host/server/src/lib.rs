//! A server of WebAssembly components that use pooled SQLite connections.

pub mod config;
