//! A session's own thread, for calls that may run long past their deadline.
//!
//! Most calls run on the calling thread, and stop within milliseconds of their deadline. Calls that
//! an engine might not stop so soon run here while their caller waits; if one does not end in time,
//! the caller continues without it.
//!
//! One thread for each session that ever needs one, so there are never more than the pool has
//! connections. It ends with its session.

use std::sync::mpsc::{Sender, channel};

use crate::error::{Error, ErrorKind, Result};
use crate::spawner;

type Work = Box<dyn FnOnce() + Send>;

/// An engine may need more than the default: SQLite recurses for each level of an expression and of
/// a query: 2.2 MB at its own limits in an unoptimised build. The system only allocates the pages
/// that are used.
const STACK_BYTES: usize = 8 << 20;

/// The session's own thread. Dropping this ends the thread as soon as it is done.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    work: Sender<Work>,
}

impl Thread {
    /// # Errors
    ///
    /// [`Other`](ErrorKind::Other): the system could not start a thread.
    pub(crate) fn start() -> Result<Thread> {
        let (work, given) = channel::<Work>();
        let thread = std::thread::Builder::new()
            .name("millpond-aside".to_owned())
            .stack_size(STACK_BYTES);
        let run = move || given.into_iter().for_each(|work| work());
        spawner::spawn(thread, run).map_err(|error| {
            let message = format!("the statement needs a thread of its own: {error}");
            Error::new(ErrorKind::Other, message)
        })?;
        Ok(Thread { work })
    }

    /// Run `work` after all earlier work. It must not panic.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The thread lives for as long as `self` does.
        let _ = self.work.send(Box::new(work));
    }
}
