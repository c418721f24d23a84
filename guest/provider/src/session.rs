//! A connection at work: runs statements, and knows about its transaction.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use hashlink::LruCache;
use rusqlite::ffi::{SQLITE_AUTH, SQLITE_CONSTRAINT_DATATYPE, SQLITE_READONLY, SQLITE_TOOBIG};
use rusqlite::{Batch, Connection, Statement, TransactionState};

use crate::authorizer::{self, Control, Seen};
use crate::compile::{Compiled, Kind, bind, check_text, columns_of};
use crate::database::{Database, MAX_VALUE_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::handles::Open;
use crate::lock::{self, Deadline};
use crate::value::{Parameters, RawValue, ResultSet, Rows, Summary};

/// Statements that are kept compiled.
const CACHED: usize = 128;
/// The largest result, in bytes.
const MAX_RESULT_BYTES: u64 = 16 << 20;
/// Instructions of SQLite between two looks at the clock.
const PROGRESS_INTERVAL: i32 = 1_000;

/// Who ended a transaction before its owner did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aborted {
    Sqlite,
    /// It was open for too long.
    Overdue,
}

impl Aborted {
    fn into_error(self) -> Error {
        let message = match self {
            Aborted::Sqlite => {
                "SQLite has rolled the transaction back: end it before anything else"
            }
            Aborted::Overdue => {
                "the transaction was open for too long and has been rolled back: end it before \
                 anything else"
            }
        };
        Error::new(ErrorKind::StaleHandle, message).with_rolled_back()
    }
}

/// A connection that is lent. Dropping it closes the file.
pub(crate) struct Session {
    pub(crate) cache: LruCache<String, Compiled>,
    /// The statements behind handles.
    pub(crate) opened: Vec<Weak<RefCell<Open>>>,
    /// The number of runs of statements behind handles.
    pub(crate) runs: u64,
    read_only: bool,
    /// How many transactions have ended: handles of earlier ones are stale.
    pub(crate) ended: u64,
    /// Set if a transaction ended by itself, and its owner has not ended it too.
    pub(crate) aborted: Option<Aborted>,
    /// When what is open now began: a transaction, or a cursor outside one.
    since: Option<u64>,
    deadline: Deadline,
    pub(crate) seen: Arc<Seen>,
    pub(crate) conn: Rc<Connection>,
}

/// Whether a connection holds its file's lock.
pub(crate) fn is_open(conn: &Connection) -> bool {
    !matches!(conn.transaction_state(None::<&str>), Ok(TransactionState::None))
}

impl Session {
    /// Open a connection. Waits for the file's lock.
    pub(crate) fn open(database: &Rc<Database>, read_only: bool) -> Result<Session> {
        let seen = Arc::new(Seen::default());
        let deadline = Deadline::default();
        deadline.start(None);
        let conn = database.open(&deadline, |conn| {
            let over = deadline.clone();
            conn.progress_handler(PROGRESS_INTERVAL, Some(move || over.is_over()))?;
            authorizer::install(conn, &seen)
        })?;
        Ok(Session {
            cache: LruCache::new(CACHED),
            opened: Vec::new(),
            runs: 0,
            read_only,
            ended: 0,
            aborted: None,
            since: None,
            deadline,
            seen,
            conn,
        })
    }

    /// End everything that is open. Returns whether a transaction was rolled back.
    pub(crate) fn end(mut self) -> bool {
        for open in self.opened.drain(..).filter_map(|open| open.upgrade()) {
            // A running statement would keep the file open, and its lock.
            open.borrow_mut().end();
        }
        self.cache.clear();
        let open = !self.conn.is_autocommit();
        if open {
            self.deadline.unset();
            // Closing rolls back too, but not before the last statement is gone.
            let _ = self.seen.trusting(|| self.conn.execute_batch("ROLLBACK"));
        }
        open || self.aborted.is_some()
    }

