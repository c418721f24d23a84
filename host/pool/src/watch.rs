//! Stopping a statement from outside: SQLite asks, every so many instructions, whether to go on
//! (<https://sqlite.org/c3ref/progress_handler.html>).
//!
//! `sqlite3_interrupt` would do it too, but an interrupt that comes late hits whatever the
//! connection runs next, which may be another borrower's statement. Here the one to be stopped
//! is named by its number.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Shared by a connection's progress handler and whoever may stop it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// How many times the connection has been lent.
    lending: AtomicU64,
    /// The lending to be stopped; 0 for none.
    stopped: AtomicU64,
    /// Nanoseconds since [`START`]; 0 for no deadline.
    deadline: AtomicU64,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Watch {
    /// The connection is lent anew: nothing that was meant for an earlier borrower holds.
    /// Returns the lending's number.
    pub(crate) fn lend(&self) -> u64 {
        self.deadline.store(0, Ordering::Relaxed);
        self.lending.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Stop what the lending runs, now and later. Does nothing to any other.
    pub(crate) fn stop(&self, lending: u64) {
        self.stopped.store(lending, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) == self.lending.load(Ordering::Relaxed)
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        let nanos = deadline.map_or(0, |deadline| {
            let since = deadline.saturating_duration_since(*START).as_nanos();
            u64::try_from(since).unwrap_or(u64::MAX).max(1)
        });
        self.deadline.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            0 => None,
            nanos => START.checked_add(std::time::Duration::from_nanos(nanos)),
        }
    }

    /// The progress handler's answer. It must not panic: SQLite would go on.
    pub(crate) fn must_stop(&self) -> bool {
        self.is_stopped() || self.is_past_deadline()
    }

    pub(crate) fn is_past_deadline(&self) -> bool {
        match self.deadline.load(Ordering::Relaxed) {
            0 => false,
            nanos => START.elapsed().as_nanos() >= u128::from(nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_stop_does_not_hit_the_next_borrower() {
        let watch = Watch::default();
        let first = watch.lend();
        let second = watch.lend();
        watch.stop(first);
        assert!(!watch.must_stop());
        watch.stop(second);
        assert!(watch.must_stop());
        watch.lend();
        assert!(!watch.must_stop());
    }
}
