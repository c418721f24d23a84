//! A task that moves to a thread of its own once it computes for long.
//!
//! Until then a guest is polled by its connection, so that nothing moves between threads from the
//! arrival of a request to its response: that would take longer than a fast guest does. But in the
//! runtime's queue, all others would wait for one epoch of each guest that computes. On threads, the
//! system lets each run in turn.

use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// A guest's task. It is ready when it is over, or continues on a thread of its own.
#[derive(Default)]
pub(super) struct Movable(Option<Boxed>);

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long one poll may take. Less than an epoch: a guest that computes for a whole one has.
const LONG_POLL: Duration = Duration::from_millis(5);

impl Movable {
    pub(super) fn new(task: impl Future<Output = ()> + Send + 'static) -> Movable {
        Movable(Some(Box::pin(task)))
    }
}

impl Future for Movable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut task) = self.0.take() else {
            return Poll::Ready(());
        };
        let since = Instant::now();
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if since.elapsed() >= LONG_POLL {
            match continue_elsewhere(task) {
                Ok(()) => return Poll::Ready(()),
                // The system has no more threads: it continues here.
                Err(here) => task = here,
            }
        }
        self.0 = Some(task);
        Poll::Pending
    }
}

/// Continue with a task on a thread of its own. There are at most as many as requests.
fn continue_elsewhere(task: Boxed) -> Result<(), Boxed> {
    let (to_thread, from_here) = mpsc::channel::<Boxed>();
    let runtime = Handle::current();
    let thread = thread::Builder::new().name("millpond-guest".to_owned());
    let spawned = thread.spawn(move || {
        lower_priority();
        if let Ok(task) = from_here.recv() {
            runtime.block_on(task);
        }
    });
    match spawned {
        Ok(_) => to_thread.send(task).map_err(|unsent| unsent.0),
        Err(_) => Err(task),
    }
}

/// The thread that calls this runs after others. Otherwise each guest that computes would get as
/// much of the processors as a worker, on which all other requests depend.
fn lower_priority() {
    /// A tenth of the share of the others.
    #[cfg(target_os = "linux")]
    const LESS: i32 = 10;
    // Elsewhere this is of the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(LESS);
}
