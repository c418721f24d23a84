//! The watchdog: a thread of the process that ends calls which outlast their deadline.
//!
//! SQLite calls the progress handler ([`progress`](super::progress)) between instructions. Some work never calls it: one instruction can
//! go through a whole table, and compiling a statement can take seconds. So another thread looks, every
//! millisecond, at each connection that is in a call. When a call should have ended and has not, it acts
//! step by step:
//!
//! 1. It interrupts the connection (<https://sqlite.org/c3ref/interrupt.html>), which the parser,
//!    `count(*)` and checkpoints heed too. It does so again at every look, because a nested compilation
//!    clears the flag.
//! 2. It starves the connection of memory and pages (see [`memory`](crate::ffi::memory)): every loop that
//!    allocates, or goes through a B-tree, then ends as it does when memory runs out. And no value of
//!    more than some bytes is read any more (`SQLITE_LIMIT_LENGTH`): a program without a loop can
//!    calculate with a long text thousands of times.
//!
//! It also marks a call that takes longer than [`QUICK`], so that the next look at the deadline hands
//! the runtime's worker over: see [`hand_over`](millpond_pool::engine::hand_over).
//!
//! An interrupt that comes late would hit what the connection runs next, perhaps for another borrower.
//! So each call has phases with a number, and a phase does not end while the watchdog acts on it.
//!
//! The thread starts with the first connection. It sleeps while nothing runs.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;

use crate::deadline::Watch;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::length::LengthLimit;
use crate::ffi::memory::Account;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a call may keep a runtime's worker.
const QUICK: Duration = Duration::from_millis(1);
/// How long a call that is to end has until it is interrupted: the progress handler comes first, which
/// ends one statement and leaves the connection's other cursors as they are.
const INTERRUPT_AFTER: Duration = Duration::from_millis(2);
/// How long until it gets no memory and no pages.
const STARVE_AFTER: Duration = Duration::from_millis(4);
/// How long the thread goes on looking while nothing runs: waking it costs more than a short call.
const IDLE_LOOKS: u32 = 100;

/// A connection, as the watchdog sees it.
pub(crate) struct Watched {
    watch: Arc<Watch>,
    interrupt: InterruptHandle,
    account: &'static Account,
    length: LengthLimit,
    /// The number of the phase that may be ended from outside; 0 for none.
    phase: AtomicU64,
    /// The number of the last phase. Only the thread that uses the connection writes it.
    phases: AtomicU64,
    /// The watchdog acts on the phase that it last saw.
    acting: AtomicBool,
    /// What it has done to this phase.
    interrupted: AtomicBool,
    starved: AtomicBool,
}

impl Watched {
    /// Watch a connection. It is watched for as long as the result lives.
    ///
    /// # Errors
    ///
    /// [`CannotOpen`](ErrorKind::CannotOpen): the thread cannot start.
    pub(crate) fn new(
        watch: &Arc<Watch>,
        interrupt: InterruptHandle,
        account: &'static Account,
        length: LengthLimit,
    ) -> Result<Arc<Watched>> {
        let watched = Arc::new(Watched {
            watch: Arc::clone(watch),
            interrupt,
            account,
            length,
            phase: AtomicU64::new(0),
            phases: AtomicU64::new(0),
            acting: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            starved: AtomicBool::new(false),
        });
        Watchdog::get().add(&watched)?;
        Ok(watched)
    }

    /// Start a phase: the watchdog may end what runs, by the bounds of the [`Watch`].
    pub(crate) fn begin(&self) {
        self.end();
        self.interrupted.store(false, Ordering::Relaxed);
        let phase = self.phases.load(Ordering::Relaxed) + 1;
        self.phases.store(phase, Ordering::Relaxed);
        // Either the new phase sees that the watchdog sleeps, or the watchdog sees the phase.
        self.phase.store(phase, Ordering::SeqCst);
        let watchdog = Watchdog::get();
        if watchdog.asleep.load(Ordering::SeqCst) {
            watchdog.wake();
        }
    }

    /// End the phase, and give the connection its memory back.
    pub(crate) fn end(&self) {
        if self.phase.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Either this sees that the watchdog acts, or the watchdog sees that the phase has ended.
        self.phase.store(0, Ordering::SeqCst);
        while self.acting.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.starved.swap(false, Ordering::Relaxed) {
            self.account.allow();
            self.length.raise();
        }
    }

