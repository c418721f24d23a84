//! Checks the conditions for running a statement, above all the turn to write.

use millpond_pool::Access;
use millpond_pool::clock::{self, NEVER};
use rusqlite::ffi::{SQLITE_READONLY, SQLITE_TOOBIG};

use super::{Attempt, Db, Job, Stop};
use crate::error::{Error, ErrorKind};
use crate::ffi::raw::{self, TransactionState};
use crate::policy::Control;
use crate::session::cache::Compiled;
use crate::writers::queue::{NoTurn, Turn};

impl Db {
    /// Store a turn that was waited for. It is handed on as soon as it proves not to be needed.
    pub(crate) fn take_turn(&mut self, turn: Turn<Job>) {
        self.turn = Some(turn);
    }

    /// Check all conditions for running a statement. Returns false if there is nothing to run: a
    /// `ROLLBACK` of what SQLite has already rolled back.
    pub(super) fn admit(&mut self, compiled: &mut Compiled) -> Attempt<bool> {
        if let Some(aborted) = self.aborted {
            return match compiled.control {
                Control::Rollback => {
                    self.owner_knows();
                    Ok(false)
                }
                Control::Commit => {
                    self.owner_knows();
                    Err(aborted.into_error().into())
                }
                _ => Err(aborted.into_error().into()),
            };
        }
        let autocommit = self.conn.is_autocommit();
        // If a statement fails in a transaction, SQLite may keep part of its changes.
        let can_restart = compiled.read_only || autocommit;
        let may_outlast = compiled.is_for_aside()
            || self.watch.has_indexed_much()
            || (compiled.may_be_deferred() && !can_restart);
        if may_outlast && !self.is_aside() {
            return Err(Stop::Aside);
        }
        let steps = compiled.get_ready(self.is_aside());
        self.lengthened = self.is_aside() && std::mem::take(&mut self.too_long);
        if self.lengthened && !compiled.lengthen(&self.conn, self.max_length)? {
            let message = "string or blob too big";
            return Err(Error::sqlite(SQLITE_TOOBIG, message, None).into());
        }
        self.watch.start_statement(can_restart, steps);
        // A statement may be too short for the progress handler, but guests run many; and a guest
        // whose time is over must still be able to roll back.
        if compiled.control != Control::Rollback {
            self.check_deadline()?;
        }
        // SQLite commits no write before the last cursor of a write ends: another write would be
        // acknowledged, and then lost if that cursor fails.
        let state = raw::transaction_state(&self.conn);
        let begins = matches!(compiled.control, Control::Begin | Control::Savepoint);
        if (begins || !compiled.read_only) && autocommit && state == TransactionState::Write {
            return Err(Error::new(
                ErrorKind::Busy,
                "a cursor of a statement that writes is open: read it to the end or drop it first",
            )
            .into());
        }
        if compiled.read_only {
            return self.admit_read(state);
        }
        if compiled.defines {
            self.hints.note_definition();
        }
        if self.access == Access::ReadOnly {
            return Err(Error::sqlite(
                SQLITE_READONLY,
                "the connection is read-only: get one with read-write access",
                None,
            )
            .into());
        }
        if let Some(notes) = self.watch.stop_flag().notes() {
            notes.wrote();
        }
        if state != TransactionState::Write {
            self.watch.start_writing(raw::pages_written(&self.conn));
        }
        if self.turn.is_none() {
            self.turn = Some(match self.turns.try_take(self.request) {
                Ok(turn) => turn,
                Err(NoTurn::Taken) => {
                    // Not lengthened yet.
                    self.too_long = self.lengthened;
                    return Err(Stop::Turn);
                }
                Err(NoTurn::Own) => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "another connection of this request is writing: waiting for it would never end",
                    )
                    .into());
                }
                Err(NoTurn::Closed) => return Err(Error::closed().into()),
            });
        }
        Ok(true)
    }

    /// Connections that are already reading continue: the checkpoint waits for them.
    fn admit_read(&mut self, state: TransactionState) -> Attempt<bool> {
        if state == TransactionState::None {
            self.watch.start_reading();
            if self.checkpoints.gate().is_closed() {
                self.watch.end_reading();
                return Err(Stop::Gate);
            }
            self.checkpoints.read(&mut self.reads);
        }
        Ok(true)
    }

    /// Hand the turn on as soon as nothing is being written, and record when a transaction began:
    /// to waiters, a cursor outside a transaction counts as one.
    pub(crate) fn settle(&mut self) {
        let state = raw::transaction_state(&self.conn);
        if self.turn.is_some() && state != TransactionState::Write {
            self.turn = None;
        }
        if state == TransactionState::None {
            self.watch.end_reading();
        }
        if !self.record_transaction(state) {
            self.watch.forget_indexed();
            // Not on the thread of a caller that ends this transaction because it waits for it.
            if self.hints.is_unchecked() && self.watched.is_in_phase() {
                let conn = &self.conn;
                self.authorizer
                    .trusting(|| self.hints.check_definitions(conn));
            }
        }
    }

    /// Record, for others, whether a transaction or a cursor that writes is open, and until when it
    /// may be. Returns whether anything is open, a read included.
    pub(super) fn record_transaction(&self, state: TransactionState) -> bool {
        let begun = !self.conn.is_autocommit();
        let writes = state == TransactionState::Write;
        self.watch.stop_flag().set_in_transaction(begun || writes);
        let open = begun || state != TransactionState::None;
        match (open, self.watch.stop_flag().transaction_until()) {
            (true, NEVER) => {
                self.set_transaction_until(clock::after(self.limits.transaction));
            }
            (true, _) | (false, NEVER) => {}
            (false, _) => self.set_transaction_until(NEVER),
        }
        open
    }
}
