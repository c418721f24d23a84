//! Runs a component that was compiled ahead of time. This program has no compiler, no cache, no
//! parser of the text format, no WASI and no asynchronous runtime.

use std::time::Duration;

use millpond_wasmtime::pool::Access;
use millpond_wasmtime::sqlite::PoolBuilder;
use millpond_wasmtime::{
    Grant, InstanceLimits, SqliteCtx, SqliteCtxView, SqliteView, recommended_config, start_epochs,
};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, StoreLimits};

struct Host {
    sqlite: SqliteCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl SqliteView for Host {
    fn sqlite(&mut self) -> SqliteCtxView<'_> {
        SqliteCtxView {
            ctx: &mut self.sqlite,
            table: &mut self.table,
        }
    }
}

fn main() -> Result<()> {
    let compiled = std::env::args()
        .nth(1)
        .expect("the compiled component's file");
    let limits = InstanceLimits::new();
    let engine = Engine::new(&recommended_config(&limits))?;
    start_epochs(&engine)?;
    let mut linker = Linker::<Host>::new(&engine);
    millpond_wasmtime::add_to_linker_sync(&mut linker)?;
    // SAFETY: the file is what `ten-lines` compiled.
    let component = unsafe { Component::deserialize_file(&engine, compiled)? };
    let pool = PoolBuilder::new().open_in_memory()?;

    let sqlite = SqliteCtx::builder().grant("default", Grant::new(&pool, Access::ReadWrite));
    let host = Host {
        sqlite: sqlite.build(),
        table: limits.resource_table(),
        limits: limits.store_limits(),
    };
    let time = Duration::from_secs(10);
    let mut store = limits.store_sync(&engine, host, time, |host| &mut host.limits);
    let instance = linker.instantiate(&mut store, &component)?;
    let (_, run) = instance
        .get_export(&mut store, None, "wasi:cli/run@0.2.0")
        .expect("it is a command");
    let (_, run) = instance
        .get_export(&mut store, Some(&run), "run")
        .expect("it has `run`");
    let run = instance.get_typed_func::<(), (std::result::Result<(), ()>,)>(&mut store, &run)?;
    let (outcome,) = run.call(&mut store, ())?;
    drop(store);
    assert_eq!(pool.stats().in_use, 0);
    outcome.map_err(|()| wasmtime::format_err!("the guest failed"))
}
