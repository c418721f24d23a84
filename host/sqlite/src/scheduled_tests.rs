//! Tries many interleavings of threads. This compiles some of the crate's sources again with the
//! locks and wait queues of shuttle, which switches threads whenever one takes a lock, waits, or
//! accesses an atomic.
#![expect(
    dead_code,
    reason = "not all of what is compiled once more is tried here"
)]

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use shuttle_tokio_impl::sync::Notify;
}
#[path = "writers/gate.rs"]
mod gate;
#[path = "deadline/progress.rs"]
mod progress;
#[path = "writers/queue.rs"]
mod queue;

use std::time::Duration;

use millpond_pool::engine::RequestId;
use shuttle::future::block_on;
use shuttle::thread;

use self::gate::Gate;
use self::progress::Watch;
use self::queue::{NoTurn, TurnQueue, Waited};
use self::sync::{Arc, AtomicU64, Ordering};

/// How many interleavings each test tries.
const ORDERS: usize = 3_000;

#[test]
fn one_writes_at_a_time() {
    let run = || {
        let queue = TurnQueue::<()>::new();
        let writing = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (queue, writing) = (Arc::clone(&queue), Arc::clone(&writing));
                thread::spawn(move || {
                    let request = RequestId::new();
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
        assert!(queue.try_take(RequestId::new()).is_ok());
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
                    // Each job adds its own power of ten. The holder of the turn does the jobs of
                    // others, or leaves one to its owner.
                    let job = 10_u64.pow(number);
                    let request = RequestId::new();
                    let turn = match queue.try_take(request) {
                        Ok(turn) => turn,
                        Err(NoTurn::Taken) => match block_on(queue.wait(request, Some(job))) {
                            Waited::Turn(turn) => turn,
                            Waited::Done(done) => return assert_eq!(done, 10 * job),
                            Waited::Closed => panic!("no one closes it"),
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
        assert!(queue.try_take(RequestId::new()).is_ok());
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}

#[test]
fn leaving_the_queue_cancels_the_job_and_blocks_no_other() {
    let run = || {
        let queue = TurnQueue::<u64>::new();
        let done = Arc::new(AtomicU64::new(0));
        let holder = queue.try_take(RequestId::new()).expect("the turn");
        let leaving = queue.wait(RequestId::new(), Some(1));
        let staying = queue.wait(RequestId::new(), Some(2));
        let leaver = {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            thread::spawn(move || match leaving.leave() {
                true => assert_eq!(done.load(Ordering::SeqCst) & 1, 0),
                // Too late: the job is done, or its turn has come.
                false => match block_on(leaving) {
                    Waited::Done(job) => assert_eq!(job, 1),
                    Waited::Turn(turn) => drop(turn),
                    Waited::Closed => panic!("no one closes {queue:?}"),
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
        assert!(queue.try_take(RequestId::new()).is_ok());
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_dfs(run, Some(ORDERS * 10));
}

#[test]
fn no_read_begins_while_the_gate_is_closed() {
    let run = || {
        let gate = Arc::new(Gate::default());
        let watch = Arc::new(Watch::new(std::sync::Arc::default(), Duration::ZERO));
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
        // Whatever it recorded meanwhile, it has not read.
        assert_eq!(reads.load(Ordering::SeqCst), before);
        drop(closed);
        reader.join().expect("a reader who was let in");
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}
