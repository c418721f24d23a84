//! Finds full scans: asks SQLite for each statement's plan, on a connection of its own.

use std::path::Path;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

use crate::error::Mistake;
use crate::fault::normal;

/// A statement that reads a whole table, without an index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FullScan {
    /// The statement.
    pub sql: String,
    /// The table, or its alias in the statement.
    pub table: String,
    /// SQLite's plan, one line for each step, indented
    /// (<https://sqlite.org/eqp.html>).
    pub plan: String,
}

/// A connection to a database's file, on which statements are compiled but not run.
#[derive(Debug)]
pub(crate) struct Planner(Connection);

impl Planner {
    pub(crate) fn open(path: &Path) -> Result<Planner, Mistake> {
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            // Like the pool's connections: functions of one's own, which use no index.
            for (name, arguments) in [("like", 2), ("like", 3), ("glob", 2)] {
                let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
                connection.create_scalar_function(name, arguments, flags, |_| Ok(false))?;
            }
            Ok(connection)
        };
        open()
            .map(Planner)
            .map_err(|error: rusqlite::Error| Mistake::about(path, error))
    }

    /// The full scans of a statement. None for one that SQLite cannot compile here, such as one on
    /// a temporary table.
    pub(crate) fn full_scans(&self, sql: &str) -> Vec<FullScan> {
        let steps = self.plan(sql).unwrap_or_default();
        let mut depths: Vec<(i64, usize)> = Vec::new();
        let mut plan = String::new();
        for Step { id, parent, detail } in &steps {
            let above = depths.iter().find(|(known, _)| known == parent);
            let depth = above.map_or(0, |(_, depth)| depth + 1);
            depths.push((*id, depth));
            plan.push_str(&format!("{:width$}{detail}\n", "", width = 2 * depth));
        }
        // A result that is kept in memory, such as that of a `WITH`, has a step of its own.
        let is_temporary = |table: &str| {
            let made = |step: &Step| {
                let made = ["MATERIALIZE ", "CO-ROUTINE "].iter();
                made.clone()
                    .any(|verb| step.detail.strip_prefix(verb) == Some(table))
            };
            table.starts_with('(') || steps.iter().any(made)
        };
        let tables = steps.iter().filter_map(|step| scanned(&step.detail));
        tables
            .filter(|table| !is_temporary(table))
            .map(|table| FullScan {
                sql: normal(sql),
                table: table.to_owned(),
                plan: plan.clone(),
            })
            .collect()
    }

    fn plan(&self, sql: &str) -> rusqlite::Result<Vec<Step>> {
        let mut statement = self.0.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next()? {
            steps.push(Step {
                id: row.get(0)?,
                parent: row.get(1)?,
                detail: row.get(3)?,
            });
        }
        Ok(steps)
    }
}

struct Step {
    id: i64,
    parent: i64,
    detail: String,
}

/// The table that a step of a plan reads as a whole, without an index.
fn scanned(detail: &str) -> Option<&str> {
    let table = detail.strip_prefix("SCAN ")?;
    let by_index = ["CONSTANT ROW", " USING ", " VIRTUAL TABLE "];
    let is_whole = !by_index.iter().any(|by| detail.contains(by));
    is_whole.then(|| table.split(' ').next().unwrap_or(table))
}
