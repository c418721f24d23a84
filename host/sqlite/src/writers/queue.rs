//! The writer's turn: one connection at a time writes to a database, the others queue in order.
//!
//! SQLite would let one writer in and make the others poll, in no order
//! (<https://sqlite.org/c3ref/busy_timeout.html>). Here they queue without blocking a thread.
//!
//! A waiter may leave a job, which the holder of the turn can do on its behalf: see
//! `session::group`.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millpond_pool::engine::RequestId;
use slab::Slab;

use super::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};

#[derive(Debug)]
pub(crate) struct TurnQueue<J> {
    state: Mutex<State<J>>,
    /// How many jobs the last holder of the turn did for others, and how long its last commit took,
    /// in nanoseconds.
    expected: AtomicU64,
    commit_time: AtomicU64,
    /// How many waits have changed their state.
    changes: AtomicU64,
}

#[derive(Debug)]
struct State<J> {
    /// The request that has the turn.
    holder: Option<RequestId>,
    /// All that wait, or have not yet read the outcome of their wait.
    waiters: Slab<Waiter<J>>,
    /// Those that wait for the turn, in order.
    line: VecDeque<usize>,
    closed: bool,
    counters: TurnCounters,
}

/// Counters of waits since the queue was created.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnCounters {
    pub(crate) waiting: u32,
    pub(crate) wait_time: Duration,
    pub(crate) timeouts: u64,
    /// Commits of several callers' jobs together, and the number of those jobs.
    pub(crate) groups: u64,
    pub(crate) grouped: u64,
}

#[derive(Debug)]
struct Waiter<J> {
    request: RequestId,
    stage: Stage<J>,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Stage<J> {
    /// Waiting in the queue, perhaps with a job that another may do.
    InLine(Option<J>),
    /// Another is doing its job.
    Taken,
    /// Another is doing its job, but no caller waits for it any more.
    Abandoned,
    Done(J),
    Turn,
    Closed,
}

/// The turn. Dropping it hands it to the next in the queue.
#[derive(Debug)]
pub(crate) struct Turn<J> {
    queue: Arc<TurnQueue<J>>,
}

/// Why the turn was not available.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Another request is writing: queue.
    Taken,
    /// This request is already writing, through another connection.
    Own,
    Closed,
}

/// The outcome of queueing.
#[derive(Debug)]
pub(crate) enum Waited<J> {
    Turn(Turn<J>),
    /// The job has been done: no turn is needed.
    Done(J),
    Closed,
}

/// A place in the queue. Dropping it leaves the queue: if another is doing its job, the result is
/// discarded.
#[derive(Debug)]
pub(crate) struct Wait<J> {
    queue: Arc<TurnQueue<J>>,
    key: usize,
}

/// A job that the holder of the turn has taken from a waiter. Dropping it before it is done puts
/// its owner at the front of the queue, to do it itself.
#[derive(Debug)]
pub(crate) struct Taken<J> {
    queue: Arc<TurnQueue<J>>,
    key: usize,
    /// `None` once it has been returned.
    job: Option<J>,
}

impl<J> TurnQueue<J> {
    pub(crate) fn new() -> Arc<TurnQueue<J>> {
        Arc::new(TurnQueue {
            state: Mutex::new(State {
                holder: None,
                waiters: Slab::new(),
                line: VecDeque::new(),
                closed: false,
                counters: TurnCounters::default(),
            }),
            expected: AtomicU64::new(0),
            commit_time: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        })
    }

    pub(crate) fn try_take(self: &Arc<Self>, request: RequestId) -> Result<Turn<J>, NoTurn> {
        let mut state = self.lock();
        match state.holder {
            _ if state.closed => Err(NoTurn::Closed),
            Some(holder) if holder == request => Err(NoTurn::Own),
            Some(_) => Err(NoTurn::Taken),
            None => {
                state.holder = Some(request);
                drop(state);
                Ok(self.turn())
            }
        }
    }

