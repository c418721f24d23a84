//! A libSQL server as the engine of a pool.

mod builder;
mod engine;
mod error;
mod hrana;
mod http;
mod runtime;
mod session;
mod settings;
mod sql;
mod target;
mod token;

pub use builder::PoolBuilder;
