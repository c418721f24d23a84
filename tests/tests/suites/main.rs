//! Suites that run real components against the real host. One binary, because each would link all
//! of wasmtime.

#[path = "../../../host/libsql/tests/server/admin.rs"]
mod admin;
mod attacks;
mod blocking;
mod bounds;
mod browser;
mod bundle;
mod chromium;
mod clean;
mod cli;
mod compression;
mod configured;
mod contract;
mod deadlines;
mod differential;
mod durability;
mod endings;
mod features;
mod guest;
mod handles;
mod hostile;
mod http;
mod http2;
mod keep;
mod keyvalue;
mod kit;
mod libsql;
mod limits;
mod manifests;
mod migrate;
mod new;
mod node;
mod notes;
#[path = "../../../host/sqlite/tests/observe/open_metrics.rs"]
mod open_metrics;
mod platform;
mod plugin_host;
mod process;
mod readme;
mod reload;
mod reuse;
mod run;
mod servers;
mod service;
mod site;
mod spin;
mod spin_async;
#[path = "../../../host/libsql/tests/server/sqld.rs"]
mod sqld;
mod telemetry;
mod tls;
mod transactions;
mod wasi03;
mod watched;
mod wit;

/// Asserts that there is a test named like each program of a suite: otherwise this does not
/// compile.
macro_rules! assert_test_exists {
    ($name:ident) => {
        #[expect(unused_imports, reason = "to assert that it exists")]
        use self::$name as _;
    };
}
pub(crate) use assert_test_exists;
