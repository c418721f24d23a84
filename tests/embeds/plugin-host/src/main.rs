//! A host of plugins: each call runs a plugin in a new instance, with the tenant's own database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_wasmtime::pool::observe::{Event, Observer, Source};
use millpond_wasmtime::pool::{Access, Pools, PoolsSettings};
use millpond_wasmtime::sqlite::{Folder, PoolBuilder};
use millpond_wasmtime::{Grant, InstanceLimits, SqliteCtx, StoreData};
use wasmtime::component::{Component, Linker};
use wasmtime::{Result, bail, format_err};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::CommandPre;

type Plugin = CommandPre<StoreData>;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, plugin, folder, tenants @ ..] = args.as_slice() else {
        bail!("give the plugin's file, a folder for the databases, and the names of tenants");
    };
    let limits = InstanceLimits::new().max_memory_size(64 << 20);
    let engine = limits.engine()?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    millpond_wasmtime::add_to_linker(&mut linker)?;
    let plugin = Component::from_file(&engine, plugin)?;
    let plugin = CommandPre::new(linker.instantiate_pre(&plugin)?)?;

    let pool = PoolBuilder::new().name("plugin").observer(Arc::new(Slow));
    let folder = Folder::open(folder)?.create(true).pool(pool);
    let pools = folder.pools(PoolsSettings::new(100))?;
    for tenant in tenants {
        let outcome = run(&plugin, &limits, &pools, tenant).await;
        outcome.unwrap_or_else(|error| eprintln!("{tenant}: {error:#}"));
    }
    pools.close(Duration::from_secs(1)).await;
    Ok(())
}

/// Run the plugin for at most five seconds. However it ends, all that it held is returned.
async fn run(plugin: &Plugin, limits: &InstanceLimits, pools: &Pools, tenant: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let pool = pools.get(tenant).await?;
    let grant = Grant::new(&pool, Access::ReadWrite).guest("plugin");
    let sqlite = SqliteCtx::builder().grant("default", grant);
    let wasi = WasiCtx::builder().inherit_stdout().inherit_stderr().build();
    let sqlite = sqlite.deadline(deadline).build();
    let mut store = StoreData::store(plugin.engine(), wasi, sqlite, limits);
    let call = async {
        let plugin = plugin.instantiate_async(&mut store).await?;
        plugin.wasi_cli_run().call_run(&mut store).await
    };
    let in_time = tokio::time::timeout_at(deadline.into(), call).await;
    let outcome = in_time.map_err(|_| format_err!("the plugin did not end in time"))??;
    outcome.map_err(|()| format_err!("the plugin failed"))
}

/// Reports slow statements.
#[derive(Debug)]
struct Slow;

impl Observer for Slow {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        if matches!(event, Event::StatementFinished { time, .. } if time.as_millis() > 100) {
            eprintln!("a slow statement of {:?}", source.tenant);
        }
    }
}
