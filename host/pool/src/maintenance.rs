//! One thread for the process, which closes what has been idle for too long, or what a caller left
//! to be closed.
//!
//! It runs while there is something to do.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::spawner;

/// Something that needs maintenance from time to time.
pub(crate) trait Chore: fmt::Debug + Send + Sync {
    /// Do what is due, and return when to be called again; `None` for not until it is scheduled
    /// again. May block for milliseconds.
    fn run(&self) -> Option<Instant>;
}

/// Something to do once.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

struct Schedule {
    jobs: VecDeque<Job>,
    chores: BinaryHeap<Reverse<Due>>,
    thread_runs: bool,
}

struct Due {
    when: Instant,
    chore: Weak<dyn Chore>,
}

static SCHEDULE: Mutex<Schedule> = Mutex::new(Schedule {
    jobs: VecDeque::new(),
    chores: BinaryHeap::new(),
    thread_runs: false,
});

/// Notified when there is something new.
static CHANGED: Condvar = Condvar::new();

/// Run `chore` after `time`, unless it has been dropped by then.
pub(crate) fn schedule(chore: Weak<dyn Chore>, time: Duration) {
    // A time that the clock cannot represent is never due.
    if let Some(when) = Instant::now().checked_add(time) {
        let mut schedule = lock();
        schedule.chores.push(Reverse(Due { when, chore }));
        start(schedule);
    }
}

/// Do this soon, on the thread. Without a thread, do it now.
pub(crate) fn run(job: Job) {
    let mut schedule = lock();
    schedule.jobs.push_back(job);
    start(schedule);
}

fn start(mut schedule: MutexGuard<'_, Schedule>) {
    if schedule.thread_runs {
        drop(schedule);
        CHANGED.notify_one();
        return;
    }
    let thread = thread::Builder::new().name("millpond-maintenance".to_owned());
    let started = spawner::spawn(thread, work);
    schedule.thread_runs = started.is_ok();
    let Err(error) = started else {
        return;
    };
    log::warn!("cannot start the thread that closes what is idle: {error}");
    let jobs = std::mem::take(&mut schedule.jobs);
    drop(schedule);
    // Chores wait for the next that is scheduled.
    jobs.into_iter().for_each(|job| job());
}

fn work() {
    let mut schedule = lock();
    loop {
        if let Some(job) = schedule.jobs.pop_front() {
            drop(schedule);
            // One that panics must not keep the others from being done.
            let _ = catch_unwind(AssertUnwindSafe(job));
            schedule = lock();
            continue;
        }
        let Some(Reverse(next)) = schedule.chores.peek() else {
            schedule.thread_runs = false;
            return;
        };
        let left = next.when.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let waited = CHANGED.wait_timeout(schedule, left);
            schedule = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let Some(Reverse(Due { chore, .. })) = schedule.chores.pop() else {
            continue;
        };
        drop(schedule);
        // The chore may be dropped here, too.
        let again = catch_unwind(AssertUnwindSafe(|| {
            let when = chore.upgrade()?.run()?;
            Some(Due { when, chore })
        }));
        schedule = lock();
        schedule.chores.extend(again.ok().flatten().map(Reverse));
    }
}

fn lock() -> MutexGuard<'static, Schedule> {
    SCHEDULE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.when == other.when
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        self.when.cmp(&other.when)
    }
}
