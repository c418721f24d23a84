//! Who writes when, and when the log is written into the database.

pub(crate) mod checkpoint;
pub(crate) mod gate;
pub(crate) mod job;
pub(crate) mod read_mark;
pub(crate) mod turn;

// By this path where they are tried with other locks.
use crate::sync;
