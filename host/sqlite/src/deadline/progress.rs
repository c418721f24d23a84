//! Stops a statement from outside. SQLite calls a progress handler every few dozen instructions
//! (<https://sqlite.org/c3ref/progress_handler.html>), and a busy handler while it waits for
//! another process (<https://sqlite.org/c3ref/busy_handler.html>). Both say whether to continue.
//!
//! Stops name a lending by its number, so that a late stop does not affect the next borrower. The
//! [`watchdog`](crate::deadline::watchdog) stops statements that never call these handlers.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::clock::{self, NEVER};
use millpond_pool::engine::{StopFlag, hand_over};

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// The maximum interval between checks whether another process has unlocked the database.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);

/// Nothing.
const QUICK: u64 = 0;
/// Hand over the worker: the call has run for a millisecond.
const SLOW: u64 = 1;
/// Yield the processor: the call still runs, and does not hold up a worker any more.
const RUNNING: u64 = 2;

/// How a connection is used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// On a thread that may take long, or by the host itself.
    Free = 0,
    /// On the caller's thread, to compile. If compiling needs to run something, which is reading
    /// the schema, defer the call.
    Compiles = 1,
    /// On the caller's thread, to run. If running needs to compile again, because the schema has
    /// changed or for other values of parameters, defer the call.
    Runs = 2,
}

/// Shared by a connection's handlers and the threads that observe it.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Tells when the pool or the request stops the call.
    stop: Arc<StopFlag>,
    /// How many pages one transaction may write, and how many the connection had written when the
    /// open transaction began to write.
    max_written: AtomicU64,
    written_before: AtomicU64,
    /// Set when the transaction exceeded that.
    wrote_too_much: AtomicBool,
    /// What the next [`look`](Watch::look) has to do: [`QUICK`], [`SLOW`] or [`RUNNING`].
    slow: AtomicU64,
    /// How often that has been tried in this call.
    tries: AtomicU64,
    /// The call has begun a commit, and has not handed over the worker since.
    committing: AtomicBool,
    /// How many commits to come are expected to be slow.
    slow_commits: AtomicU64,
    /// The connection's current [`Pace`].
    pace: AtomicU64,
    /// The call was stopped, to run again on the connection's own thread.
    deferred: AtomicBool,
    /// How many times the progress handler may be called before the call is deferred.
    brief_steps: AtomicU64,
    /// How many words this transaction has indexed; the memory in use when that began, in bytes,
    /// and the memory used since.
    words: AtomicU64,
    used_before: AtomicU64,
    used_since: AtomicU64,
    /// The statement can be restarted: if it fails, nothing of it is kept.
    can_restart: AtomicBool,
    /// How many more times the progress handler may be called in this call.
    steps: AtomicU64,
    /// How many reads have begun plus how many have ended: odd during a read.
    reads: AtomicU64,
    /// How often the progress handler has been called.
    calls: AtomicU64,
    /// How long to wait for another process, in nanoseconds.
    busy_timeout: u64,
    /// When the current wait for another process began.
    busy_since: AtomicU64,
}

impl Watch {
    pub(crate) fn new(stop: Arc<StopFlag>, busy_timeout: Duration) -> Watch {
        Watch {
            stop,
            max_written: AtomicU64::new(NEVER),
            written_before: AtomicU64::new(0),
            wrote_too_much: AtomicBool::new(false),
            slow: AtomicU64::new(QUICK),
            tries: AtomicU64::new(0),
            committing: AtomicBool::new(false),
            slow_commits: AtomicU64::new(0),
            pace: AtomicU64::new(Pace::Free as u64),
            deferred: AtomicBool::new(false),
            brief_steps: AtomicU64::new(NEVER),
            words: AtomicU64::new(0),
            used_before: AtomicU64::new(NEVER),
            used_since: AtomicU64::new(0),
            can_restart: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            steps: AtomicU64::new(NEVER),
            busy_timeout: u64::try_from(busy_timeout.as_nanos()).unwrap_or(NEVER),
            busy_since: AtomicU64::new(0),
        }
    }

    pub(crate) fn stop_flag(&self) -> &Arc<StopFlag> {
        &self.stop
    }

