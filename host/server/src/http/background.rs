//! Guests that compute continue in the background, where they hold up no other client.
//!
//! At first a guest runs where its request arrived: a fast one never changes threads. Once it has
//! used the processor for a few milliseconds, in however many steps, it moves to a second runtime:
//! one worker for each processor, at a low priority. There, guests that compute take turns, an epoch
//! each. However many there are, they leave most of each processor to the server's own workers,
//! which accept, answer and enforce deadlines.
//!
//! What a guest holds there, such as a transaction, it holds for longer. The limits on that are
//! times, so they do not change. Threads that a pool starts meanwhile, for others too, have the
//! usual priority: see [`spawner`].

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use millpond_wasmtime::pool::spawner;
use tokio::runtime::{Builder, Runtime};

/// How much of a processor's time a guest may use before it continues in the background. Less than
/// an epoch: one that computes moves after its first or second.
const FOREGROUND_TIME: Duration = Duration::from_millis(5);

/// Where guests that compute continue.
pub(super) struct Background {
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

/// A guest's task. Completes when the task has ended, or continues in the background. May be polled
/// again after that.
pub(super) struct GuestFuture {
    task: Option<Task>,
    background: Arc<Background>,
    used: Duration,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Background {
    /// Starts its threads.
    ///
    /// # Errors
    ///
    /// The system has no more threads or descriptors.
    pub(super) fn start(max_requests: u32) -> io::Result<Background> {
        /// After how many polls, each of which may take an epoch, it looks for due timers and
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
        {
            let priority = low_priority();
            builder.on_thread_start(move || set_priority(priority));
        }
        let runtime = spawner::run(move || builder.build())??;
        Ok(Background {
            runtime: Some(runtime),
        })
    }

    fn spawn(&self, task: Task) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
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
        let since = Since::now();
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.used += since.computed();
        if self.used >= FOREGROUND_TIME {
            self.background.spawn(task);
            return Poll::Ready(());
        }
        self.task = Some(task);
        Poll::Pending
    }
}

/// The beginning of a poll.
struct Since {
    at: Instant,
    /// How long this thread had computed up to a millisecond before.
    thread_time: Duration,
}

/// How old a reading of a thread's time may be. Most polls take some microseconds, and a reading
/// takes one: so for a poll that takes less than this, how long it takes stands for how long it
/// computes.
const FRESH: Duration = Duration::from_millis(1);

thread_local! {
    /// The last reading of this thread's time, and when that was.
    static LAST: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

impl Since {
    fn now() -> Since {
        let at = Instant::now();
        let last = LAST.get();
        let fresh = last.filter(|(then, _)| at.saturating_duration_since(*then) < FRESH);
        let thread_time = fresh.map_or_else(|| read_thread_time(at), |(_, time)| time);
        Since { at, thread_time }
    }

    /// How long this thread has computed since. Not how long it took: a guest that waits, or whose
    /// thread waits for a processor, does not compute meanwhile. Never less; more by up to a
    /// millisecond, but by no more than it waited.
    fn computed(&self) -> Duration {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at);
        if passed < FRESH {
            return passed;
        }
        let computed = read_thread_time(now).saturating_sub(self.thread_time);
        computed.min(passed)
    }
}

fn read_thread_time(now: Instant) -> Duration {
    let time = thread_time(now);
    LAST.set(Some((now, time)));
    time
}

/// How long this thread has computed.
#[cfg(target_os = "linux")]
fn thread_time(_now: Instant) -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The time, where there is no such count.
#[cfg(not(target_os = "linux"))]
fn thread_time(now: Instant) -> Duration {
    use std::sync::LazyLock;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    now.saturating_duration_since(*START)
}

/// A lower priority than that of the thread that calls this. Elsewhere than on Linux, a priority is that
/// of the whole process.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;

    use tokio::task::yield_now;

    use super::*;

    /// Computes for each of these times in turn, and yields after each. Returns where each ran:
    /// whether in the background.
    fn is_in_background(times: &'static [Duration]) -> Vec<bool> {
        let background = Arc::new(Background::start(1).expect("threads"));
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.expect("a runtime");
        let (sender, receiver) = mpsc::channel();
        let task = async move {
            for time in times {
                let now = || thread_time(Instant::now());
                let since = now();
                while now() - since < *time {}
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
        let mut task = Box::pin(GuestFuture::new(
            task,
            &Arc::new(Background::start(1).expect("threads")),
        ));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        drop(task);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
