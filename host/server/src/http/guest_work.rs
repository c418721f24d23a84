//! The work of a guest, which begins in the foreground and may continue in the
//! [background](super::background).

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::background::{self, Background};
use super::thread_time::ThreadTimer;

/// How much of a processor's time a guest may use before it continues in the background. Less than
/// its first turn: one that computes moves at the end of that.
const FOREGROUND_TIME: Duration = Duration::from_millis(1);

thread_local! {
    /// Whether the work that is polled must move.
    static MUST_MOVE: Cell<bool> = const { Cell::new(false) };
}

/// Continue in the background. For a guest whose next step may take long: nothing interrupts it
/// while it fills or copies memory.
pub(super) async fn leave_foreground() {
    let mut has_left = background::is_here();
    poll_fn(|cx| {
        if has_left {
            return Poll::Ready(());
        }
        has_left = true;
        MUST_MOVE.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The work of a guest. Completes with its result, wherever it runs: `None` if it panicked in the
/// background. Dropping this stops it.
pub(super) struct GuestWork<T: Send + 'static> {
    state: State<T>,
    stop: Stop,
    background: Arc<Background>,
    used: Duration,
}

enum State<T> {
    /// It runs where this is polled.
    Foreground(Work<T>),
    Background(Turns<T>, JoinHandle<Option<T>>),
    Over,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tells a guest's work to end.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The result of `call`; `None` if it was stopped, and so dropped.
    pub(super) async fn unless_stopped<T>(self, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        poll_fn(|cx| match self.is_set() {
            true => Poll::Ready(None),
            false => call.as_mut().poll(cx).map(Some),
        })
        .await
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Work in the background. It is polled there in its turns, or where it is stopped.
struct Turns<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// `None` while it is polled, and after its end.
    work: Mutex<Option<Work<T>>>,
    stop: Stop,
}

impl<T: Send + 'static> GuestWork<T> {
    /// Once `work` is stopped, it must be ready when it is polled next.
    pub(super) fn new<F>(background: &Arc<Background>, work: impl FnOnce(Stop) -> F) -> GuestWork<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let stop = Stop::default();
        GuestWork {
            state: State::Foreground(Box::pin(work(stop.clone()))),
            stop,
            background: Arc::clone(background),
            used: Duration::ZERO,
        }
    }

    /// Stop it, and wait for its result. Only waits if it runs in the background just now: until
    /// the end of its turn.
    pub(super) async fn stop(&mut self) -> Option<T> {
        self.stop.set();
        self.await
    }
}

impl<T: Send + 'static> Future for GuestWork<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Foreground(mut work) => {
                    // Work that was dropped may have left it.
                    MUST_MOVE.set(false);
                    let timer = ThreadTimer::start();
                    if let Poll::Ready(result) = work.as_mut().poll(cx) {
                        return Poll::Ready(Some(result));
                    }
                    this.used += timer.computed();
                    if !MUST_MOVE.take() && this.used < FOREGROUND_TIME {
                        this.state = State::Foreground(work);
                        return Poll::Pending;
                    }
                    let turns = Turns(Arc::new(Shared {
                        work: Mutex::new(Some(work)),
                        stop: this.stop.clone(),
                    }));
                    let task = this.background.spawn(Turns(Arc::clone(&turns.0)));
                    this.state = State::Background(turns, task);
                }
                State::Background(turns, mut task) => {
                    let waiting = this.stop.is_set().then(|| turns.take()).flatten();
                    let Some(mut work) = waiting else {
                        return match Pin::new(&mut task).poll(cx) {
                            Poll::Ready(result) => Poll::Ready(result.ok().flatten()),
                            Poll::Pending => {
                                this.state = State::Background(turns, task);
                                Poll::Pending
                            }
                        };
                    };
                    // Nothing wakes it any more.
                    task.abort();
                    return match work.as_mut().poll(cx) {
                        Poll::Ready(result) => Poll::Ready(Some(result)),
                        Poll::Pending => Poll::Ready(None),
                    };
                }
            }
        }
    }
}

impl<T: Send + 'static> Drop for GuestWork<T> {
    fn drop(&mut self) {
        if let State::Background(turns, task) = &self.state {
            self.stop.set();
            if let Some(work) = turns.take() {
                task.abort();
                drop(self.background.discard(work));
            }
        }
    }
}

impl<T> Turns<T> {
    fn take(&self) -> Option<Work<T>> {
        self.lock().take()
    }

