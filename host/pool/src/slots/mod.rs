//! The core of the pool: a bounded number of slots, the idle resources in them, and the counters.
//!
//! It knows nothing of SQLite, so tests use fakes. The holder of a place may hold one resource;
//! places are handed out in the order that callers came.
//!
//! Invariants, whenever the lock is free:
//! - `created - closed == idle + in use`, and `idle + in use <= max_size`;
//! - at most one caller holds a place, and dropping it hands it to the next in line;
//! - an abandoned resource keeps its place, and counts as in use, until it is returned.

mod risk;

use std::sync::PoisonError;
use std::time::{Duration, Instant};

pub(crate) use self::risk::Risk;
use self::risk::{Risks, wake_risk_waiter};
use super::sync::{
    Arc, Mutex, MutexGuard, Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError,
};
use crate::stats::PoolStats;

#[derive(Debug)]
pub(crate) struct Slots<R> {
    /// First in, first out; dropping a waiter removes it from the queue, and its place is not lost.
    places: Arc<Semaphore>,
    state: Mutex<State<R>>,
    /// Notified when the last resource in use is returned to closed slots.
    drained: Notify,
    /// Held while a resource of closed slots is dropped, so that they close one after the other:
    /// only the connection that closes last can delete the log.
    closing: Mutex<()>,
    max_idle: usize,
}

#[derive(Debug)]
struct State<R> {
    /// The last is the most recently used, and so the warmest.
    idle: Vec<Idle<R>>,
    /// How often [`close_idle`](Slots::close_idle) has looked.
    rounds: u64,
    /// Holders of a place that are opening a resource.
    opening: u32,
    /// Resources that their holders have abandoned, and that are still in use.
    abandoned: u32,
    /// Resources whose holders dropped the call that uses them: they are returned soon.
    dropped: u32,
    /// How many of these [`drained`](Slots::drained) no longer waits for.
    forgotten: u32,
    risks: Risks,
    closed: bool,
    counters: PoolStats,
}

/// A resource that no one uses.
#[derive(Debug)]
struct Idle<R> {
    resource: R,
    /// Since which [round](State::rounds).
    since: u64,
}

/// The right to hold one resource. Dropping it hands it to the next in line.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    waited: bool,
}

/// What the holder of a place receives.
#[derive(Debug)]
pub(crate) enum Taken<'a, R> {
    Idle(R),
    /// None is idle: open one.
    Open(Opening<'a, R>),
}

/// A resource that is being opened. Dropping this records that it was not opened.
#[derive(Debug)]
pub(crate) struct Opening<'a, R> {
    slots: &'a Slots<R>,
}

/// The slots are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What became of a resource that was returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenBack {
    /// It is idle, or lent again already.
    Kept,
    Dropped {
        /// Whether the slots were closed.
        closed: bool,
    },
}

/// The state in which a resource is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// Like new: lend it again.
    Clean,
    /// The holder asked to close it.
    Close,
    /// It could not be reset.
    Discard,
    /// The holder had [abandoned](Slots::abandon) it.
    Abandoned,
    /// The holder had [dropped the call](Slots::drop_call) that used it.
    Dropped,
}

impl<R> Slots<R> {
    pub(crate) fn new(max_size: u32, max_idle: u32) -> Slots<R> {
        Slots {
            places: Arc::new(Semaphore::new(max_size as usize)),
            state: Mutex::new(State {
                idle: Vec::with_capacity(max_idle as usize),
                rounds: 0,
                opening: 0,
                abandoned: 0,
                dropped: 0,
                forgotten: 0,
                risks: Risks::default(),
                closed: false,
                counters: PoolStats {
                    max_size,
                    ..PoolStats::default()
                },
            }),
            drained: Notify::new(),
            closing: Mutex::new(()),
            max_idle: max_idle as usize,
        }
    }

