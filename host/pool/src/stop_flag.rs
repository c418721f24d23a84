//! Says when a session must stop what it runs: at its deadline, or when told from outside.
//!
//! The pool, the request and the session share it. Stops name a lending by its number, so that a
//! late stop does not affect the next borrower.

use std::time::{Duration, Instant};

use super::sync::{AtomicBool, AtomicU64, Ordering};
use crate::clock::{self, NEVER};
use crate::observe::Notes;

/// The caller may still abandon the call.
const UNDER_WAY: u64 = 0;
/// The call is committing: the caller waits for the result.
const COMMITTING: u64 = 1;
/// The caller was told that the call failed: it must not commit any more.
const ABANDONED: u64 = 2;
/// The bits of these. The others count commits.
const FATE: u64 = 3;

/// Tells a session when to stop. The pool creates one for each session that it opens.
///
/// Times are those of [`clock`](crate::clock).
#[derive(Debug)]
pub struct StopFlag {
    /// How many times the session has been lent.
    lending: AtomicU64,
    /// The lending to stop; 0 for none.
    stopped: AtomicU64,
    /// The lending whose request was interrupted; 0 for none.
    interrupted: AtomicU64,
    /// While set, nothing stops the session.
    unstoppable: AtomicBool,
    /// The deadline of the borrower's request.
    deadline: AtomicU64,
    /// When the running call must stop.
    until: AtomicU64,
    /// Whether a transaction, or a cursor that writes, is open.
    in_transaction: AtomicBool,
    /// Until when the open transaction may stay open; read by those that wait for it.
    transaction_until: AtomicU64,
    /// The state of the current call, [`UNDER_WAY`], [`COMMITTING`] or [`ABANDONED`], and the
    /// number of commits.
    fate: AtomicU64,
    notes: Option<Box<Notes>>,
}

impl Default for StopFlag {
    fn default() -> StopFlag {
        StopFlag {
            // Not 0, which stands for none.
            lending: AtomicU64::new(1),
            stopped: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            unstoppable: AtomicBool::new(false),
            deadline: AtomicU64::new(NEVER),
            until: AtomicU64::new(NEVER),
            in_transaction: AtomicBool::new(false),
            transaction_until: AtomicU64::new(NEVER),
            fate: AtomicU64::new(UNDER_WAY),
            notes: None,
        }
    }
}

impl StopFlag {
    /// One of a session in a pool that is observed, or not.
    pub(crate) fn new(is_observed: bool) -> StopFlag {
        StopFlag {
            notes: is_observed.then(Box::default),
            ..StopFlag::default()
        }
    }

    /// Where the session notes what only it knows, for the pool's observer; `None` without one.
    pub fn notes(&self) -> Option<&Notes> {
        self.notes.as_deref()
    }

    /// Whether to stop now. Check it often in anything that may take long; it costs some
    /// nanoseconds.
    pub fn must_stop(&self) -> bool {
        (self.is_stopped() || self.is_interrupted() || self.is_overdue())
            && !self.unstoppable.load(Ordering::Relaxed)
    }

    /// Whether the pool has ended the lending, because it is closing.
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

    /// Whether nothing may stop what runs now.
    pub fn is_unstoppable(&self) -> bool {
        self.unstoppable.load(Ordering::Relaxed)
    }

    /// Begin a call that must end at `until`, or at the request's deadline if that is earlier.
    pub fn start(&self, until: u64) {
        let deadline = self.deadline.load(Ordering::Relaxed);
        self.set_until(until.min(deadline));
    }

    /// When the running call must end.
    pub fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Change that during a call.
    pub fn set_until(&self, until: u64) {
        self.unstoppable.store(false, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    /// Begin work that must finish even if the request is interrupted: undoing partial work.
    pub fn start_unbounded(&self) {
        self.unstoppable.store(true, Ordering::Relaxed);
        self.until.store(NEVER, Ordering::Relaxed);
    }

    /// The deadline of the borrower's request.
    pub fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => {
                let left = Duration::from_nanos(nanos.saturating_sub(clock::now()));
                Instant::now().checked_add(left)
            }
        }
    }

