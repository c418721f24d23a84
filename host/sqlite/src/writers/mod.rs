//! Who writes when, and when the log is written into the database: `queue` is the line of those who
//! wait for their turn, `job` what the one whose turn it is does for others, `checkpoint` writes the
//! log, beside a `gate` for readers and a `read_mark`.

pub(crate) mod checkpoint;
pub(crate) mod gate;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod read_mark;

// By this path where they are tried with other locks.
use crate::sync;