    /// Begin a call, and end what has been open for too long.
    pub(crate) fn start_call(&mut self) {
        let overdue = self.since.is_some_and(Deadline::has_passed);
        if overdue {
            self.deadline.unset();
            self.end_cursors();
            if !self.conn.is_autocommit() {
                let _ = self.seen.trusting(|| self.conn.execute_batch("ROLLBACK"));
                self.ended += 1;
                self.aborted = Some(Aborted::Overdue);
            }
            self.settle();
        }
        self.deadline.start(self.since);
    }

    pub(crate) fn execute(&mut self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        self.with_compiled(sql, |session, compiled| {
            session.execute_compiled(compiled, parameters)
        })
    }

    pub(crate) fn execute_compiled(
        &mut self,
        compiled: &mut Compiled,
        parameters: &Parameters,
    ) -> Result<Summary> {
        compiled.with(|statement| bind(statement, parameters))?;
        if !self.admit(compiled.kind)? {
            return Ok(self.summary_since(self.conn.total_changes()));
        }
        let kind = compiled.kind;
        compiled.with(|statement| self.run(kind, |session| session.run_to_end(statement)))
    }

    pub(crate) fn query(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Result<ResultSet> {
        self.with_compiled(sql, |session, compiled| {
            let kind = compiled.kind;
            compiled.with(|statement| {
                bind(statement, parameters)?;
                if !session.admit(kind)? {
                    return Ok(ResultSet {
                        columns: Vec::new(),
                        rows: Rows::new(),
                    });
                }
                // If the whole result cannot be returned, none of the changes may be kept.
                let undoable = !kind.read_only && statement.column_count() > 0;
                session.tracked(kind, |session| match undoable {
                    true => session.atomically(|_| read_all(statement, with_columns)),
                    false => read_all(statement, with_columns),
                })
            })
        })
    }

    pub(crate) fn execute_script(&mut self, sql: &str) -> Result<()> {
        check_text(sql)?;
        let conn = Rc::clone(&self.conn);
        let mut batch = Batch::new(&conn, sql);
        loop {
            self.seen.start("");
            let next = next_of(&mut batch).map_err(|error| {
                let rest = match &error {
                    rusqlite::Error::SqlInputError { sql: rest, .. } => rest.len(),
                    _ => sql.len(),
                };
                let error = self.explain(error.into()).shifted(sql.len() - rest);
                self.aborted.map_or(error, Aborted::into_error)
            })?;
            let Some(mut statement) = next else {
                return Ok(());
            };
            if statement.parameter_count() > 0 {
                let message = "a script's statements take no parameters";
                return Err(Error::new(ErrorKind::Parameters, message));
            }
            let text = statement.expanded_sql().unwrap_or_default();
            let kind = self.kind_of(&text, &statement);
            if self.admit(kind)? {
                self.run(kind, |session| session.run_to_end(&mut statement))?;
            }
        }
    }

    /// Compile `sql`, pass it to `work`, and keep it.
    fn with_compiled<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&mut Session, &mut Compiled) -> Result<T>,
    ) -> Result<T> {
        let mut compiled = self.compile(sql)?;
        let result = work(self, &mut compiled);
        compiled.reset();
        self.cache.insert(compiled.sql.clone(), compiled);
        result
    }

    /// Check the conditions for running a statement. Returns false if there is nothing to run: a
    /// `ROLLBACK` of what has been rolled back already.
    pub(crate) fn admit(&mut self, kind: Kind) -> Result<bool> {
        if let Some(aborted) = self.aborted {
            return match kind.control {
                Control::Rollback => {
                    self.aborted = None;
                    Ok(false)
                }
                Control::Commit => {
                    self.aborted = None;
                    Err(aborted.into_error())
                }
                _ => Err(aborted.into_error()),
            };
        }
        // SQLite commits no write before the last cursor of a write ends: another write would be
        // acknowledged, and then lost if that cursor fails.
        let begins = matches!(kind.control, Control::Begin | Control::Savepoint);
        if (begins || !kind.read_only) && self.conn.is_autocommit() && self.writes() {
            return Err(Error::new(
                ErrorKind::Busy,
                "a cursor of a statement that writes is open: read it to the end or drop it first",
            ));
        }
        if !kind.read_only && self.read_only {
            let message = "the connection is read-only: get one with read-write access";
            return Err(Error::new(ErrorKind::NotAuthorized, message).with_code(SQLITE_READONLY));
        }
        Ok(true)
    }

    fn writes(&self) -> bool {
        matches!(
            self.conn.transaction_state(None::<&str>),
            Ok(TransactionState::Write)
        )
    }

    /// Fails if the transaction was rolled back.
    pub(crate) fn check_aborted(&self) -> Result<()> {
        self.aborted.map_or(Ok(()), |aborted| Err(aborted.into_error()))
    }

    /// Run an admitted statement. What it cannot undo by itself is undone.
    fn run(
        &mut self,
        kind: Kind,
        work: impl FnOnce(&mut Session) -> Result<Summary>,
    ) -> Result<Summary> {
        let in_transaction = !self.conn.is_autocommit();
        let partly = !kind.read_only && kind.control == Control::None && in_transaction;
        self.tracked(kind, |session| match partly {
            true => session.in_savepoint(work),
            false => work(session),
        })
    }

    /// SQLite keeps the rows before the one that failed for these two reasons, and for `OR FAIL`,
    /// which asks for that.
    fn in_savepoint<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        self.control("SAVEPOINT millpond")?;
        let result = work(self);
        let keeps_part = |error: &Error| {
            error.code() == SQLITE_CONSTRAINT_DATATYPE || error.code() & 0xff == SQLITE_TOOBIG
        };
        if !self.conn.is_autocommit() {
            if result.as_ref().is_err_and(keeps_part) {
                self.control("ROLLBACK TO millpond")?;
            }
            self.control("RELEASE millpond")?;
        }
        result
    }

    /// Run `work` so that all or nothing of it is kept, inside or outside a transaction.
    pub(crate) fn atomically<T>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let outermost = self.conn.is_autocommit();
        if self.writes() && self.has_writing_cursor() {
            let message = "a cursor of a statement that writes is open: read it to the end or drop \
                           it first";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        self.control("SAVEPOINT millpond")?;
        let result = work(self).and_then(|value| {
            self.control("RELEASE millpond")?;
            Ok(value)
        });
        // SQLite may have rolled back everything itself, including the savepoint.
        if result.is_err() && !self.conn.is_autocommit() {
            self.deadline.unset();
            match outermost {
                true => self.control("ROLLBACK")?,
                false => self.control("ROLLBACK TO millpond; RELEASE millpond")?,
            }
        }
        result
    }

    fn has_writing_cursor(&self) -> bool {
        let mut opened = self.opened.iter().filter_map(Weak::upgrade);
        // The statement that is running now is borrowed.
        opened.any(|open| open.try_borrow().is_ok_and(|open| open.is_writing()))
    }

    fn control(&mut self, sql: &str) -> Result<()> {
        Ok(self.seen.trusting(|| self.conn.execute_batch(sql))?)
    }

    /// Run `work` and track whether a transaction ended, and who ended it.
    pub(crate) fn tracked<T>(
        &mut self,
        kind: Kind,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let was_open = !self.conn.is_autocommit();
        let ends_savepoint = kind.control == Control::Savepoint && self.writes();
        if kind.control == Control::Rollback {
            self.deadline.unset();
        }
        let mut result = work(self).map_err(|error| self.explain(error));
        // If the outermost savepoint cannot be committed, SQLite rolls everything back but keeps
        // the savepoint, empty: releasing it again would succeed.
        if ends_savepoint && result.is_err() && !self.conn.is_autocommit() && !self.writes() {
            self.control("ROLLBACK")?;
        }
        if was_open && self.conn.is_autocommit() {
            self.ended += 1;
            if let Err(error) = result {
                result = Err(error.with_rolled_back());
                // A guest that ended the transaction itself knows; any other must be told, until it
                // has ended the transaction too.
                let told = matches!(kind.control, Control::Commit | Control::Rollback);
                self.aborted = (!told && !ends_savepoint).then_some(Aborted::Sqlite);
            }
        }
        self.settle();
        result
    }

    /// Record since when something is open.
    pub(crate) fn settle(&mut self) {
        let open = !self.conn.is_autocommit() || is_open(&self.conn);
        let began = self.deadline.began();
        self.since = open.then(|| self.since.unwrap_or(began));
        self.opened.retain(|open| open.strong_count() > 0);
    }

    /// Make every cursor stale.
    fn end_cursors(&mut self) {
        for open in self.opened.iter().filter_map(Weak::upgrade) {
            self.runs += 1;
            open.borrow_mut().end_run(self.runs);
        }
    }

    /// Step to the end, and return the summary.
    pub(crate) fn run_to_end(&mut self, statement: &mut Statement<'_>) -> Result<Summary> {
        let before = self.conn.total_changes();
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        drop(rows);
        Ok(self.summary_since(before))
    }

    pub(crate) fn summary_since(&self, total_changes_before: u64) -> Summary {
        // `changes` keeps its value over statements that change nothing, so it only counts if the
        // total moved.
        let changed = self.conn.total_changes() != total_changes_before;
        Summary {
            changes: if changed { self.conn.changes() } else { 0 },
            last_insert_rowid: self.conn.last_insert_rowid(),
        }
    }

    /// Replace SQLite's error with the real reason.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if let Some(refusal) = self.seen.take_refusal() {
            return error
                .with_kind(ErrorKind::NotAuthorized)
                .with_message(refusal);
        }
        match error.kind() {
            ErrorKind::DeadlineExceeded => error.with_message("the statement ran out of time"),
            ErrorKind::Busy if error.code() & 0xff == rusqlite::ffi::SQLITE_BUSY => error
                .with_message(format!(
                    "another connection has the database locked (one that no longer exists has it \
                     for at most {} seconds)",
                    lock::STALE.as_secs()
                )),
            ErrorKind::NotAuthorized if error.code() == SQLITE_AUTH => {
                error.with_message("not allowed; no grant allows it")
            }
            _ => error,
        }
    }
}

