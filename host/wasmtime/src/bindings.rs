//! Generated from the contract in `wit/`, which has further documentation.
//!
//! An embedder whose own world imports the contract uses these types in its bindings:
//!
//! ```
//! mod own {
//!     wasmtime::component::bindgen!({
//!         // Your folder of WIT, where the contract is copied to `wit/deps`.
//!         # path: "wit",
//!         inline: "
//!             package example:plugin;
//!             world plugin {
//!                 import millpond:sqlite/pool@0.1.0;
//!                 export run: func();
//!             }
//!         ",
//!         with: { "millpond:sqlite": millpond_wasmtime::bindings },
//!         imports: { default: async | trappable },
//!         exports: { default: async },
//!     });
//! }
//! ```
//!
//! Then [`add_to_linker`](crate::add_to_linker) defines the functions that such a world imports.

#[expect(
    missing_docs,
    reason = "generated; the contract documents what needs it"
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "millpond:sqlite/imports",
        imports: {
            // Functions that may wait, for the pool or for a database across a network.
            "millpond:sqlite/pool.get-connection": async | trappable,
            "millpond:sqlite/connections.[method]connection.execute": async | trappable,
            "millpond:sqlite/connections.[method]connection.query": async | trappable,
            "millpond:sqlite/connections.[method]connection.execute-script": async | trappable,
            "millpond:sqlite/connections.[method]connection.prepare": async | trappable,
            "millpond:sqlite/connections.[method]connection.begin": async | trappable,
            "millpond:sqlite/connections.[method]statement.describe": async | trappable,
            "millpond:sqlite/connections.[method]statement.execute": async | trappable,
            "millpond:sqlite/connections.[method]statement.execute-many": async | trappable,
            "millpond:sqlite/connections.[method]statement.query": async | trappable,
            "millpond:sqlite/connections.[method]cursor.next": async | trappable,
            "millpond:sqlite/connections.[method]transaction.commit": async | trappable,
            "millpond:sqlite/connections.[method]transaction.rollback": async | trappable,
            default: trappable,
        },
        with: {
            "millpond:sqlite/connections.connection": crate::ctx::Connection,
            "millpond:sqlite/connections.statement": millpond_pool::Statement,
            "millpond:sqlite/connections.cursor": millpond_pool::Cursor,
            "millpond:sqlite/connections.transaction": millpond_pool::Transaction,
        },
        trappable_error_type: { "millpond:sqlite/connections.error" => crate::convert::Failure },
        require_store_data_send: true,
    });
}

pub use generated::millpond::sqlite::*;
pub use generated::{Imports, ImportsIndices, ImportsPre};
