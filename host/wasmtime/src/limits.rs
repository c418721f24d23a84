//! Configures the engine and the store for guests that may be hostile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime::{
    Config, Enabled, Engine, PoolingAllocationConfig, ResourceLimiter, Result, Store, StoreLimits,
    StoreLimitsBuilder, WasmBacktraceDetails,
};

/// How often [`start_epochs`] advances an engine's epoch: the maximum time that a guest computes
/// before the host regains control.
pub const EPOCH: Duration = Duration::from_millis(10);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The host's part of a guest's stack, in addition to the guest's own frames. SQLite runs there,
/// and needs 1 MiB for the worst statement within its limits.
const HOST_STACK: usize = 2 * MIB;

/// The limits of one instance of a component. For SQL, see [`Grant`](crate::Grant) and
/// [`SqliteCtxBuilder`](crate::SqliteCtxBuilder).
///
/// ```
/// # fn main() -> wasmtime::Result<()> {
/// use millpond_wasmtime::{InstanceLimits, recommended_config, start_epochs};
/// use wasmtime::component::ResourceTable;
/// use wasmtime::{Engine, StoreLimits};
///
/// struct Host {
///     limits: StoreLimits,
///     table: ResourceTable,
///     // … and the contexts of WASI and of Millpond
/// }
///
/// let limits = InstanceLimits::new().max_memory_size(64 << 20);
/// let engine = limits.engine()?;
///
/// // For each request:
/// let host = Host { limits: limits.store_limits(), table: limits.resource_table() };
/// let store = limits.store(&engine, host, |host| &mut host.limits);
/// # drop(store);
///
/// // Where instances are many and short-lived, make the engine like this instead:
/// let mut config = recommended_config(&limits);
/// config.allocation_strategy(limits.pooling(100));
/// let engine = Engine::new(&config)?;
/// start_epochs(&engine)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "limits do nothing until an engine or a store is made with them"]
pub struct InstanceLimits {
    memory_size: usize,
    memories: u32,
    tables: u32,
    table_entries: u32,
    instances: u32,
    handles: u32,
    stack_size: usize,
    call_size: usize,
}

impl Default for InstanceLimits {
    fn default() -> InstanceLimits {
        InstanceLimits::new()
    }
}

impl InstanceLimits {
    /// Create the default limits, which the command `millpond` uses too.
    pub fn new() -> InstanceLimits {
        InstanceLimits {
            memory_size: 256 * MIB,
            memories: 2,
            tables: 8,
            table_entries: 20_000,
            instances: 32,
            handles: 4096,
            stack_size: 512 * KIB,
            call_size: 32 * MIB,
        }
    }

    /// Set the maximum size of a linear memory, in bytes. Defaults to 256 MiB.
    pub fn max_memory_size(mut self, bytes: usize) -> Self {
        self.memory_size = bytes;
        self
    }

    /// The maximum size of each linear memory, in bytes.
    pub fn memory_size(&self) -> usize {
        self.memory_size
    }

    /// Set the maximum number of linear memories. Defaults to 2.
    pub fn max_memories(mut self, memories: u32) -> Self {
        self.memories = memories;
        self
    }

    /// Set the maximum number of tables, in all core modules of a component together. Defaults to
    /// 8.
    pub fn max_tables(mut self, tables: u32) -> Self {
        self.tables = tables;
        self
    }

    /// Set the maximum number of entries of each table. Defaults to 20,000.
    pub fn max_table_entries(mut self, entries: u32) -> Self {
        self.table_entries = entries;
        self
    }

    /// Set the maximum number of core module instances in a component. Defaults to 32.
    pub fn max_instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// Set the maximum number of handles open at once, of all kinds together. Defaults to 4096.
    pub fn max_handles(mut self, handles: u32) -> Self {
        self.handles = handles;
        self
    }

