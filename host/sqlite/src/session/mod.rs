//! A connection at work: statements, transactions and the turn to write.
//!
//! Everything here runs on the calling thread, and never waits. A call that needs the turn to
//! write, and cannot have it at once, returns [`Stop::Turn`] and changes nothing, so that its
//! caller can wait without locking the connection, and retry. A call that SQLite might not stop in
//! time returns [`Stop::Aside`], to be retried on the connection's own thread.

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
use std::time::{Duration, Instant};

use millpond_pool::Access;
use millpond_pool::clock::NEVER;
use millpond_pool::engine::{Checkpoint, Limits, RequestId, Rights, Terms};
use rusqlite::Connection;
use rusqlite::ffi::{
    SQLITE_AUTH, SQLITE_CONSTRAINT, SQLITE_CONSTRAINT_COMMITHOOK, SQLITE_CONSTRAINT_DATATYPE,
    SQLITE_ERROR, SQLITE_FULL, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_NOMEM, SQLITE_OK,
    SQLITE_SCHEMA, SQLITE_TOOBIG,
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
use crate::open::{AuthorizerCallback, LOST, Opened, PROGRESS_INTERVAL, cannot_open};
use crate::policy::hints::Hints;
use crate::policy::{Authorizer, Control};
use crate::writers::checkpoint::Checkpoints;
use crate::writers::job::Job;
use crate::writers::queue::{Turn, TurnQueue};
use crate::writers::read_mark::Reads;

/// Why a call did not complete.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another request writes: wait for the turn, and call again.
    Turn,
    /// New readers are held back for a moment: wait, and call again.
    Gate,
    /// SQLite might not stop it in time: call again on the connection's own [`Thread`].
    Aside,
    Error(Error),
}

