//! A database that is open: its connection, and what the guest's handles stand for. Handles refer
//! to it weakly, so that nothing outlives the connection but the handles themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_pool::{Connection, Cursor, Parameters};
use millpond_wasmtime::CursorPlace;

use super::failure::{Failure, Result};
use super::values::Columns;

/// How many bytes an open database holds at most for its statements and iterators: SQL, the names
/// of parameters and columns, and values that are bound.
pub const MAX_HELD_BYTES: usize = 16 << 20;
/// What a statement or an iterator takes besides these.
const HANDLE_BYTES: usize = 200;

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
    statements: BTreeMap<u64, Statement>,
    runs: BTreeMap<u64, OpenRun>,
}

#[derive(Debug)]
struct Statement {
    prepared: Arc<Prepared>,
    /// Its last run, if that is open: the next run ends it.
    run: Option<u64>,
}

/// A statement that the guest has prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) sql: String,
    /// Only the text determines them.
    pub(super) parameter_names: Vec<Option<String>>,
    /// Only the text determines this too, as nearly as it matters: whatever the schema, SQLite
    /// begins to write for each `INSERT`, `UPDATE` and `DELETE`, and for no `SELECT`.
    pub(super) read_only: bool,
}

impl Prepared {
    fn size(&self) -> usize {
        let names = self.parameter_names.iter();
        let names =
            names.map(|name| size_of::<Option<String>>() + name.as_ref().map_or(0, String::len));
        HANDLE_BYTES + self.sql.len() + names.sum::<usize>()
    }
}

/// A run whose rows the guest has not all read.
#[derive(Debug)]
pub(super) struct OpenRun {
    /// The key of its statement.
    pub(super) statement: u64,
    pub(super) progress: Progress,
    /// Its place among the request's cursors.
    #[expect(dead_code, reason = "counted while the run is open")]
    pub(super) place: CursorPlace,
}

/// How far a run is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not started. The guest may have dropped the statement.
    Bound(Arc<Prepared>, Parameters),
    /// Started; `rest` is `None` after the last row.
    Reading {
        columns: Columns,
        rest: Option<Cursor>,
    },
}

impl OpenRun {
    fn size(&self) -> usize {
        let held = match &self.progress {
            Progress::Bound(prepared, parameters) => prepared.size() + parameters.as_bytes().len(),
            Progress::Reading { columns, .. } => {
                let names = columns.iter().flatten();
                names.map(|name| size_of::<String>() + name.len()).sum()
            }
        };
        HANDLE_BYTES + held
    }
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

    pub(super) fn add_statement(&self, prepared: Prepared) -> Result<u64> {
        let mut held = self.held();
        held.take(prepared.size())?;
        let key = held.number();
        let prepared = Arc::new(prepared);
        let statement = Statement {
            prepared,
            run: None,
        };
        held.statements.insert(key, statement);
        Ok(key)
    }

    pub(super) fn statement(&self, key: u64) -> Result<Arc<Prepared>> {
        let held = self.held();
        let statement = held.statements.get(&key);
        let statement = statement.ok_or_else(Failure::finalized)?;
        Ok(Arc::clone(&statement.prepared))
    }

    pub(super) fn remove_statement(&self, key: u64) {
        let mut held = self.held();
        if let Some(statement) = held.statements.remove(&key) {
            held.bytes -= statement.prepared.size();
        }
    }

    /// The statement is about to run: end its last run.
    pub(super) fn end_last_run(&self, statement: u64) {
        let run = {
            let mut held = self.held();
            let statement = held.statements.get_mut(&statement);
            statement.and_then(|statement| statement.run.take())
        };
        if let Some(run) = run {
            self.take_run(run);
        }
    }

    pub(super) fn add_run(&self, run: OpenRun) -> Result<u64> {
        let key = self.held().number();
        self.put_run(key, run)?;
        Ok(key)
    }

    /// Take a run out, to read or to end it.
    pub(super) fn take_run(&self, key: u64) -> Option<OpenRun> {
        let mut held = self.held();
        let run = held.runs.remove(&key)?;
        held.bytes -= run.size();
        Some(run)
    }

    /// Put a run back, which may hold more than it did.
    pub(super) fn put_run(&self, key: u64, run: OpenRun) -> Result<()> {
        let mut held = self.held();
        held.take(run.size())?;
        if let Some(statement) = held.statements.get_mut(&run.statement) {
            statement.run = Some(key);
        }
        held.runs.insert(key, run);
        Ok(())
    }
}

impl Held {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self, bytes: usize) -> Result<()> {
        if bytes > MAX_HELD_BYTES - self.bytes {
            return Err(Failure::too_large(format!(
                "the database's statements and iterators hold more than {MAX_HELD_BYTES} bytes: \
                 prepare each statement once"
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