    /// Queue, with a job that the holder of the turn may do before.
    pub(crate) fn wait(self: &Arc<Self>, request: RequestId, job: Option<J>) -> Wait<J> {
        let mut state = self.lock();
        let stage = match (state.closed, state.holder) {
            (true, _) => Stage::Closed,
            (false, None) => {
                state.holder = Some(request);
                Stage::Turn
            }
            (false, Some(_)) => Stage::InLine(job),
        };
        let in_line = matches!(stage, Stage::InLine(_));
        let key = state.waiters.insert(Waiter {
            request,
            stage,
            waker: None,
        });
        if in_line {
            state.line.push_back(key);
        }
        drop(state);
        Wait {
            queue: Arc::clone(self),
            key,
        }
    }

    /// Refuse all waiters, now and in future.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let line = std::mem::take(&mut state.line);
        let wakers: Vec<_> = line
            .into_iter()
            .filter_map(|key| state.advance(key, Stage::Closed))
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Count a wait that took `waited`, and whether it timed out.
    pub(crate) fn count_wait(&self, waited: Duration, gave_up: bool) {
        let counters = &mut self.lock().counters;
        counters.wait_time += waited;
        counters.timeouts += u64::from(gave_up);
    }

    /// Whether a writer waits for the turn.
    pub(crate) fn has_waiter(&self) -> bool {
        !self.lock().line.is_empty()
    }

    pub(crate) fn counters(&self) -> TurnCounters {
        let state = self.lock();
        let waits = |waiter: &&Waiter<J>| matches!(waiter.stage, Stage::InLine(_) | Stage::Taken);
        let waiting = state.waiters.iter().map(|(_, waiter)| waiter);
        TurnCounters {
            waiting: waiting.filter(waits).count() as u32,
            ..state.counters
        }
    }

    /// Whether a job is likely to be done within `time`.
    pub(crate) fn is_quick(&self, time: Duration) -> bool {
        let commit = Duration::from_nanos(self.commit_time.load(Ordering::Relaxed));
        self.expected.load(Ordering::Relaxed) > 0 && commit <= time
    }

    fn turn(self: &Arc<Self>) -> Turn<J> {
        Turn {
            queue: Arc::clone(self),
        }
    }

    /// The turn is over: hand it on.
    fn pass_on(&self) {
        let mut state = self.lock();
        let waker = state.pass_on();
        drop(state);
        self.changes.fetch_add(1, Ordering::Release);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing under this lock can panic, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn pass_on(&mut self) -> Option<Waker> {
        let next = self.line.pop_front();
        self.holder = next.map(|key| self.waiters[key].request);
        next.and_then(|key| self.advance(key, Stage::Turn))
    }

    /// Change the state of a wait. Returns whom to wake.
    fn advance(&mut self, key: usize, stage: Stage<J>) -> Option<Waker> {
        let waiter = &mut self.waiters[key];
        waiter.stage = stage;
        waiter.waker.take()
    }
}

impl<J> State<J> {
    /// A job that was taken is done, or not. Returns whom to wake.
    fn give_back(&mut self, key: usize, stage: Stage<J>) -> Option<Waker> {
        match (&self.waiters[key].stage, stage) {
            (Stage::Abandoned, _) => {
                self.waiters.remove(key);
                None
            }
            (_, Stage::InLine(_)) if self.closed => self.advance(key, Stage::Closed),
            // Back to the front of the queue, where it was, still waiting.
            (_, Stage::InLine(job)) => {
                self.line.push_front(key);
                self.waiters[key].stage = Stage::InLine(job);
                None
            }
            (_, stage) => self.advance(key, stage),
        }
    }
}

impl<J> Turn<J> {
    /// Take the job of the next in the queue, if it has left one. Never skips a waiter without a
    /// job, to keep the order.
    pub(crate) fn take_job(&self) -> Option<Taken<J>> {
        let mut state = self.queue.lock();
        let key = *state.line.front()?;
        let Stage::InLine(job) = &mut state.waiters[key].stage else {
            return None;
        };
        let job = job.take()?;
        state.line.pop_front();
        state.waiters[key].stage = Stage::Taken;
        drop(state);
        Some(Taken {
            queue: Arc::clone(&self.queue),
            key,
            job: Some(job),
        })
    }

    /// Whether the next in the queue has left a job.
    pub(crate) fn has_job(&self) -> bool {
        let state = self.queue.lock();
        let next = state.line.front().map(|key| &state.waiters[*key].stage);
        matches!(next, Some(Stage::InLine(Some(_))))
    }

