//! Guests as `millpond serve` runs them: instances from a pool, limits and deadlines on.

use std::path::Path;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Pool};
use millpond_wasmtime::{Grant, SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, PoolingAllocationConfig, ResourceLimiter, Store, StoreLimits,
    StoreLimitsBuilder,
};
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
    /// The most linear memory that it has had.
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

/// An instance that has not begun to run.
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
        let weak = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Sandbox { engine, pre }
    }

    /// A new instance, with the database granted for reading and writing.
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
        let mut table = ResourceTable::new();
        table.set_max_capacity(4096);
        let limits = StoreLimitsBuilder::new()
            .memory_size(256 * MIB)
            .memories(2)
            .tables(8)
            .table_elements(20_000)
            .instances(32)
            .build();
        let guest = Guest {
            wasi,
            sqlite,
            table,
            limits,
            memory: 0,
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_max_component_handles(4096);
        store.set_hostcall_fuel(32 * MIB);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
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

    /// What it wrote.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.output.contents().to_vec()
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory
    }
}

/// As `millpond serve` configures its engine.
fn config() -> Config {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(64)
        .total_core_instances(64 * 16)
        .max_core_instances_per_component(16)
        .total_memories(128)
        .max_memory_size(256 * MIB)
        .total_tables(512)
        .max_tables_per_component(8)
        .table_elements(20_000)
        .total_stacks(64)
        .linear_memory_keep_resident(512 * 1024)
        .table_keep_resident(64 * 1024)
        .async_stack_keep_resident(32 * 1024)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(512 * 1024)
        .async_stack_size(512 * 1024 + 2 * MIB)
        .async_stack_zeroing(true)
        .concurrency_support(false)
        .wasm_component_model_async(false)
        .allocation_strategy(pooling);
    config
}
