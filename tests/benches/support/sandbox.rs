//! Runs guests like `millpond serve` does: instances from a pool, with limits and deadlines.

use std::path::Path;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Pool};
use millpond_wasmtime::{
    Grant, InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView, recommended_config, start_epochs,
};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, ResourceLimiter, Store, StoreLimits};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// One guest program, ready to be instantiated.
pub(crate) struct Sandbox {
    engine: Engine,
    pre: CommandPre<Guest>,
}

/// The data of a guest's store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    table: ResourceTable,
    limits: StoreLimits,
    /// The most linear memory that it has used.
    pub(crate) memory: usize,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl SqliteView for Guest {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.sqlite,
            table: &mut self.table,
        }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory = self.memory.max(desired);
        self.limits.memory_growing(current, desired, maximum)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }
}

/// An instance that has not started.
pub(crate) struct Instance {
    store: Store<Guest>,
    command: Command,
    output: MemoryOutputPipe,
}

const MIB: usize = 1 << 20;
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(600);

impl Sandbox {
    pub(crate) fn new(component: &Path) -> Sandbox {
        let engine = Engine::new(&config()).expect("an engine");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        millpond_wasmtime::add_to_linker(&mut linker).expect("Millpond");
        let component = Component::from_file(&engine, component).expect("a component");
        let pre = linker.instantiate_pre(&component).expect("what it imports");
        let pre = CommandPre::new(pre).expect("a command");
        start_epochs(&engine).expect("a thread");
        Sandbox { engine, pre }
    }

    /// A new instance, with a read-write grant of the database.
    pub(crate) async fn instance(&self, pool: &Pool, args: &[&str]) -> Instance {
        let sqlite = SqliteCtx::builder()
            .grant("default", Grant::new(pool, Access::ReadWrite))
            .deadline(Instant::now() + REQUEST)
            .build();
        let output = MemoryOutputPipe::new(64 * MIB);
        let wasi = WasiCtx::builder()
            .arg("guest")
            .args(args)
            .stdout(output.clone())
            .inherit_stderr()
            .build();
        let limits = InstanceLimits::new();
        let guest = Guest {
            wasi,
            sqlite,
            table: limits.resource_table(),
            limits: limits.store_limits(),
            memory: 0,
        };
        let mut store = limits.store(&self.engine, guest, |guest| guest);
        let command = self
            .pre
            .instantiate_async(&mut store)
            .await
            .expect("an instance");
        Instance {
            store,
            command,
            output,
        }
    }
}

impl Instance {
    /// Runs to the end.
    pub(crate) async fn run(&mut self) {
        let outcome = self.command.wasi_cli_run().call_run(&mut self.store).await;
        outcome.expect("no trap").expect("success");
    }

    /// Its output.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.output.contents().to_vec()
    }

    /// The most memory that it has used, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory
    }
}

/// The same engine configuration as `millpond serve`.
fn config() -> Config {
    let limits = InstanceLimits::new();
    let mut config = recommended_config(&limits);
    config.allocation_strategy(limits.pooling(64));
    config
}