impl Stop {
    /// The error for a call that cannot be retried.
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
    // Statements before the connection: fields drop in this order, as `raw` requires.
    statements: Slab<Open>,
    cache: StatementCache,
    turn: Option<Turn<Job>>,
    turns: Arc<TurnQueue<Job>>,
    /// How long to wait for the turn.
    timeout: Duration,
    name: Arc<str>,
    request: RequestId,
    access: Access,
    /// The number of runs of statements through handles.
    runs: u64,
    reads: Reads,
    /// Set if statements were reset during this call: its cursors end with it.
    cut: bool,
    /// Since when the current call runs on that thread, if it does.
    aside_since: Option<Instant>,
    /// Whether it runs there without having waited for room, because others wait for the turn that
    /// this connection has.
    at_once: bool,
    /// When the time of the current call's statement is over, and when its borrower's is, by
    /// `clock`.
    call_until: (u64, u64),
    /// The memory that the schema used when last measured, in bytes.
    schema_used: u64,
    /// Whether the open transaction is a group's, which no guest knows of.
    grouped: bool,
    /// The number of this connection's transactions that have ended: handles of earlier ones are
    /// stale.
    ended: u64,
    /// Set if SQLite or the host ended the last transaction, and its owner has not yet ended it
    /// too.
    aborted: Option<Aborted>,
    /// Whether the file has failed under this connection.
    unhealthy: bool,
    /// Whether it failed during the last compilation, which may succeed when repeated.
    failed_unhealthy: bool,
    /// Whether the last run met a value that is longer than it may handle: it is run again on the
    /// connection's own thread, to handle it if allowed.
    too_long: bool,
    /// Whether the current run is that repetition.
    lengthened: bool,
    max_value_bytes: u64,
    /// The maximum length of a value that is already stored.
    max_length: u32,
    max_result_bytes: u64,
    max_page_bytes: u64,
    limits: Limits,
    /// The maximum number of progress handler calls in one call.
    steps: u64,
    /// How long the last commit of a group took.
    commit_time: Duration,
    callback: AuthorizerCallback,
    authorizer: Arc<Authorizer>,
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
            timeout: settings.pool.timeout,
            name,
            request: RequestId::new(),
            access: Access::ReadWrite,
            runs: 0,
            reads: Reads::default(),
            cut: false,
            aside_since: None,
            at_once: false,
            call_until: (NEVER, NEVER),
            schema_used: 0,
            grouped: false,
            ended: 0,
            aborted: None,
            unhealthy: false,
            failed_unhealthy: false,
            too_long: false,
            lengthened: false,
            max_value_bytes: settings.max_value_bytes,
            max_length: u32::try_from(settings.max_memory_bytes).unwrap_or(u32::MAX),
            max_result_bytes: settings.max_result_bytes,
            max_page_bytes: settings.max_page_bytes,
            limits: Limits::default(),
            steps: NEVER,
            commit_time: Duration::ZERO,
            callback: opened.callback,
            authorizer: opened.authorizer,
            hints: opened.hints,
            _log: opened.log,
            conn: opened.conn,
            watch: opened.watch,
            watched: opened.watched,
            running: opened.running,
            changes: opened.changes,
            checkpoints,
            _progress: opened.progress,
            memory: opened.memory,
            identity: opened.identity,
            _folder: opened._folder,
        }
    }

    /// Whether it can be lent for `access` without changes.
    fn suits(&self, access: Access) -> bool {
        self.authorizer.is_query_only() == (access == Access::ReadOnly)
    }

    /// Prepare for a new borrower.
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
            self.authorizer.set_query_only(query_only);
            // The pragma has made them outdated (`OP_Expire`), and SQLite would compile each again
            // as it runs, on the connection's own thread.
            self.cache.clear();
        }
        self.request = terms.request;
        self.access = terms.access;
        self.limits = terms.limits;
        let interval = PROGRESS_INTERVAL as u64;
        self.steps = terms
            .limits
            .steps
            .map_or(NEVER, |steps| steps.div_ceil(interval));
        self.use_rights(terms.rights)?;
        self.watch.renew();
        self.set_told(Told::default());
        Ok(())
    }

    /// From now on, allow what these rights say.
    fn use_rights(&mut self, rights: &Arc<Rights>) -> Result<()> {
        if !self.cache.set_rights(rights) {
            return Ok(());
        }
        self.authorizer.set_rights(rights);
        if self.authorizer.has_inner_statements() {
            self.callback.install(&mut self.conn)?;
            self.authorizer.forget_inner_statements();
            // Installing it has expired them, and SQLite would compile each again as it runs, on
            // the connection's own thread.
            self.cache.clear();
        }
        Ok(())
    }

    /// Until the scope is dropped, SQLite's allocations on this thread count for this connection.
    pub(crate) fn enter(&self) -> Scope {
        self.memory.enter()
    }

    /// What SQL functions such as `changes()` report on this connection.
    pub(crate) fn told(&self) -> Told {
        Told {
            last_insert_rowid: self.conn.last_insert_rowid(),
            changes: self.changes.changes(&self.conn),
            total_changes: self.changes.total_changes(&self.conn),
        }
    }

    /// Restore that: after another connection ran a statement for this one, or at a new lending.
    pub(crate) fn set_told(&self, told: Told) {
        raw::set_last_insert_rowid(&self.conn, told.last_insert_rowid);
        let (changes, total) = (told.changes, told.total_changes);
        self.changes.set(&self.conn, changes, total);
    }

    /// Copy the log into the database and truncate it, so that no log remains after closing. Waits
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
        let truncate = |db: &mut Db| db.trusted("PRAGMA wal_checkpoint(TRUNCATE)");
        let log = self.checkpoints.log();
        if log == 0 || self.watch.stop_flag().notes().is_none() {
            return truncate(self);
        }
        let since = Instant::now();
        let result = truncate(self);
        if let Some(notes) = self.watch.stop_flag().notes() {
            notes.checkpointed(Checkpoint {
                pages: if result.is_ok() { log } else { 0 },
                is_complete: result.is_ok(),
                time: since.elapsed(),
            });
        }
        result
    }

    pub(super) fn trusted(&self, sql: &str) -> Result<()> {
        Ok(self.authorizer.trusting(|| self.conn.execute_batch(sql))?)
    }

    /// Like [`tracked`](Db::tracked), for a guest's statement that has just been admitted.
    fn run<T>(&mut self, kind: Kind, work: impl FnOnce(&mut Db) -> Result<T>) -> Attempt<T> {
        let before = self.running.begin(kind.id, kind.compiles_aside());
        self.authorizer.begin_run(kind.analyzes);
        let total = kind.counts.then(|| self.conn.total_changes());
        let result = self.tracked(kind.control, kind.read_only, |db| {
            if kind.alters {
                db.check_altered_schema(&db.running.sql())?;
            }
            work(db).map_err(|error| match kind.read_only {
                true => error,
                false => db.undo_part(kind, error),
            })
        });
        self.running.end(before);
        self.authorizer.end_run();
        if !kind.read_only && total == Some(self.conn.total_changes()) {
            self.changes.note_none(&self.conn);
        }
        result.map_err(|error| self.stop(error))
    }

    /// A statement that writes has failed. If SQLite may have kept a part of its changes, end the
    /// transaction: its guest would assume that nothing was changed.
    #[cold]
    fn undo_part(&mut self, kind: Kind, error: Error) -> Error {
        let undoes_by_itself = match error.code() & 0xff {
            // SQLite ends the transaction itself if it cannot undo the statement.
            SQLITE_INTERRUPT | SQLITE_NOMEM | SQLITE_FULL | SQLITE_IOERR => true,
            SQLITE_CONSTRAINT => error.code() != SQLITE_CONSTRAINT_DATATYPE,
            code => code == SQLITE_OK,
        };
        // A deferred statement has not started, and one that ran in a savepoint was undone with it.
        let is_undone = self.watch.is_deferred() || self.watch.can_restart();
        if undoes_by_itself || is_undone || self.conn.is_autocommit() {
            return error;
        }
        let error = self.explain(error);
        let (sql, has_changed) = (self.running.sql(), self.running.has_changed());
        // Compiling it again, to check, would take long too.
        let may_keep_part = (kind.is_long && !self.is_aside())
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

    /// Decide whether to run a failed statement again, on the connection's own thread.
    #[cold]
    fn stop(&mut self, error: Error) -> Stop {
        // There it may handle longer values, even longer than the limit, if they are already
        // stored.
        let too_long = error.code() & 0xff == SQLITE_TOOBIG && self.watch.can_restart();
        // To SQLite, a deferred statement looks interrupted too.
        let deferred = self.watch.take_deferred();
        self.too_long = too_long && !self.lengthened && !deferred;
        // SQLite has compiled it again as often as it does, while others changed the schema.
        let outdated = error.code() & 0xff == SQLITE_SCHEMA && self.watch.can_restart();
        match deferred || self.too_long || (outdated && !self.is_aside()) {
            true => Stop::Aside,
            false => Stop::Error(error),
        }
    }

    /// Whether the current call runs on the connection's own thread.
    fn is_aside(&self) -> bool {
        self.aside_since.is_some()
    }

    /// Run `work` at another pace.
    fn at_pace<T>(&mut self, pace: Pace, work: impl FnOnce(&mut Db) -> T) -> T {
        let before = self.watch.set_pace(pace);
        let result = work(self);
        self.watch.set_pace(before);
        result
    }

    /// Run `work` and track whether a transaction ended, who ended it, whether the file is still
    /// sound, and whether the turn can be handed on.
    fn tracked<T>(
        &mut self,
        control: Control,
        read_only: bool,
        work: impl FnOnce(&mut Db) -> Result<T>,
    ) -> Result<T> {
        let (was_open, ended) = (!self.conn.is_autocommit(), self.ended);
        let has_writing = self.has_writing_cursors();
        let ends_savepoint = control == Control::Savepoint
            && raw::transaction_state(&self.conn) == raw::TransactionState::Write;
        let result = match control {
            // Even if the borrower's time is over.
            Control::Rollback => self.undo(work),
            _ => work(self),
        };
        let mut result = result.map_err(|error| self.explain(error));
        // A read that ran out of memory may be incomplete; a completed write is complete. SQLite
        // does not consider the end of a transaction a write.
        let reads = read_only && control == Control::None;
        if reads && result.is_ok() && self.watched.is_starved() {
            result = Err(self.explain(self.overdue()));
        }
        if ends_savepoint && result.is_err() {
            self.end_lost_savepoint();
        }
        // Compiling may have ended it already, and recorded that.
        if was_open && self.conn.is_autocommit() && self.ended == ended {
            self.ended += 1;
            if let Err(error) = result {
                result = Err(error.with_rolled_back());
                if control != Control::Rollback {
                    self.note_ended_transaction(false);
                }
                // A guest that ended the transaction itself knows; any other must be told, until it
                // has ended the transaction too.
                let told = matches!(control, Control::Commit | Control::Rollback) || ends_savepoint;
                self.aborted = (!told).then_some(Aborted::Sqlite);
            }
        }
        if has_writing && result.is_err() && !self.is_writing() {
            self.end_writing_cursors();
            result = result.map_err(Error::with_rolled_back);
        }
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
        }
        self.settle();
        result
    }

    /// Tell observers that the open transaction was rolled back: because it was open for too long,
    /// or by SQLite.
    fn note_ended_transaction(&self, was_overdue: bool) {
        if let Some(notes) = self.watch.stop_flag().notes() {
            notes.ended_transaction(was_overdue);
        }
    }

    /// If the outermost savepoint cannot be committed, SQLite rolls everything back but keeps the
    /// savepoint, empty: releasing it again would succeed.
    fn end_lost_savepoint(&mut self) {
        let is_lost = !self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) != raw::TransactionState::Write;
        if is_lost {
            let undone = self.undo(|db| db.control("ROLLBACK"));
            self.must_have_undone(undone);
        }
    }

    /// Replace SQLite's error with the real reason: the authorizer, the progress handler or the
    /// commit hook refused, or there was no memory.
    fn explain(&self, error: Error) -> Error {
        // Once the time is over, both refuse everything. SQLite reports a refused function as an
        // SQL error.
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
                error.with_message("the statement needs more memory than a connection may use")
            }
            ErrorKind::DeadlineExceeded if self.watch.wrote_too_much() => error
                .with_kind(ErrorKind::QuotaExceeded)
                .with_message("the transaction exceeds its size limit: write less at a time"),
            ErrorKind::DeadlineExceeded if self.watch.is_out_of_steps() => {
                error.with_message("the statement exceeded its limit of steps")
            }
            ErrorKind::DeadlineExceeded => error.with_message("the statement ran out of time"),
            ErrorKind::TooLarge if self.memory.account().query_tokens() > MAX_QUERY_WORDS => error
                .with_message(format!(
                    "a full-text query has more than {MAX_QUERY_WORDS} words: search in parts"
                )),
            ErrorKind::TooLarge if self.memory.account().row_tokens() > MAX_ROW_WORDS => error
                .with_message(format!(
                    "a full-text row has more than {MAX_ROW_WORDS} words: split it"
                )),
            // The busy handler gave up because of the deadline, not the busy timeout.
            ErrorKind::Busy if self.watch.must_stop() => error
                .with_kind(ErrorKind::DeadlineExceeded)
                .with_message("the statement ran out of time waiting for another process"),
            // SQLite has no code of its own for a function that is not allowed.
            _ => match self.authorizer.take_refusal() {
                Some(refusal) => error
                    .with_kind(ErrorKind::NotAuthorized)
                    .with_message(refusal),
                None => error,
            },
        }
    }

    /// The error of an interrupted statement.
    fn overdue(&self) -> Error {
        Error::sqlite(SQLITE_INTERRUPT, "interrupted", None)
    }
}
