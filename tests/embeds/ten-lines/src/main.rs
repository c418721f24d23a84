//! Embeds Millpond in a wasmtime program, as documented in `millpond-wasmtime`. With a second
//! argument it only compiles the component ahead of time, for `runtime-only`.

use millpond_wasmtime::pool::Access;
use millpond_wasmtime::sqlite::PoolBuilder;
use millpond_wasmtime::{
    Grant, InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView, recommended_config, start_epochs,
};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, StoreLimits};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

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

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let guest = args.next().expect("the component's file");
    let limits = InstanceLimits::new();
    let engine = Engine::new(&recommended_config(&limits))?;
    if let Some(compiled) = args.next() {
        let bytes = engine.precompile_component(&std::fs::read(guest)?)?;
        return Ok(std::fs::write(compiled, bytes)?);
    }
    start_epochs(&engine)?;
    let mut linker = Linker::<Host>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    millpond_wasmtime::add_to_linker(&mut linker)?;
    let component = Component::from_file(&engine, guest)?;
    let pool = PoolBuilder::new().open_in_memory()?;

    let sqlite = SqliteCtx::builder().grant("default", Grant::new(&pool, Access::ReadWrite));
    let host = Host {
        wasi: WasiCtx::builder().inherit_stdio().build(),
        sqlite: sqlite.build(),
        table: limits.resource_table(),
        limits: limits.store_limits(),
    };
    let mut store = limits.store(&engine, host, |host| &mut host.limits);
    let command = Command::instantiate_async(&mut store, &component, &linker).await?;
    let outcome = command.wasi_cli_run().call_run(&mut store).await?;
    drop(store);
    assert_eq!(pool.stats().in_use, 0);
    outcome.map_err(|()| wasmtime::format_err!("the guest failed"))
}
