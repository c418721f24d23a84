//! Transactions: all of what is done in one, or nothing.

use std::ops::Deref;

use crate::bindings::connections as wit;
use crate::connection::Guarded;
use crate::{Connection, Error, Result, TransactionMode};

/// An open transaction, and the connection that it is on. Made by [`Connection::begin`] or
/// [`Connection::transaction`].
///
/// Dropped without [`commit`](Transaction::commit), it rolls back. Everything that is done
/// through the connection while it is open is in it.
#[derive(Debug)]
pub struct Transaction<'c> {
    raw: wit::Transaction,
    connection: &'c Connection,
    _guarded: Guarded<'c>,
}

impl<'c> Transaction<'c> {
    pub(crate) fn new(raw: wit::Transaction, connection: &'c Connection) -> Transaction<'c> {
        Transaction {
            raw,
            connection,
            _guarded: Guarded::new(connection),
        }
    }

    /// Makes everything since it began lasting. Does not wait for other writers.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) where it has ended already: by SQL text,
    /// or by SQLite, which [`rolled_back`](Error::rolled_back) tells apart.
    /// [`ConstraintForeignKey`](crate::ErrorKind::ConstraintForeignKey) for deferred
    /// constraints, and `Io`, `QuotaExceeded`, `Busy`: it has then been rolled back.
    pub fn commit(self) -> Result<()> {
        Ok(wit::Transaction::commit(self.raw)?)
    }

    /// Undoes everything since it began. Does not wait. Dropping it does the same, and keeps
    /// quiet about errors.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) where SQL text ended it before.
    pub fn rollback(self) -> Result<()> {
        Ok(wit::Transaction::rollback(self.raw)?)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Connection {
    /// Runs `f` in a transaction that writes from the start, and commits it where `f` returns
    /// `Ok`. Where `f` returns `Err` or panics, everything it did is undone.
    ///
    /// Waits for its turn to write, and keeps that turn until `f` is done: keep `f` short.
    ///
    /// The error may be a type of your own, as long as it is made from [`Error`]; where the
    /// compiler cannot tell which, end `f` with `Ok::<_, Error>(…)`.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// use millpond_guest::Error;
    ///
    /// db.transaction(|tx| {
    ///     tx.execute("UPDATE accounts SET cents = cents - 500 WHERE id = 1", ())?;
    ///     tx.execute("UPDATE accounts SET cents = cents + 500 WHERE id = 2", ())?;
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`begin`](Connection::begin) and [`commit`](Transaction::commit), and whatever `f`
    /// returns.
    pub fn transaction<T, E>(
        &self,
        f: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        self.transaction_with(TransactionMode::Immediate, f)
    }

    /// [`transaction`](Connection::transaction) of either mode. A
    /// [`Deferred`](TransactionMode::Deferred) one is for reading one snapshot in several
    /// statements, and waits for nothing; if it writes after all, that can fail with
    /// [`BusySnapshot`](crate::ErrorKind::BusySnapshot), and the thing to do is to run it again.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Connection::transaction).
    pub fn transaction_with<T, E>(
        &self,
        mode: TransactionMode,
        f: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        let transaction = self.begin(mode)?;
        // An error or a panic drops the transaction, which rolls it back.
        let value = f(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Begins a transaction, to be ended by its guard.
    ///
    /// [`Immediate`](TransactionMode::Immediate) waits for its turn to write;
    /// [`Deferred`](TransactionMode::Deferred) does not wait.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql) where a transaction is open already: use
    /// [`savepoint`](Connection::savepoint) for one inside another.
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized) for `Immediate` on a read-only
    /// connection, [`Busy`](crate::ErrorKind::Busy).
    pub fn begin(&self, mode: TransactionMode) -> Result<Transaction<'_>> {
        Ok(Transaction::new(self.raw().begin(mode)?, self))
    }
}
