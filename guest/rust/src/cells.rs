//! Rows in five flat lists: read without an allocation a value, and built in blocks.

use crate::bindings::types::Cells;
use crate::{Error, ErrorKind, Result, ValueRef};

const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const NULL: u8 = 5;

/// Walks the rows of one page.
#[derive(Debug)]
pub(crate) struct Reader {
    cells: Cells,
    /// Where the next row begins in each of the lists.
    next: Place,
    /// The values of the row that it stands on. Kept between rows for its memory.
    row: Vec<Cell>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    kind: usize,
    integer: usize,
    real: usize,
    length: usize,
    byte: usize,
}

/// One value: in itself, or where its bytes lie.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { from: usize, to: usize },
    Blob { from: usize, to: usize },
}

impl Reader {
    pub(crate) fn new(cells: Cells) -> Reader {
        Reader {
            cells,
            next: Place::default(),
            row: Vec::new(),
        }
    }

    /// Goes on to another page, whose rows follow.
    pub(crate) fn turn_to(&mut self, cells: Cells) {
        self.cells = cells;
        self.next = Place::default();
    }

    /// Steps to the next row, of `width` values; false at the end.
    #[inline(always)]
    pub(crate) fn advance(&mut self, width: usize) -> Result<bool> {
        self.row.clear();
        if self.next.kind >= self.cells.kinds.len() {
            return Ok(false);
        }
        if self.read_row(width).is_none() {
            return Err(self.give_up());
        }
        Ok(true)
    }

    /// Nothing after what does not fit can be trusted either.
    #[cold]
    fn give_up(&mut self) -> Error {
        self.turn_to(EMPTY);
        self.row.clear();
        misfit()
    }

    /// Reads one row into `row`; `None` where the lists do not fit each other.
    #[inline]
    fn read_row(&mut self, width: usize) -> Option<()> {
        let Reader { cells, next, row } = self;
        if width == 0 {
            return None;
        }
        let kinds = cells.kinds.get(next.kind..next.kind.checked_add(width)?)?;
        for kind in kinds {
            row.push(match *kind {
                NULL => Cell::Null,
                INTEGER => {
                    next.integer += 1;
                    Cell::Integer(*cells.integers.get(next.integer - 1)?)
                }
                REAL => {
                    next.real += 1;
                    Cell::Real(*cells.reals.get(next.real - 1)?)
                }
                TEXT | BLOB => {
                    let length = *cells.lengths.get(next.length)?;
                    let from = next.byte;
                    let to = from.checked_add(usize::try_from(length).ok()?)?;
                    if to > cells.bytes.len() {
                        return None;
                    }
                    next.length += 1;
                    next.byte = to;
                    if *kind == TEXT {
                        Cell::Text { from, to }
                    } else {
                        Cell::Blob { from, to }
                    }
                }
                _ => return None,
            });
        }
        next.kind += width;
        Some(())
    }

    /// How many values the row has.
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
            Some(Cell::Text { from, to }) => match str::from_utf8(&self.cells.bytes[*from..*to]) {
                Ok(text) => ValueRef::Text(text),
                Err(_) => return Err(misfit()),
            },
            Some(Cell::Blob { from, to }) => ValueRef::Blob(&self.cells.bytes[*from..*to]),
            None => return Ok(None),
        }))
    }
}

const EMPTY: Cells = Cells {
    kinds: Vec::new(),
    integers: Vec::new(),
    reals: Vec::new(),
    lengths: Vec::new(),
    bytes: Vec::new(),
};

#[cold]
fn misfit() -> Error {
    Error::new(
        ErrorKind::Other,
        "the host sent a page of rows whose lists do not fit each other",
    )
}

/// Rows on their way to the host.
#[derive(Debug)]
pub(crate) struct Block {
    cells: Cells,
}

impl Block {
    pub(crate) fn new() -> Block {
        Block { cells: EMPTY }
    }

    /// Adds a value to the row that is being built.
    #[inline]
    pub(crate) fn push(&mut self, value: ValueRef<'_>) -> Result<()> {
        let cells = &mut self.cells;
        match value {
            ValueRef::Null => cells.kinds.push(NULL),
            ValueRef::Integer(integer) => {
                cells.kinds.push(INTEGER);
                cells.integers.push(integer);
            }
            ValueRef::Real(real) => {
                cells.kinds.push(REAL);
                cells.reals.push(real);
            }
            ValueRef::Text(text) => {
                cells.lengths.push(length(text.len())?);
                cells.kinds.push(TEXT);
                cells.bytes.extend_from_slice(text.as_bytes());
            }
            ValueRef::Blob(bytes) => {
                cells.lengths.push(length(bytes.len())?);
                cells.kinds.push(BLOB);
                cells.bytes.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// What it takes in memory, in bytes.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        let cells = &self.cells;
        cells.kinds.len()
            + 8 * (cells.integers.len() + cells.reals.len())
            + 4 * cells.lengths.len()
            + cells.bytes.len()
    }

    /// Forgets the rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let cells = &mut self.cells;
        cells.kinds.clear();
        cells.integers.clear();
        cells.reals.clear();
        cells.lengths.clear();
        cells.bytes.clear();
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

    fn cells() -> Cells {
        let mut block = Block::new();
        for value in ROWS.as_flattened() {
            block.push(*value).unwrap();
        }
        block.cells
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut reader = Reader::new(cells());
        for row in ROWS {
            assert!(reader.advance(3).unwrap());
            assert_eq!(reader.width(), 3);
            for (index, value) in row.into_iter().enumerate() {
                assert_eq!(reader.get(index), Ok(Some(value)));
            }
            assert_eq!(reader.get(3), Ok(None));
        }
        assert!(!reader.advance(3).unwrap());
        assert!(!reader.advance(3).unwrap());
        reader.turn_to(cells());
        assert!(reader.advance(3).unwrap());
    }

    #[test]
    fn lists_that_do_not_fit_are_an_error_and_then_the_end() {
        let broken: [fn(&mut Cells); 6] = [
            |cells| cells.integers.truncate(cells.integers.len() - 1),
            |cells| cells.reals.truncate(cells.reals.len() - 1),
            |cells| cells.lengths.truncate(cells.lengths.len() - 1),
            |cells| cells.bytes.truncate(cells.bytes.len() - 1),
            |cells| cells.kinds[8] = 6,
            |cells| cells.kinds.truncate(cells.kinds.len() - 1),
        ];
        for break_it in broken {
            let mut cells = cells();
            break_it(&mut cells);
            let mut reader = Reader::new(cells);
            let mut failed = false;
            for _ in 0..ROWS.len() {
                failed |= reader.advance(3).is_err();
            }
            assert!(failed);
            assert!(!reader.advance(3).unwrap());
        }
        assert!(Reader::new(cells()).advance(0).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_where_it_is_read() {
        let mut cells = cells();
        cells.bytes[0] = 0xff;
        let mut reader = Reader::new(cells);
        assert!(reader.advance(3).unwrap());
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
        assert_eq!(block.cells(), &EMPTY);
    }
}
