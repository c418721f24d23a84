//! Runs the asynchronous calls on threads that may block.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::spawner;
use crate::worker::Blocks;

/// Run a call of this crate to completion on this thread, inside or outside of a runtime.
///
/// # Panics
///
/// Panics if the system cannot start the timer thread, at the first use.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// Drives the timers of calls that wait: on its own thread, because the calling one blocks.
    static TIME: LazyLock<Runtime> = LazyLock::new(|| {
        let start = || {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("millpond-time")
                .enable_time()
                .build()
        };
        let started = spawner::run(start).and_then(|runtime| runtime);
        started.expect("the system starts a thread")
    });
    let _blocks = Blocks::new();
    let _context = TIME.enter();
    // Outside a task nothing refills tokio's cooperative budget, and once it is spent no wait would
    // ever complete.
    pollster::block_on(tokio::task::coop::unconstrained(future))
}
