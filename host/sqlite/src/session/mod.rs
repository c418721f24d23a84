//! One lent connection at work: statements, transactions and the turn to write.
//!
//! Everything here runs on the thread that calls it, and never waits: a call that needs the
//! turn to write, and cannot have it at once, ends with [`Stop::Turn`] and changes nothing, so that
//! its caller can wait without holding the connection, and try again. So does one that SQLite may
//! not end in time, with [`Stop::Aside`], to be tried on the connection's own thread.

mod admit;
pub(crate) mod cache;
mod calls;
mod compile;
mod group;
mod handles;
pub(crate) mod program;
mod reset;
mod run;
mod time;
mod transactions;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::Access;
use millpond_pool::clock::NEVER;
use millpond_pool::engine::{Limits, RequestId, Terms};
use rusqlite::Connection;
use rusqlite::ffi::{
    SQLITE_AUTH, SQLITE_CONSTRAINT, SQLITE_CONSTRAINT_COMMITHOOK, SQLITE_CONSTRAINT_DATATYPE,
    SQLITE_ERROR, SQLITE_FULL, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_NOMEM, SQLITE_OK,
    SQLITE_TOOBIG,
};
use slab::Slab;

use self::cache::{Kind, StatementCache};
use self::handles::Open;
use self::time::Aborted;
use crate::deadline::Watched;
use crate::deadline::{Pace, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::changes::{Changes, Told};
use crate::ffi::fts5::{MAX_QUERY_WORDS, MAX_ROW_WORDS};
use crate::ffi::hooks::{self, Progress};
use crate::ffi::leaves_log::LeavesLog;
use crate::ffi::memory::{Budget, Scope};
use crate::ffi::raw;
use crate::ffi::statement::Running;
use crate::ffi::vfs::Folder;
use crate::ffi::vfs::identity::Identity;
use crate::open::settings::Settings;
use crate::open::{LOST, Opened, PROGRESS_INTERVAL, cannot_open};
use crate::policy::hints::Hints;
use crate::policy::{Control, Seen};
use crate::writers::checkpoint::Checkpoints;
use crate::writers::job::Job;
use crate::writers::queue::{Turn, TurnQueue};
use crate::writers::read_mark::Reads;

/// Why a call did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another request writes: wait for the turn, and call again.
    Turn,
    /// Whoever begins to read is held back for a moment: wait, and call again.
    Gate,
    /// SQLite may not end it in time: call again on the connection's own [`Thread`].
    Aside,
    Error(Error),
}

impl Stop {
    /// For a call that cannot be tried again.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Stop::Error(error) => error,
            Stop::Turn | Stop::Gate => Error::new(ErrorKind::Busy, "another request is writing"),
            Stop::Aside => Error::new(ErrorKind::Other, "the statement takes too long here"),
        }
    }
}

