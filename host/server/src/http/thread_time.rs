//! How long a thread has computed.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long this thread has computed since the start of a poll.
pub(super) struct ThreadTimer {
    start: Instant,
    /// How long this thread had computed at the start, or up to [`FRESH`] before.
    thread_time: Duration,
}

/// How old a reading of a thread's time may be. Most polls take some microseconds, and a reading
/// takes nearly one: so for a poll that takes less than this, how long it takes stands for how long
/// it computes. Less than half of what a guest may use in the foreground: a quick one whose
/// thread waits for a processor does not move.
const FRESH: Duration = Duration::from_micros(400);

thread_local! {
    /// The last reading of this thread's time, and when that was.
    static LAST: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

impl ThreadTimer {
    pub(super) fn start() -> ThreadTimer {
        let start = Instant::now();
        let last = LAST.get();
        let fresh = last.filter(|(then, _)| start.saturating_duration_since(*then) < FRESH);
        let thread_time = fresh.map_or_else(|| read_thread_time(start), |(_, time)| time);
        ThreadTimer { start, thread_time }
    }

    /// How long this thread has computed since the start. Not how long it took: a guest that waits,
    /// or whose thread waits for a processor, does not compute meanwhile. Never less; more by up to
    /// [`FRESH`], but by no more than it waited.
    pub(super) fn computed(&self) -> Duration {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.start);
        if passed < FRESH {
            return passed;
        }
        let computed = read_thread_time(now).saturating_sub(self.thread_time);
        computed.min(passed)
    }
}

fn read_thread_time(now: Instant) -> Duration {
    let time = thread_time(now);
    LAST.set(Some((now, time)));
    time
}

/// How long this thread has computed.
#[cfg(target_os = "linux")]
pub(super) fn thread_time(_now: Instant) -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The time, where there is no such count.
#[cfg(not(target_os = "linux"))]
pub(super) fn thread_time(now: Instant) -> Duration {
    use std::sync::LazyLock;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    now.saturating_duration_since(*START)
}
