//! Foreign key violations before and after a migration.

use std::collections::{HashMap, HashSet};

use millpond_pool::{Error, Rows, Value};
use rusqlite::Connection;

use super::Database;

/// A row that refers to one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Orphan {
    pub(super) table: String,
    /// `None` in a `WITHOUT ROWID` table.
    pub(super) rowid: Option<i64>,
    pub(super) parent: String,
}

/// All foreign key violations, and the names of all tables.
#[derive(Debug)]
pub(super) struct Orphans {
    pub(super) rows: Vec<Orphan>,
    tables: HashSet<String>,
}

impl Orphans {
    /// Uses the check that <https://sqlite.org/lang_altertable.html#otheralter> recommends, since
    /// foreign keys are not enforced while a migration runs.
    pub(super) fn find(conn: &Connection) -> rusqlite::Result<Orphans> {
        let rows = conn
            .prepare("PRAGMA main.foreign_key_check")?
            .query_map([], |row| {
                Ok(Orphan {
                    table: row.get(0)?,
                    rowid: row.get(1)?,
                    parent: row.get(2)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let tables = conn
            .prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Orphans { rows, tables })
    }

    /// Like [`find`](Orphans::find), on another database.
    pub(super) fn find_on(database: &mut dyn Database) -> Result<Orphans, Error> {
        let text = |value: Option<Value>| match value {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        let rows = database.query("PRAGMA foreign_key_check")?;
        let rows = each(&rows, |row| Orphan {
            table: text(row(0)),
            rowid: match row(1) {
                Some(Value::Integer(rowid)) => Some(rowid),
                _ => None,
            },
            parent: text(row(2)),
        });
        let tables = database.query("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let tables = each(&tables, |row| text(row(0)));
        Ok(Orphans {
            rows: rows.collect(),
            tables: tables.collect(),
        })
    }

    /// The first violation that was not there `before`. A rebuilt table may renumber its rows, and
    /// a renamed table takes its orphans along: so this compares counts per table and parent.
    pub(super) fn first_new<'a>(&'a self, before: &Orphans) -> Option<&'a Orphan> {
        let mut known = HashMap::new();
        let mut renamed = 0_usize;
        for orphan in &before.rows {
            let is_there = |table: &String| self.tables.contains(table);
            match is_there(&orphan.table) && is_there(&orphan.parent) {
                true => *known.entry((&orphan.table, &orphan.parent)).or_insert(0) += 1,
                false => renamed += 1,
            }
        }
        let same: HashSet<&Orphan> = before.rows.iter().collect();
        // Skip rows that are in both, so that the reported row is a new one.
        let (old, new): (Vec<_>, Vec<_>) = self.rows.iter().partition(|row| same.contains(row));
        old.into_iter().chain(new).find(|orphan| {
            match known.get_mut(&(&orphan.table, &orphan.parent)) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    false
                }
                _ => {
                    let was_there = |table: &String| before.tables.contains(table);
                    let excused = renamed > 0
                        && !(was_there(&orphan.table)
                            && was_there(&orphan.parent)
                            && self.tables.contains(&orphan.parent));
                    renamed -= usize::from(excused);
                    !excused
                }
            }
        })
    }
}

/// Each row as what `read` makes of its values.
pub(super) fn each<T>(
    rows: &Rows,
    read: impl Fn(&dyn Fn(usize) -> Option<Value>) -> T,
) -> impl Iterator<Item = T> {
    rows.iter()
        .map(move |row| read(&|column| row.get(column).map(Value::from)))
}
