//! A compiled statement of one connection.

use crate::bindings::connections as wit;
use crate::blocks::{fill, fill_next, misfit};
use crate::cells::{self, Block, Reader};
use crate::prepared::{Columns, Prepared};
use crate::rows::WHOLE_PAGE;
use crate::{
    AndThenRows, Column, Connection, Error, ErrorKind, ManyParams, MappedRows, Params, Result, Row,
    Rows, Summary, TransactionMode,
};

/// A compiled statement, to run any number of times. Created by [`Connection::prepare`].
///
/// A request may hold 64 statements, unless the host chose otherwise; dropping one allows another.
/// The host caches compiled statements: preparing the same text again costs little.
#[derive(Debug)]
pub struct Statement<'c> {
    prepared: Prepared,
    connection: &'c Connection,
    /// The memory of the last row, to reuse for the next.
    row: Vec<cells::Cell>,
}

impl<'c> Statement<'c> {
    pub(crate) fn new(raw: wit::Statement, connection: &'c Connection) -> Statement<'c> {
        Statement {
            prepared: Prepared::new(raw),
            connection,
            row: Vec::new(),
        }
    }

    /// Runs it for its effect. Rows that it yields are discarded.
    ///
    /// A statement that writes waits for its turn to write.
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters), [`Busy`](ErrorKind::Busy),
    /// [`BusySnapshot`](ErrorKind::BusySnapshot), and others depending on the statement.
    pub fn execute(&mut self, params: impl Params) -> Result<Summary> {
        self.connection.with_parameters(params, |parameters| {
            Ok(self.prepared.raw.execute(parameters)?)
        })
    }

    /// Runs it once for each of `rows`, all or none, and sums their changes.
    ///
    /// The rows are sent to the host in blocks of about 256 KiB, so this program's memory does not
    /// limit their number. If they need more than one block, they are written in one transaction,
    /// or in a savepoint if a transaction is open. Waits once for its turn to write.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("INSERT INTO squares (n, square) VALUES (?1, ?2)")?;
    /// let summary = statement.execute_many((0..1_000_000_i64).map(|n| (n, n * n)))?;
    /// assert_eq!(summary.changes, 1_000_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Rows that may fail
    ///
    /// A row may be a `Result` whose error implements `From<Error>`. The first error ends the call,
    /// and is returned unchanged.
    ///
    /// ```no_run
    /// use millpond_guest::{Error, Result, db};
    ///
    /// fn import(lines: &str) -> Result<u64> {
    ///     let rows = lines.lines().map(|line| match line.split_once('=') {
    ///         Some((name, value)) => Ok([name, value]),
    ///         None => Err(Error::to_sql(format!("{line} has no `=`"))),
    ///     });
    ///     let summary = db()?.execute_many("INSERT INTO settings VALUES (?1, ?2)", rows)?;
    ///     Ok(summary.changes)
    /// }
    /// ```
    ///
    /// # Limits
    ///
    /// All rows are in one transaction, with the host's limits. Unless the host chose otherwise:
    ///
    /// - It writes at most 64 MiB, in whole pages of the table and its indexes. A page counts each
    ///   time it is written. That is about 3 million rows of two integers in a table without
    ///   indexes. Beyond that, the call fails with [`QuotaExceeded`](ErrorKind::QuotaExceeded).
    /// - It stays open for at most 10 seconds if another request waits for its turn to write. After
    ///   that the call fails with [`StaleHandle`](ErrorKind::StaleHandle).
    ///
    /// To write more rows, commit them in batches. Each batch is kept or undone separately, and
    /// other requests can write in between:
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("INSERT INTO squares (n, square) VALUES (?1, ?2)")?;
    /// let mut rows = (0..100_000_000_i64).map(|n| (n, n * n)).peekable();
    /// while rows.peek().is_some() {
    ///     statement.execute_many(rows.by_ref().take(500_000))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters) if the statement has none, or a row does not match
    /// them exactly; an error among the rows; otherwise as [`execute`](Statement::execute). After
    /// an error the changes of all rows are undone. If [`rolled_back`](Error::rolled_back) is true,
    /// so is the transaction that was open before.
    pub fn execute_many<I>(&mut self, rows: I) -> Result<Summary, <I::Item as ManyParams>::Error>
    where
        I: IntoIterator,
        I::Item: ManyParams,
    {
        let names = &self.prepared.facts()?.parameter_names;
        if names.is_empty() {
            // Rows without values have no size, so a block of them would never be full.
            let message = "the statement has no parameters to run it with".to_owned();
            return Err(misfit(message).into());
        }
        let mut rows = rows.into_iter();
        let mut block = Block::default();
        let more = fill(&mut block, &mut rows, names)?;
        let mut summary = || -> Result<Summary, <I::Item as ManyParams>::Error> {
            let mut summary = self.send(&mut block, names.len())?;
            while more && fill_next(&mut block, &mut rows, names)? {
                let next = self.send(&mut block, names.len())?;
                summary.changes += next.changes;
                summary.last_insert_rowid = next.last_insert_rowid;
            }
            Ok(summary)
        };
        match more {
            false => summary(),
            true => self.connection.all_or_none(summary),
        }
    }

