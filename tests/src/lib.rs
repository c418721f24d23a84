//! The harness: a pool on its own file, and guest programs that use it.
//!
//! A test creates a [`Lab`], runs programs in it, and checks how they ended:
//!
//! ```no_run
//! # async fn example() {
//! let lab = millpond_tests::Lab::new();
//! lab.run("contract_values").await.succeeds();
//! # }
//! ```
//!
//! Whatever a program does, and however it ends, nothing may be in use afterwards: [`Run::go`]
//! asserts it every time.

use std::future::{Future, IntoFuture, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::time::Instant;

use millpond_pool::{Access, Pool, PoolStats};
use millpond_sqlite::PoolBuilder;
use millpond_wasmtime::{
    Grant, SqliteCtx, SqliteCtxBuilder, SqliteCtxView, SqliteView, StatsScope,
};
use wasmtime::component::{Accessor, Component, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p3;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

include!(concat!(env!("OUT_DIR"), "/components.rs"));

// The Rust in the READMEs compiles, and code that is not marked `no_run` runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../guest/rust/README.md")]
struct GuestReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/cli/README.md")]
struct CommandReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/libsql/README.md")]
struct LibsqlReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/pool/README.md")]
struct PoolReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/server/README.md")]
struct ServerReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/sqlite/README.md")]
struct SqliteReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/test/README.md")]
struct TestReadme;

#[cfg(doctest)]
#[doc = include_str!("../../host/wasmtime/README.md")]
struct WasmtimeReadme;

/// The path of a guest program's component, or of the guest `millpond_notes`.
///
/// # Panics
///
/// There is none of that name.
pub fn component(name: &str) -> &'static Path {
    Path::new(path_of(name).unwrap_or_else(|| panic!("there is no guest program {name}")))
}

/// Await a future. Returns its output, and how often it was polled: at least once for each time
/// that it let other tasks run.
pub async fn count_polls<F: Future>(future: F) -> (F::Output, usize) {
    let (mut future, mut polls) = (pin!(future), 0);
    let output = poll_fn(|context| {
        polls += 1;
        future.as_mut().poll(context)
    });
    let output = output.await;
    (output, polls)
}

/// Compiled components are cached, so that each is compiled once.
static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let mut config = CacheConfig::new();
    config.with_directory(concat!(env!("OUT_DIR"), "/cache"));
    Cache::new(config).expect("a cache")
});

/// An engine, and a pool: on a file, in a temporary folder or a given one, or on a server.
pub struct Lab {
    /// `None` on a server.
    path: Option<PathBuf>,
    _folder: Option<tempfile::TempDir>,
    pool: Pool,
    engine: Engine,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Lab {
    /// A pool with its default settings.
    pub fn new() -> Lab {
        Lab::with(PoolBuilder::new())
    }

    /// A pool with these settings.
    pub fn with(builder: PoolBuilder) -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        let lab = Lab::at(&folder.path().join("app.db"), builder);
        Lab {
            _folder: Some(folder),
            ..lab
        }
    }

    /// A pool with these settings, on this file.
    pub fn at(path: &Path, builder: PoolBuilder) -> Lab {
        let pool = builder.open(path).expect("a pool");
        Lab {
            path: Some(path.to_owned()),
            ..Lab::on_server(pool)
        }
    }

    /// A pool on a server. Programs learn that it is one: see `differs` in their library.
    pub fn on_server(pool: Pool) -> Lab {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .wasm_component_model_async(true)
            .cache(Some(CACHE.clone()));
        Lab {
            path: None,
            _folder: None,
            pool,
            engine: Engine::new(&config).expect("an engine"),
        }
    }

    /// The engine of the programs. Its epoch advances only when the test advances it, which ends
    /// them.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The pool that programs get their connections from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The database's file.
    ///
    /// # Panics
    ///
    /// Panics if the database is on a server.
    pub fn path(&self) -> PathBuf {
        self.path.clone().expect("a database in a file")
    }