    /// Give it back, to wait for its next turn. If it was stopped meanwhile, it is returned.
    fn put_back(&self, work: Work<T>) -> Option<Work<T>> {
        // Stopping it sets `stop` first, and then takes this lock. So either it is
        // found here, or this sees `stop`.
        let mut place = self.lock();
        if self.0.stop.is_set() {
            return Some(work);
        }
        *place = Some(work);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work<T>>> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work in its turns. `None`: it was stopped between two of them.
impl<T> Future for Turns<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut next = self.take();
        while let Some(mut work) = next {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            next = self.put_back(work);
            if next.is_none() {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;
    use std::time::Instant;

    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    use super::*;
    use crate::http::background::turn;
    use crate::http::thread_time::thread_time;

    fn background() -> Arc<Background> {
        Arc::new(Background::start(1).expect("threads"))
    }

    fn is_in_background() -> bool {
        thread::current().name() == Some("millpond-guest")
    }

    fn compute(time: Duration) {
        let now = || thread_time(Instant::now());
        let since = now();
        while now() - since < time {}
    }

    fn runtime() -> Runtime {
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        runtime.expect("a runtime")
    }

    /// Computes for each of these times in turn, and yields after each. Returns where each ran:
    /// whether in the background.
    fn where_it_ran(times: &'static [Duration]) -> Vec<bool> {
        let work = GuestWork::new(&background(), |_| async move {
            let mut ran = Vec::new();
            for time in times {
                compute(*time);
                ran.push(is_in_background());
                assert_eq!(turn() == 10, is_in_background());
                yield_now().await;
            }
            ran
        });
        let ran = runtime().block_on(async { tokio::spawn(work).await.expect("no panic") });
        ran.expect("a result")
    }

    #[test]
    fn work_moves_once_it_has_computed() {
        const MOST: Duration = FOREGROUND_TIME;
        const HALF: Duration = Duration::from_micros(550);
        assert_eq!(where_it_ran(&[MOST; 3]), [false, true, true]);
        assert_eq!(where_it_ran(&[HALF; 3]), [false, false, true]);
    }

    #[test]
    fn work_moves_before_it_takes_long() {
        let work = GuestWork::new(&background(), |_| async move {
            let before = is_in_background();
            leave_foreground().await;
            let after = is_in_background();
            leave_foreground().await;
            (before, after)
        });
        let ran = runtime().block_on(async { tokio::spawn(work).await.expect("no panic") });
        assert_eq!(ran, Some((false, true)));
    }

    #[test]
    fn quick_work_stays() {
        assert_eq!(where_it_ran(&[Duration::ZERO; 3]), [false; 3]);
    }

    /// Work that moves, and then calls `then` at each of its turns in the background until it is
    /// stopped. It holds what is returned beside it.
    fn moving(mut then: impl FnMut() + Send + 'static) -> (GuestWork<&'static str>, Arc<()>) {
        let held = Arc::new(());
        let work = GuestWork::new(&background(), {
            let held = Arc::clone(&held);
            |stop| async move {
                compute(FOREGROUND_TIME);
                let turns = async {
                    loop {
                        yield_now().await;
                        then();
                    }
                };
                stop.unless_stopped::<()>(turns).await;
                drop(held);
                "stopped"
            }
        });
        (work, held)
    }

    /// Poll it once: it moves.
    async fn begin(work: &mut GuestWork<&'static str>) {
        let moved = poll_fn(|cx| Poll::Ready(Pin::new(&mut *work).poll(cx).is_pending()));
        assert!(moved.await);
    }

    #[test]
    fn work_that_runs_in_the_background_is_stopped_at_the_end_of_its_turn() {
        let (begins, has_begun) = mpsc::channel();
        let (ends, may_end) = mpsc::channel::<()>();
        let (mut work, held) = moving(move || {
            let _ = begins.send(());
            let _ = may_end.recv();
        });
        let result = runtime().block_on(async {
            begin(&mut work).await;
            has_begun.recv().expect("its turn");
            let mut stopped = pin!(work.stop());
            let waits = poll_fn(|cx| Poll::Ready(stopped.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
            drop(ends);
            stopped.await
        });
        assert_eq!(result, Some("stopped"));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    /// All workers are busy, with the turns of others.
    #[test]
    fn work_that_waits_for_its_turn_is_stopped_at_once() {
        let (mut work, held) = moving(|| {});
        let background = Arc::clone(&work.background);
        let (begins, has_begun) = mpsc::channel();
        let (ends, may_end) = mpsc::channel::<()>();
        let may_end = Arc::new(Mutex::new(may_end));
        let workers = thread::available_parallelism().expect("processors").get();
        for _ in 0..workers {
            let (begins, may_end) = (begins.clone(), Arc::clone(&may_end));
            background.spawn(async move {
                let _ = begins.send(());
                let _ = may_end.lock().map(|may_end| may_end.recv());
            });
            has_begun.recv().expect("its turn");
        }
        let result = runtime().block_on(async {
            begin(&mut work).await;
            work.stop().await
        });
        assert_eq!(result, Some("stopped"));
        assert_eq!(Arc::strong_count(&held), 1);
        drop(ends);
    }

    #[test]
    fn work_ends_when_it_is_dropped() {
        let (mut work, held) = moving(|| {});
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut work).poll(&mut cx).is_pending());
        drop(work);
        let since = Instant::now();
        while Arc::strong_count(&held) > 1 {
            assert!(since.elapsed() < Duration::from_secs(30));
            thread::yield_now();
        }

        let held = Arc::new(());
        let mut work = GuestWork::new(&background(), |_| {
            let held = Arc::clone(&held);
            async move {
                yield_now().await;
                drop(held);
            }
        });
        assert!(Pin::new(&mut work).poll(&mut cx).is_pending());
        drop(work);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_panic_in_the_background_ends_it() {
        let (mut work, held) = moving(|| panic!("a host's bug"));
        let result = runtime().block_on(async {
            begin(&mut work).await;
            work.await
        });
        assert_eq!(result, None);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
