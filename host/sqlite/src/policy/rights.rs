//! Answers the authorizer's questions about tables from a grant's rights.

use millpond_pool::TableGrant;
use millpond_pool::engine::Rights;

use super::names;

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

    /// What a grant must allow for it.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Verb::Insert => "`insert` on it",
            Verb::Update => "`update` on it",
            Verb::Delete => "`delete` on it",
        }
    }
}

/// Whether every table is granted.
pub(super) fn has_all_tables(rights: &Rights) -> bool {
    rights.tables().is_none()
}

/// Whether the grant names the table, or all.
pub(super) fn covers(rights: &Rights, table: &str) -> bool {
    find(rights, table).is_none_or(|granted| granted.is_some())
}

/// Whether everything may be done with the table.
pub(super) fn may_all(rights: &Rights, table: &str) -> bool {
    let may = |verb| may_write(rights, verb, table);
    may_read_whole(rights, table) && may(Verb::Insert) && may(Verb::Update) && may(Verb::Delete)
}

/// Whether anything in the table may be read.
pub(super) fn may_read(rights: &Rights, table: &str) -> bool {
    find(rights, table).is_none_or(|granted| granted.is_some_and(TableGrant::may_read))
}

/// Whether the column of a readable table must read as null.
pub(super) fn is_hidden(rights: &Rights, table: &str, column: &str) -> bool {
    let Some(Some(granted)) = find(rights, table) else {
        return false;
    };
    // Usually there are none.
    !granted.hidden().is_empty() && granted.hidden().contains(&column.to_ascii_lowercase())
}

/// Like [`is_hidden`], for an update. If that names the `INTEGER PRIMARY KEY` "rowid", SQLite does
/// not say which column it is: then true if any column is hidden.
pub(super) fn may_be_hidden(rights: &Rights, table: &str, column: &str) -> bool {
    let has_hidden = || {
        let granted = find(rights, table).flatten();
        granted.is_some_and(|granted| !granted.hidden().is_empty())
    };
    is_hidden(rights, table, column) || column.eq_ignore_ascii_case("ROWID") && has_hidden()
}

/// Whether every column of the table may be read.
pub(super) fn may_read_whole(rights: &Rights, table: &str) -> bool {
    find(rights, table).is_none_or(|granted| {
        granted.is_some_and(|granted| granted.may_read() && granted.hidden().is_empty())
    })
}

pub(super) fn may_write(rights: &Rights, verb: Verb, table: &str) -> bool {
    match find(rights, table) {
        None => true,
        Some(None) => false,
        Some(Some(granted)) if all_writes(granted, table, rights) => true,
        Some(Some(granted)) => match verb {
            Verb::Insert => granted.may_insert(),
            Verb::Update => granted.may_update(),
            Verb::Delete => granted.may_delete(),
        },
    }
}

/// `None` if every table is granted; `Some(None)` if this one is not.
fn find<'r>(rights: &'r Rights, table: &str) -> Option<Option<&'r TableGrant>> {
    let tables = rights.tables()?;
    let granted = |name: &str| tables.get(&name.to_ascii_lowercase());
    let owner = || granted(names::shadowed(table)?).filter(|owner| owner.has_shadow_tables());
    Some(granted(table).or_else(owner))
}

/// One write to a full-text table causes writes of every kind to its shadow tables, which nothing
/// else can write (<https://sqlite.org/vtab.html#the_xshadowname_method>).
fn all_writes(granted: &TableGrant, table: &str, rights: &Rights) -> bool {
    let behind = rights
        .tables()
        .is_some_and(|tables| !tables.contains_key(&table.to_ascii_lowercase()));
    behind && (granted.may_insert() || granted.may_update() || granted.may_delete())
}