impl From<millpond_pool::Error> for Stop {
    fn from(error: millpond_pool::Error) -> Stop {
        Stop::Error(error.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// The result of a call that may need the turn to write.
pub(crate) type Attempt<T> = std::result::Result<T, Stop>;

#[derive(Debug)]
pub(crate) struct Db {
    // Statements before the connection: they are dropped in this order, as `raw` asks.
    statements: Slab<Open>,
    cache: StatementCache,
    turn: Option<Turn<Job>>,
    turns: Arc<TurnQueue<Job>>,
    /// How long to wait for the turn.
    timeout: Duration,
    name: Arc<str>,
    request: RequestId,
    access: Access,
    /// How often its statements have been run through handles.
    runs: u64,
    reads: Reads,
    /// Set if statements were reset during this call: its cursors end with it.
    cut: bool,
    /// The call that is under way runs on that thread.
    aside: bool,
    /// How much memory the schema took when it was last looked at, in bytes.
    schema_used: u64,
    /// The transaction that is open is a group's, of which no guest knows.
    grouped: bool,
    /// How many transactions of this connection have ended: a handle to an earlier one is stale.
    ended: u64,
    /// SQLite or the host ended the last transaction, and its owner has not yet ended it too.
    aborted: Option<Aborted>,
    /// The file failed under this connection.
    unhealthy: bool,
    /// It failed as a statement was last compiled, which may succeed once more.
    failed_unhealthy: bool,
    /// What ran last met a value that is longer than it might handle: it is run again, aside, to
    /// handle it if it may.
    too_long: bool,
    /// What runs is run again so.
    lengthened: bool,
    /// `PRAGMA query_only` as it stands.
    query_only: bool,
    max_value_bytes: u64,
    /// How long a value may be that is there already.
    max_length: u32,
    max_result_bytes: u64,
    max_page_bytes: u64,
    limits: Limits,
    /// How often one call may be asked by the progress handler.
    steps: u64,
    /// How long the last commit of a group took.
    commit_time: Duration,
    seen: Arc<Seen>,
    hints: Arc<Hints>,
    _log: LeavesLog,
    conn: Connection,
    // After the connection, whose handlers use them: see `raw`.
    watch: Arc<Watch>,
    watched: Arc<Watched>,
    running: Arc<Running>,
    changes: Arc<Changes>,
    checkpoints: Arc<Checkpoints>,
    _progress: Box<Progress>,
    memory: Budget,
    identity: Option<Arc<Identity>>,
    _folder: Option<Arc<Folder>>,
}

impl Db {
    pub(crate) fn new(
        opened: Opened,
        settings: &Settings,
        turns: Arc<TurnQueue<Job>>,
        name: Arc<str>,
        checkpoints: Arc<Checkpoints>,
    ) -> Db {
        hooks::set_log_hook(&opened.conn, &checkpoints);
        checkpoints.add(&opened.watch);
        Db {
            statements: Slab::new(),
            cache: StatementCache::new(settings.statement_cache),
            turn: None,
            turns,
            timeout: settings.timeout,
            name,
            request: RequestId::new(),
            access: Access::ReadWrite,
            runs: 0,
            reads: Reads::default(),
            cut: false,
            aside: false,
            schema_used: 0,
            grouped: false,
            ended: 0,
            aborted: None,
            unhealthy: false,
            failed_unhealthy: false,
            too_long: false,
            lengthened: false,
            query_only: false,
            max_value_bytes: settings.max_value_bytes,
            max_length: u32::try_from(settings.max_memory_bytes).unwrap_or(u32::MAX),
            max_result_bytes: settings.max_result_bytes,
            max_page_bytes: settings.max_page_bytes,
            limits: Limits::default(),
            steps: NEVER,
            commit_time: Duration::ZERO,
            seen: opened.seen,
            hints: opened.hints,
            _log: opened.log,
            conn: opened.conn,
            watch: opened.watch,
            watched: opened.watched,
            running: opened.running,
            changes: opened.changes,
            checkpoints,
            _progress: opened._progress,
            memory: opened.memory,
            identity: opened.identity,
            _folder: opened._folder,
        }
    }

    /// Whether it can be lent for `access` as it is.
    fn suits(&self, access: Access) -> bool {
        self.query_only == (access == Access::ReadOnly)
    }

    /// Get ready for a new borrower.
    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        let _scope = self.enter();
        if self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.was_lost())
        {
            return Err(cannot_open(&self.name, LOST));
        }
        if !self.suits(terms.access) {
            let query_only = terms.access == Access::ReadOnly;
            self.trusted(&format!("PRAGMA query_only = {}", u8::from(query_only)))?;
            self.query_only = query_only;
        }
        self.request = terms.request;
        self.access = terms.access;
        self.limits = terms.limits;
        let interval = PROGRESS_INTERVAL as u64;
        self.steps = terms
            .limits
            .steps
            .map_or(NEVER, |steps| steps.div_ceil(interval));
        self.seen.set_rights(terms.rights);
        self.cache.set_rights(terms.rights);
        self.watch.renew();
        self.set_told(Told::default());
        Ok(())
    }

    /// Until the scope is dropped, what SQLite allocates on this thread is this connection's.
    pub(crate) fn enter(&self) -> Scope {
        self.memory.enter()
    }

    /// What the connection tells its borrower of what it did last.
    pub(crate) fn told(&self) -> Told {
        Told {
            last_insert_rowid: self.conn.last_insert_rowid(),
            changes: self.changes.changes(&self.conn),
            total_changes: self.changes.total_changes(&self.conn),
        }
    }

    /// Set that: after another connection ran a statement for this one, or at a new lending.
    pub(crate) fn set_told(&self, told: Told) {
        raw::set_last_insert_rowid(&self.conn, told.last_insert_rowid);
        let (changes, total) = (told.changes, told.total_changes);
        self.changes.set(&self.conn, changes, total);
    }

    /// Write the log into the database and empty it, so that closing leaves the file alone. Waits
    /// for other processes until `until`, by [`clock`](millpond_pool::clock).
    pub(crate) fn checkpoint(&mut self, until: u64) -> Result<()> {
        self.watch.start(until, NEVER);
        if self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.is_lost())
        {
            return Ok(());
        }
        self.trusted("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    pub(super) fn trusted(&self, sql: &str) -> Result<()> {
        Ok(self.seen.trusting(|| self.conn.execute_batch(sql))?)
    }

    /// As [`tracked`](Db::tracked), for a guest's statement, which has just been admitted.
    fn run<T>(&mut self, kind: Kind, work: impl FnOnce(&mut Db) -> Result<T>) -> Attempt<T> {
        let before = self.running.begin(kind.id, kind.is_long);
        let total = kind.counts.then(|| self.conn.total_changes());
        let result = self.tracked(kind.control, kind.read_only, |db| {
            work(db).map_err(|error| match kind.read_only {
                true => error,
                false => db.undo_part(kind, error),
            })
        });
        self.running.end(before);
        if !kind.read_only && total == Some(self.conn.total_changes()) {
            self.changes.note_none(&self.conn);
        }
        result.map_err(|error| self.stop(error))
    }

    /// A statement that writes has failed. Where SQLite may keep a part of what it did, end the
    /// transaction: its guest would take it that nothing was done.
    #[cold]
    fn undo_part(&mut self, kind: Kind, error: Error) -> Error {
        let undoes_by_itself = match error.code() & 0xff {
            // It ends the transaction where it cannot.
            SQLITE_INTERRUPT | SQLITE_NOMEM | SQLITE_FULL | SQLITE_IOERR => true,
            SQLITE_CONSTRAINT => error.code() != SQLITE_CONSTRAINT_DATATYPE,
            code => code == SQLITE_OK,
        };
        // What is deferred has not begun, and what ran in a savepoint has been undone with it.
        let is_undone = self.watch.is_deferred() || self.watch.can_restart();
        if undoes_by_itself || is_undone || self.conn.is_autocommit() {
            return error;
        }
        let error = self.explain(error);
        let (sql, has_changed) = (self.running.sql(), self.running.has_changed());
        // What took long to compile would do so again.
        let may_keep_part = (kind.is_long && !self.aside)
            || self.at_pace(Pace::Free, |db| {
                program::may_keep_part(&db.conn, &sql, has_changed)
            });
        if !may_keep_part {
            self.watch.note_unchanged();
            return error;
        }
        let undone = self.undo(|db| db.control("ROLLBACK"));
        self.must_have_undone(undone);
        error
    }

    /// Whether to run a statement that failed once more, aside.
    #[cold]
    fn stop(&mut self, error: Error) -> Stop {
        // Where it handles longer values, also those that are longer than any may be, if they are
        // there already.
        let too_long = error.code() & 0xff == SQLITE_TOOBIG && self.watch.can_restart();
        // What is deferred looks the same to SQLite.
        let deferred = self.watch.take_deferred();
        self.too_long = too_long && !self.lengthened && !deferred;
        match deferred || self.too_long {
            true => Stop::Aside,
            false => Stop::Error(error),
        }
    }

    /// Run `work` at another pace.
    fn at_pace<T>(&mut self, pace: Pace, work: impl FnOnce(&mut Db) -> T) -> T {
        let before = self.watch.set_pace(pace);
        let result = work(self);
        self.watch.set_pace(before);
        result
    }

    /// Run `work` and keep the books: whether a transaction ended, who ended it, whether the
    /// file is still sound, whether the turn can go on.
    fn tracked<T>(
        &mut self,
        control: Control,
        read_only: bool,
        work: impl FnOnce(&mut Db) -> Result<T>,
    ) -> Result<T> {
        let (was_open, ended) = (!self.conn.is_autocommit(), self.ended);
        let ends_savepoint = control == Control::Savepoint
            && raw::transaction_state(&self.conn) == raw::TransactionState::Write;
        let result = match control {
            // Also for a borrower whose time is over.
            Control::Rollback => self.undo(work),
            _ => work(self),
        };
        let mut result = result.map_err(|error| self.explain(error));
        // A read that ran short of memory may be incomplete. What has been written has been, and to
        // SQLite the end of a transaction is no write.
        let reads = read_only && control == Control::None;
        if reads && result.is_ok() && self.watched.is_starved() {
            result = Err(self.explain(self.overdue()));
        }
        if ends_savepoint && result.is_err() {
            self.end_lost_savepoint();
        }
        // Compiling may have ended it already, and said so.
        if was_open && self.conn.is_autocommit() && self.ended == ended {
            self.ended += 1;
            if let Err(error) = result {
                result = Err(error.with_rolled_back());
                // The guest that asked for the end knows of it; any other must be told, until
                // it has ended the transaction too.
                let told = matches!(control, Control::Commit | Control::Rollback) || ends_savepoint;
                self.aborted = (!told).then_some(Aborted::Sqlite);
            }
        }
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
        }
        self.settle();
        result
    }