    /// Begin a new lending: nothing meant for an earlier borrower applies any more.
    pub(crate) fn renew(&self) {
        self.steps.store(NEVER, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.start_at(Pace::Free);
        self.forget_indexed();
    }

    /// Begin a call that must end at `until`, by [`clock`], or at an earlier deadline, or after
    /// `steps` calls of the progress handler.
    pub(crate) fn start(&self, until: u64, steps: u64) {
        self.steps.store(steps, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.learn_from_commit();
        self.slow.store(QUICK, Ordering::Relaxed);
        self.tries.store(0, Ordering::Relaxed);
        self.stop.start(until);
    }

    /// Begin work that must finish even if the request is interrupted: a rollback by the host.
    pub(crate) fn start_unbounded(&self) {
        self.steps.store(NEVER, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.stop.start_unbounded();
    }

    /// When the call must end, by [`clock`], and after how many calls of the progress handler.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.stop.until(), self.steps.load(Ordering::Relaxed))
    }

    /// Change that during a call.
    pub(crate) fn set_bounds(&self, (until, steps): (u64, u64)) {
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.stop.set_until(until);
        self.steps.store(steps, Ordering::Relaxed);
    }

    /// Record that a read from a snapshot may begin. The caller must check the gate after this: see
    /// `gate`.
    pub(crate) fn start_reading(&self) {
        if self.read_under_way().is_none() {
            // No other thread writes this.
            let read = self.reads.load(Ordering::Relaxed) + 1;
            self.reads.store(read, Ordering::SeqCst);
        }
    }

    pub(crate) fn end_reading(&self) {
        if let Some(read) = self.read_under_way() {
            self.reads.store(read + 1, Ordering::SeqCst);
        }
    }

    /// The number of the current read.
    pub(crate) fn read_under_way(&self) -> Option<u64> {
        let read = self.reads.load(Ordering::SeqCst);
        (!read.is_multiple_of(2)).then_some(read)
    }

    /// How many reads have begun plus how many have ended.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many pages one transaction may write.
    pub(crate) fn set_max_written(&self, pages: u64) {
        self.max_written.store(pages, Ordering::Relaxed);
    }

    /// A transaction begins to write, on a connection that has written `written` pages before.
    pub(crate) fn start_writing(&self, written: u64) {
        self.written_before.store(written, Ordering::Relaxed);
    }

    /// Whether the call was stopped because its transaction wrote too much.
    pub(crate) fn wrote_too_much(&self) -> bool {
        self.wrote_too_much.load(Ordering::Relaxed)
    }

    /// The progress handler: returns whether to stop, on a connection that has `written` that many
    /// pages. SQLite also calls it after a statement has ended and committed: then
    /// `is_under_way` returns false, because a completed statement must not be reported as failed.
    /// It must not panic: SQLite would continue.
    pub(crate) fn progress(
        &self,
        written: impl FnOnce() -> u64,
        is_under_way: impl FnOnce() -> bool,
    ) -> bool {
        /// Counting written pages costs more than the rest, and filling a page takes a while.
        const LOOK_EVERY: u64 = 16;
        let calls = self.calls.load(Ordering::Relaxed).wrapping_add(1);
        self.calls.store(calls, Ordering::Relaxed);
        if calls.is_multiple_of(LOOK_EVERY) {
            let before = self.written_before.load(Ordering::Relaxed);
            if written().saturating_sub(before) > self.max_written.load(Ordering::Relaxed) {
                self.wrote_too_much.store(true, Ordering::Relaxed);
            }
        }
        let steps = self.steps.load(Ordering::Relaxed);
        if steps != NEVER {
            // No other thread writes this while a statement runs.
            self.steps.store(steps.saturating_sub(1), Ordering::Relaxed);
        }
        let brief = self.brief_steps.load(Ordering::Relaxed);
        if brief != NEVER {
            self.brief_steps
                .store(brief.saturating_sub(1), Ordering::Relaxed);
        }
        if !is_under_way() {
            self.hand_over_if_marked();
            return false;
        }
        let defers = match self.pace() {
            Pace::Free => false,
            // SQLite is reading a large schema.
            Pace::Compiles => self.defer(),
            Pace::Runs => brief == 0 && self.defer_run(),
        };
        defers || self.look()
    }

    /// Set the pace. Returns the previous one.
    pub(crate) fn set_pace(&self, pace: Pace) -> Pace {
        let before = self.pace();
        self.pace.store(pace as u64, Ordering::Relaxed);
        before
    }

    pub(crate) fn pace(&self) -> Pace {
        match self.pace.load(Ordering::Relaxed) {
            1 => Pace::Compiles,
            2 => Pace::Runs,
            _ => Pace::Free,
        }
    }

    /// Begin a guest's call.
    pub(crate) fn start_at(&self, pace: Pace) {
        self.set_pace(pace);
        self.deferred.store(false, Ordering::Relaxed);
        self.brief_steps.store(NEVER, Ordering::Relaxed);
        self.can_restart.store(false, Ordering::Relaxed);
        if pace == Pace::Runs {
            // A call on the caller's thread is never abandoned.
            self.stop.start_abandonable();
        }
    }

    /// A statement is about to run. If it can restart, it is deferred after `steps` calls of the
    /// progress handler, or because of what it does.
    pub(crate) fn start_statement(&self, can_restart: bool, steps: u64) {
        self.deferred.store(false, Ordering::Relaxed);
        self.can_restart.store(can_restart, Ordering::Relaxed);
        self.brief_steps.store(steps, Ordering::Relaxed);
        // A commit of an earlier statement in the same call is over.
        self.stop.end_commit();
    }

    /// Record that the statement changed nothing, although it failed.
    pub(crate) fn note_unchanged(&self) {
        self.can_restart.store(true, Ordering::Relaxed);
    }

    pub(crate) fn can_restart(&self) -> bool {
        self.can_restart.load(Ordering::Relaxed)
    }

    /// Stop the statement to run it on the connection's own thread, if it can restart.
    fn defer_run(&self) -> bool {
        self.can_restart.load(Ordering::Relaxed) && self.defer_start()
    }

    /// Stop a statement before it has done anything, to run it on the connection's own thread.
    pub(crate) fn defer_start(&self) -> bool {
        self.pace() == Pace::Runs && self.defer()
    }

    fn defer(&self) -> bool {
        self.deferred.store(true, Ordering::Relaxed);
        true
    }

    /// Like [`take_deferred`](Watch::take_deferred), but does not clear it.
    pub(crate) fn is_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Whether the call was deferred; clears it.
    pub(crate) fn take_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed) && self.deferred.swap(false, Ordering::Relaxed)
    }

