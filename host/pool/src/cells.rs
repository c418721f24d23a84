//! Cells: filling them from rows, and reading them as rows. A guest sends them, so nothing in
//! them is believed before it is checked.

use crate::error::{Error, ErrorKind, Result};
use crate::value::{Cells, ValueRef};

const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const NULL: u8 = 5;

/// How long the lists of some cells are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lengths {
    kinds: usize,
    integers: usize,
    reals: usize,
    lengths: usize,
    bytes: usize,
}

impl Cells {
    /// No cells, and room for so many.
    pub fn with_capacity(lengths: Lengths) -> Cells {
        Cells {
            kinds: Vec::with_capacity(lengths.kinds),
            integers: Vec::with_capacity(lengths.integers),
            reals: Vec::with_capacity(lengths.reals),
            lengths: Vec::with_capacity(lengths.lengths),
            bytes: Vec::with_capacity(lengths.bytes),
        }
    }

    /// How long the lists are.
    pub fn lengths(&self) -> Lengths {
        Lengths {
            kinds: self.kinds.len(),
            integers: self.integers.len(),
            reals: self.reals.len(),
            lengths: self.lengths.len(),
            bytes: self.bytes.len(),
        }
    }

    /// Append a value that was read from row `column`.
    pub fn push(&mut self, value: ValueRef<'_>, column: usize) -> Result<()> {
        match value {
            ValueRef::Null => self.kinds.push(NULL),
            ValueRef::Integer(value) => {
                self.kinds.push(INTEGER);
                self.integers.push(value);
            }
            ValueRef::Real(value) => {
                self.kinds.push(REAL);
                self.reals.push(value);
            }
            ValueRef::Text(value) => {
                check_utf8(value, column)?;
                self.push_bytes(TEXT, value);
            }
            ValueRef::Blob(value) => self.push_bytes(BLOB, value),
        }
        Ok(())
    }

    fn push_bytes(&mut self, kind: u8, value: &[u8]) {
        self.kinds.push(kind);
        // SQLite's lengths are positive 32-bit integers.
        self.lengths.push(value.len() as u32);
        self.bytes.extend_from_slice(value);
    }

    /// The bytes that these cells take, about.
    pub fn size(&self) -> u64 {
        (self.kinds.len()
            + 8 * (self.integers.len() + self.reals.len())
            + 4 * self.lengths.len()
            + self.bytes.len()) as u64
    }

    /// Read the cells as rows of `width` values. Everything is checked here, before a row is
    /// used, so that reading them cannot fail.
    pub fn rows(&self, width: usize) -> Result<CellReader<'_>> {
        let malformed = |what: &str| Error::new(ErrorKind::Parameters, what);
        if width == 0 {
            return Err(malformed(
                "the statement has no parameters, so its rows have no width",
            ));
        }
        if !self.kinds.len().is_multiple_of(width) {
            return Err(malformed(&format!(
                "{} values do not divide into rows of {width}",
                self.kinds.len()
            )));
        }
        let (mut integers, mut reals, mut lengths) = (0usize, 0usize, 0usize);
        let mut rest: &[u8] = &self.bytes;
        for (index, kind) in self.kinds.iter().enumerate() {
            match *kind {
                INTEGER => integers += 1,
                REAL => reals += 1,
                TEXT | BLOB => {
                    let length = *self
                        .lengths
                        .get(lengths)
                        .ok_or_else(|| malformed("there are fewer lengths than texts and blobs"))?;
                    lengths += 1;
                    let (value, after) = rest
                        .split_at_checked(length as usize)
                        .ok_or_else(|| malformed("the lengths are more than the bytes"))?;
                    rest = after;
                    if *kind == TEXT {
                        check_utf8(value, index % width)?;
                    }
                }
                NULL => {}
                other => {
                    return Err(malformed(&format!(
                        "{other} is no kind of value: 1 to 5 are"
                    )));
                }
            }
        }
        if integers != self.integers.len()
            || reals != self.reals.len()
            || lengths != self.lengths.len()
        {
            return Err(malformed(
                "the lists do not hold as many values as their kinds say",
            ));
        }
        if !rest.is_empty() {
            return Err(malformed("there are more bytes than the lengths say"));
        }
        Ok(CellReader {
            kinds: &self.kinds,
            integers: self.integers.iter(),
            reals: self.reals.iter(),
            lengths: self.lengths.iter(),
            bytes: &self.bytes,
        })
    }
}

