//! The contract's flat form of rows: reads it without an allocation per value, and builds it in
//! blocks.

use crate::{Error, ErrorKind, Result, Value, ValueRef};

const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const NULL: u8 = 5;
/// The code before a value that says that the parameter's name follows.
const NAME: u8 = 6;

/// The size of the header: the number of values in a row.
const HEADER: usize = size_of::<u32>();

/// Iterates over the rows of one page.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    page: Vec<u8>,
    /// The number of values in a row.
    width: usize,
    /// Where the next row begins.
    next: usize,
    /// The values of the current row. Reused to avoid allocations.
    row: Vec<Cell>,
}

/// One value: itself, or the range of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { from: usize, to: usize },
    Blob { from: usize, to: usize },
}

impl Reader {
    /// A reader of a page, which reuses the memory of another's row.
    pub(crate) fn new(page: Vec<u8>, mut row: Vec<Cell>) -> Reader {
        row.clear();
        let mut reader = Reader {
            row,
            ..Reader::default()
        };
        reader.turn_to(page);
        reader
    }

    /// The memory of its row, to reuse for the next page.
    pub(crate) fn into_row(self) -> Vec<Cell> {
        self.row
    }

    /// Continues with the next page.
    pub(crate) fn turn_to(&mut self, page: Vec<u8>) {
        // With a width of 0, an invalid page has no rows to read.
        let width = page.first_chunk().map(|width| u32::from_le_bytes(*width));
        self.width = width.map_or(0, |width| width as usize);
        self.next = HEADER.min(page.len());
        self.page = page;
    }

    /// Advances to the next row; false at the end.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        self.row.clear();
        if self.next >= self.page.len() && !self.is_cut_off() {
            return Ok(false);
        }
        if self.read_row().is_none() {
            return Err(self.give_up());
        }
        Ok(true)
    }

    /// Whether even the width is incomplete.
    fn is_cut_off(&self) -> bool {
        (1..HEADER).contains(&self.page.len())
    }

    /// Nothing after a malformed part can be trusted.
    #[cold]
    fn give_up(&mut self) -> Error {
        self.turn_to(Vec::new());
        self.row.clear();
        malformed()
    }

    /// Reads one row into `row`; `None` if the page is malformed.
    #[inline]
    fn read_row(&mut self) -> Option<()> {
        let Reader {
            page,
            width,
            next,
            row,
        } = self;
        if *width == 0 {
            return None;
        }
        let mut rest = page.get(*next..)?;
        for _ in 0..*width {
            let (code, after) = rest.split_first()?;
            rest = after;
            row.push(match *code {
                NULL => Cell::Null,
                INTEGER => {
                    let (integer, after) = rest.split_first_chunk()?;
                    rest = after;
                    Cell::Integer(i64::from_le_bytes(*integer))
                }
                REAL => {
                    let (real, after) = rest.split_first_chunk()?;
                    rest = after;
                    Cell::Real(f64::from_le_bytes(*real))
                }
                TEXT | BLOB => {
                    let (length, after) = rest.split_first_chunk()?;
                    let from = page.len() - after.len();
                    rest = after.get(u32::from_le_bytes(*length) as usize..)?;
                    let to = page.len() - rest.len();
                    if *code == TEXT {
                        Cell::Text { from, to }
                    } else {
                        Cell::Blob { from, to }
                    }
                }
                _ => return None,
            });
        }
        *next = page.len() - rest.len();
        Some(())
    }

    /// The number of values in the row.
    pub(crate) fn width(&self) -> usize {
        self.row.len()
    }

    /// A value of the row; `None` beyond its width.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Result<Option<ValueRef<'_>>> {
        Ok(Some(match self.row.get(index) {
            Some(Cell::Null) => ValueRef::Null,
            Some(Cell::Integer(integer)) => ValueRef::Integer(*integer),
            Some(Cell::Real(real)) => ValueRef::Real(*real),
            Some(Cell::Text { from, to }) => match str::from_utf8(&self.page[*from..*to]) {
                Ok(text) => ValueRef::Text(text),
                Err(_) => return Err(malformed()),
            },
            Some(Cell::Blob { from, to }) => ValueRef::Blob(&self.page[*from..*to]),
            None => return Ok(None),
        }))
    }

    /// All remaining rows, copied.
    pub(crate) fn into_rows(mut self) -> Result<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        while self.advance()? {
            let mut row = Vec::with_capacity(self.width());
            while let Some(value) = self.get(row.len())? {
                row.push(value.into());
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

#[cold]
fn malformed() -> Error {
    Error::new(
        ErrorKind::Other,
        "the host sent rows that are not of the form that the contract documents",
    )
}

/// Rows, or parameters, to send to the host.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// An empty block.
    #[cfg(test)]
    pub(crate) fn new() -> Block {
        Block::default()
    }

    /// An empty block that reuses the memory of another.
    pub(crate) fn in_memory_of(mut bytes: Vec<u8>) -> Block {
        bytes.clear();
        Block { bytes }
    }

    /// Adds a value to the current row.
    #[inline]
    pub(crate) fn push(&mut self, value: ValueRef<'_>) -> Result<()> {
        self.start();
        match value {
            ValueRef::Null => self.bytes.push(NULL),
            ValueRef::Integer(integer) => self.push_number(INTEGER, integer.to_le_bytes()),
            ValueRef::Real(real) => self.push_number(REAL, real.to_le_bytes()),
            ValueRef::Text(text) => self.push_bytes(TEXT, text.as_bytes())?,
            ValueRef::Blob(bytes) => self.push_bytes(BLOB, bytes)?,
        }
        Ok(())
    }

    /// Adds the name of the next value's parameter.
    pub(crate) fn push_name(&mut self, name: &str) -> Result<()> {
        self.start();
        self.push_bytes(NAME, name.as_bytes())
    }

    /// Leaves room for the width.
    #[inline]
    fn start(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEADER]);
        }
    }

    #[inline]
    fn push_number(&mut self, code: u8, number: [u8; 8]) {
        let mut value = [code; 9];
        value[1..].copy_from_slice(&number);
        self.bytes.extend_from_slice(&value);
    }

    #[inline]
    fn push_bytes(&mut self, code: u8, bytes: &[u8]) -> Result<()> {
        let mut start = [code; 5];
        start[1..].copy_from_slice(&length(bytes.len())?.to_le_bytes());
        self.bytes.extend_from_slice(&start);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Sets the number of values in each row. Does nothing if there are no rows.
    pub(crate) fn set_width(&mut self, width: usize) -> Result<()> {
        if let Some(header) = self.bytes.first_chunk_mut() {
            *header = length(width)?.to_le_bytes();
        }
        Ok(())
    }

    /// The bytes, in the contract's form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its memory, to reuse for the next block.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// The size of its values, in bytes.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER)
    }

    /// Removes all rows, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[inline]
fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| {
        Error::new(
            ErrorKind::TooLarge,
            format!(
                "a value of {length} bytes is longer than {} bytes",
                u32::MAX
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[ValueRef<'_>; 3]; 3] = [
        [
            ValueRef::Integer(i64::MIN),
            ValueRef::Text("a\0ü"),
            ValueRef::Null,
        ],
        [
            ValueRef::Real(f64::NEG_INFINITY),
            ValueRef::Text(""),
            ValueRef::Blob(b"\xff\x00"),
        ],
        [
            ValueRef::Blob(b""),
            ValueRef::Integer(i64::MAX),
            ValueRef::Real(0.5),
        ],
    ];

    fn page() -> Vec<u8> {
        let mut block = Block::new();
        for value in ROWS.as_flattened() {
            block.push(*value).unwrap();
        }
        block.set_width(3).unwrap();
        block.bytes
    }

    fn reader(page: Vec<u8>) -> Reader {
        Reader::new(page, Vec::new())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut reader = reader(page());
        for row in ROWS {
            assert!(reader.advance().unwrap());
            assert_eq!(reader.width(), 3);
            for (index, value) in row.into_iter().enumerate() {
                assert_eq!(reader.get(index), Ok(Some(value)));
            }
            assert_eq!(reader.get(3), Ok(None));
        }
        assert!(!reader.advance().unwrap());
        assert!(!reader.advance().unwrap());
        reader.turn_to(page());
        assert!(reader.advance().unwrap());
        let rows = self::reader(page()).into_rows().unwrap();
        let expected = ROWS.map(|row| row.map(Value::from));
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_bytes_are_as_the_contract_documents() {
        let mut block = Block::new();
        block.push_name("id").unwrap();
        block.push(ValueRef::Integer(7)).unwrap();
        block.set_width(1).unwrap();
        let example = b"\x01\0\0\0\x06\x02\0\0\0id\x01\x07\0\0\0\0\0\0\0";
        assert_eq!(block.as_bytes(), example);
    }

    #[test]
    fn a_page_that_is_cut_off_is_an_error_and_then_the_end() {
        for end in 1..page().len() {
            if end == HEADER {
                continue;
            }
            let mut reader = reader(page()[..end].to_vec());
            let mut failed = false;
            for _ in 0..ROWS.len() {
                failed |= reader.advance().is_err();
            }
            // Cut at the end of a row, it is a valid page with fewer rows.
            let mut shorter = self::reader(page());
            let mut ends = vec![];
            while shorter.advance().unwrap() {
                ends.push(shorter.next);
            }
            assert_eq!(failed, !ends.contains(&end), "{end}");
            assert!(!reader.advance().unwrap());
        }
    }

    #[test]
    fn invalid_codes_and_widths_are_an_error() {
        for code in [0, 6, 7, 255] {
            let mut page = page();
            page[HEADER] = code;
            assert!(reader(page).advance().is_err(), "{code}");
        }
        for width in [0, 10, u32::MAX] {
            let mut page = page();
            page[..HEADER].copy_from_slice(&width.to_le_bytes());
            assert!(reader(page).advance().is_err(), "{width}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_where_it_is_read() {
        let mut page = page();
        let text = page.iter().position(|byte| *byte == b'a').unwrap();
        page[text] = 0xff;
        let mut reader = reader(page);
        assert!(reader.advance().unwrap());
        assert!(reader.get(0).is_ok());
        assert!(reader.get(1).is_err());
    }

    #[test]
    fn a_cleared_block_is_empty() {
        let mut block = Block::new();
        block.push(ValueRef::Text("four")).unwrap();
        assert_eq!(block.size(), 1 + 4 + 4);
        block.clear();
        assert_eq!(block.size(), 0);
        assert_eq!(block.as_bytes(), b"");
    }
}
