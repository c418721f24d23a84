//! The books of a session: its stream, its transaction, and who ended it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_pool::clock::{self, NEVER};
use millpond_pool::engine::{Limits, RequestId, Reset, StopFlag, Terms};
use millpond_pool::{Access, Error, ErrorKind, TransactionMode};

use super::Dropped;
use super::cursors::Cursor;
use super::stream::Stream;
use crate::error::outcome_unknown;
use crate::http::Http;
use crate::shared::{SessionId, Shared};

/// SQLite's code for a database that another connection writes.
const SQLITE_BUSY: i32 = 5;

/// The transaction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Txn {
    None,
    /// Begun by its owner, and not on the server: its `BEGIN` goes with its first statement.
    Pending(TransactionMode),
    Open,
}

/// What becomes of a request that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Risk {
    /// It changes nothing.
    Nothing,
    /// The server undoes what it did: nothing commits it.
    Undone,
    /// It may be kept, or not.
    Kept,
}

/// Who ended a transaction before its owner did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aborted {
    Server,
    /// It was open for longer than its grant allows.
    Overdue,
    /// The connection failed, or a call was given up.
    Cut,
}

impl Aborted {
    pub(super) fn into_error(self) -> Error {
        let message = match self {
            Aborted::Server => {
                "the server has rolled the transaction back: end it before anything else"
            }
            Aborted::Overdue => {
                "the transaction was open for too long and has been rolled back: end it before \
                 anything else"
            }
            Aborted::Cut => {
                "a call of the transaction was cut off, so it has been rolled back: end it before \
                 anything else"
            }
        };
        Error::new(ErrorKind::StaleHandle, message).with_rolled_back()
    }
}

