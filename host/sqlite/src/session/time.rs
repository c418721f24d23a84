//! When a call has to end, and what becomes of a transaction that outlasts its time.

use millpond_pool::clock;

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
    /// A call that runs SQL begins, at `now`. It ends when its statement's time, its transaction's,
    /// or its borrower's is over.
    pub(crate) fn start_call(&mut self, now: u64, hold_until: u64) {
        if now >= self.watch.stop_flag().transaction_until() {
            self.end_overdue();
        }
        let until = clock::from(now, self.limits.statement)
            .min(self.watch.stop_flag().transaction_until())
            .min(hold_until);
        self.watch.start(until, self.steps);
        self.watch.start_at(match self.aside {
            true => Pace::Free,
            false => Pace::Runs,
        });
        self.memory.account().forget_tokens();
        self.watched.begin();
    }

    /// The call has ended, and nothing that is still to end it may hit what follows.
    pub(crate) fn end_call(&mut self) {
        self.watched.end();
        self.watch.set_pace(Pace::Free);
        self.aside = false;
        let interrupted = self.watched.was_interrupted() && raw::is_interrupted(&self.conn);
        if std::mem::take(&mut self.cut) || interrupted {
            self.end_cursors();
            self.settle();
        }
        if interrupted {
            self.forget_interrupt();
        }
    }

    /// From here on nothing stops what runs.
    pub(super) fn start_unbounded(&mut self) {
        self.watch.start_unbounded();
        self.watched.end();
        if self.watched.was_interrupted() && raw::is_interrupted(&self.conn) {
            self.cut |= raw::reset_statements(&self.conn);
            self.forget_interrupt();
        }
    }

    /// SQLite clears an interrupt when it next compiles something while nothing is under way. Do
    /// that now: the interrupt would stop whatever comes next, and keep the last connection from
    /// writing the log into the database as it closes.
    fn forget_interrupt(&self) {
        raw::reset_statements(&self.conn);
        // Not an empty text, which SQLite is never given.
        let _ = self.trusted(" ");
    }

    /// Change when what runs is to end, in the midst of a call.
    pub(super) fn set_bounds(&mut self, bounds: (u64, u64)) {
        self.watch.set_bounds(bounds);
        self.watched.begin();
    }

    /// Undo partial work, also after the deadline.
    pub(super) fn undo<T>(&mut self, work: impl FnOnce(&mut Db) -> T) -> T {
        // Only in a call, and not within what undoes already, is there something to go back to.
        let bounds = self.watched.is_in_phase().then(|| self.watch.bounds());
        self.start_unbounded();
        let result = work(self);
        if let Some(bounds) = bounds {
            self.set_bounds(bounds);
        }
        result
    }

    /// End a transaction, or a cursor outside of one, that has been open for too long: its
    /// owner is told at its next call.
    pub(crate) fn end_overdue(&mut self) {
        if clock::now() < self.watch.stop_flag().transaction_until() {
            return;
        }
        let bounds = self.watch.bounds();
        self.start_unbounded();
        self.end_cursors();
        self.cut = false;
        if !self.conn.is_autocommit() {
            // What cannot be rolled back is discarded when the connection comes back.
            let _ = self.trusted("ROLLBACK");
            self.ended += 1;
            self.aborted = Some(Aborted::Overdue);
        }
        self.settle();
        // Another thread may be about to offer a statement of this one to a group.
        self.watch.set_bounds(bounds);
    }
}