    /// Set the stack for the guest's own frames, in bytes. The host's part is added to it. Defaults
    /// to 512 KiB.
    pub fn max_stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Set the maximum size of one call's arguments, in bytes, such as a statement's parameters, or
    /// the rows of `execute-many`. The host copies them. Defaults to 32 MiB; wasmtime's own default
    /// is 128 MiB.
    pub fn max_call_size(mut self, bytes: usize) -> Self {
        self.call_size = bytes;
        self
    }

    /// Create an engine for guests that may be hostile: with [`recommended_config`], and with its
    /// epochs started ([`start_epochs`]).
    ///
    /// # Errors
    ///
    /// wasmtime cannot run on this system, or the system could not start a thread.
    pub fn engine(&self) -> Result<Engine> {
        let engine = Engine::new(&recommended_config(self))?;
        start_epochs(&engine)?;
        Ok(engine)
    }

    /// Allocate the memory, tables and stacks of up to `at_once` instances from a pool, which makes
    /// creating an instance cheap.
    ///
    /// Pass this to [`Config::allocation_strategy`]. A component that does not fit is refused when
    /// it is compiled or loaded.
    pub fn pooling(&self, at_once: u32) -> PoolingAllocationConfig {
        /// A WASI 0.3 guest has a stack for each of its tasks.
        const STACKS: u32 = 4;

        let mut pooling = PoolingAllocationConfig::new();
        pooling
            .total_component_instances(at_once)
            .total_core_instances(at_once.saturating_mul(self.instances))
            .max_core_instances_per_component(self.instances)
            .max_component_instance_size(MIB)
            .total_memories(at_once.saturating_mul(self.memories))
            .max_memories_per_component(self.memories)
            .max_memory_size(self.memory_size)
            .total_tables(at_once.saturating_mul(self.tables))
            .max_tables_per_component(self.tables)
            .table_elements(self.table_entries as usize)
            .total_stacks(at_once.saturating_mul(STACKS))
            // Clearing pages that stay mapped is faster than unmapping them and faulting them in
            // again. A request seldom uses more than 16 KiB of its stack.
            .linear_memory_keep_resident(512 * KIB)
            .table_keep_resident(64 * KIB)
            .async_stack_keep_resident(32 * KIB)
            .pagemap_scan(Enabled::Auto);
        pooling
    }

    /// Create the limiter to keep in a store's data, for [`store`](InstanceLimits::store).
    pub fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory_size)
            .memories(self.memories as usize)
            .tables(self.tables as usize)
            .table_elements(self.table_entries as usize)
            .instances(self.instances as usize)
            .build()
    }

    /// Create an empty table for a store's handles, with its limit.
    pub fn resource_table(&self) -> ResourceTable {
        let mut table = ResourceTable::new();
        table.set_max_capacity(self.handles as usize);
        table
    }

    /// Create a store for an asynchronous guest, with these limits.
    ///
    /// `limiter` returns the [`store_limits`](InstanceLimits::store_limits) in the store's data, or
    /// your own limiter that delegates to them.
    ///
    /// A guest that computes yields to the runtime at each epoch ([`start_epochs`]), and continues
    /// for as long as it is polled. To stop it, drop the call's future, for example with a timeout
    /// around the call. Then drop the store. Set the
    /// [`deadline`](crate::SqliteCtxBuilder::deadline) of its statements to the same time: a
    /// statement that runs delays the timeout until it ends.
    pub fn store<T: 'static>(
        &self,
        engine: &Engine,
        data: T,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) -> Store<T> {
        let mut store = self.limited(engine, data, limiter);
        // Without a deadline the first epoch would trap.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// Like [`store`](InstanceLimits::store), for a guest that is called without `async`: it traps
    /// if it still computes after `max_time`, rounded up to a multiple of [`EPOCH`].
    ///
    /// The time begins now, and includes time that the guest waits for the host. A statement ends
    /// by the [`deadline`](crate::SqliteCtxBuilder::deadline) of its context.
    pub fn store_sync<T: 'static>(
        &self,
        engine: &Engine,
        data: T,
        max_time: Duration,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) -> Store<T> {
        let mut store = self.limited(engine, data, limiter);
        let epochs = max_time.as_millis().div_ceil(EPOCH.as_millis());
        // The current epoch may be about to end.
        store.set_epoch_deadline(u64::try_from(epochs).unwrap_or(u64::MAX >> 1).max(1) + 1);
        store.epoch_deadline_trap();
        store
    }

    fn limited<T: 'static>(
        &self,
        engine: &Engine,
        data: T,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) -> Store<T> {
        let mut store = Store::new(engine, data);
        store.limiter(limiter);
        store.set_max_component_handles(self.handles as usize);
        store.set_hostcall_fuel(self.call_size);
        store
    }
}

