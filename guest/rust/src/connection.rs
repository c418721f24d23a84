//! Connections: taken from the host's pool, worked through, given back.

use std::cell::{Cell, RefCell};

use crate::bindings::{connections as wit, pool, require_host};
use crate::cells::{Block, Reader};
use crate::params;
use crate::{
    Access, AndThenRows, Error, ManyParams, MappedRows, Params, PoolStats, Result, Row, Statement,
    Summary, Table,
};

/// Takes a connection to a database, by the name that the host granted it under.
///
/// Waits until one is free, in the order that callers came, up to the pool's timeout (10
/// seconds unless the host chose otherwise). For the request's one connection to the database
/// `default`, there is [`db`](crate::db).
///
/// # Errors
///
/// - [`NoSuchDatabase`](crate::ErrorKind::NoSuchDatabase): no database of this name was granted.
/// - [`NotAuthorized`](crate::ErrorKind::NotAuthorized): the grant is read-only, and
///   [`Access::ReadWrite`] was asked for.
/// - [`TooManyHandles`](crate::ErrorKind::TooManyHandles): this request already holds as many
///   connections as its grant allows (4 unless the host chose otherwise).
/// - [`PoolTimeout`](crate::ErrorKind::PoolTimeout): every connection stayed lent.
/// - [`PoolClosed`](crate::ErrorKind::PoolClosed): the host is shutting down.
/// - [`Corrupt`](crate::ErrorKind::Corrupt), [`Io`](crate::ErrorKind::Io): a new connection
///   could not be opened.
/// - [`Unavailable`](crate::ErrorKind::Unavailable): this program is no component.
pub fn get(database: &str, access: Access) -> Result<Connection> {
    Ok(Connection {
        raw: pool::get_connection(database, access)?,
        savepoints: Cell::new(0),
        guards: Cell::new(0),
        memory: RefCell::default(),
    })
}

/// The counters of a database's pool since it opened. Does not wait.
///
/// # Errors
///
/// [`NoSuchDatabase`](crate::ErrorKind::NoSuchDatabase);
/// [`NotAuthorized`](crate::ErrorKind::NotAuthorized) where the host shows nothing;
/// [`Unavailable`](crate::ErrorKind::Unavailable) in a program that is no component.
pub fn stats(database: &str) -> Result<PoolStats> {
    Ok(pool::stats(database)?)
}

/// The names of the databases granted to this guest, in alphabetical order. Does not wait.
///
/// # Errors
///
/// None in a component. [`Unavailable`](crate::ErrorKind::Unavailable) outside of one.
pub fn databases() -> Result<Vec<String>> {
    require_host()?;
    Ok(pool::databases())
}

/// A connection to a database, lent to this request.
///
/// Dropped, or still held when the request ends, it goes back to the pool: an open transaction
/// is rolled back. It comes as new: nothing of whoever had it before is left in it.
///
/// Once given back it is gone, and so is everything made from it:
///
/// ```compile_fail
/// # fn main() -> millpond_guest::Result<()> {
/// use millpond_guest::{Access, get};
///
/// let connection = get("default", Access::ReadOnly)?;
/// let count: i64 = connection.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))?;
/// connection.return_connection();
/// connection.execute("DELETE FROM notes", ())?; // used after it was returned
/// # Ok(())
/// # }
/// ```
///
/// Nothing else is wrong with that:
///
/// ```no_run
/// # fn main() -> millpond_guest::Result<()> {
/// use millpond_guest::{Access, get};
///
/// let connection = get("default", Access::ReadOnly)?;
/// let count: i64 = connection.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))?;
/// connection.execute("DELETE FROM notes", ())?;
/// connection.return_connection();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connection {
    raw: wit::Connection,
    /// How many savepoints it has had, so that each has a name of its own.
    savepoints: Cell<u64>,
    /// How many guards of transactions and savepoints are open.
    guards: Cell<usize>,
    /// What the last call's parameters took: the next call's need no allocation.
    memory: RefCell<Vec<u8>>,
}

/// Held by the guard of a transaction or savepoint.
#[derive(Debug)]
pub(crate) struct Guarded<'c>(&'c Connection);

impl Guarded<'_> {
    pub(crate) fn new(connection: &Connection) -> Guarded<'_> {
        connection.guards.set(connection.guards.get() + 1);
        Guarded(connection)
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        self.0.guards.set(self.0.guards.get() - 1);
    }
}

