//! Decides who writes when, and when to checkpoint the log.

pub(crate) mod checkpoint;
pub(crate) mod gate;
pub(crate) mod job;
pub(crate) mod read_mark;
pub(crate) mod turn;

// By this path, so that `scheduled_tests` can replace the locks.
use crate::sync;
