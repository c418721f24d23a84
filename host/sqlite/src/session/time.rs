//! Decides when a call must end, and ends transactions that exceed their time.

use millpond_pool::clock;
use millpond_pool::engine::Left;

use super::Db;
use crate::deadline::Pace;
use crate::error::{Error, ErrorKind};
use crate::ffi::raw;

/// Who ended a transaction before its owner did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aborted {
    Sqlite,
    /// It was open for longer than its grant allows.
    Overdue,
}

impl Aborted {
    pub(super) fn into_error(self) -> Error {
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

impl Db {
    /// Begin a call that runs SQL, at `now`. It must end when the time of its statement, its
    /// transaction or its borrower is over. `left` is what it may still use, if it has stopped
    /// before.
    pub(crate) fn start_call(&mut self, now: u64, hold_until: u64, left: Option<Left>) {
        if now >= self.watch.stop_flag().transaction_until() {
            self.end_overdue();
        }
        let (until, steps) = match left {
            Some(left) => (now.saturating_add(left.time), left.steps),
            None => (clock::from(now, self.limits.statement), self.steps),
        };
        self.call_until = (until, hold_until);
        let transaction_until = self.watch.stop_flag().transaction_until();
        let until = until.min(hold_until).min(transaction_until);
        self.watch.start(until, steps);
        self.watch.start_at(match self.is_aside() {
            true => Pace::Free,
            false => Pace::Runs,
        });
        self.memory.account().forget_tokens();
        self.watched.begin();
    }

    /// What the current call may still use.
    pub(super) fn left(&self) -> Left {
        let (until, _) = self.call_until;
        let (_, steps) = self.watch.bounds();
        Left {
            time: until.saturating_sub(clock::now()),
            steps,
        }
    }

    /// The current call has begun a transaction, which may be open until then, or ended one. The
    /// call may go on.
    pub(super) fn set_transaction_until(&self, transaction_until: u64) {
        let stop = self.watch.stop_flag();
        stop.set_transaction_until(transaction_until);
        if self.watched.is_in_phase() {
            let (until, hold_until) = self.call_until;
            stop.start(until.min(hold_until).min(transaction_until));
            // Unless it is interrupted already: the end of the call must know.
            if !self.watched.was_interrupted() {
                self.watched.begin();
            }
        }
    }

    /// End the call, so that nothing that was meant to stop it affects later calls.
    pub(crate) fn end_call(&mut self) {
        self.watched.end();
        self.watch.set_pace(Pace::Free);
        self.aside_since = None;
        let interrupted = self.watched.was_interrupted() && raw::is_interrupted(&self.conn);
        if std::mem::take(&mut self.cut) || interrupted {
            self.end_cursors();
            self.settle();
        }
        if interrupted {
            self.forget_interrupt();
        }
    }

    /// From now on nothing stops what runs.
    pub(super) fn start_unbounded(&mut self) {
        self.watch.start_unbounded();
        self.watched.end();
        if self.watched.was_interrupted() && raw::is_interrupted(&self.conn) {
            self.cut |= raw::reset_statements(&self.conn);
            self.forget_interrupt();
        }
    }

    /// SQLite clears an interrupt when it next compiles something while no statement runs. Do that
    /// now: otherwise the interrupt would stop the next statement, and keep the last connection
    /// from checkpointing when it closes.
    fn forget_interrupt(&self) {
        raw::reset_statements(&self.conn);
        // Not an empty text, which is never passed to SQLite.
        let _ = self.trusted(" ");
    }

    /// Change when the current call must end.
    pub(super) fn set_bounds(&mut self, bounds: (u64, u64)) {
        self.watch.set_bounds(bounds);
        self.watched.begin();
    }

    /// Undo partial work, even after the deadline.
    pub(super) fn undo<T>(&mut self, work: impl FnOnce(&mut Db) -> T) -> T {
        let in_phase = self.watched.is_in_phase();
        // Restore the bounds between calls too: a call may be waiting to continue. A nested undo
        // leaves them to the outer one.
        let is_undoing = self.watch.stop_flag().is_unstoppable();
        let bounds = (!is_undoing).then(|| self.watch.bounds());
        self.start_unbounded();
        let result = work(self);
        if let Some(bounds) = bounds {
            self.watch.set_bounds(bounds);
            if in_phase {
                self.watched.begin();
            }
        }
        result
    }

    /// End a transaction, or a cursor outside one, that has been open for too long. Its owner
    /// learns of it at its next call.
    pub(crate) fn end_overdue(&mut self) {
        if clock::now() < self.watch.stop_flag().transaction_until() {
            return;
        }
        let bounds = self.watch.bounds();
        self.start_unbounded();
        self.end_cursors();
        self.cut = false;
        if !self.conn.is_autocommit() {
            // If the rollback fails, the connection is discarded when it is returned.
            let _ = self.trusted("ROLLBACK");
            self.ended += 1;
            if self.aborted.replace(Aborted::Overdue).is_none() {
                self.note_ended_transaction(true);
            }
        }
        self.settle();
        // Another thread may be about to leave a statement of this session as a job.
        self.watch.set_bounds(bounds);
    }
}
