//! Checks the invariants after every possible sequence of a few steps.
//!
//! The slots are a state machine behind one lock, and the tests poll their futures by hand, so
//! trying all sequences tries all orders of these steps. Each step is polled until it waits before
//! the next begins. The tests below cover what can happen between taking a place and taking its
//! resource.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::slots::*;

/// Counts itself while it lives, so that a lost or duplicated resource shows.
#[derive(Debug)]
struct Fake(Arc<AtomicU32>);

impl Fake {
    fn new(alive: &Arc<AtomicU32>) -> Fake {
        alive.fetch_add(1, Ordering::Relaxed);
        Fake(Arc::clone(alive))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    /// Get a connection; if one must be opened, opening fails.
    GetUnopenable,
    Return(Returned),
    /// The caller that has waited longest stops waiting.
    CancelFirst,
    CancelLast,
    TimeOutFirst,
    CloseIdle,
    Close,
}

const ACTIONS: [Action; 10] = [
    Action::Get,
    Action::GetUnopenable,
    Action::Return(Returned::Clean),
    Action::Return(Returned::Close),
    Action::Return(Returned::Discard),
    Action::CancelFirst,
    Action::CancelLast,
    Action::TimeOutFirst,
    Action::CloseIdle,
    Action::Close,
];

type Wait<'a> = Pin<Box<dyn Future<Output = Result<Place, Closed>> + 'a>>;

struct Waiter<'a> {
    future: Wait<'a>,
    can_open: bool,
}

struct World<'a> {
    slots: &'a Slots<Fake>,
    max_size: u32,
    max_idle: u32,
    alive: Arc<AtomicU32>,
    held: VecDeque<(Place, Fake)>,
    waiting: VecDeque<Waiter<'a>>,
    closed: bool,
    lent: u64,
    timeouts: u64,
    discarded: u64,
}

impl<'a> World<'a> {
    fn step(&mut self, action: Action) {
        match action {
            Action::Get | Action::GetUnopenable => self.get(action == Action::Get),
            Action::Return(returned) => {
                if let Some((place, fake)) = self.held.pop_front() {
                    self.discarded += u64::from(returned == Returned::Discard);
                    self.slots.give_back(place, fake, returned, false);
                }
            }
            Action::CancelFirst => drop(self.waiting.pop_front()),
            Action::CancelLast => drop(self.waiting.pop_back()),
            Action::TimeOutFirst => {
                if let Some(waiter) = self.waiting.pop_front() {
                    drop(waiter);
                    assert_eq!(self.slots.timed_out() as usize, self.held.len());
                    self.timeouts += 1;
                }
            }
            Action::CloseIdle => {
                let (left, _) = self.slots.close_idle();
                assert_eq!(left, self.slots.stats().idle > 0);
            }
            Action::Close => {
                self.slots.close();
                self.closed = true;
            }
        }
        self.poll();
        self.check();
    }

    fn get(&mut self, can_open: bool) {
        match self.slots.try_place() {
            Err(Closed) => assert!(self.closed),
            Ok(Some(place)) => self.take(place, can_open),
            Ok(None) => {
                let future = Box::pin(self.slots.wait_place());
                self.waiting.push_back(Waiter { future, can_open });
            }
        }
    }

    fn take(&mut self, place: Place, can_open: bool) {
        match self.slots.take(&place, |_| false) {
            Err(Closed) => assert!(self.closed),
            Ok(Taken::Idle(fake)) => {
                self.lent += 1;
                self.held.push_back((place, fake));
            }
            Ok(Taken::Open(opening)) if can_open => {
                let fake = opening.opened(Fake::new(&self.alive)).expect("not closed");
                self.lent += 1;
                self.held.push_back((place, fake));
            }
            Ok(Taken::Open(_)) => drop(place),
        }
    }