/// The present borrower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Borrower {
    /// `None` before the first one.
    pub(super) request: Option<RequestId>,
    pub(super) access: Access,
    pub(super) may_define: bool,
    pub(super) limits: Limits,
    pub(super) last_insert_rowid: i64,
    /// It has written, or inserted, on the stream that is there now.
    pub(super) wrote: bool,
    pub(super) inserted: bool,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Arc<StopFlag>,
    pub(super) http: Option<Http>,
    pub(super) stream: Option<Stream>,
    /// A request is under way. Left so, its future was dropped.
    pub(super) flight: Option<Risk>,
    pub(super) txn: Txn,
    /// How many transactions have ended: a handle to an earlier one is stale.
    pub(super) ended: u64,
    /// Something ended the last transaction, and its owner has not ended it too.
    pub(super) aborted: Option<Aborted>,
    pub(super) cursors: HashMap<u64, Cursor>,
    /// How often statements have been run through handles.
    pub(super) runs: u64,
    pub(super) borrower: Borrower,
    /// The request that is under way is its owner's, to undo the transaction.
    pub(super) undoing: bool,
    /// Nothing but the first request has been sent.
    pub(super) greeting: bool,
    /// A call was cancelled while its request was under way.
    cancelled: bool,
    /// It is the request's session whose transaction writes.
    is_writer: bool,
    id: SessionId,
    in_transaction: Arc<AtomicBool>,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, stop: Arc<StopFlag>) -> Core {
        Core {
            id: shared.new_session(),
            is_writer: false,
            shared,
            stop,
            http: None,
            stream: None,
            flight: None,
            txn: Txn::None,
            ended: 0,
            aborted: None,
            cursors: HashMap::new(),
            runs: 0,
            borrower: Borrower {
                request: None,
                access: Access::ReadWrite,
                may_define: true,
                limits: Limits::default(),
                last_insert_rowid: 0,
                wrote: false,
                inserted: false,
            },
            undoing: false,
            greeting: false,
            cancelled: false,
            in_transaction: Arc::default(),
        }
    }

    pub(super) fn in_transaction_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.in_transaction)
    }

    /// Get ready for a new borrower.
    pub(super) fn lend(&mut self, terms: &Terms<'_>) {
        self.borrower = Borrower {
            request: Some(terms.request),
            access: terms.access,
            may_define: terms.rights.may_change_schema(),
            limits: terms.limits,
            last_insert_rowid: 0,
            wrote: false,
            inserted: false,
        };
        if let Some(stream) = &mut self.stream {
            stream.lend();
        }
        self.settle();
    }

    /// Make the session as new, without waiting: what is open is closed in the background.
    pub(super) fn reset(&mut self) -> Reset {
        self.recover_cancelled();
        self.cursors.clear();
        let rolled_back = self.txn != Txn::None;
        if self.txn == Txn::Open || self.stream.as_ref().is_some_and(Stream::is_soiled) {
            self.close_stream();
        }
        self.txn = Txn::None;
        self.aborted = None;
        self.ended += 1;
        self.settle();
        Reset {
            clean: !self.cancelled,
            rolled_back,
        }
    }

    /// Close the stream in the background: what it has not committed is undone.
    pub(super) fn close_stream(&mut self) {
        (self.borrower.wrote, self.borrower.inserted) = (false, false);
        if let Some(stream) = self.stream.take() {
            stream.close(&self.shared, self.http.take());
        }
    }

    /// The stream is gone, or its state is unknown.
    pub(super) fn drop_stream(&mut self) {
        (self.borrower.wrote, self.borrower.inserted) = (false, false);
        self.stream = None;
        self.http = None;
    }

    /// The transaction has ended before its owner ended it.
    pub(super) fn lose_transaction(&mut self, aborted: Aborted) {
        if self.txn != Txn::None {
            self.txn = Txn::None;
            self.ended += 1;
            self.aborted = Some(aborted);
            if !self.undoing {
                self.note_ended_transaction(aborted == Aborted::Overdue);
            }
        }
    }

    /// Tell observers that the transaction has ended before its owner ended it: because it was open
    /// for too long, or not.
    pub(super) fn note_ended_transaction(&self, was_overdue: bool) {
        if let Some(notes) = self.stop.notes() {
            notes.ended_transaction(was_overdue);
        }
    }

    /// The transaction has ended as its owner said.
    pub(super) fn end_transaction(&mut self) {
        self.txn = Txn::None;
        self.ended += 1;
        self.aborted = None;
    }

    /// A request is not waited for any more, or its answer did not come, because of `error`.
    /// Returns the error for its caller.
    pub(super) fn give_up(&mut self, error: Error) -> Error {
        let Some(risk) = self.flight.take() else {
            return error;
        };
        self.drop_stream();
        match (risk, self.txn) {
            (Risk::Kept, _) => {
                if self.txn != Txn::None {
                    self.end_transaction();
                }
                outcome_unknown(&error.to_string())
            }
            (_, Txn::None) => error,
            _ => {
                self.lose_transaction(Aborted::Cut);
                if std::mem::take(&mut self.undoing) {
                    self.aborted = None;
                }
                error.with_rolled_back()
            }
        }
    }

    /// A call before this one was cancelled while its request was under way.
    pub(super) fn recover_cancelled(&mut self) {
        if self.flight.is_some() {
            self.cancelled = true;
            self.give_up(Error::stale_connection());
        }
    }

    pub(super) fn drop_handle(&mut self, dropped: Dropped) {
        match dropped {
            Dropped::Cursor(cursor) => drop(self.cursors.remove(&cursor)),
            Dropped::Transaction(number) => self.drop_transaction(number),
        }
    }

    /// End a transaction, or cursors outside of one, that have been open for too long: their owner
    /// is told at its next call.
    pub(super) fn end_overdue(&mut self) {
        self.recover_cancelled();
        self.cursors.clear();
        if self.txn == Txn::Open {
            self.close_stream();
        }
        self.lose_transaction(Aborted::Overdue);
    }

    /// Refuse at once to write while another connection of the same request is in a transaction
    /// that writes: the server would wait 5 seconds, and then end that transaction.
    pub(super) fn check_writer(&self) -> Result<(), Error> {
        let is_other = |request| self.shared.is_other_writing(request, self.id);
        match self.borrower.request.is_some_and(is_other) {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Busy,
                "another connection of this request is in a transaction that writes: end it first",
            )
            .with_code(SQLITE_BUSY)),
        }
    }

    /// The transaction writes from now on.
    pub(super) fn note_writer(&mut self) {
        if let Some(request) = self.borrower.request {
            self.shared.begin_writing(request, self.id);
            self.is_writer = true;
        }
    }

    fn end_writer(&mut self) {
        if std::mem::take(&mut self.is_writer)
            && let Some(request) = self.borrower.request
        {
            self.shared.end_writing(request, self.id);
        }
    }

    /// Tell those outside what the books say.
    pub(super) fn settle(&mut self) {
        if self.txn == Txn::None {
            self.end_writer();
        }
        let begun = self.txn != Txn::None;
        let told = begun || self.aborted.is_some();
        self.in_transaction.store(told, Ordering::Relaxed);
        self.stop.set_in_transaction(begun);
        let open = begun || self.cursors.values().any(Cursor::is_streaming);
        match (open, self.stop.transaction_until()) {
            (true, NEVER) => {
                let until = clock::after(self.borrower.limits.transaction);
                self.stop.set_transaction_until(until);
            }
            (false, until) if until != NEVER => self.stop.set_transaction_until(NEVER),
            _ => {}
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.end_writer();
        if self.flight.is_none() {
            self.close_stream();
            if let Some(http) = self.http.take() {
                self.shared.keep(http);
            }
        }
    }
}
