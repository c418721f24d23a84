//! A connection while it is lent: where its session is, who uses it, and how it is returned.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::clock::{self, NEVER};
use crate::engine::{Call, Outcome, Session, Step, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::lending::{Lending, Pooled};
use crate::slots::{Place, Returned, Risk};
use crate::stop_flag::StopFlag;
use crate::worker::hand_over;

/// How long after its deadline a call is abandoned. Nearly all calls stop within a quarter of that,
/// or ten times as long in unoptimised builds.
const PATIENCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });
/// How often the caller of a call on the session's own thread checks whether to abandon it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the handles of a connection, its statements, cursors and transaction share.
#[derive(Debug)]
pub(crate) struct Lent {
    pool: Arc<Lending>,
    stop: Arc<StopFlag>,
    /// The number of this lending, for the stop flag.
    lending: u64,
    /// Until when the connection may be held, by `clock`.
    hold_until: u64,
    /// Whether the pool took it back before the borrower returned it.
    overdue: AtomicBool,
    held: Mutex<Holding>,
    /// Notified when the session is no longer [`Aside`](Holding::Aside).
    back: Condvar,
}

/// Where the session is.
#[derive(Debug)]
enum Holding {
    Here(Held),
    /// On its own thread, while the caller waits for it, for a limited time.
    Aside,
    /// On its own thread, committing, while no one waits for it.
    Left,
    /// On its own thread, while the caller was told that it did not end.
    Abandoned {
        rolled_back: bool,
    },
    /// Returned.
    Gone,
}

#[derive(Debug)]
struct Held {
    pooled: Box<Pooled>,
    place: Place,
    /// A permit of its grant's share.
    _share: Option<OwnedSemaphorePermit>,
    /// Its index in the pool's list of connections in use.
    entry: usize,
}

impl Holding {
    fn take(&mut self) -> Option<Held> {
        match std::mem::replace(self, Holding::Gone) {
            Holding::Here(held) => Some(held),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Lent {
    pub(crate) fn new(
        pool: Arc<Lending>,
        pooled: Box<Pooled>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        (lending, hold_until): (u64, u64),
    ) -> Arc<Lent> {
        let stop = Arc::clone(&pooled.stop);
        Arc::new_cyclic(|lent| {
            let entry = pool.enter(lent.clone());
            Lent {
                pool,
                stop,
                lending,
                hold_until,
                overdue: AtomicBool::new(false),
                held: Mutex::new(Holding::Here(Held {
                    pooled,
                    place,
                    _share: share,
                    entry,
                })),
                back: Condvar::new(),
            }
        })
    }

    /// Do something with the session that runs no SQL, unless it has been returned.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut dyn Session) -> T) -> Result<T> {
        match &mut *self.held() {
            Holding::Here(held) => Ok(work(&mut *held.pooled.session)),
            _ => Err(self.stale()),
        }
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        let _ = self.with(|_| self.stop.set_deadline(deadline));
    }

    /// Make a call, unless the session has been returned or held for too long.
    fn call<T>(
        &self,
        outcome: Option<Outcome>,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T>,
    ) -> Step<T> {
        let now = clock::now();
        // The outcome of a wait may be that the statement has been committed: tell that first.
        if now >= self.hold_until && outcome.is_none() {
            self.end_overdue();
        }
        let call = Call {
            now,
            hold_until: self.hold_until,
            aside: false,
            continued: false,
            outcome,
        };
        match &mut *self.held() {
            Holding::Here(held) => work(&mut *held.pooled.session, call),
            _ => Err(self.stale().into()),
        }
    }

    /// Like [`call`](Lent::call), but on the session's own thread. Completes when the call ends or is
    /// abandoned, which dropping the future does too.
    async fn call_aside<T: Send + 'static>(
        self: &Arc<Lent>,
        outcome: Option<Outcome>,
        continued: bool,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
    ) -> Step<T> {
        let (sender, receiver) = channel();
        self.start_aside(outcome, continued, work, sender)?;
        let caller = Caller(self);
        let result = self.wait_for(receiver).await;
        std::mem::forget(caller);
        result?.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn start_aside<T: Send + 'static>(
        self: &Arc<Lent>,
        outcome: Option<Outcome>,
        continued: bool,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
        sender: Sender<thread::Result<Step<T>>>,
    ) -> Result<()> {
        let mut holding = self.held();
        let Holding::Here(held) = &mut *holding else {
            return Err(self.stale());
        };
        let thread = held.pooled.thread();
        let Some(mut held) = holding.take() else {
            return Err(self.stale());
        };
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                // The session may have waited for something that others wait for now.
                drop(holding);
                self.take_back(held, Returned::Close);
                return Err(error);
            }
        };
        *holding = Holding::Aside;
        self.stop.start_abandonable();
        if !continued {
            // The call's time begins when its thread starts it.
            self.stop.set_until(NEVER);
        }
        drop(holding);