    /// All that programs may import, except WASI 0.3.
    fn linker(&self) -> Linker<Host> {
        let mut linker = Linker::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        millpond_wasmtime::add_to_linker(&mut linker).expect("Millpond");
        millpond_compat::keyvalue::add_to_linker(&mut linker).expect("wasi:keyvalue");
        millpond_compat::node::add_to_linker(&mut linker).expect("node:sqlite");
        millpond_compat::spin::add_to_linker(&mut linker).expect("Spin's SQLite");
        millpond_compat::spin::add_async_to_linker(&mut linker)
            .expect("its asynchronous functions");
        linker
    }

    fn grant(&self, access: Access) -> Grant {
        Grant::new(&self.pool, access)
            .stats(StatsScope::Pool)
            // A server has no temporary tables, and the grant would be refused.
            .temporary(self.path.is_some())
    }

    /// Prepare to run a program, with a read-write grant of the database as `default`.
    pub fn run(&self, program: &str) -> Run<'_> {
        Run {
            lab: self,
            component: Component::from_file(&self.engine, component(program)).expect("a component"),
            ctx: SqliteCtx::builder().grant("default", self.grant(Access::ReadWrite)),
            args: vec![program.to_owned()],
            memory: usize::MAX,
        }
    }
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new()
    }
}

/// A program that is about to run. Awaiting it runs it, as [`go`](Run::go) does.
#[must_use = "a run does nothing until it is awaited"]
pub struct Run<'a> {
    lab: &'a Lab,
    component: Component,
    ctx: SqliteCtxBuilder,
    args: Vec<String>,
    memory: usize,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// What `wasi:cli/run` returned, or the trap. To wasmtime, a call of `exit` is a trap.
    pub result: wasmtime::Result<Result<(), ()>>,
    /// Its standard output, followed by its standard error.
    pub output: String,
    /// The pool's counters afterwards.
    pub stats: PoolStats,
}

impl Ended {
    /// Asserts that the program ended without a trap.
    #[track_caller]
    pub fn succeeds(self) -> Ended {
        match &self.result {
            Ok(Ok(())) => self,
            other => panic!("the guest failed: {other:?}\n{}", self.output),
        }
    }

    /// Asserts that the program trapped, and had got to where it should: it printed `ready`.
    #[track_caller]
    pub fn traps(self) -> Ended {
        assert!(
            self.output.contains("ready"),
            "it ended too early: {}",
            self.output
        );
        assert!(self.result.is_err(), "no trap: {:?}", self.result);
        self
    }
}

impl<'a> Run<'a> {
    /// Change the program's grants and limits.
    pub fn ctx(mut self, change: impl FnOnce(SqliteCtxBuilder) -> SqliteCtxBuilder) -> Self {
        self.ctx = change(self.ctx);
        self
    }

    /// Grant the database read-only.
    pub fn read_only(self) -> Self {
        let grant = self.lab.grant(Access::ReadOnly);
        self.ctx(|ctx| ctx.grant("default", grant))
    }

    /// An argument for the program.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Set the program's memory limit, in bytes.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Set when the program's statements and waits must end.
    pub fn deadline(self, deadline: Instant) -> Self {
        self.ctx(|ctx| ctx.deadline(deadline))
    }

    /// Run the program to its end, drop everything of it, and check. Dropping this future early
    /// ends the program, like a host's timeout.
    pub async fn go(self) -> Ended {
        let lab = self.lab;
        let held = lab.pool.stats().in_use;
        let (mut store, component, pipes) = self.store();
        let linker = lab.linker();
        let command = bindings::Command::instantiate_async(&mut store, &component, &linker)
            .await
            .expect("an instance");
        let result = command.wasi_cli_run().call_run(&mut store).await;
        drop(store);
        Ended::look(result, &pipes, lab, held)
    }