    /// FTS5 has read `words` words of a query. Returns whether to continue.
    pub(crate) fn search(&self, words: u32) -> bool {
        /// Looking up each takes up to 10 ms in a row of two million words.
        const BRIEF_WORDS: u32 = 4;
        words <= BRIEF_WORDS || !self.defer_run()
    }

    /// FTS5 has indexed `words` more words, and the connection uses `used` bytes of memory. Returns
    /// whether to continue.
    pub(crate) fn index(&self, words: u32, used: u64) -> bool {
        let all = self.words.load(Ordering::Relaxed) + u64::from(words);
        self.words.store(all, Ordering::Relaxed);
        let first = self.used_before.load(Ordering::Relaxed).min(used);
        self.used_before.store(first, Ordering::Relaxed);
        self.used_since.store(used - first, Ordering::Relaxed);
        !self.has_indexed_much() || !self.defer_run()
    }

    /// Whether writing the pending index takes long. It happens at any time up to the commit, and
    /// takes up to 1.5 µs per entry. A word has one entry, plus one for each length of prefixes
    /// that the table indexes, of at least 64 bytes each.
    pub(crate) fn has_indexed_much(&self) -> bool {
        const BRIEF_WORDS: u64 = 20_000;
        const BRIEF_BYTES: u64 = 2 << 20;
        self.words.load(Ordering::Relaxed) > BRIEF_WORDS
            || self.used_since.load(Ordering::Relaxed) > BRIEF_BYTES
    }

    /// A cursor is about to end, which may commit what it has indexed.
    pub(crate) fn hand_over_if_slow(&self) {
        if self.has_indexed_much() {
            self.hand_over();
        }
    }

    /// No transaction is open any more.
    pub(crate) fn forget_indexed(&self) {
        self.words.store(0, Ordering::Relaxed);
        self.used_before.store(NEVER, Ordering::Relaxed);
        self.used_since.store(0, Ordering::Relaxed);
    }

