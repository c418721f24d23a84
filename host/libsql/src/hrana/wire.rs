//! Protocol Buffers, as far as Hrana needs them: fields written into a list of bytes, and read from
//! one that a server sent, in which nothing is believed before it is checked.

/// How many bytes the length of a nested message takes. Varints may be longer than they need to be,
/// so that the length can be filled in once it is known.
const LENGTH: usize = 4;
/// The largest number in that many bytes of a varint.
pub(crate) const MAX_MESSAGE: usize = (1 << (7 * LENGTH)) - 1;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Writes the fields of a message.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.raw_varint(field << 3 | kind);
    }

    pub(crate) fn varint(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.raw_varint(value);
    }

    /// A `sint64`.
    pub(crate) fn signed(&mut self, field: u64, value: i64) {
        self.varint(field, (value << 1 ^ value >> 63) as u64);
    }

    pub(crate) fn double(&mut self, field: u64, value: f64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, BYTES);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message within this one.
    ///
    /// Its length is checked with that of the whole, before it is sent: see [`MAX_MESSAGE`].
    pub(crate) fn message<T>(&mut self, field: u64, write: impl FnOnce(&mut Writer) -> T) -> T {
        self.key(field, BYTES);
        let at = self.0.len();
        self.0.extend_from_slice(&[0; LENGTH]);
        let result = write(self);
        let length = self.0.len() - at - LENGTH;
        for (index, byte) in self.0[at..at + LENGTH].iter_mut().enumerate() {
            let more = if index + 1 < LENGTH { 0x80 } else { 0 };
            *byte = (length >> (7 * index)) as u8 & 0x7f | more;
        }
        result
    }
}

/// The bytes are not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) type Wire<T> = Result<T, Malformed>;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    /// Of a kind that Hrana does not use.
    Other,
}

impl<'a> Field<'a> {
    pub(crate) fn varint(self) -> Wire<u64> {
        match self {
            Field::Varint(value) => Ok(value),
            _ => Err(Malformed("a field is no number")),
        }
    }

    pub(crate) fn signed(self) -> Wire<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn double(self) -> Wire<f64> {
        match self {
            Field::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(Malformed("a field is no float")),
        }
    }

    pub(crate) fn bytes(self) -> Wire<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field is neither text nor a message")),
        }
    }

    pub(crate) fn text(self) -> Wire<&'a str> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }
}

/// Reads the fields of a message, in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn field(&mut self) -> Wire<(u64, Field<'a>)> {
        const CUT: Malformed = Malformed("a field is cut off");
        let key = varint(&mut self.0)?.ok_or(CUT)?;
        let field = match key & 7 {
            VARINT => Field::Varint(varint(&mut self.0)?.ok_or(CUT)?),
            FIXED64 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT)?;
                self.0 = rest;
                Field::Fixed64(*bytes)
            }
            BYTES => {
                let length = varint(&mut self.0)?.ok_or(CUT)?;
                let length = usize::try_from(length).map_err(|_| CUT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            FIXED32 => {
                let (_, rest) = self.0.split_first_chunk::<4>().ok_or(CUT)?;
                self.0 = rest;
                Field::Other
            }
            _ => return Err(Malformed("a field is of an unknown kind")),
        };
        Ok((key >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Wire<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Wire<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Take a varint off `bytes`; `None`, and nothing taken, where it is not all there.
pub(crate) fn varint(bytes: &mut &[u8]) -> Wire<Option<u64>> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        if index > 9 || index == 9 && part > 1 {
            return Err(Malformed("a number is too long"));
        }
        value |= part << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(Some(value));
        }
    }
    match bytes.len() > 9 {
        true => Err(Malformed("a number is too long")),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.varint(1, u64::MAX);
        writer.signed(2, i64::MIN);
        writer.double(3, f64::NEG_INFINITY);
        writer.message(4, |inner| inner.bytes(1, b"text"));
        writer.signed(20, -1);
        let bytes = writer.into_bytes();
        let fields: Wire<Vec<_>> = Fields::new(&bytes).collect();
        let fields = fields.expect("well formed");
        assert_eq!(fields[0], (1, Field::Varint(u64::MAX)));
        assert_eq!(fields[1].1.signed(), Ok(i64::MIN));
        assert_eq!(fields[2].1.double(), Ok(f64::NEG_INFINITY));
        let inner = fields[3].1.bytes().expect("a message");
        let inner: Wire<Vec<_>> = Fields::new(inner).collect();
        assert_eq!(inner, Ok(vec![(1, Field::Bytes(b"text"))]));
        assert_eq!((fields[4].0, fields[4].1.signed()), (20, Ok(-1)));
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_or_a_shorter_message() {
        let mut writer = Writer::default();
        writer.message(3, |inner| inner.bytes(1, &[7; 300]));
        writer.double(2, 1.0);
        let bytes = writer.into_bytes();
        for end in 0..bytes.len() {
            for field in Fields::new(&bytes[..end]) {
                let _ = field.map(|(_, field)| (field.signed(), field.text(), field.double()));
            }
        }
    }

    #[test]
    fn numbers_longer_than_64_bits_are_refused() {
        let mut long: &[u8] = &[0xff; 11];
        assert!(varint(&mut long).is_err());
        let mut long: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert!(varint(&mut long).is_err());
        let mut short: &[u8] = &[0xff, 0xff];
        assert_eq!(varint(&mut short), Ok(None));
    }
}
