//! Hands a runtime's worker over to another thread, so that no other task waits for a slow
//! statement.
//!
//! A statement runs where its guest is polled: on a worker of the embedder's tokio runtime.
//! Meanwhile this worker runs none of its queued tasks, and two slow statements block a runtime of
//! two workers, with its timers and sockets. So a call that has taken a millisecond enters
//! [`block_in_place`](tokio::task::block_in_place), once: tokio moves the worker, with its queue,
//! to another thread, and the statement continues on this one.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, yield_now};

/// How long to wait until another thread runs the worker. Takes less, unless the processors are
/// overloaded, or the runtime has no thread left (`max_blocking_threads`). In those cases the
/// statement continues and blocks the worker, until the next attempt to hand it over.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long to give the other thread, at first, if another worker was faster.
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// Hand this thread's worker over to another thread. Does nothing on a thread that is not a worker.
/// Returns false if no other thread has taken the worker yet.
pub fn hand_over() -> bool {
    if BLOCKS.get() {
        return true;
    }
    let Ok(runtime) = Handle::try_current() else {
        return true;
    };
    if !is_worker(&runtime) {
        return true;
    }
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::ZERO;
    loop {
        block_in_place(|| {
            // Returning from `block_in_place` takes the worker back, unless another thread already
            // runs it: so wait until one does, which is when it runs a task.
            let (taken, wait) = sync_channel(1);
            runtime.spawn(async move {
                let _ = taken.send(());
            });
            let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
            thread::sleep(pause);
        });
        // Another worker may have run that task, before any thread took over this one: then this
        // thread has taken it back.
        if !is_worker(&runtime) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        pause = (pause * 2).max(FIRST_PAUSE);
    }
}

thread_local! {
    /// This thread blocks, whatever runtime it belongs to, while another drives its timers.
    static BLOCKS: Cell<bool> = const { Cell::new(false) };
}

/// While this lives, this thread's worker is not handed over.
pub(crate) struct Blocks {
    before: bool,
}

impl Blocks {
    pub(crate) fn new() -> Blocks {
        Blocks {
            before: BLOCKS.replace(true),
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        BLOCKS.set(self.before);
    }
}

/// Whether this thread is a worker that can be handed over. `block_in_place` panics in a
/// current-thread runtime and in a `LocalSet`, and tokio has no function to check for them.
///
/// A task that yields can check it: a worker defers the waker until it has polled its current task;
/// any other thread, or one that has handed its worker over, wakes at once.
fn is_worker(runtime: &Handle) -> bool {
    #[derive(Debug, Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
        return false;
    }
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let is_pending = pin!(yield_now())
        .poll(&mut Context::from_waker(&waker))
        .is_pending();
    is_pending && !woken.0.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::{LocalSet, spawn_blocking, spawn_local};

    use super::*;

    fn is_worker_here() -> bool {
        Handle::try_current().is_ok_and(|runtime| is_worker(&runtime))
    }

    #[test]
    fn only_a_worker_is_handed_over_and_once() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            assert!(!is_worker_here(), "the thread that waits for the runtime");
            let task = tokio::spawn(async {
                assert!(is_worker_here());
                // On the only worker, this task would otherwise wait for itself.
                let (sent, received) = sync_channel(1);
                hand_over();
                assert!(!is_worker_here());
                tokio::spawn(async move { sent.send(()) });
                received.recv().expect("another task runs meanwhile");
                hand_over();
                tokio::task::yield_now().await;
                assert!(is_worker_here());
            });
            task.await.expect("a worker");
            let blocking = spawn_blocking(|| {
                hand_over();
                is_worker_here()
            });
            assert!(!blocking.await.expect("a thread that may block"));
            let local = spawn_blocking(|| {
                Handle::current().block_on(LocalSet::new().run_until(async {
                    hand_over();
                    is_worker_here()
                }))
            });
            assert!(!local.await.expect("a local set on such a thread"));
        });
        let in_local = LocalSet::new().block_on(&runtime, async {
            let task = spawn_local(async {
                hand_over();
                is_worker_here()
            });
            task.await.expect("a local task")
        });
        assert!(!in_local);
        assert!(!is_worker_here(), "no runtime");
        hand_over();

        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let task = async { tokio::spawn(async { hand_over() }).await.is_ok() };
        assert!(runtime.block_on(task));
        // Not on a worker that blocks in another runtime's `block_on` either.
        let task = async { tokio::spawn(async { crate::block_on(async { hand_over() }) }).await };
        assert!(runtime.block_on(task).expect("no panic"));
    }
}
