//! An open transaction, as a guard.

use std::sync::Arc;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::{Lent, unless_stale};

/// An open transaction. Dropped without [`commit`](Transaction::commit), it rolls back.
///
/// SQL text may end it as well; the guard is stale then, and ends no other transaction.
#[derive(Debug)]
pub struct Transaction {
    lent: Arc<Lent>,
    /// Which of the connection's transactions it is.
    number: u64,
}

impl Transaction {
    pub(crate) fn new(lent: Arc<Lent>, number: u64) -> Transaction {
        Transaction { lent, number }
    }

    /// Make everything since it began lasting. Waits for no other writer: the turn is its own.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): it has ended, with
    /// [`rolled_back`](crate::Error::rolled_back) where SQLite ended it. Any other error, such
    /// as a deferred foreign key that does not hold: it has been rolled back.
    pub async fn commit(self) -> Result<()> {
        let number = self.number;
        let commit = move |session: &mut dyn Session, call: Call| session.commit(call, number);
        self.lent.attempt(commit, || commit).await
    }

    /// Undo everything since it began.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): SQL text has ended it. Where SQLite
    /// rolled it back by itself, this succeeds.
    pub async fn rollback(self) -> Result<()> {
        let number = self.number;
        let rollback = move |session: &mut dyn Session, call: Call| session.rollback(call, number);
        self.lent.attempt(rollback, || rollback).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // After a commit or a rollback this finds it ended, and does nothing.
        let drop = |session: &mut dyn Session| session.drop_transaction(self.number);
        unless_stale(self.lent.with(drop), ());
    }
}
