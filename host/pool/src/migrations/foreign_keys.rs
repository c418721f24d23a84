//! Rows that refer to none, before a migration and after it.

use std::collections::HashMap;
use std::hash::Hash;

use rusqlite::Connection;

/// A row that refers to one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Orphan {
    pub(super) table: String,
    /// `None` in a table `WITHOUT ROWID`.
    pub(super) rowid: Option<i64>,
    pub(super) parent: String,
}

/// All of them. The check is the one that <https://sqlite.org/lang_altertable.html#otheralter> asks
/// for, since foreign keys are not enforced while a migration runs.
pub(super) fn orphans(conn: &Connection) -> rusqlite::Result<Vec<Orphan>> {
    conn.prepare("PRAGMA main.foreign_key_check")?
        .query_map([], |row| {
            Ok(Orphan {
                table: row.get(0)?,
                rowid: row.get(1)?,
                parent: row.get(2)?,
            })
        })?
        .collect()
}

/// The first of `after` that was not there `before`, also under another name of its table or of the
/// one that it refers to.
pub(super) fn first_new<'a>(before: &[Orphan], after: &'a [Orphan]) -> Option<&'a Orphan> {
    let (mut renamed, mut refers_to_renamed) = (HashMap::new(), HashMap::new());
    for gone in without(before, after) {
        *renamed.entry((gone.rowid, &gone.parent)).or_insert(0) += 1;
        *refers_to_renamed
            .entry((gone.rowid, &gone.table))
            .or_insert(0) += 1;
    }
    without(after, before).find(|new| {
        !take(&mut renamed, &(new.rowid, &new.parent))
            && !take(&mut refers_to_renamed, &(new.rowid, &new.table))
    })
}

/// Those of `all` that `others` does not have, or has not as often: a table `WITHOUT ROWID` does not
/// tell its rows apart.
fn without<'a>(all: &'a [Orphan], others: &[Orphan]) -> impl Iterator<Item = &'a Orphan> {
    let mut counts = HashMap::new();
    for other in others {
        *counts.entry(other.clone()).or_insert(0) += 1;
    }
    all.iter().filter(move |one| !take(&mut counts, one))
}

/// Take one away, if there is any.
fn take<K: Eq + Hash>(counts: &mut HashMap<K, u64>, key: &K) -> bool {
    match counts.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
