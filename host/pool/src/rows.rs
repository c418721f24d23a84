//! The flat form of rows and parameters: writing it, checking it, reading it. A guest sends it, so
//! nothing in it is believed before it is checked.
//!
//! The contract (`wit/connections.wit`) documents the form.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::value::{Parameters, RawValue, Row, Rows, RowsIter, Value, ValueRef};

const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const NULL: u8 = 5;
/// The name of the value that follows.
const NAME: u8 = 6;

/// The bytes before the values: how many values a row has.
const HEADER: usize = size_of::<u32>();
/// What the first page of a result has room for before it must grow, in bytes.
const FIRST_PAGE: usize = 240;

impl Rows {
    /// No rows, for [`start_row`](Rows::start_row) and [`push_raw`](Rows::push_raw), and room for
    /// `bytes` of them, or for a few small rows.
    pub fn with_capacity(bytes: usize) -> Rows {
        Rows {
            bytes: Vec::with_capacity(bytes.max(FIRST_PAGE)),
            rows: 0,
        }
    }

    /// Append a row, whose `width` values follow. All rows have the same width.
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

    /// The bytes that the rows take.
    #[inline]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// No rows. [`push`](Rows::push) adds some.
    pub const fn new() -> Rows {
        Rows {
            bytes: Vec::new(),
            rows: 0,
        }
    }

    /// Append a row. The first one decides how many values each row has.
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
    /// [`Parameters`](ErrorKind::Parameters): the row has no value, or not as many as the first
    /// row. The rows are then as they were.
    ///
    /// # Panics
    ///
    /// Panics if a text or blob has more than 4 GiB less a byte.
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
                "a row of {width} values, where each has {}",
                if before == 0 { 1 } else { self.width() }
            );
            self.bytes.truncate(before);
            return Err(malformed(message));
        }
        self.rows += 1;
        Ok(())
    }

    /// Make rows of what a caller has, which must all have the same number of values.
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

    /// Take rows in the contract's form, which may come from a caller that is not trusted. They
    /// are checked once, here.
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters): the bytes are not of that form, or do not divide into
    /// rows. [`NotUtf8`](ErrorKind::NotUtf8): a text is not UTF-8.
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

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many values each row has; 0 where there is no row.
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

    /// The rows, each copied into a list of its own.
    pub fn to_vec(&self) -> Vec<Vec<Value>> {
        self.iter().map(|row| row.to_vec()).collect()
    }

    /// For running a statement once a row.
    pub fn raw_values(&self) -> Reader<'_> {
        Reader(self.bytes.get(HEADER..).unwrap_or_default())
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
        let mut values = Reader(self.values);
        std::iter::from_fn(move || values.next().map(ValueRef::from_checked))
    }

    /// The value of a column, counted from 0. Reads past the ones before it.
    pub fn get(self, column: usize) -> Option<ValueRef<'a>> {
        self.iter().nth(column)
    }

    /// How many values it has.
    pub fn len(self) -> usize {
        self.width
    }

    /// Whether it has none. A row of a result has at least one.
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

impl Parameters {
    /// No parameters.
    pub const NONE: Parameters = Parameters {
        bytes: Vec::new(),
        count: 0,
        named: false,
    };

    /// Values for parameters by name. A name comes with or without its `:`, `@`, `$` or `?`, and
    /// each once.
    ///
    /// ```
    /// use millpond_pool::{Parameters, Value};
    ///
    /// let parameters = Parameters::named([("id", Value::from(7)), ("title", "Milk".into())]);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if a name, text or blob has more than 4 GiB less a byte.
    pub fn named<N, V>(values: impl IntoIterator<Item = (N, V)>) -> Parameters
    where
        N: AsRef<str>,
        V: Into<Value>,
    {
        let values = values.into_iter();
        Parameters::write(true, |bytes| {
            let mut count = 0;
            for (name, value) in values {
                write_bytes(bytes, NAME, name.as_ref().as_bytes());
                write_value(bytes, value);
                count += 1;
            }
            count
        })
    }

