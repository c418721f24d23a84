//! Settings of a component: `[components.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::grant::Grant;
use crate::config::macros::settings;
use crate::config::name::Name;
use crate::config::secret::Secret;
use crate::config::size::Size;

settings! {
    /// A component, what it gets, and the limits of each of its instances. It has no files and no
    /// network.
    Component {
        /// The component's file.
        file: PathBuf, required "app.wasm";

        /// Its arguments, without the name of a program.
        args: Vec<String>, unset "none", example r#"["--verbose"]"#;

        /// Environment variables.
        env: BTreeMap<String, Secret>, unset "none", example r#"{ GREETING = "hello" }"#;

        /// Environment variables that it gets from the server's own environment. Each must be set
        /// there. Use this for secrets.
        inherit_env: Vec<String>, unset "none", example r#"["API_KEY"]"#;

        /// Maximum size of each linear memory of an instance.
        max_memory_size: Size, default "256MiB", from "64KiB" to "4GiB";

        /// Maximum number of linear memories of an instance.
        max_memories: u32, default 2, from 1 to 16;

        /// Maximum number of tables of an instance.
        max_tables: u32, default 8, from 1 to 64;

        /// Maximum number of entries of each table.
        max_table_entries: u32, default 20000, from 1 to 1000000;

        /// Maximum number of core modules in an instance.
        max_instances: u32, default 32, from 1 to 256;

        /// Maximum number of open handles of all kinds together.
        max_handles: u32, default 4096, from 1 to 1000000;

        /// Stack for the component's own frames.
        max_stack_size: Size, default "512KiB", from "64KiB" to "16MiB";

        /// Maximum size of one call's arguments, such as a statement's parameters or the rows of
        /// `execute-many`.
        max_call_size: Size, default "32MiB", from "64KiB" to "1GiB";

        /// Maximum number of random bytes that one call returns.
        max_random_size: Size, default "64KiB", from "64" to "1MiB";

        /// Maximum number of statements that a request may have open.
        max_statements: u32, default 64, from 0 to 1000000;

        /// Maximum number of cursors that a request may have open.
        max_cursors: u32, default 64, from 0 to 1000000;

        /// Maximum number of transaction handles that a request may have open.
        max_transactions: u32, default 64, from 0 to 1000000;

        /// Whether backtraces show source lines, if the component has DWARF. Reading it takes tens
        /// to hundreds of milliseconds, each time that a guest traps. Do not use it for components
        /// that you do not trust.
        source_lines: bool, default false;

        /// The databases that the component may use, each under the name by which it asks for it.
        /// The usual name is `default`.
        grants: BTreeMap<Name, Grant>, unset "it has no database",
            example r#"{ default = { database = "app" } }"#;
    }
}
