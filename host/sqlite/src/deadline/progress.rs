//! Stopping a statement from outside: SQLite asks, every so many instructions, whether to go on
//! (<https://sqlite.org/c3ref/progress_handler.html>), and while it waits for another process,
//! whether to go on waiting (<https://sqlite.org/c3ref/busy_handler.html>).
//!
//! Here the lending to be stopped is named by its number, so that a stop which comes late does not
//! hit the next borrower. The [`watchdog`](crate::deadline::watchdog) ends statements that never call these
//! handlers.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::clock::{self, NEVER};
use millpond_pool::engine::{StopFlag, hand_over};

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// How long to wait, at most, before looking again whether another process has let go.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);

/// How a connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// On a thread that may take long, or for the host itself.
    Free = 0,
    /// Where a call was made: something is compiled, and what runs meanwhile, which is reading the
    /// schema, is deferred.
    Compiles = 1,
    /// Where a call was made: something runs, and what is compiled meanwhile, because the schema
    /// has changed, is deferred.
    Runs = 2,
}

/// Shared by a connection's handlers and those who look at it from outside.
#[derive(Debug)]
pub(crate) struct Watch {
    /// When the pool, or the request, ends what runs.
    stop: Arc<StopFlag>,
    /// How many pages one transaction may write, and how many the connection had written when the
    /// one that is open began to.
    max_written: AtomicU64,
    written_before: AtomicU64,
    /// More were written.
    wrote_too_much: AtomicBool,
    /// The call has run for a millisecond: the next [`look`](Watch::look) hands the worker over.
    slow: AtomicBool,
    /// How often that has been tried in this call.
    tries: AtomicU64,
    /// The [`Pace`] at which the connection is used now.
    pace: AtomicU64,
    /// What ran at a brisk pace was stopped, to be run aside.
    deferred: AtomicBool,
    /// How many times the progress handler may be asked until what runs is deferred.
    brief_steps: AtomicU64,
    /// How many words were indexed in this transaction; the memory that was taken as that began, in
    /// bytes, and since then.
    words: AtomicU64,
    used_before: AtomicU64,
    used_since: AtomicU64,
    /// What runs can begin anew: if it fails, nothing of it is kept.
    can_restart: AtomicBool,
    /// How many times the progress handler may still be asked for what runs now.
    steps: AtomicU64,
    /// How many reads have begun and ended: odd while one is under way.
    reads: AtomicU64,
    /// How often the progress handler has been asked.
    calls: AtomicU64,
    /// How long to wait for another process, in nanoseconds.
    busy_timeout: u64,
    /// When the wait for another process that is under way began.
    busy_since: AtomicU64,
}

