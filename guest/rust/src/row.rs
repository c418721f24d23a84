//! One row of a result, without copying it.

use crate::cells::Reader;
use crate::prepared::Columns;
use crate::{Error, ErrorKind, FromSql, FromSqlError, Result, ValueRef};

/// A row of a result. Its values are borrowed from the page that the host sent: reading one only
/// allocates what the requested type needs.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    pub(crate) reader: &'r Reader,
    pub(crate) columns: &'r Columns<'r>,
}

impl<'r> Row<'r> {
    /// Reads a column as a Rust type, by index from 0 or by name.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let (id, title) = db.query_row("SELECT id, title FROM notes", (), |row| {
    ///     Ok((row.get::<i64>(0)?, row.get::<Option<String>>("title")?))
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidColumn`] if the row has no such column, and
    /// [`InvalidColumnType`](ErrorKind::InvalidColumnType),
    /// [`IntegralValueOutOfRange`](ErrorKind::IntegralValueOutOfRange) or
    /// [`FromSqlConversionFailure`](ErrorKind::FromSqlConversionFailure) if its value is not of the
    /// type. The message names the column.
    #[inline]
    pub fn get<T: FromSql>(&self, column: impl RowIndex) -> Result<T> {
        let index = column.index(self)?;
        let value = self.value(index)?;
        match T::column_result(value) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.refused(index, value, std::any::type_name::<T>(), error)),
        }
    }

    /// Borrows a column's value, by index from 0 or by name: for text and blobs that need not be
    /// copied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidColumn`] if the row has no such column.
    #[inline]
    pub fn get_ref(&self, column: impl RowIndex) -> Result<ValueRef<'r>> {
        self.value(column.index(self)?)
    }

    /// The number of columns. At least 1.
    pub fn column_count(&self) -> usize {
        self.reader.width()
    }

    /// The name of a column, by index from 0.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidColumn`] if the row has no such column.
    pub fn column_name(&self, index: usize) -> Result<&'r str> {
        match self.columns.get().get(index) {
            Some(column) => Ok(&column.name),
            None => Err(self.no_column(index)),
        }
    }

    #[inline]
    fn value(&self, index: usize) -> Result<ValueRef<'r>> {
        match self.reader.get(index)? {
            Some(value) => Ok(value),
            None => Err(self.no_column(index)),
        }
    }

    #[cold]
    fn no_column(&self, index: usize) -> Error {
        Error::new(
            ErrorKind::InvalidColumn,
            format!(
                "no column {index} in a row of {} (the first is column 0)",
                self.column_count()
            ),
        )
    }

    /// The error for a column's value, naming the column.
    #[cold]
    fn refused(
        &self,
        index: usize,
        value: ValueRef<'_>,
        wanted: &str,
        error: FromSqlError,
    ) -> Error {
        let name = self.column_name(index).unwrap_or_default();
        match error {
            FromSqlError::InvalidType => Error::new(
                ErrorKind::InvalidColumnType,
                format!(
                    "column {index} ({name}) holds {}, which cannot be read as {wanted}",
                    value.type_name()
                ),
            ),
            FromSqlError::OutOfRange(integer) => Error::new(
                ErrorKind::IntegralValueOutOfRange,
                format!("column {index} ({name}) holds {integer}, which does not fit {wanted}"),
            ),
            FromSqlError::Other(reason) => Error::new(
                ErrorKind::FromSqlConversionFailure,
                format!("column {index} ({name}) cannot be read as {wanted}: {reason}"),
            ),
        }
    }
}

/// Identifies a column of a row: its index from 0 as `usize`, or its name as `&str`.
///
/// Names ignore the case of ASCII letters; of several columns with the same name, the first is
/// used. An index is faster than a name.
pub trait RowIndex {
    /// The column's index from 0.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidColumn`] if no column has this name.
    fn index(&self, row: &Row<'_>) -> Result<usize>;
}

impl RowIndex for usize {
    #[inline]
    fn index(&self, _: &Row<'_>) -> Result<usize> {
        Ok(*self)
    }
}

impl RowIndex for &str {
    fn index(&self, row: &Row<'_>) -> Result<usize> {
        row.columns
            .get()
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(self))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidColumn,
                    format!("no column of the row is named {self}"),
                )
            })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bindings::connections::Column;
    use crate::cells::Block;

    /// Runs `test` on a row of these columns.
    pub(crate) fn with_row_of(columns: &[(&str, ValueRef<'_>)], test: impl FnOnce(Row<'_>)) {
        let mut block = Block::new();
        for (_, value) in columns {
            block.push(*value).unwrap();
        }
        block.set_width(columns.len()).unwrap();
        let mut reader = Reader::new(block.into_memory(), Vec::new());
        assert!(reader.advance().unwrap());
        let columns = columns.iter().map(|(name, _)| Column {
            name: (*name).to_owned(),
            declared_type: None,
        });
        test(Row {
            reader: &reader,
            columns: &Columns::known(columns.collect()),
        });
    }

    /// Runs `test` on a row of `id` 300, `title` null and `body` "text".
    fn with_row(test: impl FnOnce(Row<'_>)) {
        let columns = [
            ("id", ValueRef::Integer(300)),
            ("title", ValueRef::Null),
            ("body", ValueRef::Text("text")),
        ];
        with_row_of(&columns, test);
    }

    #[test]
    fn columns_are_found_by_index_and_by_name() {
        with_row(|row| {
            assert_eq!(row.column_count(), 3);
            assert_eq!(row.get(0), Ok(300_i64));
            assert_eq!(row.get("ID"), Ok(300_u16));
            assert_eq!(row.get("title"), Ok(None::<String>));
            assert_eq!(row.get_ref("body").unwrap().as_str(), Some("text"));
            assert_eq!(row.column_name(2), Ok("body"));
        });
    }

    #[test]
    fn what_cannot_be_read_says_which_column() {
        with_row(|row| {
            let error = row.get::<u8>("id").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IntegralValueOutOfRange);
            assert!(error.message().contains("column 0 (id)"));
            let error = row.get::<String>(1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidColumnType);
            assert!(error.message().contains("column 1 (title)"));
            for error in [
                row.get::<i64>(3).unwrap_err(),
                row.get::<i64>("author").unwrap_err(),
                row.get_ref(usize::MAX).unwrap_err(),
                row.column_name(3).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidColumn);
            }
        });
    }
}
