//! Stops statements: SQLite calls [`progress`] while it runs, and [`watchdog`] is the thread that
//! stops statements that never call it.

pub(crate) mod progress;
#[cfg(test)]
mod progress_tests;
pub(crate) mod watchdog;

// By this path, so that `scheduled_tests` can replace the locks.
use crate::sync;

pub(crate) use progress::{Pace, Watch};
pub(crate) use watchdog::Watched;
