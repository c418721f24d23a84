//! Counts times in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::log::milliseconds;

/// The buckets' upper bounds, in seconds. A last bucket has no bound.
pub(super) const BOUNDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// How many times there were in each bucket, and their sum.
#[derive(Debug, Default)]
pub(super) struct Times {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Times {
    pub(super) fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many there were in each bucket, and the sum in milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let counts = self.counts.each_ref();
        let sum = Duration::from_micros(self.sum_micros.load(Ordering::Relaxed));
        json!({
            "counts": counts.map(|count| count.load(Ordering::Relaxed)),
            "sum_ms": milliseconds(sum),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let times = Times::default();
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            times.add(Duration::from_micros(micros));
        }
        let counts = times.to_json()["counts"].clone();
        let counts: Vec<u64> = serde_json::from_value(counts).expect("numbers");
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 1));
        assert_eq!(times.to_json()["sum_ms"], 20_000.202);
    }
}
