//! Starts the threads that serve a pool, or all pools.
//!
//! On Linux a thread inherits the priority of the one that starts it, and can never raise it again.
//! A caller may have a low one, for the sake of others, but these threads outlive its call and
//! serve others too. So one thread starts them.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::Builder;

type Work = Box<dyn FnOnce() + Send>;

/// The thread that starts others. `None` if the system has started none.
static STARTER: OnceLock<Option<Sender<Work>>> = OnceLock::new();

/// Start the thread that starts the others, with the priority of this one. Does nothing if it runs.
pub(crate) fn start() {
    STARTER.get_or_init(|| {
        let (starts, given) = channel::<Work>();
        let thread = Builder::new().name("millpond-threads".to_owned());
        let started = thread.spawn(move || given.into_iter().for_each(|start| start()));
        started.is_ok().then_some(starts)
    });
}

/// Starts a thread that runs `work`. It has the priority of the thread that was the first to open a
/// pool, or to call this.
///
/// # Errors
///
/// The system starts no thread.
pub fn spawn(thread: Builder, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start();
    let Some(starter) = STARTER.get().and_then(Option::as_ref) else {
        return thread.spawn(work).map(drop);
    };
    let (started, outcome) = sync_channel(1);
    // The starter never ends, so this cannot fail.
    let _ = starter.send(Box::new(move || {
        let _ = started.send(thread.spawn(work).map(drop));
    }));
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Runs `work` on such a thread, and waits for its result: to start a tokio runtime, whose threads
/// then have that priority too.
///
/// # Errors
///
/// The system starts no thread; or `work` panics, as tokio does when the system starts none for it.
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = sync_channel(1);
    spawn(Builder::new(), move || {
        let _ = sender.send(work());
    })?;
    receiver
        .recv()
        .map_err(|_| io::Error::other("the system starts no more threads"))
}
