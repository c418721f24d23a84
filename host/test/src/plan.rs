//! Finds full scans: asks SQLite for each statement's plan, on another connection.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use millpond_pool::{ErrorKind, Parameters, Value, ValueRef, block_on};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

use crate::database::Opened;
use crate::error::Mistake;
use crate::fault::normal;
use crate::journal::{Entry, Outcome};
use crate::record::Record;
use crate::sql::has_plan;

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

impl Record {
    /// Every statement's full scans of tables, without an index. A scan by a temporary index that
    /// SQLite builds for one statement is a full scan too.
    ///
    /// # Errors
    ///
    /// A database's file cannot be opened. SQLite has no plan for a statement. The guest made more
    /// calls than a journal has entries.
    pub fn full_scans(&self) -> Result<Vec<FullScan>, Mistake> {
        if self.journal.omitted_statements > 0 {
            let more = self.journal.omitted_statements;
            let message = format!("{more} statements are not in the journal: make fewer calls");
            return Err(Mistake::new(message));
        }
        let mut scans: Vec<FullScan> = Vec::new();
        for opened in &self.app.inner.databases {
            let entries = self.journal.entries().iter();
            let entries = entries.filter(|entry| entry.database == opened.name && compiled(entry));
            let sql: BTreeSet<&str> = entries.flat_map(Entry::sql_statements).collect();
            let mut sql = sql.into_iter().filter(|sql| has_plan(sql)).peekable();
            if sql.peek().is_some() {
                let planner = Planner::open(opened)?;
                for sql in sql {
                    scans.extend(planner.full_scans(sql)?);
                }
            }
        }
        Ok(scans)
    }

    /// Why a table is scanned; `None` if none is, except those of `except`.
    pub(crate) fn scans(&self, except: &[impl AsRef<str>]) -> Result<Option<String>, Mistake> {
        let mut scans = self.full_scans()?;
        scans.retain(|scan| except.iter().all(|table| table.as_ref() != scan.table));
        let mut text = String::new();
        for FullScan { sql, table, plan } in scans {
            _ = writeln!(text, "the guest scans all of `{table}`: {sql}");
            plan.lines().for_each(|line| _ = writeln!(text, "  {line}"));
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Whether SQLite accepted the SQL when the guest ran it.
fn compiled(entry: &Entry) -> bool {
    let refused = [ErrorKind::Sql, ErrorKind::NotAuthorized];
    !matches!(entry.outcome, Outcome::Failed { kind, .. } if refused.contains(&kind))
}

/// A connection to a database's file, on which statements are compiled but not run.
#[derive(Debug)]
struct Planner<'a> {
    connection: Connection,
    opened: &'a Opened,
}

impl Planner<'_> {
    fn open(opened: &Opened) -> Result<Planner<'_>, Mistake> {
        let path: &Path = &opened.path;
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            // The plans of triggers too.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP, true)?;
            // The pool's connections have their own `LIKE` and `GLOB`, so that they use no index.
            for (name, arguments) in [("like", 2), ("like", 3), ("glob", 2)] {
                let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
                connection.create_scalar_function(name, arguments, flags, |_| Ok(false))?;
            }
            Ok(connection)
        };
        let connection = open().map_err(|error: rusqlite::Error| Mistake::about(path, error))?;
        Ok(Planner { connection, opened })
    }

    /// The full scans of a statement. None if a table or column of it does not exist here.
    fn full_scans(&self, sql: &str) -> Result<Vec<FullScan>, Mistake> {
        let steps = match self.plan(sql).or_else(|_| self.plan_of_pool(sql)) {
            Ok(steps) => steps,
            // It did when the guest ran the statement.
            Err(error) if is_missing(&error.to_string()) => Vec::new(),
            Err(error) => {
                let sql = normal(sql);
                return Err(Mistake::new(format!(
                    "SQLite has no plan for {sql}: {error}"
                )));
            }
        };
        let mut depths: Vec<(i64, usize)> = Vec::new();
        let mut plan = String::new();
        for Step { id, parent, detail } in &steps {
            // A trigger's steps have numbers of their own.
            let above = depths.iter().rev().find(|(known, _)| known == parent);
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
        let tables: BTreeSet<&str> = tables.filter(|table| !is_temporary(table)).collect();
        let scan = |table: &str| FullScan {
            sql: normal(sql),
            table: table.to_owned(),
            plan: plan.clone(),
        };
        Ok(tables.into_iter().map(scan).collect())
    }

    fn plan(&self, sql: &str) -> rusqlite::Result<Vec<Step>> {
        let mut statement = self
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
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

    /// The plan on a connection of the pool, which has every function of the host, but no plans of
    /// triggers.
    fn plan_of_pool(&self, sql: &str) -> millpond_pool::Result<Vec<Step>> {
        let connection = self.opened.pool.get_blocking(self.opened.access)?;
        let statement = block_on(connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")))?;
        let parameters = block_on(statement.describe())?.parameter_names.len();
        let parameters = Parameters::positional(vec![Value::Null; parameters]);
        let page = block_on(statement.query(&parameters, 0, false))?;
        let steps = page.rows.iter().filter_map(|row| {
            let number = |column| match row.get(column) {
                Some(ValueRef::Integer(number)) => Some(number),
                _ => None,
            };
            let Some(ValueRef::Text(detail)) = row.get(3) else {
                return None;
            };
            Some(Step {
                id: number(0)?,
                parent: number(1)?,
                detail: detail.to_owned(),
            })
        });
        Ok(steps.collect())
    }
}

/// Whether SQLite's error is that something no longer exists, or not on this connection.
fn is_missing(error: &str) -> bool {
    let missing = ["no such table", "no such column", "no such index"];
    missing.iter().any(|missing| error.contains(missing))
}

struct Step {
    id: i64,
    parent: i64,
    detail: String,
}

/// The table that a step of a plan reads as a whole, without an index.
fn scanned(detail: &str) -> Option<&str> {
    let by_index = ["CONSTANT ROW", " USING ", " VIRTUAL TABLE "];
    let (table, is_whole) = match detail.strip_prefix("SCAN ") {
        Some(table) => (table, !by_index.iter().any(|by| detail.contains(by))),
        // To build an index for the one statement, SQLite reads all.
        None => (
            detail.strip_prefix("SEARCH ")?,
            detail.contains(" USING AUTOMATIC "),
        ),
    };
    is_whole.then(|| table.split(' ').next().unwrap_or(table))
}