        let lent = Arc::clone(self);
        thread.run(move || {
            let call = Call {
                now: clock::now(),
                hold_until: lent.hold_until,
                aside: true,
                continued,
                outcome,
            };
            let session = &mut *held.pooled.session;
            let result = catch_unwind(AssertUnwindSafe(|| work(session, call)));
            let whole = result.is_ok();
            lent.come_back(held, whole, || drop(sender.send(result)));
        });
        Ok(())
    }

    /// The call on the session's own thread has ended. If it was not abandoned, `tell` its caller
    /// before unlocking: a caller that locks, finds the session [`Aside`](Holding::Aside) and has
    /// not been told, may abandon it.
    fn come_back(&self, held: Held, whole: bool, tell: impl FnOnce()) {
        let mut holding = self.lock();
        let returned = match *holding {
            Holding::Aside if whole => {
                *holding = Holding::Here(held);
                tell();
                self.back.notify_all();
                return;
            }
            Holding::Abandoned { .. } => Returned::Abandoned,
            _ => {
                *holding = Holding::Gone;
                Returned::Close
            }
        };
        tell();
        self.back.notify_all();
        drop(holding);
        self.take_back(held, returned);
    }

    /// Wait for a call on the session's own thread: return its result, or abandon it.
    async fn wait_for<T>(
        &self,
        mut receiver: Receiver<thread::Result<T>>,
    ) -> Result<thread::Result<T>> {
        let mut overdue = Overdue::default();
        loop {
            match timeout(LOOK_EVERY, &mut receiver).await {
                Ok(Ok(result)) => return Ok(result),
                Err(_) => {}
                // The thread always tells before it ends; otherwise it is lost, and the session
                // with it.
                Ok(Err(_)) => {
                    *self.lock() = Holding::Gone;
                    self.back.notify_all();
                    return Err(self.stale());
                }
            }
            let mut holding = self.lock();
            if let Ok(result) = receiver.try_recv() {
                return Ok(result);
            }
            self.abandon_if_overdue(&mut holding, &mut overdue);
            // By this, or by another thread that waited for the session.
            if let Holding::Abandoned { rolled_back } = *holding {
                drop(holding);
                let error = Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the statement ran out of time, and did not stop: its connection is closed",
                );
                return Err(match rolled_back {
                    true => error.with_rolled_back(),
                    false => error,
                });
            }
        }
    }

    /// Abandon the call on the session's own thread, if it has not stopped in time. Not if it is
    /// committing: its caller must know the outcome.
    fn abandon_if_overdue(&self, holding: &mut Holding, overdue: &mut Overdue) {
        if !matches!(holding, Holding::Aside) || !overdue.is_long(self.stop.must_stop()) {
            return;
        }
        if let Some(rolled_back) = self.stop.abandon() {
            *holding = Holding::Abandoned { rolled_back };
            self.back.notify_all();
            self.pool.abandoned();
        }
    }

    /// The caller of a call on the session's own thread has dropped its future: stop the call, and
    /// close the session. It ends soon, so do not count it as abandoned.
    fn leave(&self) {
        let mut holding = self.lock();
        if !matches!(*holding, Holding::Aside) {
            return;
        }
        *holding = match self.stop.abandon() {
            Some(rolled_back) => {
                self.pool.slots.leave();
                Holding::Abandoned { rolled_back }
            }
            None => Holding::Left,
        };
        self.back.notify_all();
        self.stop.interrupt(self.lending);
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

    /// Make a call, and wait whenever it has to. The session is not locked while waiting, so the
    /// pool can end it. `aside` makes an owned copy of the work, for the session's own thread.
    pub(crate) async fn attempt<T: Send + 'static, W>(
        self: &Arc<Lent>,
        mut work: impl FnMut(&mut dyn Session, Call) -> Step<T>,
        aside: impl Fn() -> W,
    ) -> Result<T>
    where
        W: FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
    {
        let mut outcome = None;
        // Kept across waits: an attempt on this thread would lose what the call waited for.
        let mut risk = None;
        let mut continued = false;
        loop {
            let step = match risk {
                None => self.call(outcome.take(), &mut work),
                Some(_) => Box::pin(self.call_aside(outcome.take(), continued, aside())).await,
            };
            continued = false;
            match step {
                Ok(done) => return Ok(done),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Aside) => {
                    // It may ask for this there too, to begin anew.
                    if risk.is_none() {
                        risk = Some(Box::pin(self.may_go_aside()).await?);
                    }
                    continued = true;
                }
                Err(Stop::Wait(wait)) => outcome = Some(Box::pin(self.pool.wait_for(wait)).await),
            }
        }
    }

    /// Wait until the call may continue on the session's own thread.
    async fn may_go_aside(&self) -> Result<Risk<'_, Box<Pooled>>> {
        // The session has begun a call. If that does not continue, because there was no time or
        // because its future was dropped, do not use the session again.
        let unfinished = Unfinished(self);
        // Its deadline may pass, and the pool may take the session back meanwhile.
        let is_over = || self.stop.must_stop() || self.with(|_| ()).is_err();
        let risk = self.pool.may_go_aside(self.stop.deadline(), is_over).await;
        if let Some(risk) = risk {
            std::mem::forget(unfinished);
            return Ok(risk);
        }
        if self.pool.slots.is_closed() {
            return Err(Error::closed());
        }
        self.with(|_| ())?;
        let error = Error::new(
            ErrorKind::DeadlineExceeded,
            "the statement may not stop in time, and had to wait for others that did not: its \
             connection is closed",
        );
        Err(match self.stop.is_in_transaction() {
            true => error.with_rolled_back(),
            false => error,
        })
    }

    /// Stop whatever runs on the session, and take it from its borrower, to be closed.
    pub(crate) fn end(&self) {
        self.stop.stop(self.lending);
        self.give_back(true);
    }

    /// Take the session back, if it has been held for too long. Does not wait: skips a session that
    /// is running a statement, which ends soon, because its time is over too.
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

    /// Like [`end_overdue`](Lent::end_overdue), for a transaction that has been open for too long.
    pub(crate) fn end_overdue_transaction(&self) {
        if clock::now() < self.stop.transaction_until() {
            return;
        }
        if let Ok(mut holding) = self.held.try_lock()
            && let Holding::Here(held) = &mut *holding
        {
            held.pooled.session.end_overdue();
        }
    }

    /// Return the session, and close it if `close`. Blocks while another thread runs a statement.
    pub(crate) fn give_back(&self, close: bool) {
        let poisoned = self.held.is_poisoned();
        let held = self.held().take();
        if let Some(held) = held {
            // A panic under the lock may have left a statement unfinished: do not lend this session
            // again.
            let returned = match close || poisoned {
                true => Returned::Close,
                false => Returned::Clean,
            };
            self.take_back(held, returned);
        }
    }

    fn take_back(&self, held: Held, returned: Returned) {
        self.pool
            .take_back(held.entry, held.pooled, held.place, returned);
    }

    /// Lock the session, once it is not aside. Abandons the call there if its caller should, who may
    /// not be polled meanwhile: it can be waiting for this thread.
    fn held(&self) -> MutexGuard<'_, Holding> {
        let holding = self.lock();
        if !matches!(*holding, Holding::Aside) {
            return holding;
        }
        drop(holding);
        hand_over();
        let mut holding = self.lock();
        let mut overdue = Overdue::default();
        while matches!(*holding, Holding::Aside) {
            let waited = self.back.wait_timeout(holding, LOOK_EVERY);
            holding = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.abandon_if_overdue(&mut holding, &mut overdue);
        }
        holding
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when a call has overrun.
#[derive(Debug, Default)]
struct Overdue(Option<Instant>);

impl Overdue {
    /// Whether it has for longer than [`PATIENCE`], if it `must_stop` now.
    fn is_long(&mut self, must_stop: bool) -> bool {
        match must_stop {
            true => self.0.get_or_insert_with(Instant::now).elapsed() >= PATIENCE,
            false => {
                self.0 = None;
                false
            }
        }
    }
}

/// The caller of a call on the session's own thread.
struct Caller<'a>(&'a Lent);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A call that has begun. Dropping this closes its session.
struct Unfinished<'a>(&'a Lent);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Its caller may have been told that a transaction was rolled back.
        self.0.stop.abandon();
        self.0.give_back(true);
    }
}

/// A call that cannot fail returns `default` once its connection has been returned.
pub(crate) fn unless_stale<T>(result: Result<T>, default: T) -> T {
    result.unwrap_or_else(|error| {
        debug_assert_eq!(error.kind(), ErrorKind::StaleHandle);
        default
    })
}
