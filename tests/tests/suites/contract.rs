//! The contract, function by function, as a guest sees it.

use millpond_tests::{Lab, component, foreach_contract};
use millpond_wasmtime::{SqliteCtx, SqliteCtxView, add_to_linker_sync_with, add_to_linker_with};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::assert_test_exists;

foreach_contract!(assert_test_exists);

#[tokio::test]
async fn contract_values() {
    Lab::new().run("contract_values").await.succeeds();
}

#[tokio::test]
async fn contract_not_utf8() {
    Lab::new().run("contract_not_utf8").await.succeeds();
}

#[tokio::test]
async fn contract_parameters() {
    Lab::new().run("contract_parameters").await.succeeds();
}

#[tokio::test]
async fn contract_statements() {
    Lab::new().run("contract_statements").await.succeeds();
}

#[tokio::test]
async fn contract_errors() {
    Lab::new().run("contract_errors").await.succeeds();
}

#[tokio::test]
async fn contract_scripts() {
    Lab::new().run("contract_scripts").await.succeeds();
}

#[tokio::test]
async fn contract_pages() {
    Lab::new().run("contract_pages").await.succeeds();
}

#[tokio::test]
async fn contract_execute_many() {
    Lab::new().run("contract_execute_many").await.succeeds();
}

#[tokio::test]
async fn contract_summaries() {
    Lab::new().run("contract_summaries").await.succeeds();
}

#[tokio::test]
async fn contract_pool() {
    Lab::new().run("contract_pool").await.succeeds();
}

#[tokio::test]
async fn contract_too_large() {
    Lab::new().run("contract_too_large").await.succeeds();
}

/// Store data that does not implement `SqliteView`.
struct Data {
    sqlite: SqliteCtx,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

fn view(data: &mut Data) -> SqliteCtxView<'_> {
    SqliteCtxView {
        ctx: &mut data.sqlite,
        table: &mut data.table,
    }
}

/// Both linkers define the same names, those of the contract, with the same types.
#[test]
fn contract_imports_everything() {
    let lab = Lab::new();
    let program = component("contract_imports_everything");
    let program = Component::from_file(lab.engine(), program).expect("a component");
    let mut names = Vec::new();
    for (interface, import) in program.component_type().imports(lab.engine()) {
        if let ComponentItem::ComponentInstance(instance) = import.ty
            && interface.starts_with("millpond:sqlite/")
        {
            let exports = instance.exports(lab.engine());
            let functions =
                exports.filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentFunc(_)));
            names.extend(functions.map(|(name, _)| (interface.to_owned(), name.to_owned())));
        }
    }
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let declared = ["pool.wit", "connections.wit"].map(|file| {
        let text = std::fs::read_to_string(format!("{wit}/{file}")).expect("the contract");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("///"));
        code.filter(|line| line.contains("func(")).count()
    });
    assert_eq!(names.len(), declared.iter().sum::<usize>(), "{names:?}");

    type Add = fn(&mut Linker<Data>) -> wasmtime::Result<()>;
    let both: [Add; 2] = [
        |linker| add_to_linker_with(linker, view),
        |linker| add_to_linker_sync_with(linker, view),
    ];
    for add in both {
        let mut linker = Linker::new(lab.engine());
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI");
        add(&mut linker).expect("names that are free");
        // Each function has the type that the guest imports it with.
        linker
            .instantiate_pre(&program)
            .expect("the whole contract");

        for (interface, name) in &names {
            let mut interface = linker.instance(interface).expect("an interface");
            let again = interface.func_wrap(name, |_, (): ()| Ok(()));
            assert!(again.is_err(), "{name} is not defined");
        }
        add(&mut linker).expect_err("names that are taken");
    }
}
