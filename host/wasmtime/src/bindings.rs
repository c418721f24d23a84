//! Generated from the contract in `wit/`, twice: with the functions that wait asynchronous, and
//! with all of them blocking.

pub(crate) mod asynchronous {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "millpond:sqlite/imports",
        imports: {
            "millpond:sqlite/pool.get-connection": async | trappable,
            "millpond:sqlite/types.[method]connection.execute": async | trappable,
            "millpond:sqlite/types.[method]connection.query": async | trappable,
            "millpond:sqlite/types.[method]connection.execute-script": async | trappable,
            "millpond:sqlite/types.[method]connection.begin": async | trappable,
            "millpond:sqlite/types.[method]statement.execute": async | trappable,
            "millpond:sqlite/types.[method]statement.execute-many": async | trappable,
            "millpond:sqlite/types.[method]statement.query": async | trappable,
            default: trappable,
        },
        with: {
            "millpond:sqlite/types.connection": crate::ctx::Connection,
            "millpond:sqlite/types.statement": millpond_pool::Statement,
            "millpond:sqlite/types.cursor": millpond_pool::Cursor,
            "millpond:sqlite/types.transaction": millpond_pool::Transaction,
        },
        trappable_error_type: { "millpond:sqlite/types.error" => crate::convert::Failure },
        require_store_data_send: true,
    });
}

pub(crate) mod blocking {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "millpond:sqlite/imports",
        imports: { default: trappable },
        with: {
            "millpond:sqlite/types.connection": crate::ctx::Connection,
            "millpond:sqlite/types.statement": millpond_pool::Statement,
            "millpond:sqlite/types.cursor": millpond_pool::Cursor,
            "millpond:sqlite/types.transaction": millpond_pool::Transaction,
        },
        trappable_error_type: { "millpond:sqlite/types.error" => crate::convert::Failure },
        require_store_data_send: true,
    });
}
