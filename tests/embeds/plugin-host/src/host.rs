//! Runs a plugin for many tenants.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_wasmtime::pool::observe::{Event, Observer, Source};
use millpond_wasmtime::pool::{Access, Pools, PoolsSettings};
use millpond_wasmtime::sqlite::{Folder, PoolBuilder};
use millpond_wasmtime::{Grant, InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, StoreLimits, format_err};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// A compiled plugin, and a database file for each tenant.
pub struct PluginHost {
    engine: Engine,
    plugin: CommandPre<State>,
    tenants: Pools,
    limits: InstanceLimits,
}

impl PluginHost {
    /// Compile the plugin. The databases are in `folder`.
    pub fn new(plugin: &Path, folder: &Path) -> Result<PluginHost> {
        let limits = InstanceLimits::new().max_memory_size(64 << 20);
        let engine = Engine::new(&millpond_wasmtime::recommended_config(&limits))?;
        millpond_wasmtime::start_epochs(&engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        millpond_wasmtime::add_to_linker(&mut linker)?;
        let plugin = linker.instantiate_pre(&Component::from_file(&engine, plugin)?)?;
        let pool = PoolBuilder::new().name("plugin").observer(Arc::new(Slow));
        let tenants = Folder::open(folder)?.create(true).pool(pool);
        Ok(PluginHost {
            engine,
            plugin: CommandPre::new(plugin)?,
            tenants: tenants.pools(PoolsSettings::new(100))?,
            limits,
        })
    }

    /// Run the plugin for at most this time. However it ends, all that it held is returned.
    pub async fn run(&self, tenant: &str, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        let pool = self.tenants.get(tenant).await?;
        let grant = Grant::new(&pool, Access::ReadWrite).guest("plugin");
        let sqlite = SqliteCtx::builder().grant("default", grant);
        let state = State {
            wasi: WasiCtx::builder().inherit_stdout().build(),
            sqlite: sqlite.deadline(deadline).build(),
            table: self.limits.resource_table(),
            limits: self.limits.store_limits(),
        };
        let mut store = self.limits.store(&self.engine, state, |it| &mut it.limits);
        let run = async {
            let plugin = self.plugin.instantiate_async(&mut store).await?;
            plugin.wasi_cli_run().call_run(&mut store).await
        };
        let outcome = tokio::time::timeout_at(deadline.into(), run).await??;
        outcome.map_err(|()| format_err!("the plugin failed"))
    }

    /// Close all databases.
    pub async fn close(&self) {
        self.tenants.close(Duration::from_secs(1)).await;
    }
}

/// Reports slow statements.
#[derive(Debug)]
struct Slow;

impl Observer for Slow {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        if let Event::StatementFinished { time, .. } = event
            && *time > Duration::from_millis(100)
        {
            eprintln!("{:?}: a statement took {time:?}", source.tenant);
        }
    }
}

/// What one instance has.
struct State {
    wasi: WasiCtx,
    sqlite: SqliteCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = (&mut self.wasi, &mut self.table);
        WasiCtxView { ctx, table }
    }
}

impl SqliteView for State {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        let (ctx, table) = (&mut self.sqlite, &mut self.table);
        SqliteCtxView { ctx, table }
    }
}
