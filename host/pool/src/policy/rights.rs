//! What a grant allows to be done to the tables of a database.

use std::collections::{BTreeMap, BTreeSet};

use super::names;

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
    /// such a table only where nothing in it is to be hidden.
    pub fn hide(mut self, name: &str) -> TableGrant {
        self.hidden.insert(name.to_ascii_lowercase());
        self
    }
}

/// What may be done in a database, as far as SQL is asked about. Statements compiled under one
/// policy do not run under another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// As it was said; see [`may_change_schema`](Policy::may_change_schema).
    pub(crate) schema: Option<bool>,
    pub(crate) temporary: bool,
    /// By name in lower case; `None` for every table there is.
    tables: Option<BTreeMap<String, TableGrant>>,
}

/// What a statement does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Insert => "insert",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }

    /// What a grant has to allow for it.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Verb::Insert => "`insert` on it",
            Verb::Update => "`update` on it",
            Verb::Delete => "`delete` on it",
        }
    }
}

impl Policy {
    pub(crate) fn new() -> Policy {
        Policy {
            schema: None,
            temporary: false,
            tables: None,
        }
    }

    pub(crate) fn table(&mut self, name: &str, table: TableGrant) {
        self.tables
            .get_or_insert_default()
            .insert(name.to_ascii_lowercase(), table);
    }

    pub(crate) fn may_change_schema(&self) -> bool {
        self.schema.unwrap_or(self.tables.is_none())
    }

    pub(super) fn has_all_tables(&self) -> bool {
        self.tables.is_none()
    }

    /// Whether the table may be read at all.
    pub(super) fn may_read(&self, table: &str) -> bool {
        self.find(table)
            .is_none_or(|granted| granted.is_some_and(|granted| granted.read))
    }

    /// Whether the column of a table that may be read is to look null.
    pub(super) fn is_hidden(&self, table: &str, column: &str) -> bool {
        let Some(Some(granted)) = self.find(table) else {
            return false;
        };
        // Mostly there are none.
        !granted.hidden.is_empty() && granted.hidden.contains(&column.to_ascii_lowercase())
    }

    /// Whether every column of the table may be read.
    pub(super) fn may_read_whole(&self, table: &str) -> bool {
        self.find(table).is_none_or(|granted| {
            granted.is_some_and(|granted| granted.read && granted.hidden.is_empty())
        })
    }

    pub(super) fn may_write(&self, verb: Verb, table: &str) -> bool {
        match self.find(table) {
            None => true,
            Some(None) => false,
            Some(Some(granted)) if granted.all_writes(table, self) => true,
            Some(Some(granted)) => match verb {
                Verb::Insert => granted.insert,
                Verb::Update => granted.update,
                Verb::Delete => granted.delete,
            },
        }
    }

    /// `None` where every table is granted; `Some(None)` where this one is not.
    fn find(&self, table: &str) -> Option<Option<&TableGrant>> {
        let tables = self.tables.as_ref()?;
        let granted = |name: &str| tables.get(&name.to_ascii_lowercase());
        Some(granted(table).or_else(|| granted(names::shadowed(table)?)))
    }
}

impl TableGrant {
    /// One write to a full-text table is writes of every kind to the tables behind it, which
    /// nobody else can write (<https://sqlite.org/vtab.html#the_xshadowname_method>).
    fn all_writes(&self, table: &str, policy: &Policy) -> bool {
        let behind = policy
            .tables
            .as_ref()
            .is_some_and(|tables| !tables.contains_key(&table.to_ascii_lowercase()));
        behind && (self.insert || self.update || self.delete)
    }
}
