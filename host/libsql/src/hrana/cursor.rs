//! A result that comes piece by piece: messages, each after its length, cut anywhere.

use bytes::{Buf, Bytes, BytesMut};
use millpond_pool::{Column, Rows};

use super::reply::{ServerError, Sizes, Unusable, read_column, read_error, read_row};
use super::wire::{Fields, Malformed, Wire, varint};

/// Collects what has come, and takes whole messages off it.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: BytesMut,
}

impl Messages {
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether something has come that is no whole message.
    pub(crate) fn is_cut(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// How much has come that has not been read.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next message, where it is whole.
    pub(crate) fn next(&mut self) -> Wire<Option<Bytes>> {
        let mut rest: &[u8] = &self.bytes;
        let Some(length) = varint(&mut rest)? else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| Malformed("a message is too long"))?;
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.bytes.len() - rest.len();
        self.bytes.advance(start);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }
}

/// What the first message of a cursor says.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) baton: Option<String>,
    pub(crate) base_url: Option<String>,
}

impl Opened {
    pub(crate) fn read(message: &[u8]) -> Wire<Opened> {
        let mut opened = Opened::default();
        for field in Fields::new(message) {
            match field? {
                (1, baton) => opened.baton = Some(baton.text()?.to_owned()),
                (2, url) => opened.base_url = Some(url.text()?.to_owned()),
                _ => {}
            }
        }
        Ok(opened)
    }
}

/// What one of the later ones says.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The statement has begun, and has these columns.
    Begin(Vec<Column>),
    /// A row has been appended.
    Row,
    End,
    Failed(ServerError),
    /// The state of the database that was read.
    Index(u64),
    Other,
}

impl Entry {
    /// Read a message. A row, which must be `width` wide, is appended to `rows`.
    pub(crate) fn read(
        message: &[u8],
        width: usize,
        rows: &mut Rows,
        sizes: Sizes,
    ) -> Result<Entry, Unusable> {
        let mut entry = Entry::Other;
        for field in Fields::new(message) {
            let (kind, value) = field?;
            entry = match kind {
                1 => {
                    let mut columns = Vec::new();
                    for field in Fields::new(value.bytes()?) {
                        if let (2, column) = field? {
                            columns.push(read_column(column.bytes()?)?);
                        }
                    }
                    Entry::Begin(columns)
                }
                2 => Entry::End,
                3 => Entry::Failed(step_error(value.bytes()?)?),
                4 => {
                    let before = rows.size();
                    read_row(value.bytes()?, width, rows, before, sizes)?;
                    Entry::Row
                }
                5 => Entry::Failed(read_error(value.bytes()?)?),
                6 => {
                    let mut index = 0;
                    for field in Fields::new(value.bytes()?) {
                        if let (1, value) = field? {
                            index = value.varint()?;
                        }
                    }
                    Entry::Index(index)
                }
                _ => continue,
            };
        }
        Ok(entry)
    }
}

fn step_error(message: &[u8]) -> Wire<ServerError> {
    for field in Fields::new(message) {
        if let (2, error) = field? {
            return read_error(error.bytes()?);
        }
    }
    Err(Malformed("a step failed without an error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hrana::wire::Writer;

    const SIZES: Sizes = Sizes {
        value: 100,
        result: 1000,
    };

    fn row(text: &str) -> Vec<u8> {
        let mut row = Writer::default();
        row.message(4, |row| {
            row.message(1, |value| value.bytes(4, text.as_bytes()));
        });
        row.into_bytes()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut framed = Writer::default();
        framed.bytes(1, message);
        // Without the key.
        framed.into_bytes()[1..].to_vec()
    }

    #[test]
    fn messages_are_whole_wherever_they_were_cut() {
        let stream: Vec<u8> = [row("a"), row("b")]
            .iter()
            .flat_map(|row| framed(row))
            .collect();
        for cut in 0..=stream.len() {
            let mut messages = Messages::default();
            let mut rows = Rows::with_capacity(0);
            for part in [&stream[..cut], &stream[cut..]] {
                messages.push(&Bytes::copy_from_slice(part));
                while let Some(message) = messages.next().expect("well formed") {
                    let entry = Entry::read(&message, 1, &mut rows, SIZES);
                    assert!(matches!(entry, Ok(Entry::Row)));
                }
            }
            assert!(!messages.is_cut());
            assert_eq!(rows, [["a".into()], ["b".into()]]);
        }
    }

    #[test]
    fn rows_of_another_width_and_large_values_are_refused() {
        let mut rows = Rows::with_capacity(0);
        let read =
            |message: &[u8], width, rows: &mut Rows| Entry::read(message, width, rows, SIZES);
        assert!(matches!(
            read(&row("a"), 2, &mut rows),
            Err(Unusable::Malformed(_))
        ));
        assert_eq!(rows.len(), 0);
        let long = "x".repeat(101);
        assert!(matches!(
            read(&row(&long), 1, &mut rows),
            Err(Unusable::TooLarge(_))
        ));
    }
}