    /// Poll every caller in the queue, the last first: the first must still be served first.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut served = None;
            for (index, waiter) in self.waiting.iter_mut().enumerate().rev() {
                if let Poll::Ready(place) = waiter.future.as_mut().poll(&mut context) {
                    served = Some((index, place));
                    break;
                }
            }
            let Some((index, place)) = served else {
                return;
            };
            let waiter = self.waiting.remove(index).expect("it was there");
            match place {
                Ok(place) => {
                    assert_eq!(index, 0, "served out of order");
                    drop(waiter.future);
                    self.take(place, waiter.can_open);
                }
                Err(Closed) => assert!(self.closed),
            }
        }
    }

    fn check(&self) {
        let stats = self.slots.stats();
        let in_use = self.held.len() as u32;
        assert_eq!(stats.in_use, in_use);
        assert_eq!(stats.waiting as usize, self.waiting.len());
        assert_eq!(stats.hits + stats.misses, self.lent);
        assert_eq!(stats.timeouts, self.timeouts);
        assert_eq!(stats.discarded, self.discarded);
        let open = stats.connections_created - stats.connections_closed;
        assert_eq!(open, u64::from(stats.idle + in_use));
        assert_eq!(self.alive.load(Ordering::Relaxed), stats.idle + in_use);
        assert!(stats.idle <= self.max_idle);
        assert!(stats.idle + in_use <= self.max_size);
        if !self.waiting.is_empty() {
            assert!(!self.closed, "a caller waits for closed slots");
            assert_eq!(in_use, self.max_size, "a caller waits beside a free place");
        }
    }

    /// Whatever happened, nothing is lost: every place can be taken again, or closed.
    fn end(mut self) {
        self.waiting.clear();
        while !self.held.is_empty() {
            self.step(Action::Return(Returned::Clean));
        }
        if self.closed {
            assert!(self.slots.try_place().is_err());
            let drained = std::pin::pin!(self.slots.drained());
            assert!(
                drained
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_ready()
            );
        } else {
            for _ in 0..self.max_size {
                self.get(true);
            }
            assert_eq!(self.held.len() as u32, self.max_size);
            while !self.held.is_empty() {
                self.step(Action::Return(Returned::Clean));
            }
        }
        self.slots.empty(|_| {});
        assert_eq!(self.alive.load(Ordering::Relaxed), 0);
        let stats = self.slots.stats();
        assert_eq!(stats.connections_created, stats.connections_closed);
    }
}

fn run(max_size: u32, max_idle: u32, actions: &[Action]) {
    let slots = Slots::new(max_size, max_idle);
    let mut world = World {
        slots: &slots,
        max_size,
        max_idle,
        alive: Arc::default(),
        held: VecDeque::new(),
        waiting: VecDeque::new(),
        closed: false,
        lent: 0,
        timeouts: 0,
        discarded: 0,
    };
    for action in actions {
        world.step(*action);
    }
    world.end();
}

/// All sequences of `length` actions.
fn every_sequence(length: u32, mut run: impl FnMut(&[Action])) {
    let mut sequence = vec![ACTIONS[0]; length as usize];
    for mut number in 0..ACTIONS.len().pow(length) {
        for action in &mut sequence {
            *action = ACTIONS[number % ACTIONS.len()];
            number /= ACTIONS.len();
        }
        run(&sequence);
    }
}

#[test]
fn nothing_is_lost_in_any_sequence() {
    every_sequence(6, |sequence| run(1, 1, sequence));
}

#[test]
fn nothing_is_lost_in_any_sequence_of_two_places() {
    every_sequence(5, |sequence| run(2, 1, sequence));
    // Two in use and three in the queue before anything else.
    let full = [Action::Get; 5];
    every_sequence(4, |sequence| run(2, 2, &[&full, sequence].concat()));
}

#[test]
fn nothing_is_lost_without_idle_connections() {
    every_sequence(5, |sequence| run(2, 0, sequence));
}