    /// Values for `?1`, `?2`, … in order, as many as an iterator yields.
    ///
    /// # Panics
    ///
    /// Panics if a text or blob has more than 4 GiB less a byte.
    pub fn positional(values: impl IntoIterator<Item: Into<Value>>) -> Parameters {
        let values = values.into_iter();
        Parameters::write(false, |bytes| {
            let mut count = 0;
            for value in values {
                write_value(bytes, value);
                count += 1;
            }
            count
        })
    }

    fn write(named: bool, values: impl FnOnce(&mut Vec<u8>) -> usize) -> Parameters {
        let mut bytes = Vec::new();
        write_header(&mut bytes, 0);
        let count = values(&mut bytes);
        if count == 0 {
            return Parameters::NONE;
        }
        bytes[..HEADER].copy_from_slice(&header(count));
        Parameters {
            bytes,
            count,
            named,
        }
    }

    /// Take parameters in the contract's form, which may come from a caller that is not trusted.
    /// They are checked once, here, but for whether the statement has such parameters.
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters): the bytes are not of that form, are not one row, or
    /// only some of the values have names. [`NotUtf8`](ErrorKind::NotUtf8): a text or a name is not
    /// UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Parameters> {
        let Some((width, mut values)) = split_header(&bytes)? else {
            return Ok(Parameters::NONE);
        };
        let named = values.first() == Some(&NAME);
        let mut count = 0;
        while !values.is_empty() {
            if named {
                let name = read_name(&mut values).ok_or_else(|| match values.first() {
                    Some(&NAME) => broken(values),
                    _ => malformed(format!("value {count} has no name, and others have")),
                })?;
                check_utf8(name, "the name of parameter", count)?;
            }
            let value = read(&mut values).ok_or_else(|| broken(values))?;
            check_value(value, count)?;
            count += 1;
        }
        if count != width {
            return Err(malformed(format!("{count} values are no row of {width}")));
        }
        if count == 0 {
            return Ok(Parameters::NONE);
        }
        Ok(Parameters {
            bytes,
            count,
            named,
        })
    }

    /// The parameters in the contract's form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, each with its name where it has one, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, ValueRef<'_>)> {
        self.raw_values().map(|(name, value)| {
            let name = name.map(|name| str::from_utf8(name).unwrap_or_default());
            (name, ValueRef::from_checked(value))
        })
    }

    /// Whether the values have names.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// For binding. Names and texts have been checked.
    #[inline]
    pub fn raw_values(&self) -> impl Iterator<Item = (Option<&[u8]>, RawValue<'_>)> {
        let mut values = self.bytes.get(HEADER..).unwrap_or_default();
        let named = self.named;
        std::iter::from_fn(move || {
            let name = match named {
                true => Some(read_name(&mut values)?),
                false => None,
            };
            Some((name, read(&mut values)?))
        })
    }
}

/// Reads values that have been checked, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = RawValue<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawValue<'a>> {
        read(&mut self.0)
    }
}

fn header(width: usize) -> [u8; HEADER] {
    u32::try_from(width)
        .expect("a row has fewer than 4 Gi values")
        .to_le_bytes()
}

fn write_value(bytes: &mut Vec<u8>, value: impl Into<Value>) {
    let value: Value = value.into();
    write(bytes, (&value).into());
}

fn write_header(bytes: &mut Vec<u8>, width: usize) {
    bytes.extend_from_slice(&header(width));
}

#[inline]
fn write(bytes: &mut Vec<u8>, value: RawValue<'_>) {
    match value {
        RawValue::Null => bytes.push(NULL),
        RawValue::Integer(value) => write_number(bytes, INTEGER, value.to_le_bytes()),
        RawValue::Real(value) => write_number(bytes, REAL, value.to_le_bytes()),
        RawValue::Text(value) => write_bytes(bytes, TEXT, value),
        RawValue::Blob(value) => write_bytes(bytes, BLOB, value),
    }
}

#[inline]
fn write_number(bytes: &mut Vec<u8>, code: u8, number: [u8; 8]) {
    let mut value = [code; 9];
    value[1..].copy_from_slice(&number);
    bytes.extend_from_slice(&value);
}

#[inline]
fn write_bytes(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("a value has fewer than 4 Gi bytes");
    let mut start = [code; 5];
    start[1..].copy_from_slice(&length.to_le_bytes());
    bytes.reserve(start.len() + value.len());
    bytes.extend_from_slice(&start);
    bytes.extend_from_slice(value);
}

