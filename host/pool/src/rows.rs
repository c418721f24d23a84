//! Rows: building them from values or from what a guest sends, and reading them. `flat` has their
//! form.

use std::fmt;

use crate::error::Result;
use crate::flat::{
    HEADER, Reader, broken, check_utf8, check_value, header, malformed, read, split_header, write,
    write_header, write_value,
};
use crate::value::{RawValue, Row, Rows, RowsIter, Value, ValueRef};

/// The initial capacity for a page of a result, in bytes.
const FIRST_PAGE: usize = 240;

impl Rows {
    /// An empty list with capacity for `bytes` bytes, and for a few small rows at least. Fill it
    /// with [`start_row`](Rows::start_row) and [`push_raw`](Rows::push_raw).
    pub fn with_capacity(bytes: usize) -> Rows {
        Rows {
            bytes: Vec::with_capacity(bytes.max(FIRST_PAGE)),
            rows: 0,
        }
    }

    /// Start a row of `width` values. All rows have the same width.
    #[inline]
    pub fn start_row(&mut self, width: usize) {
        if self.bytes.is_empty() {
            write_header(&mut self.bytes, width);
        }
        self.rows += 1;
    }

    /// Append a value that was read from column `column`.
    #[inline]
    pub fn push_raw(&mut self, value: RawValue<'_>, column: usize) -> Result<()> {
        if let RawValue::Text(text) = value {
            check_utf8(text, "column", column)?;
        }
        write(&mut self.bytes, value);
        Ok(())
    }

    /// The size of the rows in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// An empty list. Add rows with [`push`](Rows::push).
    pub const fn new() -> Rows {
        Rows {
            bytes: Vec::new(),
            rows: 0,
        }
    }

    /// Append a row. The first row determines how many values each row has.
    ///
    /// ```
    /// use millpond_pool::{Rows, Value};
    ///
    /// let mut rows = Rows::new();
    /// rows.push([Value::from(1), Value::from("one")])?;
    /// rows.push([Value::from(2), Value::Null])?;
    /// assert_eq!(rows.len(), 2);
    /// # Ok::<(), millpond_pool::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters): the row has no values, or not as many as the
    /// first row. The rows are then unchanged.
    ///
    /// # Panics
    ///
    /// Panics if a text or blob has 4 GiB or more.
    pub fn push<I>(&mut self, row: I) -> Result<()>
    where
        I: IntoIterator<Item: Into<Value>>,
    {
        let before = self.bytes.len();
        if before == 0 {
            write_header(&mut self.bytes, 0);
        }
        let mut width = 0;
        for value in row {
            write_value(&mut self.bytes, value);
            width += 1;
        }
        if before == 0 {
            self.bytes[..HEADER].copy_from_slice(&header(width));
        }
        if width == 0 || width != self.width() {
            let message = format!(
                "a row has {width} values, but earlier rows have {}",
                if before == 0 { 1 } else { self.width() }
            );
            self.bytes.truncate(before);
            return Err(malformed(message));
        }
        self.rows += 1;
        Ok(())
    }

    /// Build rows from an iterator. All must have the same number of values.
    ///
    /// ```
    /// use millpond_pool::Rows;
    ///
    /// let squares = Rows::from_rows((1..=3_i64).map(|n| [n, n * n]))?;
    /// assert_eq!((squares.len(), squares.width()), (3, 2));
    /// # Ok::<(), millpond_pool::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`push`](Rows::push).
    ///
    /// # Panics
    ///
    /// As [`push`](Rows::push).
    pub fn from_rows<I>(rows: I) -> Result<Rows>
    where
        I: IntoIterator<Item: IntoIterator<Item: Into<Value>>>,
    {
        let mut all = Rows::new();
        rows.into_iter().try_for_each(|row| all.push(row))?;
        Ok(all)
    }

    /// Take rows in the contract's form from an untrusted caller. Everything is checked here, once.
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters): the bytes are not of that form, or do not
    /// divide into rows. [`NotUtf8`](crate::ErrorKind::NotUtf8): a text is not UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Rows> {
        let Some((width, mut values)) = split_header(&bytes)? else {
            return Ok(Rows::new());
        };
        let mut count = 0;
        while !values.is_empty() {
            let value = read(&mut values).ok_or_else(|| broken(values))?;
            check_value(value, count)?;
            count += 1;
        }
        if count == 0 {
            return Ok(Rows::new());
        }
        if width == 0 || !count.is_multiple_of(width) {
            return Err(malformed(format!(
                "{count} values do not divide into rows of {width}"
            )));
        }
        Ok(Rows {
            bytes,
            rows: count / width,
        })
    }

    /// The rows in the contract's form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The rows in the contract's form.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The number of values in each row; 0 if there are no rows.
    pub fn width(&self) -> usize {
        match split_header(&self.bytes) {
            Ok(Some((width, _))) => width,
            _ => 0,
        }
    }

    /// The rows, in order.
    pub fn iter(&self) -> RowsIter<'_> {
        RowsIter {
            values: self.bytes.get(HEADER..).unwrap_or_default(),
            width: self.width(),
            rows: self.rows,
        }
    }

    /// The values of all rows, in order.
    pub fn values(&self) -> impl Iterator<Item = ValueRef<'_>> {
        self.iter().flat_map(|row| row.iter())
    }

    /// The rows, each copied into its own list.
    pub fn to_vec(&self) -> Vec<Vec<Value>> {
        self.iter().map(|row| row.to_vec()).collect()
    }

    /// The values of all rows, for running a statement once per row.
    pub fn raw_values(&self) -> Reader<'_> {
        Reader::new(self.bytes.get(HEADER..).unwrap_or_default())
    }
}

impl<'a> Iterator for RowsIter<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        self.rows = self.rows.checked_sub(1)?;
        let row = self.values;
        for _ in 0..self.width {
            read(&mut self.values)?;
        }
        let length = row.len() - self.values.len();
        Some(Row {
            values: &row[..length],
            width: self.width,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rows, Some(self.rows))
    }
}

impl ExactSizeIterator for RowsIter<'_> {}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = RowsIter<'a>;

    fn into_iter(self) -> RowsIter<'a> {
        self.iter()
    }
}

impl<'a> Row<'a> {
    /// The values, in column order.
    pub fn iter(self) -> impl Iterator<Item = ValueRef<'a>> {
        let mut values = Reader::new(self.values);
        std::iter::from_fn(move || values.next().map(ValueRef::from_checked))
    }

    /// The value of a column, counted from 0. Reads through the values before it.
    pub fn get(self, column: usize) -> Option<ValueRef<'a>> {
        self.iter().nth(column)
    }

    /// The number of values.
    pub fn len(self) -> usize {
        self.width
    }

    /// Whether there are no values. A row of a result has at least one.
    pub fn is_empty(self) -> bool {
        self.width == 0
    }

    /// The values, copied.
    pub fn to_vec(self) -> Vec<Value> {
        let mut row = Vec::with_capacity(self.width);
        row.extend(self.iter().map(Value::from));
        row
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
