//! Threads in every order that a scheduler finds: the same sources as the pool's, compiled with the
//! locks and lines of shuttle, which switches threads wherever one takes a lock, waits, or touches
//! an atomic.
#![expect(
    dead_code,
    unreachable_pub,
    reason = "not all of what is compiled once more is tried here, and none of it leaves"
)]

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, Weak};
    pub(crate) use shuttle_tokio_impl::sync::{
        Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError,
    };
}
#[path = "gate.rs"]
mod gate;
#[path = "request.rs"]
mod request;
#[path = "slots.rs"]
mod slots;
#[path = "turn.rs"]
mod turn;
#[path = "watch.rs"]
mod watch;

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use self::gate::Gate;
use self::request::Request;
use self::slots::{Closed, Place, Returned, Slots, Taken};
use self::sync::{Arc, AtomicU64, Ordering};
use self::turn::{NoTurn, TurnQueue, Waited};
use self::watch::Watch;

/// How many orders are tried of each.
const ORDERS: usize = 3_000;

/// Counts itself for as long as it lives.
#[derive(Debug)]
struct Fake(Arc<AtomicU64>);

impl Fake {
    fn new(alive: &Arc<AtomicU64>) -> Fake {
        alive.fetch_add(1, Ordering::SeqCst);
        Fake(Arc::clone(alive))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Take a resource for a place, or open one, and give it back.
fn borrow(slots: &Slots<Fake>, place: Place, alive: &Arc<AtomicU64>, returned: Returned) {
    let resource = match slots.take(&place, |_| true) {
        Ok(Taken::Idle(resource)) => resource,
        Ok(Taken::Open(opening)) => match opening.opened(Fake::new(alive)) {
            Ok(resource) => resource,
            Err(Closed) => return,
        },
        Err(Closed) => return,
    };
    let stats = slots.stats();
    assert!((1..=2).contains(&stats.in_use), "{stats:?}");
    slots.give_back(place, resource, returned, false);
}

fn get(slots: &Slots<Fake>) -> Result<Place, Closed> {
    match slots.try_place()? {
        Some(place) => Ok(place),
        None => block_on(slots.wait_place()),
    }
}

#[test]
fn places_are_lent_and_lost_by_nobody() {
    let run = || {
        let slots = Arc::new(Slots::new(2, 2));
        let alive = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for returned in [Returned::Clean, Returned::Discard, Returned::Close] {
            let (slots, alive) = (Arc::clone(&slots), Arc::clone(&alive));
            threads.push(thread::spawn(move || {
                for _ in 0..2 {
                    let place = get(&slots).expect("nobody closes them");
                    borrow(&slots, place, &alive, returned);
                }
            }));
        }
        // One who stands in line, and goes away again.
        let leaver = Arc::clone(&slots);
        threads.push(thread::spawn(move || {
            let mut wait = Box::pin(leaver.wait_place());
            let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            // With a place or without one.
            drop((polled, wait));
        }));
        for thread in threads {
            thread.join().expect("no panic");
        }
        let stats = slots.stats();
        assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats:?}");
        let open = stats.connections_created - stats.connections_closed;
        assert_eq!(open, u64::from(stats.pool_size), "{stats:?}");
        assert_eq!(open, alive.load(Ordering::SeqCst));
        // Every place is there still.
        let both = [slots.try_place(), slots.try_place()];
        assert!(both.iter().all(|place| matches!(place, Ok(Some(_)))));
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn slots_that_close_are_drained_and_empty() {
    let run = || {
        let slots = Arc::new(Slots::new(1, 1));
        let alive = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = [Returned::Clean, Returned::Clean, Returned::Discard]
            .into_iter()
            .map(|returned| {
                let (slots, alive) = (Arc::clone(&slots), Arc::clone(&alive));
                thread::spawn(move || {
                    if let Ok(place) = get(&slots) {
                        borrow(&slots, place, &alive, returned);
                    }
                })
            })
            .collect();
        slots.close();
        block_on(slots.drained());
        slots.empty(|_| {});
        // Whoever closes the pool is told when everything is gone, and not before.
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        for thread in threads {
            thread.join().expect("no panic");
        }
        let stats = slots.stats();
        assert_eq!((stats.in_use, stats.pool_size, stats.waiting), (0, 0, 0));
        assert_eq!(stats.connections_created, stats.connections_closed);
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn one_writes_at_a_time() {
    let run = || {
        let queue = TurnQueue::<()>::new();
        let writing = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (queue, writing) = (Arc::clone(&queue), Arc::clone(&writing));
                thread::spawn(move || {
                    let request = Request::new().id();
                    for _ in 0..2 {
                        let turn = match queue.try_take(request) {
                            Ok(turn) => turn,
                            Err(NoTurn::Taken) => match block_on(queue.wait(request, None)) {
                                Waited::Turn(turn) => turn,
                                other => panic!("{other:?}"),
                            },
                            Err(other) => panic!("{other:?}"),
                        };
                        assert_eq!(writing.fetch_add(1, Ordering::SeqCst), 0);
                        // It would wait for itself.
                        assert_eq!(queue.try_take(request).err(), Some(NoTurn::Own));
                        assert_eq!(writing.fetch_sub(1, Ordering::SeqCst), 1);
                        drop(turn);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert!(queue.try_take(Request::new().id()).is_ok());
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn every_job_is_done_once() {
    let run = || {
        let queue = TurnQueue::<u64>::new();
        let done = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
                thread::spawn(move || {
                    // Each adds a digit of its own; whoever has the turn adds those of others, or
                    // leaves one to its owner.
                    let job = 10_u64.pow(number);
                    let request = Request::new().id();
                    let turn = match queue.try_take(request) {
                        Ok(turn) => turn,
                        Err(NoTurn::Taken) => match block_on(queue.wait(request, Some(job))) {
                            Waited::Turn(turn) => turn,
                            Waited::Done(done) => return assert_eq!(done, 10 * job),
                            Waited::Closed => panic!("nobody closes it"),
                        },
                        Err(other) => panic!("{other:?}"),
                    };
                    done.fetch_add(job, Ordering::SeqCst);
                    let mut taken = Vec::new();
                    while let Some(mut next) = turn.take_job() {
                        let job = next.job_mut().expect("a job");
                        if number == 1 {
                            break;
                        }
                        done.fetch_add(*job, Ordering::SeqCst);
                        *job *= 10;
                        taken.push(next);
                    }
                    turn.answer(taken, 1);
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(done.load(Ordering::SeqCst), 111);
        assert!(queue.try_take(Request::new().id()).is_ok());
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn who_leaves_the_line_has_no_job_done_and_stops_nobody() {
    let run = || {
        let queue = TurnQueue::<u64>::new();
        let done = Arc::new(AtomicU64::new(0));
        let holder = queue.try_take(Request::new().id()).expect("the turn");
        let leaving = queue.wait(Request::new().id(), Some(1));
        let staying = queue.wait(Request::new().id(), Some(2));
        let leaver = {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            thread::spawn(move || match leaving.leave() {
                true => assert_eq!(done.load(Ordering::SeqCst) & 1, 0),
                // Too late: it is done, or it is its turn.
                false => match block_on(leaving) {
                    Waited::Done(job) => assert_eq!(job, 1),
                    Waited::Turn(turn) => drop(turn),
                    Waited::Closed => panic!("nobody closes {queue:?}"),
                },
            })
        };
        let mut taken = Vec::new();
        while let Some(mut next) = holder.take_job() {
            done.fetch_add(*next.job_mut().expect("a job"), Ordering::SeqCst);
            taken.push(next);
        }
        holder.answer(taken, 1);
        drop(holder);
        match block_on(staying) {
            Waited::Done(job) => assert_eq!(job, 2),
            other => drop(other),
        }
        leaver.join().expect("no panic");
        assert!(queue.try_take(Request::new().id()).is_ok());
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_dfs(run, Some(ORDERS * 10));
}

#[test]
fn an_interrupt_hits_its_request_and_no_other() {
    let run = || {
        let watch = Arc::new(Watch::new(Duration::ZERO));
        let request = Request::new();
        let lending = watch.lend();
        let interrupting = {
            let request = request.clone();
            thread::spawn(move || request.interrupt())
        };
        request.enter(&watch, lending);
        let next = {
            let watch = Arc::clone(&watch);
            thread::spawn(move || {
                // It comes back, and goes to another request.
                let other = Request::new();
                let lending = watch.lend();
                other.enter(&watch, lending);
                watch.must_stop()
            })
        };
        assert!(
            !next.join().expect("no panic"),
            "a late interrupt hit another"
        );
        interrupting.join().expect("no panic");
        assert!(!watch.must_stop(), "a late interrupt hit another");

        // Lent to the same request again, it is over at once.
        let lending = watch.lend();
        request.enter(&watch, lending);
        assert!(watch.must_stop());
    };
    shuttle::check_dfs(run, Some(ORDERS * 10));
    shuttle::check_random(run, ORDERS);

    // However it comes between, a connection that is lent to the request is stopped.
    let run = || {
        let watch = Arc::new(Watch::new(Duration::ZERO));
        let request = Request::new();
        let lending = watch.lend();
        let interrupting = {
            let request = request.clone();
            thread::spawn(move || request.interrupt())
        };
        request.enter(&watch, lending);
        interrupting.join().expect("no panic");
        assert!(watch.must_stop());
    };
    shuttle::check_dfs(run, None);
}

#[test]
fn nobody_begins_to_read_behind_a_closed_gate() {
    let run = || {
        let gate = Arc::new(Gate::default());
        let watch = Arc::new(Watch::new(Duration::ZERO));
        let reads = Arc::new(AtomicU64::new(0));
        let reader = {
            let (gate, watch, reads) = (Arc::clone(&gate), Arc::clone(&watch), Arc::clone(&reads));
            thread::spawn(move || {
                for _ in 0..2 {
                    loop {
                        watch.start_reading();
                        if !gate.is_closed() {
                            break;
                        }
                        watch.end_reading();
                        block_on(gate.opened());
                    }
                    reads.fetch_add(1, Ordering::SeqCst);
                    watch.end_reading();
                }
            })
        };
        let closed = gate.close();
        while watch.read_under_way().is_some() {
            thread::yield_now();
        }
        let before = reads.load(Ordering::SeqCst);
        thread::yield_now();
        // Whatever it said of itself meanwhile, it has not read.
        assert_eq!(reads.load(Ordering::SeqCst), before);
        drop(closed);
        reader.join().expect("a reader who was let in");
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}
