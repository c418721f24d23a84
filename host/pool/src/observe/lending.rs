//! Tells how connections are got, returned and closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::event::{Close, Event, NotGot, Return, TransactionEnd};
use super::reporter::Borrower;
use crate::engine::Reset;
use crate::error::{ErrorKind, Result};
use crate::lending::{Ask, Lending};
use crate::lent::Lent;
use crate::pooled::Pooled;
use crate::request::Request;
use crate::slots::{GivenBack, Returned};

/// A caller that asks for a connection. If this is dropped before it [ends](GetWatch::end), its future
/// was.
#[derive(Debug)]
pub(crate) struct GetWatch<'a> {
    lending: &'a Lending,
    request: &'a Request,
    /// `None` without an observer, and once the connection is lent.
    borrower: Option<Box<Borrower>>,
}

impl<'a> GetWatch<'a> {
    pub(crate) fn new(lending: &'a Lending, ask: &Ask<'_>, request: &'a Request) -> GetWatch<'a> {
        let is_on = lending.reporter.is_on();
        GetWatch {
            lending,
            request,
            borrower: is_on.then(|| Box::new(Borrower::new(ask.guest, request))),
        }
    }

    /// A connection was opened for it.
    pub(crate) fn opened(&mut self) {
        if let Some(borrower) = &mut self.borrower {
            borrower.is_new = true;
        }
    }

    /// It has got a connection.
    pub(crate) fn lent(&mut self) -> Option<Box<Borrower>> {
        let mut borrower = self.borrower.take()?;
        borrower.has_got();
        Some(borrower)
    }

    pub(crate) fn end(&mut self, result: &Result<Arc<Lent>>) {
        match result {
            Ok(lent) => {
                if let Some(borrower) = lent.borrower() {
                    lent.tell(Event::ConnectionGot {
                        waited: borrower.waited,
                        is_new: borrower.is_new,
                    });
                }
            }
            Err(error) => self.not_got(self.why(error.kind())),
        }
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

    fn not_got(&mut self, why: NotGot) {
        if let Some(borrower) = self.borrower.take() {
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

/// A connection that comes back.
#[derive(Debug)]
pub(crate) struct ReturnWatch<'a> {
    borrower: &'a Borrower,
    why: Return,
    held: Duration,
    since: Instant,
}

impl<'a> ReturnWatch<'a> {
    #[cold]
    pub(crate) fn new(borrower: &'a Borrower, why: Return) -> ReturnWatch<'a> {
        let since = Instant::now();
        ReturnWatch {
            borrower,
            why,
            held: since.saturating_duration_since(borrower.since),
            since,
        }
    }

    /// It has been reset.
    #[cold]
    pub(crate) fn reset(self, lending: &Lending, pooled: &Pooled, reset: Reset) {
        let time = self.since.elapsed();
        let (borrower, reporter) = (Some(self.borrower), &lending.reporter);
        let (held, why) = (self.held, self.why);
        reporter.tell(borrower, Event::ConnectionReturned { held, why });
        let end = match why {
            Return::Returned | Return::ToClose => TransactionEnd::Returned,
            Return::HoldTime => TransactionEnd::HoldTime,
            Return::PoolClosed => TransactionEnd::PoolClosed,
            Return::Unfinished => TransactionEnd::Unfinished,
            Return::Abandoned => TransactionEnd::Deadline,
        };
        if let Some(notes) = pooled.stop.notes() {
            reporter.tell_notes(borrower, notes, Some(end), None);
        }
        if reset.rolled_back {
            reporter.tell(borrower, Event::TransactionEnded { why: end });
        }
        let event = Event::ConnectionReset {
            time,
            is_clean: reset.clean,
            rolled_back: reset.rolled_back,
        };
        reporter.tell(borrower, event);
    }
}

impl Lending {
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