impl Connection {
    /// Runs one statement for its effect. Rows that it yields are not kept.
    ///
    /// A statement that writes waits for its turn to write; any other does not wait.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let summary = db.execute("INSERT INTO notes (title) VALUES (?1)", ["Milk"])?;
    /// println!("note {}", summary.last_insert_rowid);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql) where the text holds no statement or more than one,
    /// [`Parameters`](crate::ErrorKind::Parameters), [`Busy`](crate::ErrorKind::Busy),
    /// [`BusySnapshot`](crate::ErrorKind::BusySnapshot), and what the statement deserves.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<Summary> {
        self.with_parameters(params, |parameters| {
            Ok(self.raw.execute(sql, parameters)?)
        })
    }

    /// Runs one statement once for each of `rows`, all or none. See
    /// [`Statement::execute_many`], also for how many rows that may be.
    ///
    /// # Errors
    ///
    /// As [`Statement::execute_many`].
    pub fn execute_many<I>(
        &self,
        sql: &str,
        rows: I,
    ) -> Result<Summary, <I::Item as ManyParams>::Error>
    where
        I: IntoIterator,
        I::Item: ManyParams,
    {
        self.prepare(sql)?.execute_many(rows)
    }

    /// Runs every statement of a script, in order, up to the first that fails. What ran before
    /// it stays, unless the script began a transaction and you roll it back.
    ///
    /// A statement that writes waits for its turn to write, each for itself unless the script
    /// begins a transaction.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); the offset counts from the beginning of the script.
    pub fn execute_script(&self, sql: &str) -> Result<()> {
        Ok(self.raw.execute_script(sql)?)
    }

    /// Runs one statement and takes its whole result, in a single call to the host: for results
    /// known to be small. For any others there are [`query_map`](Connection::query_map) and
    /// [`Statement::query`].
    ///
    /// A statement that writes waits for its turn to write; any other does not wait.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); [`TooLarge`](crate::ErrorKind::TooLarge) where the
    /// result exceeds the host's limit (16 MiB unless it chose otherwise), and
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8). What the statement wrote is then undone.
    pub fn query(&self, sql: &str, params: impl Params) -> Result<Table> {
        let table = self.with_parameters(params, |parameters| {
            Ok(self.raw.query(sql, parameters, true)?)
        })?;
        Ok(Table {
            columns: table.columns.unwrap_or_default(),
            rows: Reader::new(table.rows, Vec::new()).into_rows()?,
        })
    }

    /// Runs one statement and makes a value of its first row. Further rows are skipped.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let count: i64 = db.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Statement::query_row`].
    pub fn query_row<T, F>(&self, sql: &str, params: impl Params, f: F) -> Result<T>
    where
        F: FnOnce(&Row<'_>) -> Result<T>,
    {
        self.prepare(sql)?.query_row(params, f)
    }

    /// Runs one statement and iterates over what `f` makes of each row, of which there may be
    /// any number: see [`Rows`](crate::Rows).
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// for title in db.query_map("SELECT title FROM notes", (), |row| row.get::<String>(0))? {
    ///     println!("{}", title?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Statement::query`].
    pub fn query_map<T, F>(&self, sql: &str, params: impl Params, f: F) -> Result<MappedRows<'_, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(self.prepare(sql)?.into_rows(params)?.mapped(f))
    }

    /// [`query_row`](Connection::query_row) where `f` has an error of its own, which must be made
    /// from [`Error`].
    ///
    /// # Errors
    ///
    /// As [`Statement::query_row`].
    pub fn query_row_and_then<T, E, F>(&self, sql: &str, params: impl Params, f: F) -> Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(&Row<'_>) -> Result<T, E>,
    {
        self.prepare(sql)?.query_row_and_then(params, f)
    }

    /// [`query_map`](Connection::query_map) where `f` has an error of its own, which must be made
    /// from [`Error`]: see [`Statement::query_and_then`].
    ///
    /// # Errors
    ///
    /// As [`Statement::query_and_then`].
    pub fn query_and_then<T, E, F>(
        &self,
        sql: &str,
        params: impl Params,
        f: F,
    ) -> Result<AndThenRows<'_, F>>
    where
        E: From<Error>,
        F: FnMut(&Row<'_>) -> Result<T, E>,
    {
        Ok(self.prepare(sql)?.into_rows(params)?.and_then(f))
    }

    /// Compiles one statement to run many times. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql) where the text holds no statement or more than one;
    /// [`TooManyHandles`](crate::ErrorKind::TooManyHandles).
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(Statement::new(self.raw.prepare(sql)?, self))
    }

    /// Whether a transaction is open, begun by a guard or by SQL text. Does not wait.
    pub fn in_transaction(&self) -> bool {
        self.raw.in_transaction()
    }

    /// Gives it back for the next borrower. Does not wait. Dropping it does the same.
    ///
    /// An open transaction, begun by SQL text, is rolled back.
    pub fn return_connection(self) {
        pool::return_connection(self.raw);
    }

    /// Closes it instead of giving it back, for a guest that doubts the state of its
    /// connection. Does not wait. The pool opens another when one is next needed.
    pub fn close_connection(self) {
        pool::close_connection(self.raw);
    }

    /// Whether the host has taken the connection back. Does not wait.
    pub(crate) fn is_stale(&self) -> bool {
        // Without a statement the call does nothing: it fails with `sql` on a live connection. It
        // fails with `stale-handle` after a rollback too, but then the transaction counts as open.
        match self.raw.execute("", &[]) {
            Err(error) => error.kind == wit::ErrorKind::StaleHandle && !self.in_transaction(),
            Ok(_) => false,
        }
    }

    /// Whether a guard of a transaction or savepoint is open on it.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guards.get() > 0
    }

    /// A name for a savepoint that no other of this connection has had.
    pub(crate) fn name_savepoint(&self) -> String {
        let number = self.savepoints.get() + 1;
        self.savepoints.set(number);
        format!("millpond_savepoint_{number}")
    }

    /// Runs `f` with the contract's form of some parameters.
    pub(crate) fn with_parameters<T>(
        &self,
        params: impl Params,
        f: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        /// What takes more is not kept.
        const MOST_KEPT: usize = 64 * 1024;
        // A `ToSql` may make calls of its own, which find no memory here meanwhile.
        let mut block = Block::in_memory_of(self.memory.take());
        let result = params::write(params, &mut block).and_then(|()| f(block.as_bytes()));
        let memory = block.into_memory();
        if memory.capacity() <= MOST_KEPT {
            self.memory.replace(memory);
        }
        result
    }

    pub(crate) fn raw(&self) -> &wit::Connection {
        &self.raw
    }
}
