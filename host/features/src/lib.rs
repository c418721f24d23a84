//! Nothing to call: this crate holds cargo features.
//!
//! Cargo compiles a dependency once for each set of features, and everything above it again.
//! `cargo demo`, `cargo test --workspace`, `cargo build` and `cargo run -p millpond` select
//! different packages, and would each compile wasmtime. `millpond` depends on this crate, whose
//! manifest asks for all features that any of these selections needs.
