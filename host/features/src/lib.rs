//! Contains no code: this crate only enables cargo features.
//!
//! Cargo compiles a dependency, and everything above it, once for each set of features. `cargo
//! demo`, `cargo test --workspace` and `cargo build` select different packages, so each would
//! compile wasmtime. The tests and examples of `millpond` depend on this crate, whose manifest
//! enables all features that any of these selections needs. The command itself does not, so that
//! the published and installed command has no features that only tests need.
