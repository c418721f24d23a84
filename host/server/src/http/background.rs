//! Guests that compute continue in the background, where they hold up no other client.
//!
//! At first a guest runs where its request arrived: a fast one never changes threads. Once it has used
//! the processor for a few milliseconds, in however many steps, it moves to a runtime of its own kind:
//! one worker for each processor, at a low priority. There, guests that compute take turns, an epoch
//! each. So however many there are, they take no more than a small share of the processors from the
//! server's own workers, which accept, answer and enforce deadlines.
//!
//! What a guest holds there, such as a transaction, it holds for longer. The limits on that are
//! times, so they do not change.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// How much of a processor's time a guest may use before it continues in the background. Less than
/// an epoch, so that one that computes until the end of its first has used it.
const FOREGROUND_TIME: Duration = Duration::from_millis(5);

/// Where guests that compute continue. Its threads start with the first of them.
pub(super) struct Background {
    runtime: Mutex<Option<Runtime>>,
    max_requests: u32,
}

/// The blocking threads of a runtime in which the slow statement of every request can hand its worker
/// over.
pub(super) fn max_blocking_threads(max_requests: u32) -> usize {
    /// For the runtime's own blocking work.
    const SPARE_THREADS: usize = 8;
    max_requests as usize + SPARE_THREADS
}

/// A guest's task. Completes when the task has ended, or continues in the background. May be polled
/// again after that.
pub(super) struct GuestFuture {
    task: Option<Task>,
    background: Arc<Background>,
    used: Duration,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Background {
    pub(super) fn new(max_requests: u32) -> Background {
        Background {
            runtime: Mutex::new(None),
            max_requests,
        }
    }

    /// Returns the task if the system starts no threads.
    fn spawn(&self, task: Task) -> Result<(), Task> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if runtime.is_none() {
            *runtime = self.start().ok();
        }
        match &*runtime {
            Some(runtime) => {
                runtime.spawn(task);
                Ok(())
            }
            None => Err(task),
        }
    }

    fn start(&self) -> io::Result<Runtime> {
        /// After how many polls, each of which may take an epoch, it looks for due timers and sockets,
        /// and for tasks that come from elsewhere.
        const INTERVAL: u32 = 4;
        Builder::new_multi_thread()
            .enable_all()
            .thread_name("millpond-guest")
            .on_thread_start(lower_priority)
            .event_interval(INTERVAL)
            .global_queue_interval(INTERVAL)
            .max_blocking_threads(max_blocking_threads(self.max_requests))
            .build()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut();
        if let Some(runtime) = runtime.unwrap_or_else(PoisonError::into_inner).take() {
            // Dropping it would wait for its threads, which panics in a task, and this may be one.
            runtime.shutdown_background();
        }
    }
}

impl GuestFuture {
    pub(super) fn new(
        task: impl Future<Output = ()> + Send + 'static,
        background: &Arc<Background>,
    ) -> GuestFuture {
        GuestFuture {
            task: Some(Box::pin(task)),
            background: Arc::clone(background),
            used: Duration::ZERO,
        }
    }
}

impl Future for GuestFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut task) = self.task.take() else {
            return Poll::Ready(());
        };
        let since = processor_time();
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.used += processor_time().saturating_sub(since);
        if self.used >= FOREGROUND_TIME {
            match self.background.spawn(task) {
                Ok(()) => return Poll::Ready(()),
                Err(unmoved) => task = unmoved,
            }
        }
        self.task = Some(task);
        Poll::Pending
    }
}

/// How long this thread has computed. Not how long it took: a guest that waits, or whose thread waits
/// for a processor, does not compute meanwhile.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The time, where there is no such clock.
#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// The thread that calls this runs after others.
fn lower_priority() {
    /// A tenth of the share of the others.
    #[cfg(target_os = "linux")]
    const LESS: i32 = 10;
    // Elsewhere `nice` applies to the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(LESS);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;

    use tokio::task::yield_now;

    use super::*;

    /// Where a task runs that computes for so long before each of several yields: whether in the
    /// background.
    fn is_in_background(times: &'static [Duration]) -> Vec<bool> {
        let background = Arc::new(Background::new(1));
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.expect("a runtime");
        let (sender, receiver) = mpsc::channel();
        let task = async move {
            for time in times {
                let since = processor_time();
                while processor_time() - since < *time {}
                let name = thread::current().name() == Some("millpond-guest");
                sender.send(name).expect("a receiver");
                yield_now().await;
            }
        };
        let task = GuestFuture::new(task, &background);
        runtime.block_on(async { tokio::spawn(task).await.expect("no panic") });
        receiver.iter().collect()
    }

    #[test]
    fn a_task_moves_once_it_has_computed() {
        const MOST: Duration = FOREGROUND_TIME;
        const HALF: Duration = Duration::from_micros(2_600);
        assert_eq!(is_in_background(&[MOST; 3]), [false, true, true]);
        assert_eq!(is_in_background(&[HALF; 3]), [false, false, true]);
    }

    #[test]
    fn a_quick_task_stays() {
        assert_eq!(is_in_background(&[Duration::ZERO; 3]), [false; 3]);
    }

    #[test]
    fn a_task_that_has_not_moved_ends_with_its_future() {
        let held = Arc::new(());
        let task = {
            let held = Arc::clone(&held);
            async move {
                yield_now().await;
                drop(held);
            }
        };
        let mut task = Box::pin(GuestFuture::new(task, &Arc::new(Background::new(1))));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        drop(task);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
