//! Settings of a grant: `[components.NAME.grants.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use millpond_pool::{Access, StatsScope};

use crate::config::macros::{choices, settings};

settings! {
    /// What a component may do with a database, and how much of it one request may use.
    Grant {
        /// The database, one of `[databases]`.
        database: String, required "app";

        /// For reading, or for reading and writing.
        access: Access, default "read-write";

        /// The tables that the component may use, each with what is allowed on it. Names are
        /// case-insensitive. The tables behind a view, and those that a trigger reads and writes,
        /// must be listed too. Statements must join with `ON`, not with `USING` or `NATURAL JOIN`;
        /// a view or trigger that joins so reads the matched columns of tables that are not listed
        /// too. In `WITH c AS (...) SELECT count(*) FROM c`, write `count(x)`, with a column of
        /// `c`.
        tables: BTreeMap<String, Table>, unset "all tables",
            example r#"{ note = { allow = ["read", "insert"] } }"#;

        /// Whether the component may create, alter and drop tables, indexes, views and triggers.
        /// With `tables`, it may create other tables, and change only the listed ones, with their
        /// indexes, views and triggers: altering one needs everything on it, and a new index, also
        /// that of `UNIQUE`, needs `read` without hidden columns. A foreign key needs `update` and
        /// `delete` on the table that it refers to, because it can make these fail. A view or
        /// trigger that it creates runs with the rights of the component that uses it.
        schema: Option<bool>, unset "yes if `tables` is unset, else no",
            example false;

        /// Whether the component may create temporary tables, indexes, views and triggers. Altering
        /// a temporary table needs `schema` too.
        temporary: bool, default false;

        /// Maximum number of connections that a request may hold at once; never more than the
        /// database's `pool-size`. 0 allows none.
        max_connections: u32, default 4, from 0 to 1024;

        /// How many of the database's connections all requests under this grant may hold together.
        /// Further requests wait for one another, and delay no other grant's requests. At most the
        /// database's `pool-size`.
        share: Option<u32>, unset "all of them", from 1 to 1024, example 2;

        /// How long one statement may run. After that it fails, and what it wrote is undone.
        max_statement_time: Option<Duration>, unset "as long as the request may take",
            from ">0s" to "10000h", example "5s";

        /// How many instructions of SQLite's virtual machine one call may run, rounded up to a
        /// multiple of 50. Unlike a time, this limit does not depend on the machine's load.
        max_statement_steps: Option<u64>, unset "no limit", from 1 to 9223372036854775807,
            example 100000000;

        /// How long a transaction may stay open while others wait for their turn to write. After
        /// that it is rolled back.
        max_transaction_time: Duration, default "10s", from "0s" to "10000h";

        /// How long a request may hold a connection while others wait for one. After that it is
        /// taken back.
        max_hold_time: Option<Duration>, unset "as long as the request takes",
            from "0s" to "10000h", example "20s";

        /// What the component may see of the pool's counters. Those of the whole pool reveal other
        /// requests.
        stats: StatsScope, default "request";
    }
}

choices!(Access {
    Access::ReadOnly = "read-only", "for reading";
    Access::ReadWrite = "read-write", "for reading and writing";
});

choices!(StatsScope {
    StatsScope::Nothing = "nothing", "nothing";
    StatsScope::Request = "request", "how many connections its own request holds and may hold";
    StatsScope::Pool = "pool", "all counters of the pool";
});

settings! {
    /// What a grant allows on one table.
    Table {
        /// What is allowed: `read`, `insert`, `update` and `delete`. A condition needs `read` too,
        /// and `REPLACE` needs `delete`.
        allow: Vec<Operation>, unset "nothing", example r#"["read"]"#;

        /// Columns that read as null and cannot be updated. Statements that write, and their
        /// triggers and foreign keys, cannot read them, nor can full-text tables. Hide a generated
        /// column that is computed from one too. Only hide a column that no index, constraint or
        /// foreign key uses: they reveal something of its values, by their errors and by the order
        /// of rows. The content of a full-text table, and the id of an R*Tree table, cannot be
        /// hidden. The component cannot create an index of a table with a hidden column.
        hidden: Vec<String>, unset "none", example r#"["password"]"#;

        /// Whether it is a full-text or R*Tree table, whose shadow tables are included. Do not set
        /// this for an ordinary table: other tables are only known by their names. A full-text
        /// table with `content=` also needs `read` on its content table. `insert` allows its
        /// commands too, such as `delete-all`.
        shadow_tables: bool, default false;
    }
}

/// What can be allowed on a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading rows.
    Read,
    /// Inserting rows.
    Insert,
    /// Updating rows.
    Update,
    /// Deleting rows.
    Delete,
}

choices!(Operation {
    Operation::Read = "read", "reading rows";
    Operation::Insert = "insert", "inserting rows";
    Operation::Update = "update", "updating rows";
    Operation::Delete = "delete", "deleting rows";
});
