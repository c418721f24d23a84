//! The watchdog: a thread of the process that stops calls that overrun their deadline.
//!
//! SQLite calls the progress handler between instructions. Some work never calls it: one
//! instruction can scan a whole table, and compiling a statement can take seconds. So the watchdog
//! looks, every millisecond, at each connection that is in a call. If a call has overrun, it
//! escalates:
//!
//! 1. It interrupts the connection (<https://sqlite.org/c3ref/interrupt.html>), which also stops
//!    the parser, `count(*)` and checkpoints. It repeats this at every look, because a nested
//!    compilation clears the flag.
//! 2. It denies the connection memory and pages (see [`memory`](crate::ffi::memory)): every loop
//!    that allocates, or traverses a B-tree, then fails as if out of memory. It also lowers
//!    `SQLITE_LIMIT_LENGTH` so that longer values cannot be read: a program without a loop can
//!    process a long text thousands of times.
//!
//! It also marks a call that takes longer than [`QUICK`], so that the call hands over the runtime's
//! worker when it next checks the deadline: see [`hand_over`](millpond_pool::engine::hand_over).
//! From then on the call yields its processor at every look.
//!
//! A late interrupt would stop the connection's next call, perhaps another borrower's. So each call
//! has numbered phases, and a phase does not end while the watchdog acts on it.
//!
//! The thread starts with the first connection. It sleeps while no call runs.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use millpond_pool::spawner;
use rusqlite::InterruptHandle;

use crate::deadline::Watch;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::length::LengthLimit;
use crate::ffi::memory::Account;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a call may block a runtime's worker.
const QUICK: Duration = Duration::from_millis(1);
/// How long after its deadline a call is interrupted. The progress handler gets the chance to act
/// first: it stops one statement, and leaves the connection's other cursors alone.
const INTERRUPT_AFTER: Duration = Duration::from_millis(2);
/// How long after its deadline a call is denied memory and pages.
const STARVE_AFTER: Duration = Duration::from_millis(4);
/// How many looks to continue while no call runs: waking the thread costs more than a short call.
const IDLE_LOOKS: u32 = 100;

/// A connection, as the watchdog sees it.
pub(crate) struct Watched {
    watch: Arc<Watch>,
    interrupt: InterruptHandle,
    account: &'static Account,
    length: LengthLimit,
    /// The number of the phase that may be stopped from outside; 0 for none.
    phase: AtomicU64,
    /// The number of the last phase. Only the thread that uses the connection writes it.
    phases: AtomicU64,
    /// Set while the watchdog acts on the phase that it last saw.
    acting: AtomicBool,
    /// Whether it has interrupted, or starved, this phase.
    interrupted: AtomicBool,
    starved: AtomicBool,
}

impl Watched {
    /// Watch a connection, for as long as the result lives.
    ///
    /// # Errors
    ///
    /// [`CannotOpen`](ErrorKind::CannotOpen): the thread could not start.
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

    /// Begin a phase: the watchdog may stop what runs, by the bounds of the [`Watch`].
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

    /// End the phase, and let the connection allocate again.
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

    /// Whether the watchdog may stop what runs.
    pub(crate) fn is_in_phase(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != 0
    }

    /// Whether the current or last phase was interrupted.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether the current phase is denied memory.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// Call `act`, unless `phase` has ended.
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
        // The phase is not over, and does not end before we are done: the connection is open.
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

/// A connection in the watchdog's list, with what it last saw there.
#[derive(Debug)]
struct Entry {
    watched: Weak<Watched>,
    phase: u64,
    since: Instant,
    /// Whether it was marked as slow: only once, because handing over a worker can fail.
    marked: bool,
    /// Since when the phase has overrun.
    overdue: Option<Instant>,
}

impl Entry {
    /// Returns whether a phase is running.
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
        if self.marked {
            watched.act(phase, || watched.watch.mark_running());
        } else if now - self.since >= QUICK {
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
            let thread = std::thread::Builder::new().name("millpond-watchdog".to_owned());
            spawner::spawn(thread, || self.run()).map_err(|error| {
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
                // Looking now sees every phase that began before this. One that begins later wakes
                // us.
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
        // Under the lock, or the thread could miss it between checking the flag and sleeping.
        let _entries = self.entries();
        self.asleep.store(false, Ordering::SeqCst);
        self.woken.notify_all();
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
