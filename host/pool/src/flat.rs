//! Writes, reads and checks the flat form of rows and parameters. A guest sends it, so everything
//! is checked before it is used.
//!
//! The contract (`wit/connections.wit`) documents the form.

use crate::error::{Error, ErrorKind, Result};
use crate::value::{RawValue, Value};

pub(crate) const INTEGER: u8 = 1;
pub(crate) const REAL: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const BLOB: u8 = 4;
pub(crate) const NULL: u8 = 5;
/// The code before a value that says that the value's name follows.
pub(crate) const NAME: u8 = 6;

/// The size of the header: the number of values in a row.
pub(crate) const HEADER: usize = size_of::<u32>();

/// Reads values that have been checked, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(values: &'a [u8]) -> Reader<'a> {
        Reader(values)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = RawValue<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawValue<'a>> {
        read(&mut self.0)
    }
}

pub(crate) fn header(width: usize) -> [u8; HEADER] {
    u32::try_from(width)
        .expect("a row has fewer than 4 Gi values")
        .to_le_bytes()
}

pub(crate) fn write_value(bytes: &mut Vec<u8>, value: impl Into<Value>) {
    let value: Value = value.into();
    write(bytes, (&value).into());
}

pub(crate) fn write_header(bytes: &mut Vec<u8>, width: usize) {
    bytes.extend_from_slice(&header(width));
}

#[inline]
pub(crate) fn write(bytes: &mut Vec<u8>, value: RawValue<'_>) {
    match value {
        RawValue::Null => bytes.push(NULL),
        RawValue::Integer(value) => write_number(bytes, INTEGER, value.to_le_bytes()),
        RawValue::Real(value) => write_number(bytes, REAL, value.to_le_bytes()),
        RawValue::Text(value) => write_bytes(bytes, TEXT, value),
        RawValue::Blob(value) => write_bytes(bytes, BLOB, value),
    }
}

#[inline]
pub(crate) fn write_number(bytes: &mut Vec<u8>, code: u8, number: [u8; 8]) {
    let mut value = [code; 9];
    value[1..].copy_from_slice(&number);
    bytes.extend_from_slice(&value);
}

#[inline]
pub(crate) fn write_bytes(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("a value has fewer than 4 Gi bytes");
    let mut start = [code; 5];
    start[1..].copy_from_slice(&length.to_le_bytes());
    bytes.reserve(start.len() + value.len());
    bytes.extend_from_slice(&start);
    bytes.extend_from_slice(value);
}

/// The width and the values; `None` if there are no rows.
pub(crate) fn split_header(bytes: &[u8]) -> Result<Option<(usize, &[u8])>> {
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

/// Take the next value off `values`. Returns `None`, and leaves `values` unchanged, if there is no
/// complete value.
#[inline]
pub(crate) fn read<'a>(values: &mut &'a [u8]) -> Option<RawValue<'a>> {
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

/// Like [`read`], for the name before a value.
pub(crate) fn read_name<'a>(values: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (name, rest) = match values.split_first()? {
        (&NAME, rest) => split_bytes(rest)?,
        _ => return None,
    };
    *values = rest;
    Some(name)
}

/// Split off a length and that many bytes.
#[inline]
pub(crate) fn split_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

pub(crate) fn check_value(value: RawValue<'_>, index: usize) -> Result<()> {
    match value {
        RawValue::Text(text) => check_utf8(text, "value", index).map(drop),
        _ => Ok(()),
    }
}

/// Check that text is UTF-8, because SQLite does not (<https://sqlite.org/invalidutf.html>).
#[inline]
pub(crate) fn check_utf8<'a>(text: &'a [u8], what: &str, index: usize) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|error| not_utf8(what, index, error.valid_up_to()))
}

#[cold]
pub(crate) fn not_utf8(what: &str, index: usize, valid: usize) -> Error {
    Error::new(
        ErrorKind::NotUtf8,
        format!("the text of {what} {index} is not UTF-8 after byte {valid}"),
    )
}

/// Why the next value cannot be read.
#[cold]
pub(crate) fn broken(values: &[u8]) -> Error {
    malformed(match values.first() {
        Some(code @ INTEGER..=NAME) => format!(
            "the last {} bytes are too few for a value of code {code}, or have a name where \
             none is allowed",
            values.len()
        ),
        Some(code) => format!("{code} is not a type code"),
        None => "the last name has no value".to_owned(),
    })
}

#[cold]
pub(crate) fn malformed(message: String) -> Error {
    Error::new(ErrorKind::Parameters, message)
}
