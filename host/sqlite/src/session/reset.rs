//! Resets a connection to be like new for the next borrower.

use millpond_pool::engine::Reset;

use super::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw;
use crate::ffi::statement::StatementId;

impl Db {
    /// Reset the connection to be like new.
    pub(super) fn reset(&mut self) -> Reset {
        let _scope = self.enter();
        // A stop that was meant for the borrower must not stop the reset.
        self.watched.end();
        self.watch.hand_over_if_slow();
        self.watch.renew();
        self.running.end(StatementId::NONE);
        self.cut = false;
        // Of a call that was to be repeated, and was not.
        self.too_long = false;
        // Setting up the iterator takes as long as the rest of an empty reset.
        if !self.statements.is_empty() {
            for mut open in self.statements.drain() {
                // A running statement would keep its snapshot, and make ROLLBACK fail.
                open.compiled.raw.reset();
                self.cache.put(open.compiled);
            }
        }
        let open = !self.conn.is_autocommit();
        let undone = open && self.trusted("ROLLBACK").is_ok();
        // Not if its end was noted before, because it could not be undone.
        let is_ended_here = open && self.aborted.is_none();
        let clean = self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) == raw::TransactionState::None
            && self.drop_temporary().is_ok()
            && self.unset_for_transaction().is_ok()
            && !self.unhealthy;
        self.watch.end_reading();
        self.ended += 1;
        self.aborted = None;
        self.turn = None;
        Reset {
            clean,
            rolled_back: is_ended_here && (undone || !clean),
        }
    }

    /// This setting ends with a transaction, but there may have been none.
    fn unset_for_transaction(&mut self) -> Result<()> {
        if self.authorizer.is_set_for_transaction() {
            self.trusted("PRAGMA defer_foreign_keys = OFF")?;
            self.authorizer.forget_set_for_transaction();
        }
        Ok(())
    }

    /// Drop every temporary table, view, index and trigger: they would hide the database's own
    /// tables from the next borrower. Changing where they are stored deletes them all
    /// (<https://sqlite.org/pragma.html#pragma_temp_store>).
    fn drop_temporary(&mut self) -> Result<()> {
        if !self.authorizer.temporary() {
            return Ok(());
        }
        let store = self.trusted_number("PRAGMA temp_store")?;
        // FILE is 1, MEMORY is 2.
        let other = 3 - store;
        self.trusted(&format!(
            "PRAGMA temp_store = {other}; PRAGMA temp_store = {store};"
        ))?;
        let left = self.trusted_number("SELECT count(*) FROM temp.sqlite_schema")?;
        if left > 0 {
            return Err(Error::new(ErrorKind::Other, "temporary objects are left"));
        }
        self.authorizer.forget_temporary();
        self.hints.set_schema_changed(true);
        Ok(())
    }

    pub(super) fn trusted_number(&self, sql: &str) -> Result<i64> {
        let number = || self.conn.query_row(sql, [], |row| row.get(0));
        Ok(self.authorizer.trusting(number)?)
    }
}
