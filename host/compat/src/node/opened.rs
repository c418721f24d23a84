//! A database that is open: its connection, and what the guest's handles stand for. Handles refer to
//! it weakly, so that nothing outlives the connection but the handles themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_pool::{Connection, Cursor};

use super::failure::{Failure, Result};
use super::values::Columns;
use super::wit;

/// How many bytes of SQL, and of rows that iterators have read ahead, an open database holds at most.
pub const MAX_HELD: usize = 16 << 20;
/// How many iterators that were not read to their end an open database has at most.
pub const MAX_ITERATORS: usize = 64;

/// A database that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    bytes: usize,
    statements: BTreeMap<u64, Prepared>,
    iterations: BTreeMap<u64, Iteration>,
}

/// A statement that the guest has prepared.
#[derive(Debug)]
struct Prepared {
    sql: Arc<str>,
    /// The iteration over its rows, which its next run ends.
    iteration: Option<u64>,
}

/// The rows of a run that the guest has not read.
#[derive(Debug)]
pub(super) struct Iteration {
    /// The statement that was run.
    pub(super) statement: u64,
    pub(super) columns: Columns,
    /// The first row.
    pub(super) first: Option<wit::Row>,
    pub(super) rest: Option<Cursor>,
    /// The size of the first row and the columns' names.
    pub(super) size: usize,
}

impl Iteration {
    /// The first row, if it has not been read.
    pub(super) fn take_first(&mut self) -> Option<wit::Row> {
        self.size = size_of_names(&self.columns);
        self.first.take()
    }
}

pub(super) fn size_of_names(columns: &Columns) -> usize {
    columns.iter().flatten().map(String::len).sum()
}

impl Opened {
    pub(super) fn new(connection: Arc<Connection>) -> Opened {
        Opened {
            connection,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_statement(&self, sql: &str) -> Result<u64> {
        let mut held = self.held();
        held.take(sql.len())?;
        let key = held.number();
        held.statements.insert(
            key,
            Prepared {
                sql: sql.into(),
                iteration: None,
            },
        );
        Ok(key)
    }

    pub(super) fn sql(&self, statement: u64) -> Result<Arc<str>> {
        let held = self.held();
        let prepared = held.statements.get(&statement);
        let prepared = prepared.ok_or_else(Failure::finalized)?;
        Ok(Arc::clone(&prepared.sql))
    }

    pub(super) fn remove_statement(&self, statement: u64) {
        let mut held = self.held();
        if let Some(prepared) = held.statements.remove(&statement) {
            held.bytes -= prepared.sql.len();
        }
    }

    /// The statement is about to run: end the iteration of its last run.
    pub(super) fn end_last_run(&self, statement: u64) {
        let iteration = {
            let mut held = self.held();
            let prepared = held.statements.get_mut(&statement);
            prepared.and_then(|prepared| prepared.iteration.take())
        };
        if let Some(iteration) = iteration {
            self.take_iteration(iteration);
        }
    }

    /// Whether there may be another iteration.
    pub(super) fn check_iterations(&self) -> Result<()> {
        if self.held().iterations.len() >= MAX_ITERATORS {
            return Err(Failure::too_large(format!(
                "{MAX_ITERATORS} iterators are open: read each to its end or leave its loop"
            )));
        }
        Ok(())
    }

    pub(super) fn add_iteration(&self, iteration: Iteration) -> Result<u64> {
        let mut held = self.held();
        held.take(iteration.size)?;
        let key = held.number();
        if let Some(prepared) = held.statements.get_mut(&iteration.statement) {
            prepared.iteration = Some(key);
        }
        held.iterations.insert(key, iteration);
        Ok(key)
    }

    /// Take an iteration out, to read or to end it.
    pub(super) fn take_iteration(&self, key: u64) -> Option<Iteration> {
        let mut held = self.held();
        let iteration = held.iterations.remove(&key)?;
        held.bytes -= iteration.size;
        Some(iteration)
    }

    /// Put an iteration back whose first row has been read.
    pub(super) fn put_iteration(&self, key: u64, iteration: Iteration) -> Result<()> {
        let mut held = self.held();
        held.take(iteration.size)?;
        held.iterations.insert(key, iteration);
        Ok(())
    }
}

impl Held {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self, bytes: usize) -> Result<()> {
        if bytes > MAX_HELD - self.bytes {
            return Err(Failure::too_large(format!(
                "the database's statements and iterators hold more than {MAX_HELD} bytes: prepare \
                 each statement once"
            )));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A call that is under way may hold the connection a little longer.
        self.connection.give_back();
    }
}
