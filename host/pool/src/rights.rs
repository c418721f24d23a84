//! The tables and columns that a borrower may use, and the limits of what it does: as data, for engines
//! to enforce.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What may be done to one table. A new one allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableGrant {
    read: bool,
    insert: bool,
    update: bool,
    delete: bool,
    /// In lower case.
    hidden: BTreeSet<String>,
}

impl TableGrant {
    /// Nothing, so far.
    pub fn new() -> TableGrant {
        TableGrant::default()
    }

    /// Rows may be read.
    pub fn read(mut self) -> TableGrant {
        self.read = true;
        self
    }

    /// Rows may be inserted. For any write, `RETURNING` needs `read` as well, and that nothing
    /// is hidden. `INSERT OR REPLACE` takes the place of rows that are in its way, for
    /// which SQLite does not ask for `delete`
    /// (<https://sqlite.org/lang_conflict.html>); `ON CONFLICT DO UPDATE` needs `update`.
    pub fn insert(mut self) -> TableGrant {
        self.insert = true;
        self
    }

    /// Rows may be updated. A condition or a value read from a row needs `read` as well.
    pub fn update(mut self) -> TableGrant {
        self.update = true;
        self
    }

    /// Rows may be deleted. A condition needs `read` as well.
    pub fn delete(mut self) -> TableGrant {
        self.delete = true;
        self
    }

    /// Hide the column `name`: read, it is null, wherever a statement reads it; it cannot be
    /// updated. It can be inserted. Whether a value exists can still be told from a unique
    /// constraint that fails, and what a full-text table holds from the tables behind it: grant
    /// such a table only where nothing in it must stay hidden.
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

    /// The hidden columns, in lower case.
    pub fn hidden(&self) -> &BTreeSet<String> {
        &self.hidden
    }
}

/// What may be done in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// As it was said; see [`may_change_schema`](Rights::may_change_schema).
    pub(crate) schema: Option<bool>,
    pub(crate) temporary: bool,
    tables: Option<BTreeMap<String, TableGrant>>,
}

impl Rights {
    pub(crate) fn table(&mut self, name: &str, table: TableGrant) {
        self.tables
            .get_or_insert_default()
            .insert(name.to_ascii_lowercase(), table);
    }

    /// The tables that are granted, by name in lower case; `None` for every table there is.
    pub fn tables(&self) -> Option<&BTreeMap<String, TableGrant>> {
        self.tables.as_ref()
    }

    /// Whether tables, indexes, views and triggers may be made, altered and dropped.
    pub fn may_change_schema(&self) -> bool {
        self.schema.unwrap_or(self.tables.is_none())
    }

    /// Whether temporary ones may be made.
    pub fn temporary(&self) -> bool {
        self.temporary
    }
}

/// How long a borrower may do what others wait for, and how much.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How long one call may run SQL.
    pub statement: Duration,
    /// How long a transaction may stay open, and a cursor outside of one.
    pub transaction: Duration,
    /// How long a connection may be held.
    pub hold: Duration,
    /// How many steps of the engine's one call may take; `None` for any.
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
