//! A thread of a session's own, for what may go on long after its deadline.
//!
//! Most calls run where they are made, and end within milliseconds of their deadline. What an engine
//! cannot stop as soon runs here, while its caller waits; and where it is not done in time, the
//! caller goes on without it.
//!
//! One thread for each session that ever needs one, so that there are never more of them than the
//! pool has connections. It ends with its session.

use std::sync::mpsc::{Sender, channel};

use crate::error::{Error, ErrorKind, Result};

type Work = Box<dyn FnOnce() + Send>;

/// An engine may need more than a thread has by itself: SQLite calls itself for each level of an
/// expression and of a query, 2.2 MB at its own limits where it is not optimised. Only what is used is
/// ever taken from the system.
const STACK_BYTES: usize = 8 << 20;

/// Dropped, the thread ends, as soon as it is done.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    work: Sender<Work>,
}

impl Thread {
    /// # Errors
    ///
    /// [`Other`](ErrorKind::Other): the system has no thread left.
    pub(crate) fn start() -> Result<Thread> {
        let (work, given) = channel::<Work>();
        std::thread::Builder::new()
            .name("millpond-aside".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || given.into_iter().for_each(|work| work()))
            .map_err(|error| {
                let message = format!("the statement needs a thread of its own: {error}");
                Error::new(ErrorKind::Other, message)
            })?;
        Ok(Thread { work })
    }

    /// Run `work` after whatever was given before. It must not panic.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The thread lives for as long as `self` does.
        let _ = self.work.send(Box::new(work));
    }
}