/// Create the configuration of an engine for guests that may be hostile.
///
/// - Epochs interrupt a guest that computes: call [`start_epochs`] for the engine. Without it, a
///   guest that loops cannot be stopped, not even by a timeout around the call.
/// - A guest has the stack size of `limits`, and the host's functions 2 MiB more. Stacks are zeroed
///   between guests.
/// - Features that a WASI 0.2 guest does not need are off, because a hostile guest could reach
///   their code: garbage collection, typed function references, exceptions, threads, shared memory,
///   64-bit memories and concurrency within an instance. wasmtime's crate features `gc` and
///   `threads` are still compiled in, as its security advisories recommend.
/// - Traps carry no source lines.
///
/// A WASI 0.3 guest needs concurrency. Give it its own engine, in a program that enables the
/// feature `component-model-async` of `wasmtime`, and change that engine's configuration with
/// `config.concurrency_support(true)`.
///
/// A component that was compiled ahead of time only loads into an engine with the same
/// configuration: use this function on both sides.
pub fn recommended_config(limits: &InstanceLimits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack_size)
        .async_stack_size(limits.stack_size + HOST_STACK)
        .async_stack_zeroing(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false);
    config
}

/// Start a thread that advances the engine's epoch every [`EPOCH`], until the engine is dropped.
/// Call it once for each engine. Returns the count of its epochs, which you may drop.
///
/// # Errors
///
/// The system could not start a thread.
pub fn start_epochs(engine: &Engine) -> io::Result<EpochCount> {
    let engine = engine.weak();
    let count = EpochCount::default();
    let counted = count.clone();
    let thread = thread::Builder::new().name("millpond-epochs".to_owned());
    thread.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            counted.0.fetch_add(1, Ordering::Relaxed);
            thread::sleep(EPOCH);
        }
    })?;
    Ok(count)
}

/// How many times the thread of [`start_epochs`] has advanced an engine's epoch. If the count stays
/// the same, a guest that computes is no longer interrupted. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct EpochCount(Arc<AtomicU64>);

impl EpochCount {
    /// The count. It never decreases.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::Trap;
    use wasmtime::component::{Component, Linker, TypedFunc};

    use super::*;

    fn engine(config: &Config) -> Engine {
        let engine = Engine::new(config).expect("an engine");
        start_epochs(&engine).expect("a thread");
        engine
    }

