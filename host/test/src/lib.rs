//! Tests for components that use Millpond's databases: real components and real SQLite files, in
//! the test's own process and without a port, with a journal of every statement and with injected
//! faults.
//!
//! ```no_run
//! use millpond_test::{App, Failure, Fault};
//!
//! #[millpond_test::test(component = "notes.wasm", migrations = "migrations")]
//! async fn notes_are_listed(app: App) {
//!     app.get("/api/notes")
//!         .await
//!         .is(200)
//!         .at_most_statements(2)
//!         .no_full_scan()
//!         .leaves_nothing();
//! }
//!
//! #[millpond_test::test(component = "notes.wasm", migrations = "migrations")]
//! async fn a_slow_database_is_reported(app: App) {
//!     let slow = Fault::error(Failure::DeadlineExceeded).on_sql("FROM notes");
//!     app.get("/api/notes").fault(slow).await.is(503);
//! }
//! # fn main() {}
//! ```
//!
//! An [`App`] is a component and its databases, for one test; [`AppBuilder`] has what can be
//! chosen. [`App::call`] and its short forms send a request, [`App::run`] runs a command; both
//! accept [`Fault`]s. The [`Answer`] or [`Exit`] has assertions, and a [`Record`] of what the guest
//! did, with its [`Journal`].
//!
//! The module [`suite`] runs tests in files, for guests in any language; the command `millpond
//! test` uses it.
//!
//! # How it works
//!
//! The pool and the engine are those of a real host. Between them is an engine of this crate, which
//! delegates to SQLite's: it records each call, and lets faults happen there. Except
//! `outcome-unknown`, a fault comes before the statement runs. The database itself stays sound.
//!
//! # What blocks
//!
//! Calls run the guest on the task that awaits them. Use a multi-thread tokio runtime, as
//! [`test`](macro@test) does, because a statement blocks its thread.

mod app;
mod call;
mod compare;
mod component;
mod database;
mod engine;
mod error;
mod fault;
mod guest;
mod journal;
mod lent;
mod outdated;
mod plan;
mod record;
mod recorder;
mod run;
mod session;
mod sql;
pub mod suite;

pub use app::{App, AppBuilder};
pub use call::{Call, Run};
pub use database::Database;
pub use error::Mistake;
pub use fault::{Failure, Fault};
pub use journal::{Action, Entry, Journal, Outcome};
pub use millpond_pool::{Access, ErrorKind, PoolStats, TransactionMode};
/// Makes a test of an asynchronous function that takes an [`App`].
///
/// The app, and its databases, are the test's own. The test runs on a multi-thread tokio runtime,
/// and in parallel with others. The function may return whatever a `#[test]` may.
///
/// The arguments are those of [`AppBuilder`], of which any expression is possible:
///
/// - `component`: the component's file; or `component_env`: the environment variable with its path;
/// - `migrations`: a folder, for the database `default`;
/// - `seed`: a file of SQL. May be repeated.
///
/// ```no_run
/// #[millpond_test::test(component = "notes.wasm", migrations = "migrations", seed = "seed.sql")]
/// async fn the_page_is_there(app: millpond_test::App) {
///     app.get("/").await.is(200);
/// }
/// # fn main() {}
/// ```
///
/// It must be asynchronous, and name a component:
///
/// ```compile_fail
/// #[millpond_test::test(component = "notes.wasm")]
/// fn the_page_is_there(app: millpond_test::App) {}
/// # fn main() {}
/// ```
pub use millpond_test_macros::test;
pub use plan::FullScan;
pub use record::{Answer, Exit, Record};
pub use recorder::Leftovers;
pub use {http, serde_json};

/// Run a test of [`test`](macro@test). Panics if the app cannot be built.
#[doc(hidden)]
pub fn run_test<F: Future>(
    app: Result<AppBuilder, Mistake>,
    test: impl FnOnce(App) -> F,
) -> F::Output {
    let app = app.and_then(AppBuilder::build);
    let app = app.unwrap_or_else(|mistake| panic!("{mistake}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test(app))
}
