//! The request's one connection, the same for every caller.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{Access, Connection, Result, get};

/// The name of the database that [`db`] opens.
const DEFAULT: &str = "default";

thread_local! {
    static READ_WRITE: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
    static READ_ONLY: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
}

/// The request's one connection to the database `default`, to read and write: the first call
/// takes it from the pool, every later one returns the same.
///
/// The first call waits as [`get`] does; later ones do not. It goes back to the pool
/// when the request ends. If the host has taken it back, the next call takes another, and waits as
/// the first one does. That happens in the next request that the same instance serves, and after the
/// connection was held for too long (60 seconds unless the host chose otherwise). What was made from
/// the old connection stays stale. While a [`Transaction`](crate::Transaction) or
/// [`Savepoint`](crate::Savepoint) of the old connection exists, `db` returns that one, so that no
/// write that belongs to a lost transaction is committed outside of it.
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

/// The request's one connection to the database `default`, to read: for a guest whose grant is
/// read-only. It is another one than [`db`]'s, whose reads wait for no writer either.
///
/// # Errors
///
/// As [`get`].
pub fn db_read_only() -> Result<Rc<Connection>> {
    READ_ONLY.with_borrow_mut(|held| the_one(held, Access::ReadOnly))
}

/// Gives back what [`db`] and [`db_read_only`] hold; their next calls take new ones. Does not
/// wait.
///
/// Where something still holds what they returned, the connection goes back when that is
/// dropped too.
pub fn return_db() {
    READ_WRITE.take();
    READ_ONLY.take();
}

fn the_one(held: &mut Option<Rc<Connection>>, access: Access) -> Result<Rc<Connection>> {
    let connection = match held.take() {
        // While a transaction is open on it, what calls this is part of that transaction. Another
        // connection would commit its writes although the transaction is lost.
        Some(connection) if connection.is_guarded() || !connection.is_stale() => connection,
        _ => Rc::new(get(DEFAULT, access)?),
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