    fn send(&self, block: &mut Block, width: usize) -> Result<Summary> {
        block.set_width(width)?;
        Ok(self.prepared.raw.execute_many(block.as_bytes())?)
    }

    /// Runs it and reads its rows, a page at a time.
    ///
    /// A statement that writes waits for its turn to write.
    ///
    /// # Errors
    ///
    /// As [`execute`](Statement::execute); [`TooManyHandles`](ErrorKind::TooManyHandles) if the
    /// request holds too many cursors.
    pub fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        let page = self.run(params, WHOLE_PAGE)?;
        let reader = Reader::new(page.rows, Vec::new());
        let columns = Columns::of(&self.prepared, page.columns);
        Ok(Rows::new(reader, page.rest, columns))
    }

    /// Runs it and iterates over its rows, mapped with `f`.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("SELECT title FROM notes WHERE id > ?1")?;
    /// let titles: Vec<String> = statement
    ///     .query_map([10], |row| row.get("title"))?
    ///     .collect::<Result<_, _>>()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Statement::query).
    pub fn query_map<T, F>(&mut self, params: impl Params, f: F) -> Result<MappedRows<'_, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(self.query(params)?.mapped(f))
    }

    /// Like [`query_map`](Statement::query_map), but `f` has its own error type. That must
    /// implement `From<Error>`, because reading on can fail too.
    ///
    /// ```no_run
    /// use millpond_guest::{Result, db};
    ///
    /// #[derive(Debug)]
    /// enum Failed {
    ///     Database(millpond_guest::Error),
    ///     Number(std::num::ParseIntError),
    /// }
    ///
    /// impl From<millpond_guest::Error> for Failed {
    ///     fn from(error: millpond_guest::Error) -> Failed {
    ///         Failed::Database(error)
    ///     }
    /// }
    ///
    /// impl From<std::num::ParseIntError> for Failed {
    ///     fn from(error: std::num::ParseIntError) -> Failed {
    ///         Failed::Number(error)
    ///     }
    /// }
    ///
    /// fn numbers() -> Result<Vec<u32>, Failed> {
    ///     let db = db()?;
    ///     let mut statement = db.prepare("SELECT number FROM houses")?;
    ///     let numbers = statement.query_and_then((), |row| {
    ///         Ok::<u32, Failed>(row.get::<String>(0)?.parse()?)
    ///     })?;
    ///     numbers.collect()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Statement::query). The iterator yields errors of `f`, and errors of reading on,
    /// after which it ends.
    pub fn query_and_then<T, E, F>(
        &mut self,
        params: impl Params,
        f: F,
    ) -> Result<AndThenRows<'_, F>>
    where
        E: From<Error>,
        F: FnMut(&Row<'_>) -> Result<T, E>,
    {
        Ok(self.query(params)?.and_then(f))
    }

    /// Runs it and maps its first row with `f`. Further rows are skipped.
    ///
    /// # Errors
    ///
    /// [`QueryReturnedNoRows`](ErrorKind::QueryReturnedNoRows) if there is none, which
    /// [`optional`](crate::OptionalExtension::optional) turns into `None`; otherwise as
    /// [`query`](Statement::query), and those of `f`.
    pub fn query_row<T, F>(&mut self, params: impl Params, f: F) -> Result<T>
    where
        F: FnOnce(&Row<'_>) -> Result<T>,
    {
        self.query_row_and_then(params, f)
    }

    /// Like [`query_row`](Statement::query_row), but `f` has its own error type, which must
    /// implement `From<Error>`.
    ///
    /// # Errors
    ///
    /// As [`query_row`](Statement::query_row).
    pub fn query_row_and_then<T, E, F>(&mut self, params: impl Params, f: F) -> Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(&Row<'_>) -> Result<T, E>,
    {
        let (reader, columns) = self.first_row(params)?;
        let value = f(&Row {
            reader: &reader,
            columns: &Columns::of(&self.prepared, columns),
        });
        self.row = reader.into_row();
        value
    }

    /// Runs it and reads its first row, and its columns, if they came with it.
    fn first_row(&mut self, params: impl Params) -> Result<(Reader, Option<Vec<Column>>)> {
        let page = self.run(params, 1)?;
        if let Some(rest) = page.rest
            && !self.prepared.facts()?.read_only
        {
            // A statement that writes commits at its last row, and the commit can fail.
            while !rest.next(WHOLE_PAGE)?.is_empty() {}
        }
        let mut reader = Reader::new(page.rows, std::mem::take(&mut self.row));
        if !reader.advance()? {
            return Err(Error::new(
                ErrorKind::QueryReturnedNoRows,
                "the query yielded no row",
            ));
        }
        Ok((reader, page.columns))
    }

    fn run(&self, params: impl Params, max_rows: u32) -> Result<wit::Page> {
        let Prepared { raw, is_named, .. } = &self.prepared;
        self.connection.with_parameters(params, |parameters| {
            Ok(raw.query(parameters, max_rows, is_named.get())?)
        })
    }

    /// The columns of its rows: those of its last run, or, before the first run, those that it
    /// would yield now. Empty for a statement that yields no rows, or is stale.
    pub fn columns(&self) -> Vec<Column> {
        let description = self.prepared.describe();
        description.map_or_else(|_| Vec::new(), |description| description.columns)
    }

    /// The parameters' names without prefix, `None` for a bare `?`, in the order in which
    /// positional parameters are bound. Empty if the statement is stale, unless they were requested
    /// before.
    pub fn parameter_names(&self) -> Vec<Option<String>> {
        let facts = self.prepared.facts();
        facts.map_or_else(|_| Vec::new(), |facts| facts.parameter_names.clone())
    }

    /// Whether it does not write to the database (<https://sqlite.org/c3ref/stmt_readonly.html>).
    /// True if stale.
    pub fn is_read_only(&self) -> bool {
        self.prepared.facts().map_or(true, |facts| facts.read_only)
    }

    /// Runs it, for rows that outlive the statement's scope.
    pub(crate) fn into_rows(self, params: impl Params) -> Result<Rows<'c>> {
        let page = self.run(params, WHOLE_PAGE)?;
        let reader = Reader::new(page.rows, self.row);
        let columns = Columns::held(self.prepared, page.columns);
        Ok(Rows::new(reader, page.rest, columns))
    }
}

impl Connection {
    /// Runs `f`, and if it fails undoes everything it has written, but nothing written before.
    fn all_or_none<T, E: From<Error>>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if !self.in_transaction() {
            return self.transaction_with(TransactionMode::Immediate, |_| f());
        }
        let savepoint = self.savepoint()?;
        // An error or a panic drops the savepoint, which rolls back to it.
        let value = f()?;
        savepoint.commit()?;
        Ok(value)
    }
}