    /// A component that exports the core function `run`, without parameters or results.
    fn component(engine: &Engine, module: &str) -> Result<Component> {
        Component::new(
            engine,
            format!(
                r#"(component
                    (core module $m {module})
                    (core instance $i (instantiate $m))
                    (func (export "run") (canon lift (core func $i "run"))))"#
            ),
        )
    }

    const NOTHING: &str = r#"(func (export "run"))"#;
    const LOOP: &str = r#"(func (export "run") (loop br 0))"#;

    /// Instantiate a component and call `run`, without `async`.
    fn run(limits: &InstanceLimits, config: &Config, module: &str) -> Result<()> {
        let engine = engine(config);
        let component = component(&engine, module)?;
        let time = Duration::from_millis(50);
        let mut store = limits.store_sync(&engine, limits.store_limits(), time, |limits| limits);
        let instance = Linker::new(&engine).instantiate(&mut store, &component)?;
        let run: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "run")?;
        run.call(&mut store, ())
    }

    #[test]
    fn a_guest_that_computes_for_too_long_traps() {
        let limits = InstanceLimits::new();
        let config = recommended_config(&limits);
        run(&limits, &config, NOTHING).expect("it ends at once");
        let error = run(&limits, &config, LOOP).expect_err("it has no end");
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    }

    #[test]
    fn epochs_are_counted_while_there_is_the_engine() {
        let engine = Engine::new(&recommended_config(&InstanceLimits::new())).expect("an engine");
        let count = start_epochs(&engine).expect("a thread");
        let before = count.get();
        while count.get() == before {
            thread::yield_now();
        }
        drop(engine);
        // Until the thread has ended.
        while Arc::strong_count(&count.0) > 1 {
            thread::yield_now();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_guest_that_computes_yields_to_a_timeout() {
        let limits = InstanceLimits::new();
        let engine = engine(&recommended_config(&limits));
        let component = component(&engine, LOOP).expect("a component");
        let mut store = limits.store(&engine, limits.store_limits(), |limits| limits);
        let linker = Linker::new(&engine);
        let instance = linker.instantiate_async(&mut store, &component);
        let instance = instance.await.expect("an instance");
        let run: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "run").expect("run");
        let start = Instant::now();
        let time = Duration::from_millis(50);
        let outcome = tokio::time::timeout(time, run.call_async(&mut store, ())).await;
        assert!(outcome.is_err(), "it has no end");
        assert!(start.elapsed() >= time);
    }

    #[test]
    fn each_limit_of_a_store_holds() {
        let within = r#"(memory 2) (table 10 funcref) (func (export "run"))"#;
        let generous = InstanceLimits::new();
        let config = recommended_config(&generous);
        run(&generous, &config, within).expect("it fits");
        for (limits, name) in [
            (InstanceLimits::new().max_memory_size(64 * KIB), "memory"),
            (InstanceLimits::new().max_memories(0), "memories"),
            (InstanceLimits::new().max_tables(0), "tables"),
            (InstanceLimits::new().max_table_entries(9), "entries"),
            (InstanceLimits::new().max_instances(0), "instances"),
        ] {
            assert!(run(&limits, &config, within).is_err(), "{name}");
        }
    }

    #[test]
    fn the_handle_table_has_a_limit() {
        let mut table = InstanceLimits::new().max_handles(2).resource_table();
        table.push(1).expect("a place");
        table.push(2).expect("a place");
        table.push(3).expect_err("it is full");
    }

    #[test]
    fn a_pool_of_instances_refuses_what_does_not_fit() {
        let limits = InstanceLimits::new().max_memory_size(64 * KIB);
        let mut config = recommended_config(&limits);
        config.allocation_strategy(limits.pooling(4));
        run(&limits, &config, NOTHING).expect("it fits");
        let large = r#"(memory 2) (func (export "run"))"#;
        assert!(run(&limits, &config, large).is_err());
    }

    #[test]
    fn deep_recursion_is_a_trap() {
        let limits = InstanceLimits::new();
        let config = recommended_config(&limits);
        let deep = r#"(func $f (export "run") (call $f))"#;
        let error = run(&limits, &config, deep).expect_err("the stack has an end");
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    }

    #[test]
    fn features_that_wasi_does_not_need_are_off() {
        let limits = InstanceLimits::new();
        let config = recommended_config(&limits);
        for module in [
            r#"(memory i64 1) (func (export "run"))"#,
            r#"(memory 1 1 shared) (func (export "run"))"#,
            r#"(type $t (struct)) (func (export "run"))"#,
            r#"(tag $t) (func (export "run"))"#,
            r#"(type $f (func)) (func (param (ref $f))) (func (export "run"))"#,
        ] {
            assert!(run(&limits, &config, module).is_err(), "{module}");
        }
    }
}
