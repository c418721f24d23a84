//! Calls on the session's own thread, which their caller awaits, and may abandon.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::{CallId, Held, Holding, Lent};
use crate::clock::{self, NEVER};
use crate::engine::{Call, Left, Outcome, Session, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{CallNotes, Return};
use crate::pooled::Pooled;
use crate::slots::{Returned, Risk};

/// How long after its deadline a call is abandoned. Nearly all calls stop within a quarter of that,
/// or ten times as long in unoptimised builds.
pub(crate) const PATIENCE: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });
/// How often the caller of a call on the session's own thread checks whether to abandon it.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Lent {
    /// Like [`call`](Lent::call), but on the session's own thread. Completes when the call ends or
    /// is abandoned, which dropping the future does too.
    pub(super) async fn call_aside<T: Send + 'static>(
        self: &Arc<Lent>,
        (outcome, left): (Option<Outcome>, Option<Left>),
        at_once: bool,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
        notes: Option<&Arc<CallNotes>>,
    ) -> Step<T> {
        let (sender, receiver) = channel();
        let call = Call {
            now: clock::now(),
            hold_until: self.hold_until,
            aside: true,
            at_once,
            left,
            outcome,
        };
        let caller = match self.start_aside(call, work, sender, notes.cloned()) {
            Ok(number) => Caller(self, number),
            Err(NotStarted::Gone(outcome)) => return self.end_without_session(outcome),
            Err(NotStarted::NoThread(error)) => return Err(error.into()),
        };
        let result = self.wait_for(receiver).await;
        std::mem::forget(caller);
        result?.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn start_aside<T: Send + 'static>(
        self: &Arc<Lent>,
        mut call: Call,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T> + Send + 'static,
        sender: Sender<thread::Result<Step<T>>>,
        notes: Option<Arc<CallNotes>>,
    ) -> std::result::Result<CallId, NotStarted> {
        let mut holding = self.held();
        let Some(mut held) = holding.take() else {
            return Err(NotStarted::Gone(call.outcome));
        };
        let thread = held.pooled.thread();
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                // The session may have waited for something that others wait for now.
                drop(holding);
                self.take_back(held, Returned::Close, Return::Unfinished);
                return Err(NotStarted::NoThread(error));
            }
        };
        let number = CallId(held.last_aside.0 + 1);
        held.last_aside = number;
        *holding = Holding::Aside(number, notes);
        self.stop.start_abandonable();
        // The call's time begins when its thread starts it.
        self.stop.set_until(NEVER);
        drop(holding);

        let lent = Arc::clone(self);
        thread.run(move || {
            call.now = clock::now();
            let session = &mut *held.pooled.session;
            let result = catch_unwind(AssertUnwindSafe(|| work(session, call)));
            let whole = result.is_ok();
            lent.come_back(held, whole, || drop(sender.send(result)));
        });
        Ok(number)
    }

    /// The call on the session's own thread has ended. If it was not abandoned, `tell` its caller
    /// before unlocking: a caller that locks, finds the session [`Aside`](Holding::Aside) and has
    /// not been told, may abandon it.
    fn come_back(&self, held: Held, whole: bool, tell: impl FnOnce()) {
        let mut holding = self.lock();
        let (returned, why) = match &*holding {
            Holding::Aside(_, notes) if whole && !self.unfinished.load(Ordering::Relaxed) => {
                self.take_notes(notes.as_ref());
                *holding = Holding::Here(held);
                tell();
                self.back.notify_all();
                return;
            }
            Holding::Abandoned { .. } => (Returned::Abandoned, Return::Abandoned),
            Holding::Dropped => (Returned::Dropped, Return::Unfinished),
            _ => {
                *holding = Holding::Gone;
                (Returned::Close, Return::Unfinished)
            }
        };
        tell();
        self.back.notify_all();
        drop(holding);
        self.take_back(held, returned, why);
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
    pub(super) fn abandon_if_overdue(&self, holding: &mut Holding, overdue: &mut Overdue) {
        let Holding::Aside(_, notes) = holding else {
            return;
        };
        if !overdue.is_long(self.stop.must_stop()) {
            return;
        }
        if let Some(rolled_back) = self.stop.abandon() {
            if let Some(of_call) = notes {
                self.take_wrote(of_call);
                of_call.abandoned();
            }
            *holding = Holding::Abandoned { rolled_back };
            self.back.notify_all();
            self.pool.abandoned();
        }
    }

    /// The call has not ended: note that it has written, if it has.
    fn take_wrote(&self, of_call: &CallNotes) {
        if let Some(notes) = self.stop.notes() {
            of_call.take_wrote_from(notes);
        }
    }

    /// The caller of a call on the session's own thread has dropped its future. Stop the call if it
    /// still runs, and close the session, even if the call has ended: its result reached no caller.
    /// It ends soon, so do not count it as abandoned.
    fn leave(&self, number: CallId) {
        let mut holding = self.lock();
        match &*holding {
            Holding::Aside(call, notes) if *call == number => {
                if let Some(of_call) = notes {
                    self.take_wrote(of_call);
                }
                // A call that is committing finishes its commit.
                self.stop.abandon();
                self.pool.slots.drop_call();
                *holding = Holding::Dropped;
                self.back.notify_all();
                self.stop.interrupt(self.lending);
            }
            // Handles that it opened reached no caller, so nothing would drop them: close the
            // session, once a later call has ended.
            Holding::Aside(..) => self.unfinished.store(true, Ordering::Relaxed),
            Holding::Here(_) => {
                let held = holding.take();
                drop(holding);
                if let Some(held) = held {
                    self.take_back(held, Returned::Close, Return::Unfinished);
                }
            }
            Holding::Dropped | Holding::Abandoned { .. } | Holding::Gone => {}
        }
    }

    /// Wait until the call may continue on the session's own thread. Does not wait if `at_once`.
    ///
    /// # Errors
    ///
    /// [`DeadlineExceeded`](ErrorKind::DeadlineExceeded): the session has been closed.
    /// [`StaleHandle`](ErrorKind::StaleHandle) or [`PoolClosed`](ErrorKind::PoolClosed): the pool
    /// took it back.
    pub(super) async fn may_go_aside(&self, at_once: bool) -> Result<Risk<'_, Box<Pooled>>> {
        // The session has begun a call. If that does not continue, because there was no time or
        // because its future was dropped, do not use the session again.
        let unfinished = Unfinished(self);
        // Its deadline may pass, and the pool may take the session back meanwhile.
        let is_over = || self.stop.must_stop() || self.is_gone();
        let deadline = self.stop.deadline();
        let risk = self.pool.may_go_aside(at_once, deadline, is_over).await;
        std::mem::forget(unfinished);
        risk.ok_or_else(|| self.end_unfinished())
    }

    /// Whether the session was taken back. Does not wait.
    fn is_gone(&self) -> bool {
        let holding = self.try_lock();
        holding.is_some_and(|holding| !matches!(*holding, Holding::Here(_) | Holding::Aside(..)))
    }

    /// A call that has begun does not continue: close its session. Returns what to tell its caller.
    fn end_unfinished(&self) -> Error {
        let mut holding = self.lock();
        let error = Error::new(
            ErrorKind::DeadlineExceeded,
            "the statement may not stop in time, and had to wait for others that did not: its \
             connection is closed",
        );
        if let Holding::Aside(..) = *holding {
            self.unfinished.store(true, Ordering::Relaxed);
            return error;
        }
        // Once the pool has taken it back, another may have borrowed it.
        let Some(held) = holding.take() else {
            return match self.pool.slots.is_closed() {
                true => Error::closed(),
                false => self.stale(),
            };
        };
        // The caller is told that an open transaction is rolled back: let nothing commit it.
        let rolled_back = self.stop.is_in_transaction();
        self.stop.abandon();
        drop(holding);
        self.take_back(held, Returned::Close, Return::Unfinished);
        match rolled_back {
            true => error.with_rolled_back(),
            false => error,
        }
    }
}

/// Why a call has not started on its session's own thread.
enum NotStarted {
    /// The session was taken back. With the outcome of the call's wait.
    Gone(Option<Outcome>),
    NoThread(Error),
}

/// Since when a call has overrun.
#[derive(Debug, Default)]
pub(super) struct Overdue(Option<Instant>);

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
struct Caller<'a>(&'a Lent, CallId);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let Caller(lent, number) = self;
        lent.leave(*number);
    }
}

/// A call that has begun. Dropping this closes its session.
struct Unfinished<'a>(&'a Lent);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.end_unfinished();
    }
}
