//! The contract `millpond:sqlite` as a component: SQLite over `wasi:filesystem`. `millpond bundle`
//! composes it with a guest, so that the guest runs without Millpond. README.md says what it is
//! for, and how it differs.
//!
//! `exports` implements the contract's functions. `database` finds and opens the files, and `lock`
//! shares them with other instances. `lent` is a connection that a guest has, and `session` one at
//! work: `compile` and `authorizer` decide what it may run, `run` and `handles` run it. Values and
//! errors have the host's own code.

mod authorizer;
mod bindings;
mod compile;
mod convert;
mod database;
mod exports;
mod handles;
mod lent;
mod lock;
mod run;
mod session;

// The same files as in the host, so that both treat a guest's bytes and SQLite's codes alike. None
// depends on anything but the others. The host's crates cannot be used: they need threads.
#[path = "../../../host/pool/src/error.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod error;
#[path = "../../../host/sqlite/src/error_kind.rs"]
mod error_kind;
#[path = "../../../host/pool/src/flat.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod flat;
#[path = "../../../host/pool/src/parameters.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod parameters;
#[path = "../../../host/pool/src/rows.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod rows;
#[path = "../../../host/sqlite/src/text.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod text;
#[path = "../../../host/pool/src/value.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod value;