    /// Whether SQLite may commit, on a connection that has written `written` pages. Not if the
    /// commit would end long after the deadline, because the caller waits for it.
    pub(crate) fn may_commit(&self, written: u64) -> bool {
        /// The time that SQLite takes to rewrite a page of the log. If a page changes again, SQLite
        /// rewrites all pages after it.
        const PAGE_TIME: u64 = 16_000;
        const LATE: u64 = 40_000_000;
        let before = self.written_before.load(Ordering::Relaxed);
        let needs = written.saturating_sub(before).saturating_mul(PAGE_TIME);
        let until = self.stop.until().saturating_add(LATE);
        if needs > 0 && clock::now().saturating_add(needs) > until {
            return false;
        }
        // The disk does not call anything of ours until it is done.
        let expected = self.slow_commits.load(Ordering::Relaxed);
        if expected > 0 || self.slow.load(Ordering::Relaxed) == SLOW {
            self.slow_commits
                .store(expected.saturating_sub(1), Ordering::Relaxed);
            self.hand_over();
        }
        self.committing.store(true, Ordering::Relaxed);
        self.stop.start_commit()
    }

    /// Expect slow commits if the last one was slow: on a slow disk all are. The count runs out, so
    /// that a disk that recovers is noticed.
    fn learn_from_commit(&self) {
        const EXPECTED: u64 = 100;
        // The commit began by handing over, if it was slow before: so it has been marked since, or
        // no thread was free to take over.
        if self.committing.swap(false, Ordering::Relaxed)
            && self.slow.load(Ordering::Relaxed) == SLOW
        {
            self.slow_commits.store(EXPECTED, Ordering::Relaxed);
        }
    }

    /// Mark the call as slow: the next [`look`](Watch::look) hands over the runtime's worker.
    pub(crate) fn mark_slow(&self) {
        self.slow.store(SLOW, Ordering::Relaxed);
    }

    /// Mark the call as still running, some time after it was marked as slow.
    pub(crate) fn mark_running(&self) {
        let (done, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.slow.compare_exchange(QUICK, RUNNING, done, failed);
    }

    /// Returns whether to stop. Call it now and then in anything that may take long, on the thread
    /// that runs it. It must not panic: SQLite calls it.
    pub(crate) fn look(&self) -> bool {
        self.hand_over_if_marked();
        self.must_stop()
    }

    /// Hand over the runtime's worker, if the call is marked as slow.
    pub(crate) fn hand_over_if_marked(&self) {
        if self.slow.load(Ordering::Relaxed) != QUICK {
            self.leave_room();
        }
    }

    /// Hand over the runtime's worker, or, once that is done, the processor: otherwise many slow
    /// statements together keep the runtime's threads, which hardly ever compute, waiting for one.
    #[cold]
    fn leave_room(&self) {
        match self.slow.load(Ordering::Relaxed) {
            SLOW => self.hand_over(),
            _ => {
                self.slow.store(QUICK, Ordering::Relaxed);
                std::thread::yield_now();
            }
        }
    }

    /// Hand over the runtime's worker, so that its other tasks continue on another thread.
    #[cold]
    pub(crate) fn hand_over(&self) {
        /// If the runtime has no thread left, trying takes most of the statement's time.
        const MAX_TRIES: u64 = 10;
        self.learn_from_commit();
        let tries = self.tries.load(Ordering::Relaxed);
        let again = !hand_over() && tries < MAX_TRIES;
        self.tries.store(tries + 1, Ordering::Relaxed);
        let slow = if again { SLOW } else { QUICK };
        self.slow.store(slow, Ordering::Relaxed);
    }

    /// Whether to stop the call.
    pub(crate) fn must_stop(&self) -> bool {
        self.stop.must_stop()
            || ((self.is_out_of_steps() || self.wrote_too_much()) && !self.stop.is_unstoppable())
    }

    pub(crate) fn is_out_of_steps(&self) -> bool {
        self.steps.load(Ordering::Relaxed) == 0
    }

    /// The busy handler: waits a little for another process, and returns whether to retry. `tries`
    /// have been made since the database was found locked. SQLite's own handler does not check
    /// deadlines: a statement could overrun by the whole busy timeout.
    pub(crate) fn wait_busy(&self, tries: u32) -> bool {
        let now = clock::now();
        if tries == 0 {
            self.busy_since.store(now, Ordering::Relaxed);
        }
        let since = self.busy_since.load(Ordering::Relaxed);
        if tries == 1 {
            // It is not a short wait.
            self.hand_over();
        }
        if self.must_stop() || now.saturating_sub(since) >= self.busy_timeout {
            return false;
        }
        // Short at first, because most locks are held only briefly.
        let wait = Duration::from_micros(100) * 2_u32.saturating_pow(tries.min(16));
        std::thread::sleep(wait.min(BUSY_INTERVAL));
        true
    }
}
