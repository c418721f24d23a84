//! An open transaction, as a guard.

use std::sync::Arc;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::Lent;
use crate::observe::{CallWatch, Figures};

/// An open transaction. Dropping it without [`commit`](Transaction::commit) rolls back.
///
/// SQL text may end it too; the guard is then stale, and ends no other transaction.
#[derive(Debug)]
pub struct Transaction {
    lent: Arc<Lent>,
    /// Identifies this transaction among those of the connection.
    number: u64,
}

impl Transaction {
    pub(crate) fn new(lent: Arc<Lent>, number: u64) -> Transaction {
        Transaction { lent, number }
    }

    /// Commit all changes since it began. Does not wait for other writers: it already has the turn.
    /// The guard is stale afterwards.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): it has ended, with
    /// [`rolled_back`](crate::Error::rolled_back) if SQLite ended it. After any other error, such
    /// as a violated deferred foreign key, it has been rolled back.
    pub async fn commit(&self) -> Result<()> {
        let number = self.number;
        let commit = move |session: &mut dyn Session, call: Call| session.commit(call, number);
        let watch = CallWatch::new(&self.lent, "COMMIT");
        let result = self.lent.attempt(commit, || commit, &watch).await;
        watch.end(&result, |()| Figures::default());
        result
    }

    /// Undo all changes since it began. The guard is stale afterwards.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): `commit`, `rollback` or SQL text has already
    /// ended it. If SQLite rolled it back by itself, this succeeds.
    pub async fn rollback(&self) -> Result<()> {
        let number = self.number;
        let rollback = move |session: &mut dyn Session, call: Call| session.rollback(call, number);
        let watch = CallWatch::new(&self.lent, "ROLLBACK");
        let result = self.lent.attempt(rollback, || rollback, &watch).await;
        watch.end(&result, |()| Figures::default());
        result
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.lent.drop_transaction(self.number);
    }
}
