//! Guests that compute continue in the background, where they hold up no other client.
//!
//! At first a guest runs where its request arrived: a fast one never changes threads. Once it has
//! used the processor for a millisecond, in however many steps, it moves to a second runtime: one
//! worker for each processor, at a low priority. There, guests that compute take turns. However
//! many there are, they leave most of each processor to the server's own workers, which accept,
//! answer and enforce deadlines.
//!
//! A guest that is stopped, at its deadline or because its client has left, ends without waiting
//! for another turn: others wait for its place.
//!
//! What a guest holds in the background, such as a transaction, it holds for longer. The limits on
//! that are times, so they do not change. Threads that a pool starts meanwhile, for others too,
//! have the usual priority: see [`spawner`].

use std::cell::Cell;
use std::io;

use millpond_wasmtime::pool::spawner;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

thread_local! {
    static IS_BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

/// Whether the thread that calls this is one of the background.
pub(super) fn is_here() -> bool {
    IS_BACKGROUND.get()
}

/// After how many [epochs](super::epochs::EPOCH) a guest that computes lets others run, on the
/// thread that calls this: where its turn before that ends.
pub(super) fn turn() -> u64 {
    /// The first of these may be nearly over when the turn begins.
    const FOREGROUND: u64 = 2;
    /// Each turn loads the guest's memory into the processor's caches again.
    const BACKGROUND: u64 = 10;
    match is_here() {
        true => BACKGROUND,
        false => FOREGROUND,
    }
}

/// Where guests that compute continue.
pub(super) struct Background {
    handle: Handle,
    /// `None` once this is dropped.
    runtime: Option<Runtime>,
}

/// How many blocking threads a runtime needs: one for each request, whose slow statement hands its
/// worker over.
pub(super) fn max_blocking_threads(max_requests: u32) -> usize {
    /// For the runtime's own blocking work.
    const SPARE_THREADS: usize = 8;
    max_requests as usize + SPARE_THREADS
}

impl Background {
    /// Starts its threads.
    ///
    /// # Errors
    ///
    /// The system has no more threads or descriptors.
    pub(super) fn start(max_requests: u32) -> io::Result<Background> {
        /// After how many polls, each of which may take 10 ms, it looks for due timers and
        /// sockets.
        const EVENT_INTERVAL: u32 = 4;
        /// After how many it looks for tasks from other threads. With 1, those that come would run
        /// before all that are there. `hand_over` waits until such a task runs.
        const GLOBAL_QUEUE_INTERVAL: u32 = 2;

        let mut builder = Builder::new_multi_thread();
        builder
            .enable_all()
            .thread_name("millpond-guest")
            .event_interval(EVENT_INTERVAL)
            .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
            .max_blocking_threads(max_blocking_threads(max_requests));
        #[cfg(target_os = "linux")]
        let priority = low_priority();
        builder.on_thread_start(move || {
            IS_BACKGROUND.set(true);
            #[cfg(target_os = "linux")]
            set_priority(priority);
        });
        let runtime = spawner::run(move || builder.build())??;
        Ok(Background {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }

    /// Drop what may take long, such as a large memory, on a thread of its own. Completes when it
    /// has been dropped.
    pub(super) fn discard<T: Send + 'static>(&self, heavy: T) -> JoinHandle<()> {
        self.handle.spawn_blocking(move || drop(heavy))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait for its threads, which panics in a task, and this may be one.
            runtime.shutdown_background();
        }
    }
}

/// A lower priority than that of the thread that calls this. Elsewhere than on Linux, a priority is
/// that of the whole process.
#[cfg(target_os = "linux")]
fn low_priority() -> i32 {
    /// A tenth of the share of the others.
    const LESS: i32 = 10;
    rustix::process::getpriority_process(None).unwrap_or(0) + LESS
}

/// Sets the priority of the thread that calls this. Not by how much it is lower: a thread inherits
/// that of the one that starts it, which may be another of these.
#[cfg(target_os = "linux")]
fn set_priority(priority: i32) {
    let _ = rustix::process::setpriority_process(None, priority);
}
