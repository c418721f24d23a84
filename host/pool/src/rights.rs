//! The tables and columns that a borrower may use, and its limits, as data for engines to enforce.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// What is allowed on one table. Allows nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableGrant {
    read: bool,
    insert: bool,
    update: bool,
    delete: bool,
    shadow_tables: bool,
    /// Names in lower case.
    hidden: BTreeSet<String>,
}

impl TableGrant {
    /// Allow nothing yet.
    pub fn new() -> TableGrant {
        TableGrant::default()
    }

    /// Allow reading rows.
    pub fn read(mut self) -> TableGrant {
        self.read = true;
        self
    }

    /// Allow inserting rows. `REPLACE` and `OR REPLACE` also need `delete`, but a constraint that
    /// the schema declares `ON CONFLICT REPLACE` does not
    /// (<https://sqlite.org/lang_conflict.html>). `ON CONFLICT DO UPDATE` needs `update`. What
    /// `RETURNING` reads, and the columns that `ON CONFLICT` names, need `read`.
    pub fn insert(mut self) -> TableGrant {
        self.insert = true;
        self
    }

    /// Allow updating rows. A condition, or a value read from a row, also needs `read`.
    pub fn update(mut self) -> TableGrant {
        self.update = true;
        self
    }

    /// Allow deleting rows. A condition also needs `read`.
    pub fn delete(mut self) -> TableGrant {
        self.delete = true;
        self
    }

    /// The table is a full-text or R*Tree table: include its shadow tables, in which it keeps its
    /// content (<https://sqlite.org/vtab.html#the_xshadowname_method>). Without this, using it is
    /// not authorized. A full-text table with `content=` also needs `read` on its content table.
    /// `insert` allows its commands too, such as `delete-all`
    /// (<https://sqlite.org/fts5.html#special_insert_commands>).
    ///
    /// Shadow tables are known by their names alone: for a table `note`, all tables named
    /// `note_config`, `note_content`, `note_data`, `note_docsize`, `note_idx`, `note_node`,
    /// `note_parent` and `note_rowid`, except those that are granted themselves. So do not use this
    /// for an ordinary table.
    pub fn shadow_tables(mut self) -> TableGrant {
        self.shadow_tables = true;
        self
    }

    /// Hide the column `name`: it reads as null, and cannot be updated, but can be inserted.
    /// Statements that write cannot read it, not even by a trigger or for a foreign key, nor can a
    /// full-text table with `content=`: a null would damage what they write. Hide a generated
    /// column that is computed from it too.
    ///
    /// What uses the column still reveals something of it. Constraints, when they fail: whether a
    /// value exists, is referred to, or meets a `CHECK`. An index, and the key of a table without
    /// rowids, by the order of rows: how values compare, with each other and with one that the
    /// borrower may insert. The shadow tables of a full-text table have its content, and an R*Tree
    /// table's `rowid` is its id. So hide a column that nothing else uses, and do not grant a table
    /// in which another must stay secret. The borrower cannot create an index of a table with a
    /// hidden column.
    pub fn hide(mut self, name: &str) -> TableGrant {
        self.hidden.insert(name.to_ascii_lowercase());
        self
    }

    /// Whether rows may be read.
    pub fn may_read(&self) -> bool {
        self.read
    }

    /// Whether rows may be inserted.
    pub fn may_insert(&self) -> bool {
        self.insert
    }

    /// Whether rows may be updated.
    pub fn may_update(&self) -> bool {
        self.update
    }

    /// Whether rows may be deleted.
    pub fn may_delete(&self) -> bool {
        self.delete
    }

    /// Whether its shadow tables are included.
    pub fn has_shadow_tables(&self) -> bool {
        self.shadow_tables
    }

    /// The hidden columns, in lower case.
    pub fn hidden(&self) -> &BTreeSet<String> {
        &self.hidden
    }
}

/// What is allowed in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// As set; see [`may_change_schema`](Rights::may_change_schema).
    pub(crate) schema: Option<bool>,
    pub(crate) temporary: bool,
    tables: Option<BTreeMap<String, TableGrant>>,
}

impl Rights {
    /// Those of a caller whom nothing restricts. Shared, because each call that gets a connection
    /// needs them.
    pub(crate) fn unrestricted() -> &'static Arc<Rights> {
        static UNRESTRICTED: LazyLock<Arc<Rights>> = LazyLock::new(Arc::default);
        &UNRESTRICTED
    }

    pub(crate) fn table(&mut self, name: &str, table: TableGrant) {
        self.tables
            .get_or_insert_default()
            .insert(name.to_ascii_lowercase(), table);
    }

    /// The granted tables, by name in lower case; `None` for all tables.
    pub fn tables(&self) -> Option<&BTreeMap<String, TableGrant>> {
        self.tables.as_ref()
    }

    /// Whether creating, altering and dropping tables, indexes, views and triggers is allowed.
    pub fn may_change_schema(&self) -> bool {
        self.schema.unwrap_or(self.tables.is_none())
    }

    /// Whether temporary tables, indexes, views and triggers are allowed.
    pub fn temporary(&self) -> bool {
        self.temporary
    }
}

/// How long and how much a borrower may use what others wait for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How long one call may run SQL.
    pub statement: Duration,
    /// How long a transaction, or a cursor outside one, may stay open.
    pub transaction: Duration,
    /// How long a connection may be held.
    pub hold: Duration,
    /// How many of the engine's instructions one call may run; `None` for no limit.
    pub steps: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            statement: Duration::from_secs(10),
            transaction: Duration::from_secs(10),
            hold: Duration::from_secs(60),
            steps: None,
        }
    }
}