/// Reads cells that have been checked, front to back.
#[derive(Debug)]
pub struct CellReader<'a> {
    kinds: &'a [u8],
    integers: std::slice::Iter<'a, i64>,
    reals: std::slice::Iter<'a, f64>,
    lengths: std::slice::Iter<'a, u32>,
    bytes: &'a [u8],
}

impl<'a> CellReader<'a> {
    /// Whether all values have been read.
    pub fn is_at_end(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The next value; null after the end.
    pub fn next(&mut self) -> ValueRef<'a> {
        let Some((kind, kinds)) = self.kinds.split_first() else {
            return ValueRef::Null;
        };
        self.kinds = kinds;
        match *kind {
            INTEGER => self
                .integers
                .next()
                .map_or(ValueRef::Null, |value| ValueRef::Integer(*value)),
            REAL => self
                .reals
                .next()
                .map_or(ValueRef::Null, |value| ValueRef::Real(*value)),
            TEXT => ValueRef::Text(self.take_bytes()),
            BLOB => ValueRef::Blob(self.take_bytes()),
            _ => ValueRef::Null,
        }
    }

    fn take_bytes(&mut self) -> &'a [u8] {
        let length = self.lengths.next().map_or(0, |length| *length as usize);
        let (value, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        value
    }
}

/// Text is UTF-8 here or it is not text: SQLite itself does not check
/// (<https://sqlite.org/invalidutf.html>).
pub fn check_utf8(text: &[u8], column: usize) -> Result<&str> {
    std::str::from_utf8(text).map_err(|error| {
        Error::new(
            ErrorKind::NotUtf8,
            format!(
                "the text of column {column} is not UTF-8 after byte {}",
                error.valid_up_to()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: Cells, width: usize) -> ErrorKind {
        cells.rows(width).expect_err("malformed").kind()
    }

    #[test]
    fn cells_that_do_not_fit_are_refused() {
        let integers = Cells {
            kinds: vec![1, 1, 1],
            integers: vec![1, 2, 3],
            ..Cells::default()
        };
        assert_eq!(kind(integers.clone(), 2), ErrorKind::Parameters);
        assert_eq!(kind(integers.clone(), 0), ErrorKind::Parameters);
        assert!(integers.rows(3).is_ok());

        let missing = Cells {
            kinds: vec![1, 1],
            integers: vec![1],
            ..Cells::default()
        };
        assert_eq!(kind(missing, 1), ErrorKind::Parameters);
        let surplus = Cells {
            kinds: vec![5],
            reals: vec![1.0],
            ..Cells::default()
        };
        assert_eq!(kind(surplus, 1), ErrorKind::Parameters);
        let unknown = Cells {
            kinds: vec![6],
            ..Cells::default()
        };
        assert_eq!(kind(unknown, 1), ErrorKind::Parameters);
        let long = Cells {
            kinds: vec![4],
            lengths: vec![u32::MAX],
            bytes: vec![0],
            ..Cells::default()
        };
        assert_eq!(kind(long, 1), ErrorKind::Parameters);
        let short = Cells {
            kinds: vec![4],
            lengths: vec![1],
            bytes: vec![0, 0],
            ..Cells::default()
        };
        assert_eq!(kind(short, 1), ErrorKind::Parameters);
        let bytes = Cells {
            kinds: vec![3],
            lengths: vec![1],
            bytes: vec![0xff],
            ..Cells::default()
        };
        assert_eq!(kind(bytes, 1), ErrorKind::NotUtf8);
    }

    #[test]
    fn text_that_splits_a_character_is_refused() {
        let cells = Cells {
            kinds: vec![3, 3],
            lengths: vec![1, 1],
            bytes: "é".into(),
            ..Cells::default()
        };
        assert_eq!(kind(cells, 1), ErrorKind::NotUtf8);
    }
}
