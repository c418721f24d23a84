//! The heart of the pool: a bounded number of slots, the idle resources in them, and the counters.
//!
//! It knows nothing of SQLite, so that fakes can test it. Whoever gets a place may hold one
//! resource; places are given out in the order that callers came.
//!
//! Invariants, whenever the lock is free:
//! - `created - closed == idle + in use`, and `idle + in use <= max_size`;
//! - a place is held by at most one caller, and dropping it hands it to the next in line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::stats::PoolStats;

#[derive(Debug)]
pub(crate) struct Slots<R> {
    /// First in, first out; a waiter that is dropped leaves the line and loses nothing.
    places: Arc<Semaphore>,
    state: Mutex<State<R>>,
    /// Told whenever the last resource in use comes back to closed slots.
    drained: Notify,
    max_idle: usize,
}

#[derive(Debug)]
struct State<R> {
    /// The last is the one used last, and so the warmest.
    idle: Vec<R>,
    closed: bool,
    counters: PoolStats,
}

/// The right to hold one resource. Dropped, it goes to the next in line.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    waited: bool,
}

/// The slots are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// In what state a resource comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// As new: to be lent again.
    Clean,
    /// Its holder asked for it to be closed.
    Close,
    /// It could not be made as new.
    Discard,
}

impl<R> Slots<R> {
    pub(crate) fn new(max_size: u32, max_idle: u32) -> Slots<R> {
        Slots {
            places: Arc::new(Semaphore::new(max_size as usize)),
            state: Mutex::new(State {
                idle: Vec::with_capacity(max_idle as usize),
                closed: false,
                counters: PoolStats {
                    max_pool_size: max_size,
                    ..PoolStats::default()
                },
            }),
            drained: Notify::new(),
            max_idle: max_idle as usize,
        }
    }

    /// A place if one is free and nobody is ahead in line.
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

    /// Stand in line for a place. Dropping the future leaves the line.
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

    /// Count a caller that gave up, and tell how many resources were in use.
    pub(crate) fn timed_out(&self) -> u32 {
        let mut state = self.lock();
        state.counters.timeouts += 1;
        state.counters.in_use
    }

    /// An idle resource for `place`: the warmest that `prefer` likes, or else the warmest.
    /// `None` where the holder of the place is to open one.
    pub(crate) fn take_idle(
        &self,
        place: &Place,
        prefer: impl Fn(&R) -> bool,
    ) -> Result<Option<R>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        let Some(last) = state.idle.len().checked_sub(1) else {
            return Ok(None);
        };
        let index = state.idle.iter().rposition(prefer).unwrap_or(last);
        let resource = state.idle.remove(index);
        state.counters.in_use += 1;
        state.counters.connections_reused += 1;
        if place.waited {
            state.counters.pool_misses += 1;
        } else {
            state.counters.pool_hits += 1;
        }
        Ok(Some(resource))
    }

    /// Count a resource that the holder of a place has opened and now uses.
    pub(crate) fn opened(&self) {
        let mut state = self.lock();
        state.counters.connections_created += 1;
        state.counters.in_use += 1;
        state.counters.pool_misses += 1;
    }

    /// Put in a resource that nobody has used yet.
    pub(crate) fn add_idle(&self, resource: R) {
        let mut state = self.lock();
        state.counters.connections_created += 1;
        state.idle.push(resource);
    }

    /// Give a resource back, and its place to the next in line.
    pub(crate) fn give_back(
        &self,
        place: Place,
        resource: R,
        returned: Returned,
        rolled_back: bool,
    ) {
        let mut state = self.lock();
        state.counters.rolled_back += u64::from(rolled_back);
        state.counters.discarded += u64::from(returned == Returned::Discard);
        if returned == Returned::Clean && !state.closed && state.idle.len() < self.max_idle {
            state.idle.push(resource);
            state.counters.in_use -= 1;
            drop(state);
        } else {
            // Dropped outside the lock: closing may write to the disk. It still counts as in
            // use meanwhile, so that nobody who waits for the slots to drain comes too early.
            drop(state);
            drop(resource);
            let mut state = self.lock();
            state.counters.connections_closed += 1;
            state.counters.in_use -= 1;
            if state.closed && state.counters.in_use == 0 {
                self.drained.notify_waiters();
            }
        }
        drop(place);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        PoolStats {
            pool_size: state.idle.len() as u32,
            ..state.counters
        }
    }

    /// Refuse everybody from now on, those in line first of all.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
    }

    /// Wait until nothing is in use any more. Only after [`close`](Slots::close).
    pub(crate) async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            if self.lock().counters.in_use == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Take out every idle resource, for the caller to close.
    pub(crate) fn empty(&self) -> Vec<R> {
        let mut state = self.lock();
        let idle = std::mem::take(&mut state.idle);
        state.counters.connections_closed += idle.len() as u64;
        idle
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // Nothing that can panic runs under this lock, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a caller in line, for as long as it stands there.
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

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