    /// Like [`go`](Run::go), for a program whose functions are asynchronous, a command of WASI 0.3.
    /// Imports of `wasi:http` trap. So do those of other versions of WASI 0.2 than wasmtime's: the
    /// backtrace of a panic shows where it was, but its message is lost.
    pub async fn go_concurrently(self) -> Ended {
        let lab = self.lab;
        let held = lab.pool.stats().in_use;
        let (mut store, component, pipes) = self.store();
        let mut linker = Linker::new(&lab.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI 0.2");
        wasmtime_wasi::p3::add_to_linker(&mut linker).expect("WASI 0.3");
        millpond_compat::spin::add_to_linker(&mut linker).expect("Spin's SQLite");
        millpond_compat::spin::add_async_to_linker(&mut linker)
            .expect("its asynchronous functions");
        linker
            .define_unknown_imports_as_traps(&component)
            .expect("the rest");
        let command = p3::bindings::Command::instantiate_async(&mut store, &component, &linker)
            .await
            .expect("an instance");
        let run = async |store: &Accessor<_>| command.wasi_cli_run().call_run(store).await;
        let result = store.run_concurrent(run).await.and_then(|result| result);
        drop(store);
        Ended::look(result, &pipes, lab, held)
    }

    /// Like [`go`](Run::go), with the blocking host functions, and without a runtime.
    pub fn go_blocking(self) -> Ended {
        let lab = self.lab;
        let held = lab.pool.stats().in_use;
        let (mut store, component, pipes) = self.store();
        let mut linker = Linker::new(&lab.engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI");
        millpond_wasmtime::add_to_linker_sync(&mut linker).expect("Millpond");
        let command = bindings::sync::Command::instantiate(&mut store, &component, &linker)
            .expect("an instance");
        let result = command.wasi_cli_run().call_run(&mut store);
        drop(store);
        Ended::look(result, &pipes, lab, held)
    }

    /// Call the program's export `answer` once for each of `requests` requests, all in one
    /// instance: `next_request` ends one and begins the next.
    /// Returns the answers, and what the program has printed.
    pub async fn answers(self, requests: usize) -> (Vec<Result<i64, String>>, String) {
        let lab = self.lab;
        let held = lab.pool.stats().in_use;
        let (mut store, component, pipes) = self.store();
        let linker = lab.linker();
        let instance = linker
            .instantiate_async(&mut store, &component)
            .await
            .expect("an instance");
        let answer = instance
            .get_typed_func::<(), (Result<i64, String>,)>(&mut store, "answer")
            .expect("the export");
        let mut answers = Vec::new();
        for _ in 0..requests {
            let grant = lab.grant(Access::ReadWrite);
            let next = SqliteCtx::builder().grant("default", grant).build();
            store.data_mut().sqlite.next_request(next);
            assert_eq!(lab.pool.stats().in_use, held, "a request has ended");
            let (answered,) = answer.call_async(&mut store, ()).await.expect("no trap");
            answers.push(answered);
        }
        (answers, printed(&pipes))
    }

    fn store(self) -> (Store<Host>, Component, [MemoryOutputPipe; 2]) {
        let pipes = [
            MemoryOutputPipe::new(1 << 20),
            MemoryOutputPipe::new(1 << 20),
        ];
        let engine = match self.lab.path {
            Some(_) => "file",
            None => "server",
        };
        let wasi = WasiCtx::builder()
            .args(&self.args)
            .env("MILLPOND_TEST_ENGINE", engine)
            .stdout(pipes[0].clone())
            .stderr(pipes[1].clone())
            .build();
        let host = Host {
            wasi,
            sqlite: self.ctx.build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(self.memory).build(),
        };
        let mut store = Store::new(&self.lab.engine, host);
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(1);
        (store, self.component, pipes)
    }
}

impl<'a> IntoFuture for Run<'a> {
    type Output = Ended;
    type IntoFuture = Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.go())
    }
}

impl Ended {
    /// `held` is what the test itself holds.
    fn look(
        result: wasmtime::Result<Result<(), ()>>,
        pipes: &[MemoryOutputPipe; 2],
        lab: &Lab,
        held: u32,
    ) -> Ended {
        let ended = Ended {
            result,
            output: printed(pipes),
            stats: lab.pool.stats(),
        };
        // A call that SQLite did not end in time is in use until it ends.
        let left = u64::from(ended.stats.in_use.abs_diff(held));
        assert!(
            left <= ended.stats.abandoned,
            "the guest is gone, and a connection with it: {:?}",
            ended.stats
        );
        ended
    }
}

/// A program's standard output, followed by its standard error.
fn printed(pipes: &[MemoryOutputPipe; 2]) -> String {
    pipes
        .iter()
        .map(|pipe| String::from_utf8_lossy(&pipe.contents()).into_owned())
        .collect()
}

/// The data of a store, as an embedder writes it.
struct Host {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl SqliteView for Host {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.sqlite,
            table: &mut self.table,
        }
    }
}
