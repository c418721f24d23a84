//! Savepoints: parts of a transaction that can be undone separately.

use std::ops::Deref;

use crate::connection::Guarded;
use crate::{Connection, Result};

/// An open savepoint on a connection. Created by [`Connection::savepoint`].
///
/// Dropping it without [`commit`](Savepoint::commit) undoes all changes since it began. Earlier
/// changes of the transaction stay. Savepoints nest: call `savepoint` on a
/// [`Transaction`](crate::Transaction) or another `Savepoint`.
///
/// ```no_run
/// # fn main() -> millpond_guest::Result<()> {
/// # let db = millpond_guest::db()?;
/// use millpond_guest::{Error, ErrorKind};
///
/// db.transaction(|tx| {
///     tx.execute("INSERT INTO orders (id) VALUES (7)", ())?;
///     let gift = tx.savepoint()?;
///     gift.execute("UPDATE stock SET count = count - 1 WHERE name = 'gift'", ())?;
///     match gift.execute("INSERT INTO gifts (order_id) VALUES (7)", ()) {
///         Ok(_) => gift.commit()?,
///         // The stock is as before, and the order stays.
///         Err(error) if error.kind() == ErrorKind::ConstraintUnique => drop(gift),
///         Err(error) => return Err(error),
///     }
///     Ok::<_, Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Savepoint<'c> {
    connection: &'c Connection,
    name: String,
    /// Whether it began its transaction, and so must end it.
    outermost: bool,
    committed: bool,
    _guarded: Guarded<'c>,
}

impl Savepoint<'_> {
    /// Keeps all changes since it began, as part of the surrounding savepoint or transaction. If
    /// there is none, commits. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql) if the surrounding savepoint or transaction has already ended
    /// it; [`StaleHandle`](crate::ErrorKind::StaleHandle) if SQLite or the host ended the
    /// transaction (see [`rolled_back`](crate::Error::rolled_back)). If it commits, as
    /// [`Transaction::commit`](crate::Transaction::commit). After an error, the changes since it
    /// began are undone.
    pub fn commit(mut self) -> Result<()> {
        self.connection
            .execute_script(&format!("RELEASE {}", self.name))?;
        self.committed = true;
        Ok(())
    }

    /// Undoes all changes since it began. It stays open, and can be used again; to end it too, drop
    /// it instead. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`commit`](Savepoint::commit), without those of a commit.
    pub fn rollback(&mut self) -> Result<()> {
        self.roll_back_to()
    }

    fn roll_back_to(&self) -> Result<()> {
        self.connection
            .execute_script(&format!("ROLLBACK TO {}", self.name))
    }
}

impl Deref for Savepoint<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        // A destructor cannot return an error. If one occurs, the transaction is already gone.
        let _ = match (self.roll_back_to(), self.outermost) {
            (Ok(()), false) => self
                .connection
                .execute_script(&format!("RELEASE {}", self.name)),
            (Ok(()), true) => self.connection.execute_script("ROLLBACK"),
            // Every statement fails until the transaction is ended, and no other guard ends it.
            (Err(error), true) if error.rolled_back() => self.connection.execute_script("ROLLBACK"),
            (Err(error), _) => Err(error),
        };
    }
}

impl Connection {
    /// Begins a savepoint, which its guard ends: a part of the open transaction that can be undone
    /// separately.
    ///
    /// If no transaction is open, begins one that waits for its turn at its first write, like a
    /// [`Deferred`](crate::TransactionMode::Deferred) one. For a transaction that will write,
    /// prefer [`transaction`](Connection::transaction) around it. Does not wait.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) if SQLite or the host ended the open
    /// transaction, or took the connection back.
    pub fn savepoint(&self) -> Result<Savepoint<'_>> {
        let outermost = !self.in_transaction();
        let name = self.name_savepoint();
        self.execute_script(&format!("SAVEPOINT {name}"))?;
        Ok(Savepoint {
            connection: self,
            name,
            outermost,
            committed: false,
            _guarded: Guarded::new(self),
        })
    }
}
