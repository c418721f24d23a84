//! Tells how connections are got, returned and closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::event::{Close, Event, NotGot, Return, TransactionEnd};
use super::reporter::Borrower;
use crate::connection::Connection;
use crate::engine::Reset;
use crate::error::{ErrorKind, Result};
use crate::lending::{Ask, Lending};
use crate::pooled::Pooled;
use crate::request::Request;
use crate::slots::{GivenBack, Returned};

/// A caller that asks for a connection. If this is dropped before it has told how that ended, its
/// future was.
#[derive(Debug)]
pub(crate) struct GetWatch<'a> {
    lending: &'a Lending,
    request: &'a Request,
    is_new: AtomicBool,
    /// `None` once the connection is lent.
    borrower: Mutex<Option<Box<Borrower>>>,
}

impl<'a> GetWatch<'a> {
    pub(crate) fn new(lending: &'a Lending, ask: &Ask<'_>, request: &'a Request) -> GetWatch<'a> {
        let borrower = Box::new(Borrower::new(ask.guest, request));
        lending
            .reporter
            .tell(Some(&borrower), Event::ConnectionAsked);
        GetWatch {
            lending,
            request,
            is_new: AtomicBool::new(false),
            borrower: Mutex::new(Some(borrower)),
        }
    }

    /// A connection was opened for it.
    pub(crate) fn opened(&self) {
        self.is_new.store(true, Ordering::Relaxed);
    }

    /// It has got a connection.
    #[cold]
    pub(crate) fn lent(&self) -> Option<Box<Borrower>> {
        let mut borrower = self.take()?;
        borrower.has_got(self.is_new.load(Ordering::Relaxed));
        Some(borrower)
    }

    pub(crate) fn end(&self, result: &Result<Connection>) {
        match result {
            Ok(connection) => connection.tell_got(),
            Err(error) => self.not_got(self.why(error.kind())),
        }
    }

    fn take(&self) -> Option<Box<Borrower>> {
        let mut borrower = self.borrower.lock().unwrap_or_else(PoisonError::into_inner);
        borrower.take()
    }

    fn why(&self, kind: ErrorKind) -> NotGot {
        let is_over = || {
            self.request
                .ends_at()
                .is_some_and(|at| at <= Instant::now())
        };
        match kind {
            ErrorKind::PoolTimeout { .. } if self.request.is_interrupted() => NotGot::Interrupted,
            ErrorKind::PoolTimeout { .. } if is_over() => NotGot::Deadline,
            ErrorKind::PoolTimeout { .. } => NotGot::Timeout,
            ErrorKind::PoolClosed => NotGot::PoolClosed,
            ErrorKind::NotAuthorized | ErrorKind::Unsupported => NotGot::Refused,
            _ => NotGot::Failed,
        }
    }

    fn not_got(&self, why: NotGot) {
        if let Some(borrower) = self.take() {
            let waited = borrower.since.elapsed();
            let event = Event::ConnectionNotGot { waited, why };
            self.lending.reporter.tell(Some(&borrower), event);
        }
    }
}

impl Drop for GetWatch<'_> {
    fn drop(&mut self) {
        self.not_got(NotGot::Cancelled);
    }
}

/// How a connection comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) returned: Returned,
    pub(crate) why: Return,
    /// `None` without an observer.
    pub(crate) borrower: Option<&'a Borrower>,
}

impl Lending {
    /// A connection came back, and was reset, beginning at `since`.
    #[cold]
    pub(crate) fn tell_returned(
        &self,
        ending: Ending<'_>,
        since: Instant,
        pooled: &Pooled,
        reset: Reset,
    ) {
        let time = since.elapsed();
        let Some(borrower) = ending.borrower else {
            return;
        };
        let why = ending.why;
        let held = since.saturating_duration_since(borrower.since);
        let tell = |event: Event<'_>| self.reporter.tell(Some(borrower), event);
        tell(Event::ConnectionReturned { held, why });
        let end = match why {
            Return::Returned | Return::ToClose => TransactionEnd::Returned,
            Return::HoldTime => TransactionEnd::HoldTime,
            Return::PoolClosed => TransactionEnd::PoolClosed,
            Return::Unfinished => TransactionEnd::Unfinished,
            Return::Abandoned => TransactionEnd::Deadline,
        };
        if let Some(notes) = pooled.stop.notes() {
            let reporter = &self.reporter;
            reporter.tell_notes(Some(borrower), notes.take(), Some(end), None);
        }
        if reset.rolled_back {
            tell(Event::TransactionEnded { why: end });
        }
        tell(Event::ConnectionReset {
            time,
            is_clean: reset.clean,
            rolled_back: reset.rolled_back,
        });
    }

    /// A connection came back, and perhaps was closed.
    #[cold]
    pub(crate) fn tell_closed(&self, ending: Ending<'_>, given: GivenBack) {
        let GivenBack::Dropped { closed } = given else {
            return;
        };
        let why = match (ending.returned, ending.why) {
            (Returned::Discard, _) => Close::Unclean,
            (Returned::Abandoned, _) => Close::Abandoned,
            (Returned::Dropped, _) | (Returned::Close, Return::Unfinished) => Close::Unfinished,
            (Returned::Close, Return::PoolClosed) => Close::PoolClosed,
            (Returned::Close, Return::ToClose) => Close::Asked,
            // Its lock is poisoned.
            (Returned::Close, _) => Close::Unclean,
            (Returned::Clean, _) if closed => Close::PoolClosed,
            (Returned::Clean, _) => Close::Excess,
        };
        let event = Event::ConnectionClosed { why };
        self.reporter.tell(ending.borrower, event);
    }

    /// Connections were closed that no caller held.
    #[cold]
    pub(crate) fn tell_all_closed(&self, count: usize, why: Close) {
        for _ in 0..count {
            self.reporter.tell(None, Event::ConnectionClosed { why });
        }
    }

    /// The pool is closed, or gone. Told once.
    pub(crate) fn tell_pool_closed(&self) {
        if !self.is_closed_told.swap(true, Ordering::AcqRel) {
            self.reporter.tell(None, Event::PoolClosed);
        }
    }
}
