//! Transactions that handles keep open.
//!
//! Their `BEGIN` goes to the server with the first statement, and a transaction without a statement
//! never does: one round trip less each.

use millpond_pool::{Access, Error, ErrorKind, Result, TransactionMode};

use super::Core;
use super::core::{Risk, Txn};
use crate::error::of_server;
use crate::hrana::reply::Answers;
use crate::hrana::request::{Condition, Pipeline, Stmt};

pub(super) fn begin_sql(mode: TransactionMode) -> &'static str {
    match mode {
        TransactionMode::Deferred => "BEGIN",
        TransactionMode::Immediate => "BEGIN IMMEDIATE",
    }
}

impl Core {
    /// Begin a transaction. Returns its number.
    pub(super) fn begin(&mut self, mode: TransactionMode) -> Result<u64> {
        if let Some(aborted) = self.aborted {
            return Err(aborted.into_error());
        }
        if self.txn != Txn::None {
            let message = "cannot start a transaction within a transaction";
            return Err(Error::new(ErrorKind::Sql, message).with_code(1));
        }
        if (mode, self.borrower.access) == (TransactionMode::Immediate, Access::ReadOnly) {
            let message = "the connection is read-only: take one with read-write access";
            return Err(Error::new(ErrorKind::NotAuthorized, message).with_code(8));
        }
        if mode == TransactionMode::Immediate {
            self.check_writer()?;
            self.note_writer();
        }
        self.txn = Txn::Pending(mode);
        Ok(self.ended)
    }

    pub(super) async fn commit(&mut self, number: u64) -> Result<()> {
        self.check_transaction(number)?;
        if matches!(self.txn, Txn::Pending(_)) {
            self.end_transaction();
            return Ok(());
        }
        self.end_streaming();
        let mut pipeline = Pipeline::new(self.shared.index());
        pipeline.execute(&Stmt::plain("COMMIT"));
        // The handle is gone with this call, so its owner could not roll back later.
        pipeline.batch(|batch| {
            batch.step(Some(Condition::in_transaction()), &Stmt::plain("ROLLBACK"));
        });
        let body = self.exchange(pipeline, 2, Risk::Kept).await;
        let body = match body {
            Ok(body) => body,
            // Its owner is told by this error.
            Err(error) if error.rolled_back() => {
                self.aborted = None;
                return Err(error);
            }
            // Nothing was sent: what it did is undone with the stream.
            Err(error) => {
                if self.txn == Txn::Open {
                    self.close_stream();
                    self.end_transaction();
                    self.note_ended_transaction(false);
                    return Err(error.with_rolled_back());
                }
                return Err(error);
            }
        };
        let answers = Answers::read(&body, 2);
        let result = answers.as_ref().map(|answers| answers.execute(0));
        match result {
            Ok(Ok(Ok(result))) => {
                self.saw(result);
                self.end_transaction();
                Ok(())
            }
            Ok(Ok(Err(error))) => {
                // The second statement has undone it, if it was still open; if not, it was lost.
                let mapped = match error.code.as_str() {
                    "TRANSACTION_TIMEOUT" => super::core::Aborted::Server.into_error(),
                    _ => of_server(error),
                };
                self.end_transaction();
                self.note_ended_transaction(false);
                Err(mapped.with_rolled_back())
            }
            Ok(Err(malformed)) | Err(&malformed) => {
                self.flight = Some(Risk::Kept);
                Err(self.malformed(malformed))
            }
        }
    }

    pub(super) async fn rollback(&mut self, number: u64) -> Result<()> {
        match self.check_transaction(number) {
            Ok(()) => {
                self.roll_back().await;
                Ok(())
            }
            Err(error) if error.rolled_back() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Undo the transaction. Whatever becomes of the request, it is undone: by its answer, or with
    /// the stream.
    pub(super) async fn roll_back(&mut self) {
        self.end_streaming();
        if self.txn == Txn::Open {
            let mut pipeline = Pipeline::new(None);
            pipeline.execute(&Stmt::plain("ROLLBACK")).get_autocommit();
            self.undoing = true;
            let body = self.exchange(pipeline, 2, Risk::Undone).await;
            self.undoing = false;
            let ended = body.is_ok_and(|body| {
                let answers = Answers::read(&body, 2);
                answers.and_then(|answers| answers.autocommit(1)) == Ok(true)
            });
            if !ended {
                self.close_stream();
            }
        }
        self.aborted = None;
        if self.txn != Txn::None {
            self.end_transaction();
        }
    }

    /// As [`rollback`](Core::rollback), in the background.
    pub(super) fn rollback_now(&mut self, number: u64) -> Result<()> {
        match self.check_transaction(number) {
            Ok(()) => {
                self.drop_transaction(number);
                Ok(())
            }
            Err(error) if error.rolled_back() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Like [`rollback`](Core::rollback), but in the background: no caller waits for it.
    pub(super) fn drop_transaction(&mut self, number: u64) {
        if self.check_transaction(number).is_ok() {
            self.end_streaming();
            if self.txn == Txn::Open {
                self.close_stream();
            }
            self.end_transaction();
        }
    }

    /// Whether transaction `number` is the one that is open.
    fn check_transaction(&mut self, number: u64) -> Result<()> {
        if self.ended == number && self.txn != Txn::None {
            return Ok(());
        }
        if let Some(aborted) = self.aborted
            && self.ended == number + 1
        {
            // Its owner knows now.
            self.aborted = None;
            return Err(aborted.into_error());
        }
        Err(Error::new(
            ErrorKind::StaleHandle,
            "the transaction has ended",
        ))
    }
}