fn next_of<'c>(batch: &mut Batch<'c, '_>) -> rusqlite::Result<Option<Statement<'c>>> {
    rusqlite::fallible_iterator::FallibleIterator::next(batch)
}

fn read_all(statement: &mut Statement<'_>, with_columns: bool) -> Result<ResultSet> {
    let mut all = Rows::with_capacity(0);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        read_row(row, &mut all, "result", 0)?;
    }
    drop(rows);
    // After the last step, so that a changed schema has been noticed.
    Ok(ResultSet {
        columns: match with_columns {
            true => columns_of(statement),
            false => Vec::new(),
        },
        rows: all,
    })
}

/// Append a row. The bytes added to `rows` since they had `before` may not exceed the limit for a
/// result; `what` names them in the error.
pub(crate) fn read_row(
    row: &rusqlite::Row<'_>,
    rows: &mut Rows,
    what: &str,
    before: u64,
) -> Result<()> {
    let width = row.as_ref().column_count();
    rows.start_row(width);
    for column in 0..width {
        let value = raw(row.get_ref(column)?);
        if value.length() > MAX_VALUE_BYTES as u64 {
            let message = format!("a value has more than {MAX_VALUE_BYTES} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if rows.size() - before + value.size() > MAX_RESULT_BYTES {
            let message =
                format!("the {what} is larger than {MAX_RESULT_BYTES} bytes: select less at a time");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        rows.push_raw(value, column)?;
    }
    Ok(())
}

fn raw(value: rusqlite::types::ValueRef<'_>) -> RawValue<'_> {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => RawValue::Null,
        ValueRef::Integer(value) => RawValue::Integer(value),
        ValueRef::Real(value) => RawValue::Real(value),
        ValueRef::Text(value) => RawValue::Text(value),
        ValueRef::Blob(value) => RawValue::Blob(value),
    }
}
