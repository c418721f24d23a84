//! Transactions that handles keep open.

use millpond_pool::Parameters;
use millpond_pool::TransactionMode;

use super::{Attempt, Db, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Control;

impl Db {
    /// Begin a transaction. Returns its number.
    pub(crate) fn begin(&mut self, mode: TransactionMode) -> Attempt<u64> {
        let sql = match mode {
            TransactionMode::Deferred => "BEGIN",
            TransactionMode::Immediate => "BEGIN IMMEDIATE",
        };
        self.execute(sql, &Parameters::NONE)?;
        Ok(self.ended)
    }

    pub(crate) fn commit(&mut self, number: u64) -> Attempt<()> {
        self.check_transaction(number)?;
        if self.watch.has_indexed_much() && !self.is_aside() {
            return Err(Stop::Aside);
        }
        let result = self.tracked(Control::Commit, false, |db| db.control("COMMIT"));
        if result.is_err() && !self.conn.is_autocommit() {
            // The contract promises that it has been rolled back.
            self.end()?;
            self.note_ended_transaction(false);
            return Ok(result.map_err(Error::with_rolled_back)?);
        }
        Ok(result?)
    }

    pub(crate) fn rollback(&mut self, number: u64) -> Result<()> {
        let result = match self.check_transaction(number) {
            Ok(()) => self.end(),
            Err(error) if error.rolled_back() => Ok(()),
            Err(error) => Err(error),
        };
        self.end_call();
        result
    }

    fn end(&mut self) -> Result<()> {
        self.tracked(Control::Rollback, false, |db| db.control("ROLLBACK"))
    }

    /// Check that the transaction `number` is the open one.
    fn check_transaction(&mut self, number: u64) -> Result<()> {
        match self.aborted {
            // It may still be open, because it could not be undone: nothing may commit it.
            Some(aborted) if self.ended == number + 1 || self.ended == number => {
                self.owner_knows();
                return Err(aborted.into_error());
            }
            None if self.ended == number && !self.conn.is_autocommit() => return Ok(()),
            _ => {}
        }
        Err(Error::new(
            ErrorKind::StaleHandle,
            "the transaction has ended",
        ))
    }

    /// The owner of a transaction that SQLite or the host ended has been told. If the transaction
    /// could not be undone, it is still open: further statements would be lost with it, so they
    /// stay refused.
    pub(super) fn owner_knows(&mut self) {
        if self.conn.is_autocommit() {
            self.aborted = None;
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.aborted.is_some() || !self.conn.is_autocommit()
    }
}
