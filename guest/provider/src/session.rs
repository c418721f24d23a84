//! A connection at work: what it has open, and since when. `run` runs its statements.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use hashlink::LruCache;
use rusqlite::ffi::{SQLITE_AUTH, SQLITE_READONLY};
use rusqlite::{Connection, TransactionState};

use crate::authorizer::{self, Authorizer, Control};
use crate::compile::{Compiled, Kind};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::handles::Open;
use crate::lock::{self, Deadline};

/// Statements that are kept compiled.
const CACHED: usize = 128;
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
    pub(crate) fn into_error(self) -> Error {
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
    pub(crate) deadline: Deadline,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) conn: Rc<Connection>,
}

/// Whether a connection holds its file's lock.
pub(crate) fn is_open(conn: &Connection) -> bool {
    !matches!(
        conn.transaction_state(None::<&str>),
        Ok(TransactionState::None)
    )
}

impl Session {
    /// Open a connection. Waits for the file's lock.
    pub(crate) fn open(database: &Rc<Database>, read_only: bool) -> Result<Session> {
        let authorizer = Arc::new(Authorizer::default());
        let deadline = Deadline::default();
        deadline.start(None);
        let conn = database.open(&deadline, |conn| {
            let over = deadline.clone();
            conn.progress_handler(PROGRESS_INTERVAL, Some(move || over.is_over()))?;
            authorizer::install(conn, &authorizer)
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
            authorizer,
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
            let _ = self
                .authorizer
                .trusting(|| self.conn.execute_batch("ROLLBACK"));
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
                let _ = self
                    .authorizer
                    .trusting(|| self.conn.execute_batch("ROLLBACK"));
                self.ended += 1;
                self.aborted = Some(Aborted::Overdue);
            }
            self.settle();
        }
        self.deadline.start(self.since);
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

    pub(crate) fn writes(&self) -> bool {
        matches!(
            self.conn.transaction_state(None::<&str>),
            Ok(TransactionState::Write)
        )
    }

    /// Fails if the transaction was rolled back.
    pub(crate) fn check_aborted(&self) -> Result<()> {
        self.aborted
            .map_or(Ok(()), |aborted| Err(aborted.into_error()))
    }

    pub(crate) fn has_writing_cursor(&self) -> bool {
        let mut opened = self.opened.iter().filter_map(Weak::upgrade);
        // The statement that is running now is borrowed.
        opened.any(|open| open.try_borrow().is_ok_and(|open| open.is_writing()))
    }

    pub(crate) fn control(&mut self, sql: &str) -> Result<()> {
        Ok(self.authorizer.trusting(|| self.conn.execute_batch(sql))?)
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

    /// Replace SQLite's error with the real reason.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if let Some(refusal) = self.authorizer.take_refusal() {
            return error
                .with_kind(ErrorKind::NotAuthorized)
                .with_message(refusal);
        }
        match error.kind() {
            ErrorKind::DeadlineExceeded => error.with_message("the statement ran out of time"),
            ErrorKind::Busy if error.code() & 0xff == rusqlite::ffi::SQLITE_BUSY => error
                .with_message(format!(
                    "another connection has locked the database: try again (the lock of an \
                     instance that has ended expires after {} seconds)",
                    lock::STALE.as_secs()
                )),
            ErrorKind::NotAuthorized if error.code() == SQLITE_AUTH => {
                error.with_message("not allowed; no grant allows it")
            }
            _ => error,
        }
    }
}
