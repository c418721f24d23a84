//! A connection while it is lent: where it is, who uses it, and how it goes back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::clock::{self, NEVER};
use crate::db::{Answer, Attempt, Db, Job, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Shared;
use crate::request::RequestId;
use crate::slots::{Place, Returned};
use crate::turn::Waited;
use crate::watch::Watch;
use crate::worker::hand_over;

/// How long after it should have ended a call is abandoned. Hardly any takes a quarter of it to
/// notice, and ten times as long where the code is not optimised.
const PATIENCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });
/// How long the caller of what runs aside keeps its worker; and how often it looks, from then on,
/// whether it has waited for long enough.
const QUICK: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a connection and the handles of its statements, cursors and transaction share.
#[derive(Debug)]
pub(crate) struct Lent {
    pool: Arc<Shared>,
    request: RequestId,
    watch: Arc<Watch>,
    /// The number of this lending, for the watch.
    lending: u64,
    /// Until when it may be held, by `clock`.
    hold_until: u64,
    /// The pool took it back before its borrower gave it.
    overdue: AtomicBool,
    held: Mutex<Holding>,
    /// Told when it is no longer [`Aside`](Holding::Aside).
    back: Condvar,
}

/// Where the connection is.
#[derive(Debug)]
enum Holding {
    Here(Held),
    /// On its own thread, whose caller waits for it, and takes care that this does not last.
    Aside,
    /// It has gone back, or never will be here again.
    Gone,
}

#[derive(Debug)]
struct Held {
    db: Box<Db>,
    place: Place,
    /// Its part of what its grant may hold.
    _share: Option<OwnedSemaphorePermit>,
    /// Where the pool's list of connections in use has it.
    entry: usize,
}

impl Holding {
    fn take(&mut self) -> Option<Held> {
        match std::mem::replace(self, Holding::Gone) {
            Holding::Here(held) => Some(held),
            _ => None,
        }
    }
}

impl Lent {
    pub(crate) fn new(
        pool: Arc<Shared>,
        db: Box<Db>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        request: RequestId,
        lending: u64,
        hold_until: u64,
    ) -> Arc<Lent> {
        let watch = Arc::clone(db.watch());
        Arc::new_cyclic(|lent| {
            let entry = pool.enter(lent.clone());
            Lent {
                pool,
                request,
                watch,
                lending,
                hold_until,
                overdue: AtomicBool::new(false),
                held: Mutex::new(Holding::Here(Held {
                    db,
                    place,
                    _share: share,
                    entry,
                })),
                back: Condvar::new(),
            }
        })
    }