    /// Take a place, if one is free and no one is ahead in the queue.
    pub(crate) fn try_place(&self) -> Result<Option<Place>, Closed> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(Some(Place {
                _permit: permit,
                waited: false,
            })),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(Closed),
        }
    }

    /// Queue for a place. Dropping the future leaves the queue.
    pub(crate) async fn wait_place(&self) -> Result<Place, Closed> {
        let _waiting = Waiting::start(self);
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(permit) => Ok(Place {
                _permit: permit,
                waited: true,
            }),
            Err(_) => Err(Closed),
        }
    }

    /// Count a caller that timed out, and return how many resources were in use.
    pub(crate) fn timed_out(&self) -> u32 {
        let mut state = self.lock();
        state.counters.timeouts += 1;
        state.counters.in_use
    }

    /// Take an idle resource for `place`: the warmest that `prefer` accepts, or else the warmest.
    pub(crate) fn take(
        &self,
        place: &Place,
        prefer: impl Fn(&R) -> bool,
    ) -> Result<Taken<'_, R>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        let Some(last) = state.idle.len().checked_sub(1) else {
            state.opening += 1;
            return Ok(Taken::Open(Opening { slots: self }));
        };
        let preferred = |idle: &Idle<R>| prefer(&idle.resource);
        let index = state.idle.iter().rposition(preferred).unwrap_or(last);
        let resource = state.idle.remove(index).resource;
        state.counters.in_use += 1;
        state.counters.connections_reused += 1;
        if place.waited {
            state.counters.misses += 1;
        } else {
            state.counters.hits += 1;
        }
        Ok(Taken::Idle(resource))
    }

    /// Add a resource that no one has used yet.
    pub(crate) fn add_idle(&self, resource: R) {
        let mut state = self.lock();
        state.counters.connections_created += 1;
        state.add_idle(resource);
    }

    /// Return a resource, and hand its place to the next in line.
    // Two callers, of which nearly always the same one is used: see `Lending::take_back`.
    #[inline(always)]
    pub(crate) fn give_back(
        &self,
        place: Place,
        resource: R,
        returned: Returned,
        rolled_back: bool,
    ) -> GivenBack {
        let mut state = self.lock();
        state.counters.rolled_back += u64::from(rolled_back);
        state.counters.discarded += u64::from(returned == Returned::Discard);
        if returned == Returned::Clean && !state.closed && state.idle.len() < self.max_idle {
            state.add_idle(resource);
            state.counters.in_use -= 1;
            drop(state);
            drop(place);
            GivenBack::Kept
        } else {
            // Dropped outside the lock: closing may write to the disk. It still counts as in use
            // meanwhile, so that waiting for the slots to drain does not end too early.
            let closed = state.closed;
            drop(state);
            self.drop_outside(resource, closed);
            let mut state = self.lock();
            state.counters.connections_closed += 1;
            state.counters.in_use -= 1;
            state.abandoned -= u32::from(returned == Returned::Abandoned);
            state.dropped -= u32::from(returned == Returned::Dropped);
            self.tell_if_drained(&state);
            wake_risk_waiter(state);
            drop(place);
            GivenBack::Dropped { closed }
        }
    }

    /// Record that the holder of a resource in use continues without it. The thread that still uses
    /// it returns it as [`Abandoned`](Returned::Abandoned); [`drained`](Slots::drained) does not
    /// wait for that.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.counters.abandoned += 1;
        state.abandoned += 1;
        self.tell_if_drained(&state);
    }

    /// Like [`abandon`](Slots::abandon), for a resource that will soon be returned, as
    /// [`Dropped`](Returned::Dropped): not counted, and [`drained`](Slots::drained) waits for it.
    pub(crate) fn drop_call(&self) {
        self.lock().dropped += 1;
    }

    /// Stop waiting in [`drained`](Slots::drained) for dropped calls that have not returned yet.
    pub(crate) fn forget_dropped(&self) {
        let mut state = self.lock();
        state.forgotten = state.dropped;
        self.tell_if_drained(&state);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        PoolStats {
            idle: state.idle.len() as u32,
            ..state.counters
        }
    }

    /// Refuse all callers from now on, including those in the queue.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
    }

    /// Wait until nothing is in use except abandoned resources, and
    /// [forgotten](Slots::forget_dropped) ones. Call [`close`](Slots::close) first.
    pub(crate) async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            if self.lock().is_drained() {
                return;
            }
            notified.await;
        }
    }

    /// Drop every idle resource; call `last` on the last one before. Returns how many there were.
    pub(crate) fn empty(&self, last: impl FnOnce(&mut R)) -> usize {
        // Locked before they are taken: a concurrent call, which finds none, must not return before
        // they are gone.
        let _one_by_one = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let mut idle = std::mem::take(&mut state.idle);
        state.counters.connections_closed += idle.len() as u64;
        drop(state);
        if let Some(idle) = idle.last_mut() {
            last(&mut idle.resource);
        }
        let count = idle.len();
        // Dropped while no other thread closes one.
        drop(idle);
        count
    }

    /// Close those that have been idle since before the last call of this. Returns whether any are
    /// left, and how many were closed.
    pub(crate) fn close_idle(&self) -> (bool, usize) {
        // Locked before they are taken: closing the slots must not end before they are gone.
        let _one_by_one = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let round = state.rounds;
        state.rounds += 1;
        let idle = std::mem::take(&mut state.idle);
        let (close, keep) = idle.into_iter().partition(|idle| idle.since < round);
        state.idle = keep;
        let close: Vec<Idle<R>> = close;
        state.counters.connections_closed += close.len() as u64;
        let is_left = !state.idle.is_empty();
        drop(state);
        let count = close.len();
        // Dropped outside the lock: closing may write to the disk.
        drop(close);
        (is_left, count)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Drop a resource outside the lock, because that may write to the disk.
    fn drop_outside(&self, resource: R, closed: bool) {
        let _one_by_one =
            closed.then(|| self.closing.lock().unwrap_or_else(PoisonError::into_inner));
        drop(resource);
    }

    fn tell_if_drained(&self, state: &State<R>) {
        if state.closed && state.is_drained() {
            self.drained.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // Nothing under this lock can panic, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    fn add_idle(&mut self, resource: R) {
        let since = self.rounds;
        self.idle.push(Idle { resource, since });
    }

    fn is_drained(&self) -> bool {
        let lost = self.abandoned + self.forgotten.min(self.dropped);
        self.counters.in_use == lost && self.opening == 0
    }
}

impl<R> Opening<'_, R> {
    /// Count a resource that was opened and is now in use. If the slots have closed meanwhile, drop
    /// it.
    pub(crate) fn opened(self, resource: R) -> Result<R, Closed> {
        let mut state = self.slots.lock();
        state.counters.connections_created += 1;
        if state.closed {
            state.counters.connections_closed += 1;
            drop(state);
            self.slots.drop_outside(resource, true);
            return Err(Closed);
        }
        state.counters.in_use += 1;
        state.counters.misses += 1;
        Ok(resource)
    }
}

impl<R> Drop for Opening<'_, R> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.opening -= 1;
        self.slots.tell_if_drained(&state);
    }
}

/// Counts a caller while it is in the queue.
struct Waiting<'a, R> {
    slots: &'a Slots<R>,
    since: Instant,
}

impl<'a, R> Waiting<'a, R> {
    fn start(slots: &'a Slots<R>) -> Waiting<'a, R> {
        slots.lock().counters.waiting += 1;
        Waiting {
            slots,
            since: Instant::now(),
        }
    }
}

impl<R> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        let waited: Duration = self.since.elapsed();
        let mut state = self.slots.lock();
        state.counters.waiting -= 1;
        state.counters.wait_time += waited;
    }
}
