//! Nothing to call: this crate holds cargo features.
//!
//! Cargo compiles a dependency once for each set of features, and everything above it again.
//! `cargo demo`, `cargo test --workspace` and `cargo build` select different packages, and would each
//! compile wasmtime. The tests and examples of `millpond` depend on this crate, whose manifest asks
//! for all features that any of these selections needs. The command itself does not, so that what is
//! published and installed has no feature that only a test needs.
