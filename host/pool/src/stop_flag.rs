//! When what a session runs is to end: by its deadline, or because it is told to from outside.
//!
//! The pool, the request and the session share it. A lending is named by its number, so that a stop
//! which comes late does not hit the next borrower.

use std::time::{Duration, Instant};

use super::sync::{AtomicBool, AtomicU64, Ordering};
use crate::clock::{self, NEVER};

/// A call that its caller may still abandon.
const UNDER_WAY: u64 = 0;
/// It commits: the caller waits for the result.
const COMMITTING: u64 = 1;
/// The caller has been told that it failed: it must not commit any more.
const ABANDONED: u64 = 2;

/// Says to a session when to stop. Made by the pool for each session that it opens.
///
/// Times are those of [`clock`](crate::clock).
#[derive(Debug)]
pub struct StopFlag {
    /// How many times the session has been lent.
    lending: AtomicU64,
    /// The lending to be stopped; 0 for none.
    stopped: AtomicU64,
    /// The lending whose request was interrupted; 0 for none.
    interrupted: AtomicU64,
    /// Nothing stops what runs now.
    unstoppable: AtomicBool,
    /// When the borrower's request is to end.
    deadline: AtomicU64,
    /// When what runs now is to end.
    until: AtomicU64,
    /// A transaction is open, or a cursor that writes.
    in_transaction: AtomicBool,
    /// When the transaction that is open is to end, for those who wait for it to look at.
    transaction_until: AtomicU64,
    /// The state of the present call: [`UNDER_WAY`], [`COMMITTING`] or [`ABANDONED`].
    fate: AtomicU64,
}

impl Default for StopFlag {
    fn default() -> StopFlag {
        StopFlag {
            // Not the number that stands for none.
            lending: AtomicU64::new(1),
            stopped: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            unstoppable: AtomicBool::new(false),
            deadline: AtomicU64::new(NEVER),
            until: AtomicU64::new(NEVER),
            in_transaction: AtomicBool::new(false),
            transaction_until: AtomicU64::new(NEVER),
            fate: AtomicU64::new(UNDER_WAY),
        }
    }
}

impl StopFlag {
    /// Whether what runs is to end. To be asked often by whatever may take long; it costs some
    /// nanoseconds.
    pub fn must_stop(&self) -> bool {
        (self.is_stopped() || self.is_interrupted() || self.is_overdue())
            && !self.unstoppable.load(Ordering::Relaxed)
    }

    /// Whether the pool ends the lending, because it closes.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) == self.lending.load(Ordering::Relaxed)
    }

    /// Whether the lending's request was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire) == self.lending()
    }

    fn is_overdue(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != NEVER && clock::now() >= until
    }

    /// Whether nothing is to stop what runs now.
    pub fn is_unstoppable(&self) -> bool {
        self.unstoppable.load(Ordering::Relaxed)
    }

    /// A call begins, which is to end at `until`, or at the request's deadline before.
    pub fn start(&self, until: u64) {
        let deadline = self.deadline.load(Ordering::Relaxed);
        self.set_until(until.min(deadline));
    }

    /// When what runs is to end.
    pub fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Change that, in the midst of a call.
    pub fn set_until(&self, until: u64) {
        self.unstoppable.store(false, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    /// What follows must finish, even if the request is interrupted: what undoes partial work.
    pub fn start_unbounded(&self) {
        self.unstoppable.store(true, Ordering::Relaxed);
        self.until.store(NEVER, Ordering::Relaxed);
    }

    /// When the borrower's request is to end.
    pub fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => {
                let left = Duration::from_nanos(nanos.saturating_sub(clock::now()));
                Instant::now().checked_add(left)
            }
        }
    }

    /// When the transaction that is open is to end: those who wait for the session look at it, and
    /// have the session [end](crate::engine::Session::end_overdue) it.
    pub fn transaction_until(&self) -> u64 {
        self.transaction_until.load(Ordering::Relaxed)
    }

    /// Say when that is; [`NEVER`] where none is open.
    pub fn set_transaction_until(&self, until: u64) {
        self.transaction_until.store(until, Ordering::Relaxed);
    }

    /// Whether what an abandoned call did is rolled back with a transaction.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Acquire)
    }

    /// A transaction, or a cursor that writes, is open from now on, or not any more.
    pub fn set_in_transaction(&self, open: bool) {
        self.in_transaction.store(open, Ordering::Release);
    }

    /// A call begins, which its caller may abandon.
    pub fn start_abandonable(&self) {
        // Hardly ever: each store that others must see at once costs as much as a short call.
        if self.fate.load(Ordering::Relaxed) != UNDER_WAY {
            self.fate.store(UNDER_WAY, Ordering::SeqCst);
        }
    }

    /// Whether the call may commit. From then on its caller does not abandon it. Not where it has
    /// done so already, and been told that nothing was kept.
    pub fn start_commit(&self) -> bool {
        self.change_fate(UNDER_WAY, COMMITTING) || self.fate.load(Ordering::SeqCst) == COMMITTING
    }

    /// The commit is done: what follows in the same call can be abandoned again.
    pub fn end_commit(&self) {
        if self.fate.load(Ordering::Relaxed) == COMMITTING {
            self.change_fate(COMMITTING, UNDER_WAY);
        }
    }

    /// Abandon the call, unless it is committing just now. If this returns true, it commits nothing
    /// any more.
    pub(crate) fn abandon(&self) -> bool {
        self.change_fate(UNDER_WAY, ABANDONED)
    }

    fn change_fate(&self, from: u64, to: u64) -> bool {
        let (done, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        self.fate.compare_exchange(from, to, done, failed).is_ok()
    }

    /// The session is lent anew: nothing that was meant for an earlier borrower holds. Returns the
    /// lending's number.
    pub(crate) fn lend(&self) -> u64 {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.set_until(NEVER);
        self.set_in_transaction(false);
        self.set_transaction_until(NEVER);
        self.start_abandonable();
        self.lending.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the lending that is under way, or was last.
    pub(crate) fn lending(&self) -> u64 {
        self.lending.load(Ordering::Relaxed)
    }

    /// Stop what the lending runs, now and later. Does nothing to any other.
    pub(crate) fn stop(&self, lending: u64) {
        self.stopped.store(lending, Ordering::Release);
    }

    /// As [`stop`](StopFlag::stop), because the lending's request is over.
    pub(crate) fn interrupt(&self, lending: u64) {
        self.interrupted.store(lending, Ordering::Release);
    }

    /// End the borrower's statements and waits at `deadline`.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.store(clock::at(deadline), Ordering::Relaxed);
    }
}
