//! Tries many interleavings of threads. This compiles some of the pool's sources again with the
//! locks and wait queues of shuttle, which switches threads whenever one takes a lock, waits, or
//! accesses an atomic.
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "not all of what is compiled once more is tried here, and none of it leaves"
)]

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, Weak};
    pub(crate) use shuttle_tokio_impl::sync::{
        Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError,
    };
}
#[path = "request.rs"]
mod request;
#[path = "slots/mod.rs"]
mod slots;
#[path = "stop_flag.rs"]
mod stop_flag;

use std::future::Future;
use std::task::{Context, Waker};

use shuttle::future::block_on;
use shuttle::thread;

use self::request::Request;
use self::slots::{Closed, Place, Returned, Slots, Taken};
use self::stop_flag::StopFlag;
use self::sync::{Arc, AtomicU64, Ordering};

/// How many interleavings each test tries.
const ORDERS: usize = 3_000;

/// Counts itself while it lives.
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

/// Take a resource for a place, or open one, and return it.
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
fn no_interleaving_loses_a_place() {
    let run = || {
        let slots = Arc::new(Slots::new(2, 2));
        let alive = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for returned in [Returned::Clean, Returned::Discard, Returned::Close] {
            let (slots, alive) = (Arc::clone(&slots), Arc::clone(&alive));
            threads.push(thread::spawn(move || {
                for _ in 0..2 {
                    let place = get(&slots).expect("no one closes them");
                    borrow(&slots, place, &alive, returned);
                }
            }));
        }
        // A caller that queues, and leaves again.
        let leaver = Arc::clone(&slots);
        threads.push(thread::spawn(move || {
            let mut wait = Box::pin(leaver.wait_place());
            let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            // With or without a place.
            drop((polled, wait));
        }));
        for thread in threads {
            thread.join().expect("no panic");
        }
        let stats = slots.stats();
        assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats:?}");
        let open = stats.connections_created - stats.connections_closed;
        assert_eq!(open, u64::from(stats.idle), "{stats:?}");
        assert_eq!(open, alive.load(Ordering::SeqCst));
        // No place is lost.
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
        // Waiting for the slots to drain ends when everything is gone, and not before.
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        for thread in threads {
            thread.join().expect("no panic");
        }
        let stats = slots.stats();
        assert_eq!((stats.in_use, stats.idle, stats.waiting), (0, 0, 0));
        assert_eq!(stats.connections_created, stats.connections_closed);
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn an_interrupt_hits_its_request_and_no_other() {
    let run = || {
        let flag = Arc::new(StopFlag::default());
        let request = Request::new();
        let lending = flag.lend();
        let interrupting = {
            let request = request.clone();
            thread::spawn(move || request.interrupt())
        };
        request.enter(&flag, lending);
        let next = {
            let flag = Arc::clone(&flag);
            thread::spawn(move || {
                // It is returned, and lent to another request.
                let other = Request::new();
                let lending = flag.lend();
                other.enter(&flag, lending);
                flag.must_stop()
            })
        };
        assert!(
            !next.join().expect("no panic"),
            "a late interrupt hit another"
        );
        interrupting.join().expect("no panic");
        assert!(!flag.must_stop(), "a late interrupt hit another");

        // Lent to the same request again, it is interrupted at once.
        let lending = flag.lend();
        request.enter(&flag, lending);
        assert!(flag.must_stop());
    };
    shuttle::check_dfs(run, Some(ORDERS * 10));
    shuttle::check_random(run, ORDERS);

    // In any interleaving, a connection lent to the request is stopped.
    let run = || {
        let flag = Arc::new(StopFlag::default());
        let request = Request::new();
        let lending = flag.lend();
        let interrupting = {
            let request = request.clone();
            thread::spawn(move || request.interrupt())
        };
        request.enter(&flag, lending);
        interrupting.join().expect("no panic");
        assert!(flag.must_stop());
    };
    shuttle::check_dfs(run, None);
}

#[test]
fn a_late_interrupt_does_not_replace_the_next() {
    let run = || {
        let flag = Arc::new(StopFlag::default());
        let interrupting: Vec<_> = (0..2)
            .map(|_| {
                let request = Request::new();
                request.enter(&flag, flag.lend());
                thread::spawn(move || request.interrupt())
            })
            .collect();
        for thread in interrupting {
            thread.join().expect("no panic");
        }
        assert!(flag.must_stop(), "the second was lost");
    };
    shuttle::check_dfs(run, Some(ORDERS * 10));
    shuttle::check_random(run, ORDERS);
}