#[test]
fn closing_waits_for_a_connection_being_opened_and_drops_it() {
    let slots = Slots::new(1, 1);
    let alive = Arc::default();
    let place = slots.try_place().expect("open").expect("a place");
    let Ok(Taken::Open(opening)) = slots.take(&place, |_| true) else {
        panic!("there is nothing idle");
    };
    slots.close();
    let mut drained = std::pin::pin!(slots.drained());
    let mut context = Context::from_waker(Waker::noop());
    assert!(drained.as_mut().poll(&mut context).is_pending());
    assert_eq!(
        opening.opened(Fake::new(&alive)).expect_err("closed"),
        Closed
    );
    assert!(drained.as_mut().poll(&mut context).is_ready());
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    let stats = slots.stats();
    assert_eq!(
        (stats.connections_created, stats.connections_closed),
        (1, 1)
    );
}

#[test]
fn what_was_idle_between_two_looks_is_closed() {
    let slots = Slots::new(2, 2);
    let alive = Arc::default();
    slots.add_idle(Fake::new(&alive));
    assert_eq!(slots.close_idle(), (true, 0));
    // One that was used meanwhile stays.
    slots.add_idle(Fake::new(&alive));
    let place = slots.try_place().expect("open").expect("a place");
    let Ok(Taken::Idle(used)) = slots.take(&place, |_| true) else {
        panic!("one is idle");
    };
    slots.give_back(place, used, Returned::Clean, false);
    assert_eq!(slots.close_idle(), (true, 1));
    assert_eq!(alive.load(Ordering::Relaxed), 1);
    assert_eq!(slots.close_idle(), (false, 1));
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn those_that_wait_for_a_risk_are_woken_one_after_the_other() {
    let slots = Slots::<Fake>::new(4, 4);
    let taken: Vec<_> = (0..3)
        .map(|_| slots.try_risk(false).expect("room"))
        .collect();
    let woken = [(); 2].map(|()| Arc::<Woken>::default());
    let times = || [0, 1].map(|of: usize| woken[of].0.load(Ordering::Relaxed));
    let wakers = [0, 1].map(|of: usize| Waker::from(Arc::clone(&woken[of])));
    let (mut first, mut second) = (slots.wait_risk(), slots.wait_risk());
    assert!(first.try_risk(&wakers[0]).is_none());
    assert!(second.try_risk(&wakers[1]).is_none());
    assert_eq!(times(), [0, 0]);
    drop(taken);
    assert_eq!(times()[1], 0, "the first one comes first");
    assert!(times()[0] > 0);
    let _risk = first.try_risk(&wakers[0]).expect("room");
    assert_eq!(times()[1], 0);
    drop(first);
    assert_eq!(times()[1], 1);
    assert!(second.try_risk(&wakers[1]).is_some());
}

#[test]
fn those_that_wait_for_a_risk_are_not_overtaken() {
    let slots = Slots::<Fake>::new(4, 4);
    let mut taken: Vec<_> = (0..3)
        .map(|_| slots.try_risk(false).expect("room"))
        .collect();
    assert!(slots.try_risk(false).is_none());
    let (mut first, mut second) = (slots.wait_risk(), slots.wait_risk());
    assert!(first.try_risk(Waker::noop()).is_none());
    taken.pop();
    // There is room, but not for one that comes later.
    assert!(slots.try_risk(false).is_none());
    assert!(second.try_risk(Waker::noop()).is_none());
    assert!(slots.wait_risk().try_risk(Waker::noop()).is_none());
    // One that others wait for does not wait for them.
    drop(slots.try_risk(true).expect("at once"));
    taken.push(first.try_risk(Waker::noop()).expect("room"));
    drop(first);
    assert!(second.try_risk(Waker::noop()).is_none());
    taken.clear();
    // Once something is abandoned, there is room for one more.
    slots.abandon();
    taken.push(second.try_risk(Waker::noop()).expect("room"));
    drop(second);
    assert!(slots.try_risk(false).is_none());
    // One that no longer asks is overtaken.
    let (idle, mut third) = (slots.wait_risk(), slots.wait_risk());
    taken.pop();
    let since = Instant::now();
    taken.push(loop {
        if let Some(risk) = third.try_risk(Waker::noop()) {
            break risk;
        }
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    });
    drop((idle, third));
    taken.clear();
    assert!(slots.try_risk(false).is_some());
}
