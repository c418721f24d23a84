//! Connections: getting them from the host's pool, using them, and returning them.

use std::cell::{Cell, RefCell};

use crate::bindings::{connections as wit, pool, require_host};
use crate::cells::{Block, Reader};
use crate::params;
use crate::{
    Access, AndThenRows, Error, ManyParams, MappedRows, Params, PoolStats, Result, ResultSet, Row,
    Statement, Summary,
};

/// Gets a connection to a database, by the name that the host granted it under.
///
/// Waits until one is free, first come, first served, up to the pool's timeout (10 seconds unless
/// the host chose otherwise). For the request's shared connection to the database `default`, use
/// [`db`](crate::db).
///
/// # Errors
///
/// - [`NoSuchDatabase`](crate::ErrorKind::NoSuchDatabase): no database of this name was granted.
/// - [`NotAuthorized`](crate::ErrorKind::NotAuthorized): `access` is [`Access::ReadWrite`], and the
///   grant is read-only.
/// - [`TooManyHandles`](crate::ErrorKind::TooManyHandles): this request already holds as many
///   connections as its grant allows (4 unless the host chose otherwise).
/// - [`PoolTimeout`](crate::ErrorKind::PoolTimeout): every connection was in use for the whole
///   timeout.
/// - [`PoolClosed`](crate::ErrorKind::PoolClosed): the host is shutting down.
/// - [`Corrupt`](crate::ErrorKind::Corrupt), [`Io`](crate::ErrorKind::Io): a new connection
///   could not be opened.
/// - [`Unavailable`](crate::ErrorKind::Unavailable): this program is not a component.
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
/// [`NotAuthorized`](crate::ErrorKind::NotAuthorized) if the host shows no counters;
/// [`Unavailable`](crate::ErrorKind::Unavailable) in a program that is not a component.
pub fn stats(database: &str) -> Result<PoolStats> {
    Ok(pool::stats(database)?)
}

/// The names of the databases granted to this guest, in alphabetical order. Does not wait.
///
/// # Errors
///
/// None in a component. [`Unavailable`](crate::ErrorKind::Unavailable) in any other program.
pub fn databases() -> Result<Vec<String>> {
    require_host()?;
    Ok(pool::databases())
}

/// A connection to a database, lent to this request.
///
/// Dropping it, or the end of the request, returns it to the pool: an open transaction is rolled
/// back. A connection is like new when you get it: it has no state of earlier borrowers.
///
/// Once returned, it and everything created from it cannot be used:
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
/// This compiles:
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
    /// How many savepoints it has created, to give each a unique name.
    savepoints: Cell<u64>,
    /// How many guards of transactions and savepoints are open.
    guards: Cell<usize>,
    /// The memory of the last call's parameters, to reuse in the next call.
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
    /// Runs one statement for its effect. Rows that it yields are discarded.
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
    /// [`Sql`](crate::ErrorKind::Sql) if the text holds no statement or more than one,
    /// [`Parameters`](crate::ErrorKind::Parameters), [`Busy`](crate::ErrorKind::Busy),
    /// [`BusySnapshot`](crate::ErrorKind::BusySnapshot), and others depending on the statement.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<Summary> {
        self.with_parameters(params, |parameters| {
            Ok(self.raw.execute(sql, parameters)?)
        })
    }

    /// Runs one statement once for each of `rows`, all or none. See [`Statement::execute_many`] for
    /// the limits.
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

    /// Runs every statement of a script, in order, up to the first that fails. Changes made before
    /// a failure stay, unless the script began a transaction and you roll it back.
    ///
    /// A statement that writes waits for its turn to write, each separately unless the script
    /// begins a transaction.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); the offset counts from the beginning of the script.
    pub fn execute_script(&self, sql: &str) -> Result<()> {
        Ok(self.raw.execute_script(sql)?)
    }

    /// Runs one statement and returns its whole result, in a single call to the host. Use it for
    /// results known to be small; for others use [`query_map`](Connection::query_map) or
    /// [`Statement::query`].
    ///
    /// A statement that writes waits for its turn to write; any other does not wait.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); [`TooLarge`](crate::ErrorKind::TooLarge) if the result
    /// exceeds the host's limit (16 MiB unless it chose otherwise), and
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8). After any of them, what the statement wrote is
    /// undone.
    pub fn query(&self, sql: &str, params: impl Params) -> Result<ResultSet> {
        let result = self.with_parameters(params, |parameters| {
            Ok(self.raw.query(sql, parameters, true)?)
        })?;
        Ok(ResultSet {
            columns: result.columns.unwrap_or_default(),
            rows: Reader::new(result.rows, Vec::new()).into_rows()?,
        })
    }

    /// Runs one statement and maps its first row with `f`. Further rows are skipped.
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

    /// Runs one statement and iterates over its rows, mapped with `f`. The result may be of any
    /// size: see [`Rows`](crate::Rows).
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

    /// Like [`query_row`](Connection::query_row), but `f` has its own error type, which must
    /// implement `From<Error>`.
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

    /// Like [`query_map`](Connection::query_map), but `f` has its own error type, which must
    /// implement `From<Error>`: see [`Statement::query_and_then`].
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
    /// [`Sql`](crate::ErrorKind::Sql) if the text holds no statement or more than one;
    /// [`TooManyHandles`](crate::ErrorKind::TooManyHandles).
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(Statement::new(self.raw.prepare(sql)?, self))
    }

    /// Whether a transaction is open, begun by a guard or by SQL text. Does not wait.
    pub fn in_transaction(&self) -> bool {
        self.raw.in_transaction()
    }

    /// Returns the connection to the pool, as dropping it does. Does not wait.
    ///
    /// An open transaction, begun by SQL text, is rolled back.
    pub fn return_connection(self) {
        pool::return_connection(self.raw);
    }

    /// Closes the connection instead of returning it, for a guest that does not trust its state.
    /// Does not wait. The pool opens another when one is needed.
    pub fn close_connection(self) {
        pool::close_connection(self.raw);
    }

    /// Whether the host has taken the connection back. Does not wait.
    pub(crate) fn is_stale(&self) -> bool {
        // An empty script does nothing on a live connection. It fails with `stale-handle` after a
        // rollback too, but then the transaction counts as open.
        match self.raw.execute_script("") {
            Err(error) => error.kind == wit::ErrorKind::StaleHandle && !self.in_transaction(),
            Ok(()) => false,
        }
    }

    /// Whether a guard of a transaction or savepoint is open on it.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guards.get() > 0
    }

    /// A unique name for a savepoint of this connection.
    pub(crate) fn name_savepoint(&self) -> String {
        let number = self.savepoints.get() + 1;
        self.savepoints.set(number);
        format!("millpond_savepoint_{number}")
    }

    /// Runs `f` with parameters in the contract's form.
    pub(crate) fn with_parameters<T>(
        &self,
        params: impl Params,
        f: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        /// Larger buffers are not kept.
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
