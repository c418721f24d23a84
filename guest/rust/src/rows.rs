//! The rows of a result of any size, a page in memory at a time.

use crate::bindings::connections::Cursor;
use crate::cells::Reader;
use crate::statement::Columns;
use crate::{Column, Error, Result, Row, Value};

/// The rows of a result, in order.
///
/// However many there are, one page of them is in memory at a time (1 MiB unless the host chose
/// otherwise, and at least one row). The result is the database as it was when the query began,
/// whatever is written meanwhile.
///
/// Dropped before its end, the rest is skipped. A statement that writes and yields rows
/// (`RETURNING`) has written by its first row; it keeps its turn to write, and outside a
/// transaction its commit is not yet confirmed, until its rows are read to the end: read them.
#[derive(Debug)]
pub struct Rows<'s> {
    reader: Reader,
    /// `None` once every page has come.
    cursor: Option<Cursor>,
    columns: Columns<'s>,
}

/// As many rows in a page as the host's limit for one lets through.
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

    /// The next row, or `None` at the end, and again after it. Does not wait.
    ///
    /// A row is read before the next is asked for, which is why this is not an iterator;
    /// [`mapped`](Rows::mapped) makes it one.
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
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle) once the transaction that it read in was
    /// rolled back; [`NotUtf8`](crate::ErrorKind::NotUtf8) for text that is not; whatever else
    /// SQLite meets. An error ends the rows.
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

    /// Asks for the next page. False where there is none.
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

    /// An iterator over what `f` makes of each row, whose error is one of `f`'s own: see
    /// [`Statement::query_and_then`](crate::Statement::query_and_then).
    pub fn and_then<T, E, F>(self, f: F) -> AndThenRows<'s, F>
    where
        E: From<Error>,
        F: FnMut(&Row<'_>) -> Result<T, E>,
    {
        AndThenRows { rows: self, f }
    }

    /// An iterator over what `f` makes of each row.
    pub fn mapped<T, F>(self, f: F) -> MappedRows<'s, F>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        MappedRows { rows: self, f }
    }
}

/// A whole result, held in memory. Made by [`Connection::query`](crate::Connection::query).
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// An iterator over what a function makes of each row. See [`Rows`].
///
/// After an error of the host's it ends; an error of the function's is one item among others.
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

/// An iterator over what a function with an error of its own makes of each row. See [`Rows`].
///
/// After an error of the host's it ends; an error of the function's is one item among others.
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
