//! The rows of a result of any size, with one page in memory at a time.

use crate::bindings::connections::Cursor;
use crate::cells::Reader;
use crate::prepared::Columns;
use crate::{Column, Error, Result, Row, Value};

/// The rows of a result, in order.
///
/// Only one page of them is in memory at a time (1 MiB unless the host chose otherwise, and at
/// least one row). The result is a snapshot from when the query began, whatever other connections
/// commit meanwhile.
///
/// Dropping it before the end skips the remaining rows. A statement that writes and yields rows
/// (`RETURNING`) has made its changes by its first row. But until you read its rows to the end, it
/// keeps its turn to write, and outside a transaction its commit is not confirmed.
#[derive(Debug)]
pub struct Rows<'s> {
    reader: Reader,
    /// `None` once all pages have been read.
    cursor: Option<Cursor>,
    columns: Columns<'s>,
}

/// Asks for pages as large as the host allows.
pub(crate) const WHOLE_PAGE: u32 = 0;

impl<'s> Rows<'s> {
    /// The rows that begin with those of `reader`, of the run that `columns` belong to.
    pub(crate) fn new(reader: Reader, cursor: Option<Cursor>, columns: Columns<'s>) -> Rows<'s> {
        Rows {
            reader,
            cursor,
            columns,
        }
    }

    /// The next row; `None` at the end and after it. Does not wait.
    ///
    /// You must finish reading a row before you ask for the next, so this is not an iterator; use
    /// [`mapped`](Rows::mapped) for one.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("SELECT title FROM notes ORDER BY title")?;
    /// let mut rows = statement.query(())?;
    /// while let Some(row) = rows.next()? {
    ///     println!("{}", row.get_ref(0)?.as_str().unwrap_or("(untitled)"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) once its transaction has been rolled back;
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8); and others depending on the statement. An error ends
    /// the rows.
    #[expect(
        clippy::should_implement_trait,
        reason = "a row does not outlive the step to the next, which Iterator cannot say"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        while !self.reader.advance()? {
            if !self.turn_page()? {
                return Ok(None);
            }
        }
        Ok(Some(Row {
            reader: &self.reader,
            columns: &self.columns,
        }))
    }

    /// Reads the next page. Returns false if there is none.
    fn turn_page(&mut self) -> Result<bool> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(false);
        };
        let page = cursor.next(WHOLE_PAGE)?;
        if page.is_empty() {
            return Ok(false);
        }
        self.reader.turn_to(page);
        self.cursor = Some(cursor);
        Ok(true)
    }

    /// Iterates over the rows, mapped with `f`, which has its own error type: see
    /// [`Statement::query_and_then`](crate::Statement::query_and_then).
    pub fn and_then<T, E, F>(self, f: F) -> AndThenRows<'s, F>
    where
        E: From<Error>,
        F: FnMut(&Row<'_>) -> Result<T, E>,
    {
        AndThenRows { rows: self, f }
    }

    /// Iterates over the rows, mapped with `f`.
    pub fn mapped<T, F>(self, f: F) -> MappedRows<'s, F>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        MappedRows { rows: self, f }
    }
}

/// A whole result, held in memory. Returned by [`Connection::query`](crate::Connection::query).
#[derive(Clone, Debug, PartialEq)]
pub struct ResultSet {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows. Each has one value per column.
    pub rows: Vec<Vec<Value>>,
}

/// An iterator over mapped rows. See [`Rows`].
///
/// After an error of the host it ends; an error of the function is an item like any other.
#[derive(Debug)]
pub struct MappedRows<'s, F> {
    rows: Rows<'s>,
    f: F,
}

impl<T, F> Iterator for MappedRows<'_, F>
where
    F: FnMut(&Row<'_>) -> Result<T>,
{
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        match self.rows.next() {
            Ok(Some(row)) => Some((self.f)(&row)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// An iterator over rows mapped by a function with its own error type. See [`Rows`].
///
/// After an error of the host it ends; an error of the function is an item like any other.
#[derive(Debug)]
pub struct AndThenRows<'s, F> {
    rows: Rows<'s>,
    f: F,
}

impl<T, E, F> Iterator for AndThenRows<'_, F>
where
    E: From<Error>,
    F: FnMut(&Row<'_>) -> Result<T, E>,
{
    type Item = Result<T, E>;

    #[inline]
    fn next(&mut self) -> Option<Result<T, E>> {
        match self.rows.next() {
            Ok(Some(row)) => Some((self.f)(&row)),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}
