//! A connection while it is lent: where its session is, who uses it, and how it is returned.

mod aside;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::aside::PATIENCE;
use self::aside::{LOOK_EVERY, Overdue};
use crate::clock;
use crate::engine::{Call, Left, Outcome, Session, Step, Stop, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::lending::{InUse, Lending};
use crate::observe::{
    Borrower, CallNotes, CallWatch, Ending, Event, Note, Notes, Return, TransactionEnd, TurnWatch,
};
use crate::pooled::Pooled;
use crate::slots::{Place, Returned, Risk};
use crate::stop_flag::StopFlag;
use crate::worker::hand_over;

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
    /// Set if the result of a call reached no caller, or a call that has begun does not continue,
    /// while another uses the session: it is closed after that one.
    unfinished: AtomicBool,
    /// `None` without an observer.
    borrower: Option<Box<Borrower>>,
}

/// Where the session is.
#[derive(Debug)]
enum Holding {
    Here(Held),
    /// On its own thread, while the caller of that call waits for it, for a limited time. With the
    /// notes of the call, if there is an observer.
    Aside(CallId, Option<Arc<CallNotes>>),
    /// On its own thread. Its caller dropped the future, so the session is closed when the call
    /// ends.
    Dropped,
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
    /// Stale handles do not keep the pool in use.
    _in_use: Arc<InUse>,
    /// Its index in the pool's list of connections in use.
    entry: usize,
    /// The last call on its own thread.
    last_aside: CallId,
}

