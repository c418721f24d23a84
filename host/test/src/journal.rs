//! The journal: what a guest asked of its databases, in order.

use std::fmt;

use millpond_pool::{Access, ErrorKind, TransactionMode};

use crate::fault::normal;
use crate::sql::{self, Verb};

/// What a guest asked of its databases during one call, in order. Calls that the pool answers
/// without its engine are missing: a connection that is not granted or does not become free, and
/// handles of a connection that was returned.
///
/// It prints as text for a snapshot: one line for each entry, without times, and with white space
/// in SQL as one space. If a guest makes the same calls, the text is the same. It has at most
/// 100,000 entries.
///
/// ```text
/// 1 get default read-write
/// 1 begin immediate
/// 1 execute UPDATE note SET title = ?2 WHERE id = ?1 (2 parameters) -> 1 change
/// 1 commit
/// 1 return by the end of the request
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    pub(crate) entries: Vec<Entry>,
    /// How many more there would be.
    pub(crate) omitted: u64,
    /// The statements of those.
    pub(crate) omitted_statements: usize,
}

/// One thing that a guest did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The database, by the name that the guest knows.
    pub database: String,
    /// Which of the call's connections, from 1 in the order in which the guest got them.
    pub connection: u32,
    /// What the guest did.
    pub action: Action,
    /// The SQL as the guest wrote it; empty if there is none.
    pub sql: String,
    /// The number of parameter values.
    pub parameters: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// How often it waited: for its turn to write, or for the result of a group commit.
    pub waits: u32,
    /// Whether a [`Fault`](crate::Fault) happened here.
    pub fault: bool,
}

/// What a guest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Got a connection.
    Get(Access),
    /// Returned or closed a connection, or left that to the end of the request.
    Return {
        /// Whether the guest did it.
        by_guest: bool,
    },
    /// Ran one statement for its effect, prepared or not.
    Execute,
    /// Ran one statement for its rows, prepared or not.
    Query,
    /// Ran a script.
    Script,
    /// Compiled a statement.
    Prepare,
    /// Asked for a statement's columns.
    Describe,
    /// Ran a statement for each of many rows.
    ExecuteMany {
        /// How many rows.
        rows: usize,
    },
    /// Read more rows of a cursor.
    Next,
    /// Began a transaction.
    Begin(TransactionMode),
    /// Committed a transaction.
    Commit,
    /// Rolled back a transaction.
    Rollback,
    /// Dropped an open transaction, which rolled it back.
    DropTransaction,
}

impl Action {
    /// Whether it runs a statement.
    pub fn runs_statement(self) -> bool {
        matches!(
            self,
            Action::Execute | Action::Query | Action::Script | Action::ExecuteMany { .. }
        )
    }
}

/// How a call of a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did not: the request ended first.
    Unfinished,
    /// It succeeded.
    #[non_exhaustive]
    Done {
        /// Rows that the guest got.
        rows: usize,
        /// Rows that the statement changed. 0 if it was run for its rows.
        changes: u64,
    },
    /// It failed.
    #[non_exhaustive]
    Failed {
        /// Why.
        kind: ErrorKind,
        /// Whether the open transaction was rolled back.
        rolled_back: bool,
    },
}

impl Journal {
    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries that ran statements. Those that only begin or end transactions and savepoints
    /// are left out, by handle or as SQL.
    pub fn statements(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.sql_statements().next().is_some())
    }

    /// Count an entry instead of keeping it.
    pub(crate) fn omit(&mut self, entry: &Entry) {
        self.omitted += 1;
        self.omitted_statements += entry.sql_statements().count();
    }

    /// The number of rows that the guest got.
    pub fn rows(&self) -> usize {
        let rows = |entry: &Entry| match entry.outcome {
            Outcome::Done { rows, .. } => rows,
            _ => 0,
        };
        self.entries.iter().map(rows).sum()
    }

    /// How often the guest waited for its turn to write.
    pub fn waits(&self) -> u32 {
        self.entries.iter().map(|entry| entry.waits).sum()
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => writeln!(f, "… and {more} more"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.connection)?;
        match self.action {
            Action::Get(access) => write!(f, "get {} {}", self.database, access_name(access))?,
            Action::Return { by_guest: true } => f.write_str("return")?,
            Action::Return { by_guest: false } => {
                f.write_str("return by the end of the request")?
            }
            Action::Begin(TransactionMode::Immediate) => f.write_str("begin immediate")?,
            Action::Begin(TransactionMode::Deferred) => f.write_str("begin deferred")?,
            Action::Commit => f.write_str("commit")?,
            Action::Rollback => f.write_str("rollback")?,
            Action::DropTransaction => f.write_str("drop transaction")?,
            Action::Execute => self.sql(f, "execute")?,
            Action::Query => self.sql(f, "query")?,
            Action::Script => self.sql(f, "script")?,
            Action::Prepare => self.sql(f, "prepare")?,
            Action::Describe => self.sql(f, "describe")?,
            Action::ExecuteMany { .. } => self.sql(f, "execute-many")?,
            Action::Next => self.sql(f, "next")?,
        }
        let counted = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match self.outcome {
            Outcome::Unfinished => f.write_str(" -> not finished")?,
            Outcome::Done { rows, changes } => match self.action {
                Action::Query | Action::Next => {
                    write!(f, " -> {}", counted(rows as u64, "row"))?;
                }
                Action::Execute | Action::ExecuteMany { .. } => {
                    write!(f, " -> {}", counted(changes, "change"))?;
                }
                _ => {}
            },
            Outcome::Failed { kind, rolled_back } => {
                write!(f, " -> {}", kind_name(kind))?;
                if rolled_back {
                    f.write_str(", rolled back")?;
                }
            }
        }
        f.write_str(if self.fault { " (fault)" } else { "" })
    }
}

impl Entry {
    /// The statements that it ran: those of a script are several. Without those that begin or end
    /// a transaction or a savepoint.
    pub(crate) fn sql_statements(&self) -> impl Iterator<Item = &str> {
        let statements = match self.action {
            Action::Script => sql::statements(&self.sql),
            action if action.runs_statement() => vec![&*self.sql],
            _ => Vec::new(),
        };
        let statements = statements.into_iter();
        statements.filter(|sql| !Verb::of(sql).is_control())
    }

    fn sql(&self, f: &mut fmt::Formatter<'_>, verb: &str) -> fmt::Result {
        write!(f, "{verb} {}", normal(&self.sql))?;
        match (self.action, self.parameters) {
            (Action::ExecuteMany { rows }, _) => write!(f, " ({rows} rows)"),
            (_, 0) => Ok(()),
            (_, 1) => f.write_str(" (1 parameter)"),
            (_, n) => write!(f, " ({n} parameters)"),
        }
    }
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "read-write",
    }
}

/// The contract's name of a kind: `busy-snapshot`.
pub(crate) fn kind_name(kind: ErrorKind) -> String {
    let mut name = String::new();
    for c in format!("{kind:?}").chars() {
        if !c.is_alphanumeric() {
            // The fields of `PoolTimeout`.
            break;
        }
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}