    /// Where the outermost savepoint cannot be committed, SQLite rolls everything back and leaves
    /// the savepoint, empty: to release it once more would succeed.
    fn end_lost_savepoint(&mut self) {
        let is_lost = !self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) != raw::TransactionState::Write;
        if is_lost {
            let undone = self.undo(|db| db.control("ROLLBACK"));
            self.must_have_undone(undone);
        }
    }

    /// Say what SQLite does not know: why the authorizer, the progress handler or the commit hook
    /// refused, or there was no memory.
    fn explain(&self, error: Error) -> Error {
        // Both refuse whatever comes once the time is over. A function that is refused is a mistake
        // in SQL to SQLite.
        let refused =
            matches!(error.code() & 0xff, SQLITE_AUTH | SQLITE_ERROR) && self.watch.must_stop();
        let not_committed = error.code() == SQLITE_CONSTRAINT_COMMITHOOK;
        if not_committed
            && self
                .identity
                .as_ref()
                .is_some_and(|identity| identity.was_lost())
        {
            return error
                .with_kind(ErrorKind::Io)
                .with_message(format!("not kept: {LOST}"));
        }
        let refused = refused || not_committed;
        let error = match refused || self.watched.is_starved() {
            true => self.overdue(),
            false => error,
        };
        match error.kind() {
            ErrorKind::DeadlineExceeded | ErrorKind::Busy
                if self.watch.stop_flag().is_stopped() =>
            {
                error
                    .with_kind(ErrorKind::PoolClosed)
                    .with_message("the pool is closing")
            }
            ErrorKind::QuotaExceeded if error.is_no_memory() => {
                error.with_message("the statement needs more memory than a connection may take")
            }
            ErrorKind::DeadlineExceeded if self.watch.wrote_too_much() => error
                .with_kind(ErrorKind::QuotaExceeded)
                .with_message("the transaction writes more than one may: write less at a time"),
            ErrorKind::DeadlineExceeded if self.watch.is_out_of_steps() => {
                error.with_message("the statement took more steps than it may")
            }
            ErrorKind::DeadlineExceeded => error.with_message("the statement ran out of time"),
            ErrorKind::TooLarge if self.memory.account().query_tokens() > MAX_QUERY_WORDS => error
                .with_message(format!(
                    "a full-text query has more than {MAX_QUERY_WORDS} words: search in parts"
                )),
            ErrorKind::TooLarge if self.memory.account().row_tokens() > MAX_ROW_WORDS => error
                .with_message(format!(
                    "a row to be searched has more than {MAX_ROW_WORDS} words: divide it"
                )),
            // The busy handler gave up for want of time, not of patience.
            ErrorKind::Busy if self.watch.must_stop() => error
                .with_kind(ErrorKind::DeadlineExceeded)
                .with_message("the statement ran out of time, waiting for another process"),
            // For a function that it may not use SQLite has no code of its own.
            _ => match self.seen.take_refusal() {
                Some(refusal) => error
                    .with_kind(ErrorKind::NotAuthorized)
                    .with_message(refusal),
                None => error,
            },
        }
    }

    /// What SQLite says of a statement that was interrupted.
    fn overdue(&self) -> Error {
        Error::sqlite(SQLITE_INTERRUPT, "interrupted", None)
    }
}
