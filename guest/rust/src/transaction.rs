//! Transactions: all of their changes are kept, or none.

use std::ops::Deref;

use crate::bindings::connections as wit;
use crate::connection::Guarded;
use crate::{Connection, Error, Result, TransactionMode};

/// An open transaction on a connection. Created by [`Connection::begin`] or
/// [`Connection::transaction`].
///
/// Dropping it without [`commit`](Transaction::commit) rolls it back. All statements of the
/// connection belong to it while it is open.
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

    /// Commits all changes since it began. Does not wait for other writers.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) if it has already ended: by SQL text, or by
    /// SQLite (see [`rolled_back`](Error::rolled_back)).
    /// [`ConstraintForeignKey`](crate::ErrorKind::ConstraintForeignKey) for deferred constraints,
    /// and `Io`, `QuotaExceeded`, `Busy`: it has then been rolled back.
    pub fn commit(self) -> Result<()> {
        Ok(self.raw.commit()?)
    }

    /// Undoes all changes since it began. May wait for a network. Dropping it does the same, and
    /// ignores errors.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) if SQL text has ended it.
    pub fn rollback(self) -> Result<()> {
        Ok(self.raw.rollback()?)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Connection {
    /// Runs `f` in an `Immediate` transaction, and commits it if `f` returns `Ok`. If `f` returns
    /// `Err` or panics, all its changes are undone.
    ///
    /// Waits for its turn to write, and keeps that turn until `f` returns: keep `f` short.
    ///
    /// The error may be your own type that implements `From<Error>`; if the compiler cannot infer
    /// it, end `f` with `Ok::<_, Error>(…)`.
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
    /// As [`begin`](Connection::begin) and [`commit`](Transaction::commit), and those of `f`.
    pub fn transaction<T, E>(
        &self,
        f: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        self.transaction_with(TransactionMode::Immediate, f)
    }

    /// Like [`transaction`](Connection::transaction), in either mode. Use
    /// [`Deferred`](TransactionMode::Deferred) to read one snapshot in several statements; it does
    /// not wait. If it writes after all, it can fail with
    /// [`BusySnapshot`](crate::ErrorKind::BusySnapshot): run it again.
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

    /// Begins a transaction, which its guard ends.
    ///
    /// [`Immediate`](TransactionMode::Immediate) waits for its turn to write;
    /// [`Deferred`](TransactionMode::Deferred) does not wait.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql) if a transaction is open already: to nest, use
    /// [`savepoint`](Connection::savepoint). [`NotAuthorized`](crate::ErrorKind::NotAuthorized) for
    /// `Immediate` on a read-only connection, [`Busy`](crate::ErrorKind::Busy).
    pub fn begin(&self, mode: TransactionMode) -> Result<Transaction<'_>> {
        Ok(Transaction::new(self.raw().begin(mode)?, self))
    }
}
