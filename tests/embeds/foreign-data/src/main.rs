//! The store's data is a type of another crate, so `SqliteView` cannot be implemented for it: a
//! function returns the context instead.

use std::time::Duration;

use millpond_wasmtime::pool::Access;
use millpond_wasmtime::sqlite::PoolBuilder;
use millpond_wasmtime::{
    Grant, InstanceLimits, SqliteCtx, SqliteCtxView, add_to_linker_sync_with, recommended_config,
    start_epochs,
};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Result, StoreLimits};

/// A tuple belongs to no crate.
type Data = (SqliteCtx, ResourceTable, StoreLimits);

fn main() -> Result<()> {
    let guest = std::env::args().nth(1).expect("the component's file");
    let limits = InstanceLimits::new();
    let engine = Engine::new(&recommended_config(&limits))?;
    start_epochs(&engine)?;
    let mut linker = Linker::<Data>::new(&engine);
    add_to_linker_sync_with(&mut linker, |(ctx, table, _)| SqliteCtxView { ctx, table })?;
    let component = Component::from_file(&engine, guest)?;
    let pool = PoolBuilder::new().open_in_memory()?;

    let sqlite = SqliteCtx::builder().grant("default", Grant::new(&pool, Access::ReadWrite));
    let data = (
        sqlite.build(),
        limits.resource_table(),
        limits.store_limits(),
    );
    let time = Duration::from_secs(10);
    let mut store = limits.store_sync(&engine, data, time, |data| &mut data.2);
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