impl Watch {
    pub(crate) fn new(stop: Arc<StopFlag>, busy_timeout: Duration) -> Watch {
        Watch {
            stop,
            max_written: AtomicU64::new(NEVER),
            written_before: AtomicU64::new(0),
            wrote_too_much: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            tries: AtomicU64::new(0),
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

    /// The connection is lent anew: nothing that was meant for an earlier borrower holds.
    pub(crate) fn renew(&self) {
        self.steps.store(NEVER, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.start_at(Pace::Free);
        self.forget_indexed();
    }

    /// What is about to run is to end at `until`, by [`clock`], or at the deadline before, or after
    /// so many calls of the progress handler.
    pub(crate) fn start(&self, until: u64, steps: u64) {
        self.steps.store(steps, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.slow.store(false, Ordering::Relaxed);
        self.tries.store(0, Ordering::Relaxed);
        self.stop.start(until);
    }

    /// What follows must finish, even if the request is interrupted: a rollback by the host.
    pub(crate) fn start_unbounded(&self) {
        self.steps.store(NEVER, Ordering::Relaxed);
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.stop.start_unbounded();
    }

    /// When what runs is to end, by [`clock`], and after how many calls of the progress handler.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.stop.until(), self.steps.load(Ordering::Relaxed))
    }

    /// Change that, in the midst of a call.
    pub(crate) fn set_bounds(&self, (until, steps): (u64, u64)) {
        self.wrote_too_much.store(false, Ordering::Relaxed);
        self.stop.set_until(until);
        self.steps.store(steps, Ordering::Relaxed);
    }

    /// What is about to run may begin to read from a snapshot, unless it is found to be held back
    /// after this: see `gate`.
    pub(crate) fn start_reading(&self) {
        if self.read_under_way().is_none() {
            // Nobody else writes it.
            let read = self.reads.load(Ordering::Relaxed) + 1;
            self.reads.store(read, Ordering::SeqCst);
        }
    }

    pub(crate) fn end_reading(&self) {
        if let Some(read) = self.read_under_way() {
            self.reads.store(read + 1, Ordering::SeqCst);
        }
    }

    /// The number of the read that is under way.
    pub(crate) fn read_under_way(&self) -> Option<u64> {
        let read = self.reads.load(Ordering::SeqCst);
        (!read.is_multiple_of(2)).then_some(read)
    }

    /// How many pages one transaction may write.
    pub(crate) fn set_max_written(&self, pages: u64) {
        self.max_written.store(pages, Ordering::Relaxed);
    }

    /// A transaction begins to write, on a connection that has written so many pages.
    pub(crate) fn start_writing(&self, written: u64) {
        self.written_before.store(written, Ordering::Relaxed);
    }

    /// Whether what runs was stopped because its transaction wrote too much.
    pub(crate) fn wrote_too_much(&self) -> bool {
        self.wrote_too_much.load(Ordering::Relaxed)
    }

    /// The progress handler's answer, on a connection that has `written` so many pages, and whose
    /// statement is under way. SQLite also asks once a statement has ended, and committed: what is
    /// done must not be said to have failed. It must not panic: SQLite would go on.
    pub(crate) fn progress(
        &self,
        written: impl FnOnce() -> u64,
        is_under_way: impl FnOnce() -> bool,
    ) -> bool {
        /// Looking costs more than the rest, and a page takes some instructions to fill.
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
            // Nobody else writes it while a statement runs.
            self.steps.store(steps.saturating_sub(1), Ordering::Relaxed);
        }
        let brief = self.brief_steps.load(Ordering::Relaxed);
        if brief != NEVER {
            self.brief_steps
                .store(brief.saturating_sub(1), Ordering::Relaxed);
        }
        if !is_under_way() {
            if self.slow.load(Ordering::Relaxed) {
                self.hand_over();
            }
            return false;
        }
        let defers = match self.pace() {
            Pace::Free => false,
            // Reading the schema, where that is large.
            Pace::Compiles => self.defer(),
            Pace::Runs => brief == 0 && self.defer_run(),
        };
        defers || self.look()
    }

    /// Go on at this pace. Returns the one before.
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

    /// A guest's call begins.
    pub(crate) fn start_at(&self, pace: Pace) {
        self.set_pace(pace);
        self.deferred.store(false, Ordering::Relaxed);
        self.brief_steps.store(NEVER, Ordering::Relaxed);
        self.can_restart.store(false, Ordering::Relaxed);
        if pace == Pace::Runs {
            // A call that runs inline is never abandoned.
            self.stop.start_abandonable();
        }
    }

    /// A statement is about to run. It is deferred after the progress handler has been asked so
    /// many times, or by what it does, if it can begin anew.
    pub(crate) fn start_statement(&self, can_restart: bool, steps: u64) {
        self.deferred.store(false, Ordering::Relaxed);
        self.can_restart.store(can_restart, Ordering::Relaxed);
        self.brief_steps.store(steps, Ordering::Relaxed);
        // What has been committed before it, in the same call, can no longer be asked about.
        self.stop.end_commit();
    }

    /// What runs has changed nothing, though it failed.
    pub(crate) fn note_unchanged(&self) {
        self.can_restart.store(true, Ordering::Relaxed);
    }

    pub(crate) fn can_restart(&self) -> bool {
        self.can_restart.load(Ordering::Relaxed)
    }

    /// Stop what runs, to run it aside, if it can begin anew.
    fn defer_run(&self) -> bool {
        self.can_restart.load(Ordering::Relaxed) && self.defer_start()
    }

    /// Stop a statement before it has done anything, to run it aside.
    pub(crate) fn defer_start(&self) -> bool {
        self.pace() == Pace::Runs && self.defer()
    }

    fn defer(&self) -> bool {
        self.deferred.store(true, Ordering::Relaxed);
        true
    }

    /// As [`take_deferred`](Watch::take_deferred), without taking it.
    pub(crate) fn is_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Whether anything was deferred.
    pub(crate) fn take_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed) && self.deferred.swap(false, Ordering::Relaxed)
    }

