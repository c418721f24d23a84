//! The request's shared connection.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{Access, Connection, Result, get};

/// The name of the database that [`db`] opens.
const DEFAULT: &str = "default";

thread_local! {
    static READ_WRITE: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
    static READ_ONLY: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
}

/// The request's shared connection to the database `default`, for reading and writing. The first
/// call gets it from the pool; later calls return the same connection.
///
/// The first call waits like [`get`]; later calls do not. The connection is returned to the pool
/// when the request ends. If the host has taken it back, the next call gets another, and waits like
/// the first. That happens in the next request that the same instance serves, and after the
/// connection was held for too long (60 seconds unless the host chose otherwise). Anything created
/// from the old connection stays stale. While a [`Transaction`](crate::Transaction) or
/// [`Savepoint`](crate::Savepoint) of the old connection exists, `db` returns the old one, so that
/// no write of a lost transaction is committed outside of it.
///
/// ```no_run
/// # fn main() -> millpond_guest::Result<()> {
/// use millpond_guest::db;
///
/// db()?.execute("INSERT INTO notes (title) VALUES (?1)", ["Milk"])?;
/// let count: i64 = db()?.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`get`]. [`NotAuthorized`](crate::ErrorKind::NotAuthorized) means that the grant is
/// read-only: use [`db_read_only`].
pub fn db() -> Result<Rc<Connection>> {
    READ_WRITE.with_borrow_mut(|held| the_one(held, Access::ReadWrite))
}

/// Like [`db`], but read-only: for a guest whose grant is read-only. This is a different connection
/// from [`db`]'s.
///
/// # Errors
///
/// As [`get`].
pub fn db_read_only() -> Result<Rc<Connection>> {
    READ_ONLY.with_borrow_mut(|held| the_one(held, Access::ReadOnly))
}

/// Returns the connections of [`db`] and [`db_read_only`] to the pool; their next calls get new
/// ones. Does not wait.
///
/// The end of the request does the same. Call this earlier, once the request needs no more SQL, so
/// that another request can use the connection while a slow client reads this one's response. If
/// one instance serves several requests, it also saves the next [`db`] from finding that its
/// connection was taken back, which takes some microseconds.
///
/// A connection that is still in use elsewhere is returned when its last user drops it.
pub fn return_db() {
    READ_WRITE.take();
    READ_ONLY.take();
}

fn the_one(held: &mut Option<Rc<Connection>>, access: Access) -> Result<Rc<Connection>> {
    let connection = match held.take() {
        // While a transaction is open on the connection, the caller's statements belong to it.
        // Another connection would commit them although the transaction is lost.
        Some(connection) if connection.is_guarded() || !connection.is_stale() => connection,
        stale => {
            // It counts as one of the request's connections, although it is an earlier request's.
            drop(stale);
            Rc::new(get(DEFAULT, access)?)
        }
    };
    Ok(held.insert(connection).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, databases, stats};

    #[test]
    fn outside_a_component_every_call_is_an_error() {
        let unavailable = Some(ErrorKind::Unavailable);
        let kind = |result: Result<()>| result.err().map(|error| error.kind());
        for access in [Access::ReadOnly, Access::ReadWrite] {
            assert_eq!(kind(get(DEFAULT, access).map(drop)), unavailable);
        }
        assert_eq!(kind(db().map(drop)), unavailable);
        assert_eq!(kind(db_read_only().map(drop)), unavailable);
        assert_eq!(kind(stats(DEFAULT).map(drop)), unavailable);
        assert_eq!(kind(databases().map(drop)), unavailable);
        return_db();

        use crate::bindings::connections::ErrorKind as Raw;
        use crate::bindings::pool;
        let error = pool::get_connection(DEFAULT, Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind, Raw::Unavailable);
        assert_eq!(pool::stats(DEFAULT).unwrap_err().kind, Raw::Unavailable);
        assert!(pool::databases().is_empty());
    }
}