    /// Tell the owners of jobs that they are done: committed together with `own` jobs of the
    /// holder.
    pub(crate) fn answer(&self, done: Vec<Taken<J>>, own: usize) {
        let mut state = self.queue.lock();
        let jobs = done.len() + own;
        if jobs > 1 {
            state.counters.groups += 1;
            state.counters.grouped += jobs as u64;
        }
        let mut wakers = Vec::with_capacity(done.len());
        for mut taken in done {
            if let Some(job) = taken.job.take() {
                wakers.extend(state.give_back(taken.key, Stage::Done(job)));
            }
        }
        drop(state);
        self.queue.changes.fetch_add(1, Ordering::Release);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many jobs the last group had: about as many are likely to come again.
    pub(crate) fn expected_jobs(&self) -> usize {
        self.queue.expected.load(Ordering::Relaxed) as usize
    }

    /// Expect about that many jobs again, and a commit to take that long.
    pub(crate) fn expect_jobs(&self, jobs: usize, commit_time: Duration) {
        let nanos = u64::try_from(commit_time.as_nanos()).unwrap_or(u64::MAX);
        self.queue.commit_time.store(nanos, Ordering::Relaxed);
        self.queue.expected.store(jobs as u64, Ordering::Relaxed);
    }
}

impl<J> Drop for Turn<J> {
    fn drop(&mut self) {
        self.queue.pass_on();
    }
}

impl<J> Taken<J> {
    pub(crate) fn job_mut(&mut self) -> Option<&mut J> {
        self.job.as_mut()
    }
}

impl<J> Drop for Taken<J> {
    fn drop(&mut self) {
        if self.job.take().is_some() {
            let mut state = self.queue.lock();
            let waker = state.give_back(self.key, Stage::InLine(None));
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<J> Wait<J> {
    /// Wait for up to `time` without letting the thread sleep. For a job that is about to be done,
    /// waking the thread would take longer than all the rest. Yields to threads that have work.
    pub(crate) fn spin(&self, time: Duration) {
        let since = Instant::now();
        let mut seen = self.queue.changes.load(Ordering::Acquire);
        while self.is_waiting() {
            loop {
                if since.elapsed() >= time {
                    return;
                }
                std::thread::yield_now();
                let changes = self.queue.changes.load(Ordering::Acquire);
                if std::mem::replace(&mut seen, changes) != changes {
                    break;
                }
            }
        }
    }

    fn is_waiting(&self) -> bool {
        let state = self.queue.lock();
        matches!(
            state.waiters[self.key].stage,
            Stage::InLine(_) | Stage::Taken
        )
    }

    /// Leave the queue. Returns false if it is too late: another is doing the job, or the wait
    /// already has an outcome.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.queue.lock();
        let is_in_line = matches!(state.waiters[self.key].stage, Stage::InLine(_));
        if is_in_line {
            state.line.retain(|other| *other != self.key);
            state.waiters[self.key].stage = Stage::Closed;
        }
        is_in_line
    }
}

impl<J> Future for Wait<J> {
    type Output = Waited<J>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<J>> {
        let mut state = self.queue.lock();
        let waiter = &mut state.waiters[self.key];
        match std::mem::replace(&mut waiter.stage, Stage::Closed) {
            Stage::Done(job) => Poll::Ready(Waited::Done(job)),
            Stage::Turn => {
                drop(state);
                Poll::Ready(Waited::Turn(self.queue.turn()))
            }
            Stage::Closed => Poll::Ready(Waited::Closed),
            waiting => {
                waiter.stage = waiting;
                match &mut waiter.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl<J> Drop for Wait<J> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let waker = match state.waiters[self.key].stage {
            Stage::Taken => {
                state.waiters[self.key].stage = Stage::Abandoned;
                return;
            }
            Stage::InLine(_) => {
                let key = self.key;
                state.line.retain(|other| *other != key);
                None
            }
            // Its turn came, but its owner does not take it.
            Stage::Turn => state.pass_on(),
            Stage::Abandoned | Stage::Done(_) | Stage::Closed => None,
        };
        state.waiters.remove(self.key);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
