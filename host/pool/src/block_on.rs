//! The asynchronous calls, for threads that may block.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::worker::Blocks;

/// Run a call of this crate to its end on this thread, in or outside of any runtime.
///
/// # Panics
///
/// When the system refuses to start the one thread that keeps time, the first time.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// Keeps time for the calls that wait: a thread of its own, because the calling one blocks.
    static TIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("millpond-time")
            .enable_time()
            .build()
            .expect("the system starts a thread")
    });
    let _blocks = Blocks::new();
    let _context = TIME.enter();
    // Outside a task nothing refills tokio's budget for it, and every wait would be for ever
    // once it is spent.
    pollster::block_on(tokio::task::coop::unconstrained(future))
}