    /// Do something with the connection, unless it has gone back.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Db) -> T) -> Result<T> {
        match &mut *self.held() {
            Holding::Here(held) => {
                let _scope = held.db.enter();
                Ok(work(&mut held.db))
            }
            _ => Err(self.stale()),
        }
    }

    /// Run SQL on the connection, unless it has gone back or been held for too long.
    fn call<T>(&self, work: impl FnOnce(&mut Db) -> T) -> Result<T> {
        let now = clock::now();
        if now >= self.hold_until {
            self.end_overdue();
        }
        self.with(|db| {
            db.start_call(now, self.hold_until);
            let result = work(db);
            db.end_call();
            result
        })
    }

    /// As [`call`](Lent::call), on the connection's own thread. Blocks until it is done, or is
    /// abandoned. It ends by `bounds`, where these are what is left of an attempt to run it here.
    #[cold]
    #[inline(never)]
    fn call_aside<T: Send + 'static>(
        self: &Arc<Lent>,
        work: impl FnOnce(&mut Db) -> T + Send + 'static,
        bounds: Option<(u64, u64)>,
    ) -> Result<T> {
        self.end_overdue();
        let mut holding = self.held();
        let Holding::Here(held) = &mut *holding else {
            return Err(self.stale());
        };
        let thread = match held.db.thread() {
            Ok(thread) => thread,
            Err(error) => {
                held.db.settle();
                return Err(error);
            }
        };
        let Some(mut held) = holding.take() else {
            return Err(self.stale());
        };
        *holding = Holding::Aside;
        self.watch.start_abandonable();
        if bounds.is_none() {
            // Its time begins on its thread.
            self.watch.set_bounds((NEVER, NEVER));
        }
        drop(holding);

        let (sender, receiver) = sync_channel(1);
        let lent = Arc::clone(self);
        thread.run(move || {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let _scope = held.db.enter();
                held.db.start_call_aside(lent.hold_until, bounds);
                let result = work(&mut held.db);
                held.db.end_call();
                result
            }));
            let whole = result.is_ok();
            lent.come_back(held, whole, || drop(sender.send(result)));
        });
        drop(thread);
        self.wait_for(&receiver)?
            .or_else(|panic| resume_unwind(panic))
    }

    /// What runs aside has ended. Where it was not abandoned, its caller is told before the lock is
    /// free: a caller that finds the connection [`Aside`](Holding::Aside) under the lock, and has
    /// not been told, can abandon it.
    fn come_back(&self, held: Held, whole: bool, tell: impl FnOnce()) {
        let mut holding = self.lock();
        let waited_for = matches!(*holding, Holding::Aside);
        let returned = match waited_for {
            true if whole => {
                *holding = Holding::Here(held);
                tell();
                self.back.notify_all();
                return;
            }
            true => Returned::Close,
            false => Returned::Abandoned,
        };
        *holding = Holding::Gone;
        tell();
        self.back.notify_all();
        drop(holding);
        self.take_back(held, returned);
    }

    /// Wait for what runs aside: how its thread ended, or that it was abandoned.
    fn wait_for<T>(&self, receiver: &Receiver<thread::Result<T>>) -> Result<thread::Result<T>> {
        if let Ok(result) = receiver.recv_timeout(QUICK) {
            return Ok(result);
        }
        hand_over();
        let mut overdue_since = None;
        loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                // It tells before it ends, or the thread is gone, and the connection with it.
                Err(RecvTimeoutError::Disconnected) => {
                    *self.lock() = Holding::Gone;
                    self.back.notify_all();
                    return Err(self.stale());
                }
            }
            if !self.watch.must_stop() {
                overdue_since = None;
                continue;
            }
            let since = *overdue_since.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                continue;
            }
            let mut holding = self.lock();
            if let Ok(result) = receiver.try_recv() {
                return Ok(result);
            }
            // Before the thread can notice, and end it.
            let in_transaction = self.watch.is_in_transaction();
            // What commits just now is waited for: its caller is to know what came of it.
            if self.watch.abandon() {
                *holding = Holding::Gone;
                self.back.notify_all();
                // Before the thread can find that it is gone, and give the connection back.
                self.pool.abandoned();
                drop(holding);
                self.pool.warn_of_abandoned();
                let error = Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the statement ran out of time, and SQLite did not stop: its connection is closed",
                );
                return Err(match in_transaction {
                    true => error.with_rolled_back(),
                    false => error,
                });
            }
        }
    }

    fn stale(&self) -> Error {
        if self.overdue.load(Ordering::Relaxed) {
            return Error::new(
                ErrorKind::StaleHandle,
                "the connection was held for too long and has been taken back",
            );
        }
        Error::stale_connection()
    }

    /// Run work that never waits for the turn to write, here or aside.
    pub(crate) fn attempt_now<T: Send + 'static, W>(
        self: &Arc<Lent>,
        work: impl FnOnce(&mut Db) -> Attempt<T>,
        aside: impl Fn() -> W,
    ) -> Result<T>
    where
        W: FnOnce(&mut Db) -> Attempt<T> + Send + 'static,
    {
        let mut attempt = self.call(work)?;
        // Each time, it gets further.
        while matches!(attempt, Err(Stop::Aside)) {
            attempt = self.call_aside(aside(), Some(self.watch.bounds()))?;
        }
        attempt.map_err(Stop::into_error)
    }

    /// Do something that may need the turn to write, waiting for it where it must. The
    /// connection is not locked meanwhile: the pool can end it.
    pub(crate) async fn attempt<T: Send + 'static, W>(
        self: &Arc<Lent>,
        work: impl FnMut(&mut Db) -> Attempt<T>,
        aside: impl Fn() -> W,
    ) -> Result<T>
    where
        W: FnOnce(&mut Db) -> Attempt<T> + Send + 'static,
    {
        self.attempt_or(work, aside, |_| None, |_| None).await
    }

    /// As [`attempt`](Lent::attempt), for work that the holder of the turn may run on our behalf
    /// (`job`, whose answer `from_answer` reads). `aside` makes an owned copy of the work, for the
    /// connection's own thread.
    pub(crate) async fn attempt_or<T: Send + 'static, W>(
        self: &Arc<Lent>,
        mut work: impl FnMut(&mut Db) -> Attempt<T>,
        aside: impl Fn() -> W,
        job: impl FnOnce(&Db) -> Option<Job>,
        from_answer: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T>
    where
        W: FnOnce(&mut Db) -> Attempt<T> + Send + 'static,
    {
        let mut job = Some(job);
        let mut from_answer = Some(from_answer);
        // Also after waiting for the turn: another attempt here would lose it again.
        let mut goes_aside = false;
        // What is left of its time where it has to begin anew there.
        let mut again = None;
        loop {
            let mut stop = Stop::Aside;
            let mut bounds = again.take();
            if !goes_aside {
                stop = match self.call(|db| settled(db, &mut work))? {
                    Ok(done) => return Ok(done),
                    Err(stop) => stop,
                };
                bounds = Some(self.watch.bounds());
            }
            if matches!(stop, Stop::Aside) {
                goes_aside = true;
                let work = aside();
                stop = match self.call_aside(|db| settled(db, work), bounds)? {
                    Ok(done) => return Ok(done),
                    Err(stop) => stop,
                };
            }
            match stop {
                Stop::Gate => Box::pin(self.pool.wait_gate(&self.watch)).await,
                Stop::Turn => {
                    let job = match job.take() {
                        Some(job) => self.with(|db| job(db))?,
                        None => None,
                    };
                    let waited = self.pool.wait_turn(self.request, &self.watch, job);
                    match Box::pin(waited).await? {
                        Waited::Turn(turn) => self.with(|db| db.take_turn(turn))?,
                        Waited::Closed => return Err(Error::closed()),
                        Waited::Done(job) => {
                            let (answer, told) = job.into_answer();
                            // If the pool has taken the connection back, it is of no use.
                            let _ = self.with(|db| {
                                db.set_told(told);
                                db.note_run_elsewhere();
                            });
                            let from_answer = from_answer.take();
                            let done = answer
                                .zip(from_answer)
                                .and_then(|(answer, from)| from(answer));
                            return done.ok_or_else(|| {
                                Error::new(ErrorKind::Other, "another statement was answered")
                            });
                        }
                    }
                }
                Stop::Error(error) => return Err(error),
                Stop::Aside => again = Some(self.watch.bounds()),
            }
        }
    }

    /// Stop whatever runs on the connection, and take it from its borrower, to be closed.
    pub(crate) fn end(&self) {
        self.watch.stop(self.lending);
        self.give_back(true);
    }

    /// Take the connection back, if it has been held for too long. Does not wait: one on which a
    /// statement runs is left until that ends, which is soon, because its time is over too.
    pub(crate) fn end_overdue(&self) {
        if clock::now() < self.hold_until {
            return;
        }
        let Ok(mut holding) = self.held.try_lock() else {
            return;
        };
        if matches!(*holding, Holding::Here(_))
            && let Some(held) = holding.take()
        {
            self.overdue.store(true, Ordering::Relaxed);
            self.take_back(held, Returned::Clean);
        }
    }

    /// As [`end_overdue`](Lent::end_overdue), for a transaction that has been open for too long.
    pub(crate) fn end_overdue_transaction(&self) {
        if clock::now() < self.watch.transaction_until() {
            return;
        }
        if let Ok(mut holding) = self.held.try_lock()
            && let Holding::Here(held) = &mut *holding
        {
            let _scope = held.db.enter();
            held.db.end_overdue();
        }
    }

    /// Give the connection back, to be closed if `close`. Waits for a statement that another thread
    /// runs.
    pub(crate) fn give_back(&self, close: bool) {
        let poisoned = self.held.is_poisoned();
        let held = self.held().take();
        if let Some(held) = held {
            // A panic under the lock may have left a statement half-way: do not lend it again.
            let returned = match close || poisoned {
                true => Returned::Close,
                false => Returned::Clean,
            };
            self.take_back(held, returned);
        }
    }

    fn take_back(&self, held: Held, returned: Returned) {
        self.pool
            .take_back(held.entry, held.db, held.place, returned);
    }

    /// Where the connection is, once it is not aside.
    fn held(&self) -> MutexGuard<'_, Holding> {
        let holding = self.lock();
        if !matches!(*holding, Holding::Aside) {
            return holding;
        }
        let aside = |holding: &mut Holding| matches!(holding, Holding::Aside);
        self.back
            .wait_while(holding, aside)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Do `work`. A turn that was waited for, and then not needed, must not stay here, unless what it
/// is for is about to run aside.
fn settled<T>(db: &mut Db, work: impl FnOnce(&mut Db) -> Attempt<T>) -> Attempt<T> {
    let attempt = work(db);
    if db.has_turn() && !matches!(attempt, Err(Stop::Aside)) {
        db.settle();
    }
    attempt
}

/// What a handle answers when nothing of its connection is left.
pub(crate) fn unless_stale<T>(result: Result<T>, default: T) -> T {
    result.unwrap_or_else(|error| {
        debug_assert_eq!(error.kind(), ErrorKind::StaleHandle);
        default
    })
}