    /// FTS5 has read `words` words of a query. Returns whether to go on.
    pub(crate) fn search(&self, words: u32) -> bool {
        /// Each takes up to 10 ms to look for in a row of two million words.
        const BRIEF_WORDS: u32 = 4;
        words <= BRIEF_WORDS || !self.defer_run()
    }

    /// FTS5 has indexed `words` more words, and the connection takes `used` bytes of memory.
    /// Returns whether to go on.
    pub(crate) fn index(&self, words: u32, used: u64) -> bool {
        let all = self.words.load(Ordering::Relaxed) + u64::from(words);
        self.words.store(all, Ordering::Relaxed);
        let first = self.used_before.load(Ordering::Relaxed).min(used);
        self.used_before.store(first, Ordering::Relaxed);
        self.used_since.store(used - first, Ordering::Relaxed);
        !self.has_indexed_much() || !self.defer_run()
    }

    /// Whether what was indexed takes long to write, which happens at any time up to the commit: up
    /// to 1.5 µs an entry. A word has one, and one more for each length of prefixes that a table
    /// indexes, of 64 bytes at least.
    pub(crate) fn has_indexed_much(&self) -> bool {
        const BRIEF_WORDS: u64 = 20_000;
        const BRIEF_BYTES: u64 = 2 << 20;
        self.words.load(Ordering::Relaxed) > BRIEF_WORDS
            || self.used_since.load(Ordering::Relaxed) > BRIEF_BYTES
    }

    /// A cursor is about to be ended, which may commit what it has indexed.
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

    /// Whether SQLite may commit, on a connection that has written `written` pages. Not if that
    /// would end long after the deadline, because the caller waits for a commit.
    pub(crate) fn may_commit(&self, written: u64) -> bool {
        /// What SQLite takes to write a page of the log anew, which it does for all that follow one
        /// that it changes once more.
        const PAGE_TIME: u64 = 16_000;
        const LATE: u64 = 40_000_000;
        let before = self.written_before.load(Ordering::Relaxed);
        let needs = written.saturating_sub(before).saturating_mul(PAGE_TIME);
        let until = self.stop.until().saturating_add(LATE);
        if needs > 0 && clock::now().saturating_add(needs) > until {
            return false;
        }
        self.stop.start_commit()
    }

    /// The call takes long: the next [`look`](Watch::look) hands the runtime's worker over.
    pub(crate) fn mark_slow(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// To be asked now and then by whatever may take long, on the thread that runs it: whether it
    /// is to end. It must not panic: SQLite calls it.
    pub(crate) fn look(&self) -> bool {
        if self.slow.load(Ordering::Relaxed) {
            self.hand_over();
        }
        self.must_stop()
    }

    /// Let what else this thread has to do go on elsewhere.
    #[cold]
    pub(crate) fn hand_over(&self) {
        /// Where the runtime has no thread left, trying costs the statement most of its time.
        const MAX_TRIES: u64 = 10;
        let tries = self.tries.load(Ordering::Relaxed);
        let again = !hand_over() && tries < MAX_TRIES;
        self.tries.store(tries + 1, Ordering::Relaxed);
        self.slow.store(again, Ordering::Relaxed);
    }

    /// Whether what runs is to end.
    pub(crate) fn must_stop(&self) -> bool {
        self.stop.must_stop()
            || ((self.is_out_of_steps() || self.wrote_too_much()) && !self.stop.is_unstoppable())
    }

    pub(crate) fn is_out_of_steps(&self) -> bool {
        self.steps.load(Ordering::Relaxed) == 0
    }

    /// The busy handler: waits a little for another process, and answers whether to try again.
    /// `tries` have been made since the database was found locked. SQLite's own handler asks
    /// nobody: a statement would outlive its deadline by the whole busy timeout.
    pub(crate) fn wait_busy(&self, tries: u32) -> bool {
        let now = clock::now();
        if tries == 0 {
            self.busy_since.store(now, Ordering::Relaxed);
        }
        let since = self.busy_since.load(Ordering::Relaxed);
        if tries == 1 {
            // It is not just a moment.
            self.hand_over();
        }
        if self.must_stop() || now.saturating_sub(since) >= self.busy_timeout {
            return false;
        }
        // Short at first, because most locks are held for a moment.
        let wait = Duration::from_micros(100) * 2_u32.saturating_pow(tries.min(16));
        std::thread::sleep(wait.min(BUSY_INTERVAL));
        true
    }
}