    /// Whether what runs may be ended from outside.
    pub(crate) fn is_in_phase(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != 0
    }

    /// Whether the phase that is under way, or was last, was interrupted.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether the phase that is under way gets no more memory.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// Do something to `phase`, unless it has ended.
    fn act(&self, phase: u64, act: impl FnOnce()) {
        self.acting.store(true, Ordering::SeqCst);
        if self.phase.load(Ordering::SeqCst) == phase {
            act();
        }
        self.acting.store(false, Ordering::SeqCst);
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.interrupt.interrupt();
    }

    fn starve(&self) {
        self.starved.store(true, Ordering::Relaxed);
        self.account.refuse();
        // A phase is under way, and waits for us before it ends: the connection is open.
        self.length.lower();
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("phase", &self.phase)
            .field("interrupted", &self.interrupted)
            .field("starved", &self.starved)
            .finish_non_exhaustive()
    }
}

/// A connection in the watchdog's list, with what it saw there last.
#[derive(Debug)]
struct Entry {
    watched: Weak<Watched>,
    phase: u64,
    since: Instant,
    /// It has been marked as slow: once, because handing a worker over can fail.
    marked: bool,
    /// Since when the phase is to end.
    overdue: Option<Instant>,
}

impl Entry {
    /// Returns whether a phase is under way.
    fn look(&mut self, now: Instant) -> bool {
        let Some(watched) = self.watched.upgrade() else {
            return false;
        };
        let phase = watched.phase.load(Ordering::SeqCst);
        if phase != self.phase {
            (self.phase, self.since) = (phase, now);
            (self.marked, self.overdue) = (false, None);
        }
        if phase == 0 {
            return false;
        }
        if !self.marked && now - self.since >= QUICK {
            self.marked = true;
            watched.act(phase, || watched.watch.mark_slow());
        }
        if watched.watch.must_stop() {
            let late = now - *self.overdue.get_or_insert(now);
            if late >= INTERRUPT_AFTER {
                watched.act(phase, || watched.interrupt());
            }
            if late >= STARVE_AFTER {
                watched.act(phase, || watched.starve());
            }
        }
        true
    }
}

#[derive(Debug, Default)]
struct Watchdog {
    entries: Mutex<Vec<Entry>>,
    asleep: AtomicBool,
    woken: Condvar,
}

impl Watchdog {
    fn get() -> &'static Watchdog {
        static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
        WATCHDOG.get_or_init(Watchdog::default)
    }

    fn add(&'static self, watched: &Arc<Watched>) -> Result<()> {
        static STARTED: Mutex<bool> = Mutex::new(false);
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*started {
            std::thread::Builder::new()
                .name("millpond-watchdog".to_owned())
                .spawn(|| self.run())
                .map_err(|error| {
                    let message = format!("cannot start the watchdog's thread: {error}");
                    Error::new(ErrorKind::CannotOpen, message)
                })?;
            *started = true;
        }
        drop(started);
        self.entries().push(Entry {
            watched: Arc::downgrade(watched),
            phase: 0,
            since: Instant::now(),
            marked: false,
            overdue: None,
        });
        Ok(())
    }

    fn run(&self) {
        let mut idle_looks = 0;
        loop {
            std::thread::sleep(LOOK_EVERY);
            idle_looks = if self.look() { 0 } else { idle_looks + 1 };
            if idle_looks >= IDLE_LOOKS {
                idle_looks = 0;
                self.asleep.store(true, Ordering::SeqCst);
                // A phase that began before this is seen now. One that begins later wakes us.
                if self.look() {
                    self.asleep.store(false, Ordering::SeqCst);
                    continue;
                }
                let asleep = |_: &mut Vec<Entry>| self.asleep.load(Ordering::SeqCst);
                let entries = self.woken.wait_while(self.entries(), asleep);
                drop(entries);
            }
        }
    }

    /// Look at every connection. Returns whether any is in a call.
    fn look(&self) -> bool {
        let now = Instant::now();
        let mut any = false;
        self.entries().retain_mut(|entry| {
            any |= entry.look(now);
            entry.watched.strong_count() > 0
        });
        any
    }

    fn wake(&self) {
        // Under the lock, or the thread could miss it between its look at the flag and its sleep.
        let _entries = self.entries();
        self.asleep.store(false, Ordering::SeqCst);
        self.woken.notify_all();
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