/// The width and the values; `None` for no rows.
fn split_header(bytes: &[u8]) -> Result<Option<(usize, &[u8])>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match bytes.split_first_chunk::<HEADER>() {
        Some((width, values)) => Ok(Some((u32::from_le_bytes(*width) as usize, values))),
        None => Err(malformed(format!(
            "{} bytes are too few: the first four say how many values each row has",
            bytes.len()
        ))),
    }
}

/// Take the next value off `values`. `None` where there is none that is whole; `values` is then as
/// it was.
#[inline]
fn read<'a>(values: &mut &'a [u8]) -> Option<RawValue<'a>> {
    let (code, rest) = values.split_first()?;
    let (value, rest) = match *code {
        INTEGER => {
            let (number, rest) = rest.split_first_chunk()?;
            (RawValue::Integer(i64::from_le_bytes(*number)), rest)
        }
        REAL => {
            let (number, rest) = rest.split_first_chunk()?;
            (RawValue::Real(f64::from_le_bytes(*number)), rest)
        }
        TEXT => {
            let (text, rest) = split_bytes(rest)?;
            (RawValue::Text(text), rest)
        }
        BLOB => {
            let (blob, rest) = split_bytes(rest)?;
            (RawValue::Blob(blob), rest)
        }
        NULL => (RawValue::Null, rest),
        _ => return None,
    };
    *values = rest;
    Some(value)
}

/// As [`read`], for the name before a value.
fn read_name<'a>(values: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (name, rest) = match values.split_first()? {
        (&NAME, rest) => split_bytes(rest)?,
        _ => return None,
    };
    *values = rest;
    Some(name)
}

/// A length, and as many bytes, and the rest.
#[inline]
fn split_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn check_value(value: RawValue<'_>, index: usize) -> Result<()> {
    match value {
        RawValue::Text(text) => check_utf8(text, "value", index).map(drop),
        _ => Ok(()),
    }
}

/// Text is UTF-8 here or it is not text: SQLite itself does not check
/// (<https://sqlite.org/invalidutf.html>).
#[inline]
pub(crate) fn check_utf8<'a>(text: &'a [u8], what: &str, index: usize) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|error| not_utf8(what, index, error.valid_up_to()))
}

#[cold]
fn not_utf8(what: &str, index: usize, valid: usize) -> Error {
    Error::new(
        ErrorKind::NotUtf8,
        format!("the text of {what} {index} is not UTF-8 after byte {valid}"),
    )
}

/// Why the next value cannot be read.
#[cold]
fn broken(values: &[u8]) -> Error {
    malformed(match values.first() {
        Some(code @ INTEGER..=NAME) => format!(
            "the last {} bytes are too few for a value of code {code}, or have a name where none \
             may be",
            values.len()
        ),
        Some(code) => format!("{code} is no code of a value"),
        None => "the last name has no value".to_owned(),
    })
}

