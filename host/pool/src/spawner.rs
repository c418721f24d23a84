//! Starts the threads that serve a pool, or the process.
//!
//! On Linux a thread inherits the priority of the one that starts it, and can never raise it again.
//! A caller may have a low one, for the sake of others, but what it starts outlives its call and
//! serves them too. So one thread starts all others.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::Builder;

type Work = Box<dyn FnOnce() + Send>;
type Start = Box<dyn FnOnce() + Send>;

/// The thread that starts others. `None` if the system has started none.
static STARTER: OnceLock<Option<Sender<Start>>> = OnceLock::new();

/// Starts the threads of [`spawn`] with this thread's priority, if it is the first that calls this.
pub(crate) fn prepare() {
    STARTER.get_or_init(|| {
        let (starts, given) = channel::<Start>();
        let thread = Builder::new().name("millpond-threads".to_owned());
        let started = thread.spawn(move || given.into_iter().for_each(|start| start()));
        started.is_ok().then_some(starts)
    });
}

/// Starts a thread that runs `work`, with the priority of the thread that has opened the first
/// pool.
///
/// # Errors
///
/// The system starts no thread.
pub fn spawn(thread: Builder, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    prepare();
    let work: Work = Box::new(work);
    let Some(starter) = STARTER.get().and_then(Option::as_ref) else {
        return thread.spawn(work).map(drop);
    };
    let (started, outcome) = sync_channel(1);
    let start = Box::new(move || {
        let _ = started.send(thread.spawn(work).map(drop));
    });
    // It never ends.
    let _ = starter.send(start);
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}
