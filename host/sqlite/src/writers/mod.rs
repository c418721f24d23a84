//! Decides who writes when, and when to checkpoint the log: `queue` has those that wait for their
//! turn, `job` what the holder of the turn does for them; `checkpoint` uses a `gate` for readers
//! and a `read_mark`. Its thread also does the `upkeep`.

pub(crate) mod checkpoint;
pub(crate) mod gate;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod read_mark;
mod upkeep;

// By this path, so that `scheduled_tests` can replace the locks.
use crate::sync;