    /// Until when the open transaction may stay open. Those that wait for it check this, and have
    /// the session [end](crate::engine::Session::end_overdue) it.
    pub fn transaction_until(&self) -> u64 {
        self.transaction_until.load(Ordering::Relaxed)
    }

    /// Set it; [`NEVER`] if no transaction is open.
    pub fn set_transaction_until(&self, until: u64) {
        self.transaction_until.store(until, Ordering::Relaxed);
    }

    /// Whether a transaction, or a cursor that writes, is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Acquire)
    }

    /// Record whether a transaction, or a cursor that writes, is open.
    pub fn set_in_transaction(&self, open: bool) {
        self.in_transaction.store(open, Ordering::Release);
    }

    /// Begin a call that its caller may abandon.
    pub fn start_abandonable(&self) {
        let fate = self.fate.load(Ordering::Relaxed);
        // Rarely needed: a store that other threads must see at once costs as much as a short call.
        if fate & FATE != UNDER_WAY {
            self.fate.store(fate & !FATE, Ordering::SeqCst);
        }
    }

    /// Begin a commit, and return whether it is allowed. From then on the caller does not abandon
    /// the call. Not allowed if the caller has abandoned it, and so knows that nothing is kept.
    pub fn start_commit(&self) -> bool {
        // Only an abandoning caller changes it meanwhile.
        let fate = self.fate.load(Ordering::SeqCst);
        match fate & FATE {
            UNDER_WAY => self.change_fate(fate, fate | COMMITTING),
            fate => fate == COMMITTING,
        }
    }

    /// End the commit: the rest of the call can be abandoned again.
    pub fn end_commit(&self) {
        let fate = self.fate.load(Ordering::Relaxed);
        if fate & FATE == COMMITTING {
            self.change_fate(fate, (fate & !FATE).wrapping_add(FATE + 1));
        }
    }

    /// Abandon the call, unless it is committing. Returns whether that rolls back a transaction.
    /// The call commits nothing any more.
    pub(crate) fn abandon(&self) -> Option<bool> {
        let fate = self.fate.load(Ordering::SeqCst);
        // The call may commit its transaction after this was read: then the count has changed.
        let in_transaction = self.in_transaction.load(Ordering::Acquire);
        let done = fate & FATE == UNDER_WAY && self.change_fate(fate, fate | ABANDONED);
        done.then_some(in_transaction)
    }

    /// Whether the last call was abandoned.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.fate.load(Ordering::SeqCst) & FATE == ABANDONED
    }

    fn change_fate(&self, from: u64, to: u64) -> bool {
        let (done, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        self.fate.compare_exchange(from, to, done, failed).is_ok()
    }

    /// Begin a new lending: stops meant for earlier borrowers no longer apply. Returns its number.
    pub(crate) fn lend(&self) -> u64 {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.set_until(NEVER);
        self.set_in_transaction(false);
        self.set_transaction_until(NEVER);
        self.start_abandonable();
        self.lending.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the current or last lending.
    pub(crate) fn lending(&self) -> u64 {
        self.lending.load(Ordering::Relaxed)
    }

    /// Stop what this lending runs, now and later. Does not affect other lendings: later ones have
    /// larger numbers, and a late stop does not replace theirs.
    pub(crate) fn stop(&self, lending: u64) {
        self.stopped.fetch_max(lending, Ordering::Release);
    }

    /// Like [`stop`](StopFlag::stop), because the lending's request was interrupted.
    pub(crate) fn interrupt(&self, lending: u64) {
        self.interrupted.fetch_max(lending, Ordering::Release);
    }

    /// Stop the borrower's statements and waits at `deadline`.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.store(clock::at(deadline), Ordering::Relaxed);
    }
}
