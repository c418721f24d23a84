//! When a statement stops: [`progress`] is what SQLite asks while it runs, [`watchdog`] is the thread
//! that ends what never asks.

pub(crate) mod progress;
#[cfg(test)]
mod progress_tests;
pub(crate) mod watchdog;

// By this path where they are tried with other locks.
use crate::sync;

pub(crate) use progress::{Pace, Watch};
pub(crate) use watchdog::Watched;