#[cold]
fn malformed(message: String) -> Error {
    Error::new(ErrorKind::Parameters, message)
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

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named {
            true => {
                let values = self
                    .iter()
                    .map(|(name, value)| (name.unwrap_or_default(), value));
                f.debug_map().entries(values).finish()
            }
            false => {
                let values = self.iter().map(|(_, value)| value);
                f.debug_list().entries(values).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value of each kind, the extremes among them.
    fn all() -> Vec<Vec<Value>> {
        vec![
            vec![i64::MIN.into(), f64::NEG_INFINITY.into(), "a\0ü".into()],
            vec![Value::Null, Value::Blob(vec![0xff, 0]), "".into()],
            vec![i64::MAX.into(), Value::Blob(Vec::new()), true.into()],
        ]
    }

    /// A header, and what follows it.
    fn bytes(width: u32, values: &[&[u8]]) -> Vec<u8> {
        [&width.to_le_bytes()[..], &values.concat()].concat()
    }

    fn rows(width: u32, values: &[&[u8]]) -> Result<Rows, ErrorKind> {
        Rows::from_bytes(bytes(width, values)).map_err(|error| error.kind())
    }

    fn parameters(width: u32, values: &[&[u8]]) -> Result<Parameters, ErrorKind> {
        Parameters::from_bytes(bytes(width, values)).map_err(|error| error.kind())
    }

    const ONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 0, 0];
    const A: &[u8] = &[3, 1, 0, 0, 0, b'a'];
    const NULL: &[u8] = &[5];
    const NAME_A: &[u8] = &[6, 1, 0, 0, 0, b'a'];
    const MALFORMED: ErrorKind = ErrorKind::Parameters;

    #[test]
    fn what_is_written_is_read_back() {
        let rows = Rows::from_rows(all()).expect("rows");
        assert_eq!((rows.len(), rows.width()), (3, 3));
        assert_eq!(rows, all());
        let again = Rows::from_bytes(rows.as_bytes().to_vec()).expect("rows");
        assert_eq!(again, rows);
        assert_eq!(again.to_vec(), all());
        let row = rows.iter().nth(1).expect("a row");
        assert_eq!(row.get(1), Some(ValueRef::Blob(&[0xff, 0])));
        assert_eq!((row.len(), row.get(3)), (3, None));
        assert_eq!(rows.values().count(), 9);

        for values in all() {
            let positional = Parameters::from(values.clone());
            let again = Parameters::from_bytes(positional.as_bytes().to_vec());
            assert_eq!(again, Ok(positional));
            let named = ["a", "", "ü"].into_iter().zip(values);
            let named = Parameters::named(named);
            let again = Parameters::from_bytes(named.as_bytes().to_vec());
            assert_eq!(again.as_ref(), Ok(&named));
            let names = named.iter().filter_map(|(name, _)| name);
            assert_eq!(names.collect::<Vec<_>>(), ["a", "", "ü"]);
        }
    }

    #[test]
    fn the_form_is_the_contracts() {
        let written = Rows::from_rows([[Value::from(1), "a".into()]]).expect("rows");
        assert_eq!(written.as_bytes(), bytes(2, &[ONE, A]));
        let written = Parameters::named([("a", 1)]);
        assert_eq!(written.as_bytes(), bytes(1, &[NAME_A, ONE]));
        let real = Parameters::from([0.5]);
        assert_eq!(
            real.as_bytes(),
            bytes(1, &[&[2, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f]])
        );
        let blob = Parameters::from([Value::Blob(vec![7]), Value::Null]);
        assert_eq!(blob.as_bytes(), bytes(2, &[&[4, 1, 0, 0, 0, 7], NULL]));
    }

    #[test]
    fn nothing_is_the_empty_list() {
        for nothing in [vec![], bytes(0, &[]), bytes(3, &[])] {
            let rows = Rows::from_bytes(nothing).expect("no rows");
            assert_eq!(rows, Rows::new());
            assert_eq!((rows.as_bytes(), rows.width()), (&[][..], 0));
        }
        for nothing in [vec![], bytes(0, &[])] {
            let none = Parameters::from_bytes(nothing).expect("no parameters");
            assert_eq!(none.as_bytes(), [0; 0]);
            assert_eq!(none, Parameters::NONE);
        }
        assert_eq!(Parameters::from(Vec::<Value>::new()), Parameters::NONE);
        assert_eq!(parameters(1, &[]), Err(MALFORMED));
    }

    #[test]
    fn rows_that_do_not_divide_are_refused() {
        assert!(rows(3, &[ONE, A, NULL]).is_ok());
        assert!(rows(1, &[ONE, A, NULL]).is_ok());
        assert_eq!(rows(2, &[ONE, A, NULL]), Err(MALFORMED));
        assert_eq!(rows(4, &[ONE, A, NULL]), Err(MALFORMED));
        assert_eq!(rows(0, &[ONE]), Err(MALFORMED));
        assert_eq!(rows(u32::MAX, &[ONE]), Err(MALFORMED));
        let mut rows = Rows::new();
        assert_eq!(rows.push([0; 0]).map_err(|e| e.kind()), Err(MALFORMED));
        assert_eq!(rows, Rows::new());
        rows.push([1, 2]).expect("a row");
        assert_eq!(rows.push([1]).map_err(|e| e.kind()), Err(MALFORMED));
        assert_eq!(rows, vec![[Value::from(1), Value::from(2)]]);
    }

    #[test]
    fn parameters_that_are_no_row_are_refused() {
        assert!(parameters(2, &[ONE, A]).is_ok());
        assert_eq!(parameters(1, &[ONE, A]), Err(MALFORMED));
        assert_eq!(parameters(3, &[ONE, A]), Err(MALFORMED));
        assert_eq!(parameters(0, &[ONE]), Err(MALFORMED));
        assert_eq!(parameters(u32::MAX, &[ONE]), Err(MALFORMED));
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        for values in [ONE, A, &[2, 0, 0, 0, 0, 0, 0, 0, 0], &[4, 1, 0, 0, 0, 0]] {
            assert!(rows(1, &[values]).is_ok());
            for end in 1..values.len() {
                assert_eq!(rows(1, &[&values[..end]]), Err(MALFORMED));
                assert_eq!(parameters(1, &[&values[..end]]), Err(MALFORMED));
                let named = parameters(1, &[NAME_A, &values[..end]]);
                assert_eq!(named, Err(MALFORMED));
            }
        }
        for end in 1..HEADER {
            let header = &bytes(1, &[])[..end];
            let kind = |error: Error| error.kind();
            let rows = Rows::from_bytes(header.to_vec()).map_err(kind);
            assert_eq!(rows, Err(MALFORMED));
            let parameters = Parameters::from_bytes(header.to_vec()).map_err(kind);
            assert_eq!(parameters, Err(MALFORMED));
        }
        let long = [4, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(rows(1, &[&long]), Err(MALFORMED));
        assert_eq!(parameters(1, &[&long]), Err(MALFORMED));
        for end in 1..NAME_A.len() {
            assert_eq!(parameters(1, &[&NAME_A[..end]]), Err(MALFORMED));
        }
        assert_eq!(parameters(1, &[NAME_A]), Err(MALFORMED));
        assert_eq!(parameters(1, &[NAME_A, NAME_A, ONE]), Err(MALFORMED));
    }

    #[test]
    fn codes_that_there_are_not_are_refused() {
        for code in (0..=u8::MAX).filter(|code| !(1..=5).contains(code)) {
            let values = [code, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(rows(1, &[&values]), Err(MALFORMED), "{code}");
            assert_eq!(parameters(1, &[&values]), Err(MALFORMED), "{code}");
        }
    }

    #[test]
    fn names_are_for_all_values_or_none_and_for_no_row() {
        assert!(parameters(2, &[NAME_A, ONE, NAME_A, A]).is_ok());
        assert_eq!(parameters(2, &[NAME_A, ONE, A]), Err(MALFORMED));
        assert_eq!(parameters(2, &[ONE, NAME_A, A]), Err(MALFORMED));
        assert_eq!(rows(1, &[NAME_A, ONE]), Err(MALFORMED));
    }

    #[test]
    fn text_and_names_are_utf8() {
        let text = [3, 1, 0, 0, 0, 0xff];
        assert_eq!(rows(1, &[&text]), Err(ErrorKind::NotUtf8));
        assert_eq!(parameters(1, &[&text]), Err(ErrorKind::NotUtf8));
        let name = [6, 1, 0, 0, 0, 0xff];
        assert_eq!(parameters(1, &[&name, ONE]), Err(ErrorKind::NotUtf8));
        // A character that two values share.
        let split = [3, 1, 0, 0, 0, 0xc3, 3, 1, 0, 0, 0, 0xa9];
        assert_eq!(rows(1, &[&split]), Err(ErrorKind::NotUtf8));
        let mut read = Rows::with_capacity(0);
        read.start_row(1);
        let pushed = read.push_raw(RawValue::Text(&[0xff]), 0);
        assert_eq!(
            pushed.map_err(|error| error.kind()),
            Err(ErrorKind::NotUtf8)
        );
    }

    #[test]
    fn what_is_printed_is_the_values() {
        let rows = Rows::from_rows([[Value::from(1), "a".into()]]).expect("rows");
        assert_eq!(format!("{rows:?}"), r#"[[Integer(1), Text("a")]]"#);
        let parameters = Parameters::from([1.5]);
        assert_eq!(format!("{parameters:?}"), "[Real(1.5)]");
        let parameters = Parameters::named([("a", None::<i64>)]);
        assert_eq!(format!("{parameters:?}"), r#"{"a": Null}"#);
    }
}
