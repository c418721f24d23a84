//! A coarse clock that is cheap to read: precise enough to stop any statement in time.

use std::time::{Duration, Instant};

/// Means "never".
pub const NEVER: u64 = u64::MAX;

/// Nanoseconds of a monotonic clock. It advances in steps of a few milliseconds, and reading it
/// takes a fifth of the time of a precise clock: SQLite's progress handler reads it every few dozen
/// instructions.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// See above. This platform has no coarse clock, so this uses the precise one.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn now() -> u64 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(NEVER)
}

/// A moment by this clock; [`NEVER`] for `None`.
pub fn at(moment: Option<Instant>) -> u64 {
    moment.map_or(NEVER, |moment| {
        after(moment.saturating_duration_since(Instant::now()))
    })
}

/// The time `duration` from now; [`NEVER`] if beyond the clock's range.
pub fn after(duration: Duration) -> u64 {
    from(now(), duration)
}

/// Like [`after`], but counted from `moment`.
pub fn from(moment: u64, duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(NEVER, |nanos| moment.saturating_add(nanos))
}
