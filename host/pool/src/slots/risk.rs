//! Resources in use in a way that may end in abandoning them: how many may be, and who waits.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{MutexGuard, Slots, State};

/// Those that have a [`Risk`], and those that wait for one.
#[derive(Debug, Default)]
pub(super) struct Risks {
    /// How many there are.
    taken: u32,
    /// In order.
    waiters: BTreeMap<u64, RiskWaiter>,
    /// The number of the next one.
    next: u64,
}

/// The permission to use a resource in a way that may end in abandoning it. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Risk<'a, R> {
    slots: &'a Slots<R>,
    at_once: bool,
}

/// A caller that waits for a [`Risk`], until this is dropped.
#[derive(Debug)]
pub(crate) struct RiskWait<'a, R> {
    slots: &'a Slots<R>,
    number: u64,
}

/// How a caller that waits for a [`Risk`] has last asked.
#[derive(Debug)]
struct RiskWaiter {
    asked: Instant,
    waker: Waker,
}

impl<R> Slots<R> {
    /// Ask to use a resource in a way that may end in abandoning it. Refused if others wait for
    /// that, or at the limit: all but a quarter, rounded down; or a quarter, at least two, once any
    /// is abandoned or its call dropped, and these count. Never refused if `at_once`: the others
    /// may wait for that one.
    pub(crate) fn try_risk(&self, at_once: bool) -> Option<Risk<'_, R>> {
        let mut state = self.lock();
        let may = at_once || state.may_risk(u64::MAX);
        may.then(|| self.risk(&mut state, at_once))
    }

    /// Wait for a [`Risk`], in the order of these calls.
    pub(crate) fn wait_risk(&self) -> RiskWait<'_, R> {
        let mut state = self.lock();
        let number = state.risks.next;
        state.risks.next += 1;
        // The number is new.
        let _ = state.note_asked(number, Waker::noop().clone());
        RiskWait {
            slots: self,
            number,
        }
    }

    fn risk(&self, state: &mut State<R>, at_once: bool) -> Risk<'_, R> {
        state.risks.taken += 1;
        Risk {
            slots: self,
            at_once,
        }
    }
}

impl<R> State<R> {
    /// Note that the one that waits as `number` for a [`Risk`] asks now. Returns its former entry,
    /// to be dropped after unlocking.
    #[must_use]
    fn note_asked(&mut self, number: u64, waker: Waker) -> Option<RiskWaiter> {
        let asked = Instant::now();
        let waiter = RiskWaiter { asked, waker };
        self.risks.waiters.insert(number, waiter)
    }

    /// The first that waits for a [`Risk`], if there is room.
    fn next_risk_waiter(&self) -> Option<&RiskWaiter> {
        let mut waiters = self.risks.waiters.values();
        waiters.find(|waiter| self.has_room() && waiter.has_asked_lately())
    }

    /// Whether the one that waits as `number` may use a resource in a way that may end in
    /// abandoning it: if there is room, and no one before it has asked lately.
    fn may_risk(&self, number: u64) -> bool {
        let mut before = self.risks.waiters.range(..number);
        self.has_room() && !before.any(|(_, waiter)| waiter.has_asked_lately())
    }

    /// Whether there is room for one more of these.
    fn has_room(&self) -> bool {
        let (size, quarter) = (self.counters.max_size, self.counters.max_size / 4);
        let lost = self.abandoned + self.dropped;
        let most = match lost {
            0 => size - quarter,
            _ => quarter.max(2),
        };
        lost + self.risks.taken < most
    }
}

/// Wake the first that waits for a [`Risk`], if there is room. When that leaves the queue, this is
/// called for the next. Unlocks the slots before: a waker is a stranger's code, and may drop a task
/// that needs them.
pub(super) fn wake_risk_waiter<R>(state: MutexGuard<'_, State<R>>) {
    let next = state.next_risk_waiter();
    let waker = next.map(|waiter| waiter.waker.clone());
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl RiskWaiter {
    fn has_asked_lately(&self) -> bool {
        /// Those that wait ask every 10 ms, unless their futures are not polled, or late: those
        /// must not hold up the others.
        const LATELY: Duration = Duration::from_millis(30);
        self.asked.elapsed() < LATELY
    }
}

impl<'a, R> RiskWait<'a, R> {
    /// Take it, if there is room. Call it again when it wakes `waker`, and every 10 ms: one before
    /// may have been woken in vain.
    pub(crate) fn try_risk(&mut self, waker: &Waker) -> Option<Risk<'a, R>> {
        let waker = waker.clone();
        let mut state = self.slots.lock();
        let former = state.note_asked(self.number, waker);
        let may = state.may_risk(self.number);
        let risk = may.then(|| self.slots.risk(&mut state, false));
        drop(state);
        drop(former);
        risk
    }
}

impl<R> Drop for RiskWait<'_, R> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        let waiter = state.risks.waiters.remove(&self.number);
        wake_risk_waiter(state);
        drop(waiter);
    }
}

impl<R> Risk<'_, R> {
    /// Whether it was given although there may be no room.
    pub(crate) fn at_once(&self) -> bool {
        self.at_once
    }
}

impl<R> Drop for Risk<'_, R> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.risks.taken -= 1;
        wake_risk_waiter(state);
    }
}