/// The number of a call on the session's own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CallId(u64);

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
        in_use: Arc<InUse>,
        pooled: Box<Pooled>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        (lending, hold_until): (u64, u64),
        borrower: Option<Box<Borrower>>,
    ) -> Arc<Lent> {
        let stop = Arc::clone(&pooled.stop);
        Arc::new_cyclic(|lent| {
            let entry = in_use.enter(lent.clone());
            Lent {
                pool: Arc::clone(in_use.lending()),
                stop,
                lending,
                hold_until,
                overdue: AtomicBool::new(false),
                held: Mutex::new(Holding::Here(Held {
                    pooled,
                    place,
                    _share: share,
                    _in_use: in_use,
                    entry,
                    last_aside: CallId(0),
                })),
                back: Condvar::new(),
                unfinished: AtomicBool::new(false),
                borrower,
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
    fn call<T: 'static>(
        &self,
        (outcome, left): (Option<Outcome>, Option<Left>),
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T>,
        notes: Option<&Arc<CallNotes>>,
    ) -> Step<T> {
        let now = clock::now();
        // The outcome may say that the statement was committed: return it before ending the
        // lending.
        if now >= self.hold_until && outcome.is_none() {
            self.end_overdue();
        }
        let call = Call {
            now,
            hold_until: self.hold_until,
            aside: false,
            at_once: false,
            left,
            outcome,
        };
        match &mut *self.held() {
            Holding::Here(held) => {
                let step = work(&mut *held.pooled.session, call);
                self.take_notes(notes);
                step
            }
            _ => self.end_without_session(call.outcome),
        }
    }

    /// The session was taken back. If the call waited, another session may have run it.
    fn end_without_session<T: 'static>(&self, outcome: Option<Outcome>) -> Step<T> {
        match outcome.map(Outcome::downcast::<Result<T>>) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(outcome)) if outcome.has_run() => Err(Error::new(
                ErrorKind::OutcomeUnknown,
                "the statement was run together with another's, but its connection was taken back \
                 before its result arrived",
            )
            .into()),
            _ => Err(self.stale().into()),
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

    /// Make a call, and wait whenever it has to. The session is not locked while waiting, so the
    /// pool can end it. `aside` makes an owned copy of the work, for the session's own thread.
    pub(crate) async fn attempt<T: Send + 'static, W>(
        self: &Arc<Lent>,
        mut work: impl FnMut(&mut dyn Session, Call) -> Step<T>,
        aside: impl Fn() -> W,
        watch: &CallWatch<'_>,
    ) -> Result<T>
    where
        W: FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
    {
        let notes = watch.notes();
        let (mut outcome, mut left) = (None, None);
        // Once aside, the call stays aside: on this thread it might stop again, without the turn
        // that it waited for.
        let mut risk: Option<Risk<'_, _>> = None;
        loop {
            let given = (outcome.take(), left);
            let step = match &risk {
                None => self.call(given, &mut work, notes),
                Some(risk) => {
                    let call = self.call_aside(given, risk.at_once(), aside(), notes);
                    Box::pin(call).await
                }
            };
            match step {
                Ok(done) => return Ok(done),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Aside {
                    at_once,
                    left: still,
                }) => {
                    left = still.or(left);
                    // It may ask for this there too: to begin anew, or because it has to wait for
                    // room now.
                    if risk.as_ref().is_none_or(|risk| risk.at_once() && !at_once) {
                        drop(risk.take());
                        risk = Some(Box::pin(self.may_go_aside(at_once)).await?);
                    }
                }
                Err(Stop::Wait(wait)) => {
                    left = wait.left.or(left);
                    // Give up the room meanwhile: the session that it waits for may need it. What
                    // it has waited for may be the turn, for which others wait: so it does not
                    // wait again.
                    let was_aside = risk.take().is_some();
                    outcome = Some(Box::pin(self.wait(wait, notes)).await);
                    if was_aside {
                        risk = self.pool.slots.try_risk(true);
                    }
                }
            }
        }
    }

    async fn wait(&self, wait: Wait, notes: Option<&Arc<CallNotes>>) -> Outcome {
        let watch = TurnWatch::new(self, notes.filter(|_| wait.is_for_turn));
        let outcome = self.pool.wait_for(wait).await;
        watch.end(&outcome);
        outcome
    }

    /// Stop whatever runs on the session, and take it from its borrower, to be closed.
    pub(crate) fn end(&self) {
        self.stop.stop(self.lending);
        self.give_back(Return::PoolClosed);
    }

    /// Take the session back, if it has been held for too long. Does not wait: skips a session that
    /// is running a statement, which ends soon, because its time is over too.
    pub(crate) fn end_overdue(&self) {
        if clock::now() < self.hold_until {
            return;
        }
        let Some(mut holding) = self.try_lock() else {
            return;
        };
        let held = holding.take();
        drop(holding);
        if let Some(held) = held {
            self.overdue.store(true, Ordering::Relaxed);
            self.take_back(held, self.returned(false), Return::HoldTime);
        }
    }

    /// Like [`end_overdue`](Lent::end_overdue), for a transaction that has been open for too long.
    pub(crate) fn end_overdue_transaction(&self) {
        if clock::now() < self.stop.transaction_until() {
            return;
        }
        if let Some(mut holding) = self.try_lock()
            && let Holding::Here(held) = &mut *holding
        {
            held.pooled.session.end_overdue();
            let notes = self.stop.notes().map(Notes::take);
            drop(holding);
            if let Some(notes) = notes {
                self.tell_notes(notes, None, None);
            }
        }
    }

    /// Return the session, and close it if `why` is not that it was returned. Blocks while another
    /// thread runs a statement.
    pub(crate) fn give_back(&self, why: Return) {
        let held = self.held().take();
        if let Some(held) = held {
            let close = why != Return::Returned;
            self.take_back(held, self.returned(close), why);
        }
    }

    /// `None` without an observer.
    pub(crate) fn borrower(&self) -> Option<&Borrower> {
        self.borrower.as_deref()
    }

    /// Move what the session has noted to the notes of the call that it has run. The session must
    /// be locked.
    fn take_notes(&self, of_call: Option<&Arc<CallNotes>>) {
        if let Some(of_call) = of_call
            && let Some(notes) = self.stop.notes()
        {
            of_call.take_from(notes);
        }
    }

    /// Tell the observer. `call` is the number of the call in which it happened, if any. The
    /// session must not be locked.
    pub(crate) fn tell(&self, call: Option<u64>, event: Event<'_>) {
        let reporter = &self.pool.reporter;
        reporter.tell_of_call(self.borrower(), call, event);
    }

    /// Tell the observer what the session has noted: see [`Reporter`](crate::observe::Reporter).
    pub(crate) fn tell_notes(
        &self,
        notes: Vec<Note>,
        end: Option<TransactionEnd>,
        statement: Option<(&str, Duration, u64)>,
    ) {
        let reporter = &self.pool.reporter;
        reporter.tell_notes(self.borrower(), notes, end, statement);
    }

    /// Called when the handle of a transaction is dropped.
    pub(crate) fn drop_transaction(&self, number: u64) {
        let ended = self.with(|session| {
            let was_open = self.borrower.is_some() && self.stop.is_in_transaction();
            // After a commit or rollback the session finds that it has ended, and does nothing.
            session.drop_transaction(number);
            was_open && !session.in_transaction()
        });
        if unless_stale(ended, false) {
            let why = TransactionEnd::Dropped;
            self.tell(None, Event::TransactionEnded { why });
        }
    }

    /// A panic under the lock may have left a statement unfinished: do not lend such a session
    /// again.
    fn returned(&self, close: bool) -> Returned {
        match close || self.held.is_poisoned() {
            true => Returned::Close,
            false => Returned::Clean,
        }
    }

    fn take_back(&self, held: Held, returned: Returned, why: Return) {
        let Held {
            entry,
            pooled,
            place,
            ..
        } = held;
        let borrower = self.borrower();
        let ending = Ending {
            returned,
            why,
            borrower,
        };
        match borrower {
            None => self.pool.take_back::<false>(entry, pooled, place, ending),
            Some(_) => self.pool.take_back::<true>(entry, pooled, place, ending),
        }
    }

    /// Lock the session, once no other thread uses it and it is not aside. Abandons the call there
    /// if its caller should, who may not be polled meanwhile: it can be waiting for this thread.
    fn held(&self) -> MutexGuard<'_, Holding> {
        let holding = self.try_lock().unwrap_or_else(|| {
            // Another thread may be running a statement, until its deadline.
            hand_over();
            self.lock()
        });
        if !matches!(*holding, Holding::Aside(..)) {
            return holding;
        }
        drop(holding);
        hand_over();
        let mut holding = self.lock();
        let mut overdue = Overdue::default();
        while matches!(*holding, Holding::Aside(..)) {
            let waited = self.back.wait_timeout(holding, LOOK_EVERY);
            holding = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.abandon_if_overdue(&mut holding, &mut overdue);
        }
        holding
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lock the session, unless another thread has.
    fn try_lock(&self) -> Option<MutexGuard<'_, Holding>> {
        match self.held.try_lock() {
            Ok(holding) => Some(holding),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A call that cannot fail returns `default` once its connection has been returned.
pub(crate) fn unless_stale<T>(result: Result<T>, default: T) -> T {
    result.unwrap_or_else(|error| {
        debug_assert_eq!(error.kind(), ErrorKind::StaleHandle);
        default
    })
}
