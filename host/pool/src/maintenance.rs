//! One thread for the process, which closes what has been idle for too long.
//!
//! It runs while something is scheduled.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Something that needs maintenance from time to time.
pub(crate) trait Chore: fmt::Debug + Send + Sync {
    /// Do what is due, and return when to be called again; `None` for not until it is scheduled
    /// again. May block for milliseconds.
    fn run(&self) -> Option<Instant>;
}

#[derive(Debug)]
struct Schedule {
    due: Vec<(Instant, Weak<dyn Chore>)>,
    thread_runs: bool,
}

static SCHEDULE: Mutex<Schedule> = Mutex::new(Schedule {
    due: Vec::new(),
    thread_runs: false,
});

/// Notified when something is scheduled.
static SCHEDULED: Condvar = Condvar::new();

/// Run `chore` after `time`, unless it has been dropped by then.
pub(crate) fn schedule(chore: Weak<dyn Chore>, time: Duration) {
    let mut schedule = lock();
    // A time that the clock cannot represent is never due.
    let Some(when) = Instant::now().checked_add(time) else {
        return;
    };
    schedule.due.push((when, chore));
    if schedule.thread_runs {
        SCHEDULED.notify_one();
        return;
    }
    let started = thread::Builder::new()
        .name("millpond-maintenance".to_owned())
        .spawn(run);
    match started {
        Ok(_) => schedule.thread_runs = true,
        // The next call of `schedule` tries again.
        Err(error) => log::warn!("cannot start the thread that closes what is idle: {error}"),
    }
}

fn run() {
    let mut schedule = lock();
    loop {
        schedule.due.retain(|(_, chore)| chore.strong_count() > 0);
        let Some(next) = schedule.due.iter().map(|(when, _)| *when).min() else {
            schedule.thread_runs = false;
            return;
        };
        let now = Instant::now();
        if next > now {
            let waited = SCHEDULED.wait_timeout(schedule, next - now);
            schedule = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let (due, later) = schedule.due.drain(..).partition(|(when, _)| *when <= now);
        schedule.due = later;
        drop(schedule);
        let due: Vec<(Instant, Weak<dyn Chore>)> = due;
        let mut again = Vec::new();
        for (_, chore) in due {
            let Some(running) = chore.upgrade() else {
                continue;
            };
            // One that panics is not run again; the others are.
            let next = catch_unwind(AssertUnwindSafe(|| running.run()));
            again.extend(next.ok().flatten().map(|when| (when, chore)));
        }
        schedule = lock();
        schedule.due.extend(again);
    }
}

fn lock() -> MutexGuard<'static, Schedule> {
    SCHEDULE.lock().unwrap_or_else(PoisonError::into_inner)
}
