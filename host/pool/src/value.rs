//! Values, parameters and rows: the contract's data, in Rust.

/// What a borrower will do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read. Never waits for a writer, and refuses every write.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// How a transaction begins (<https://sqlite.org/lang_transaction.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionMode {
    /// Takes its snapshot at its first statement, and its turn to write at its first write. That
    /// write fails with [`BusySnapshot`](crate::ErrorKind::BusySnapshot) if anything was committed
    /// since the snapshot. If the transaction has read and another process is writing, it fails
    /// with [`Busy`](crate::ErrorKind::Busy) at once: after the other's commit it could only fail.
    /// Roll back and run it again, or begin [`Immediate`](TransactionMode::Immediate).
    Deferred,
    /// Waits its turn to write at the start.
    Immediate,
}

impl TransactionMode {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            TransactionMode::Deferred => "BEGIN",
            TransactionMode::Immediate => "BEGIN IMMEDIATE",
        }
    }
}

/// One SQLite value, by storage class (<https://sqlite.org/datatype3.html>).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float. SQLite stores NaN as `NULL`.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// One SQLite value, borrowed from [`Rows`] or [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// The values to bind to a statement's parameters. Every parameter must be bound.
///
/// Create them from an array or a list of values, in the order of `?1`, `?2`, …, or with
/// [`named`](Parameters::named). They are stored in the contract's form, one flat list of bytes.
///
/// ```
/// use millpond_pool::{Parameters, Value};
///
/// let one = Parameters::from([7]);
/// let two = Parameters::from([Value::from(7), Value::from("Milk")]);
/// let by_name = Parameters::named([(":id", 7)]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
    pub(crate) named: bool,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name after `AS`, or the name that SQLite gives the column without one.
    pub name: String,
    /// The type in the table's declaration, if the column comes directly from a table.
    pub declared_type: Option<String>,
}

/// A whole result, held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultSet {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows. Each has one value per column.
    pub rows: Rows,
}

/// What a statement that finished did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows inserted, updated or deleted by the statement itself, not by its triggers or foreign
    /// key actions.
    pub changes: u64,
    /// The rowid of the last row this connection inserted while lent; 0 before any.
    pub last_insert_rowid: i64,
}

/// Rows of values, all of the same width, in the contract's form: one flat list of bytes.
///
/// Two are equal if their bytes are equal: `0.0` and `-0.0` differ, and NaN equals itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Empty, or at least one row.
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: usize,
}

/// The rows of [`Rows`], in order.
#[derive(Clone, Debug)]
pub struct RowsIter<'a> {
    pub(crate) values: &'a [u8],
    pub(crate) width: usize,
    pub(crate) rows: usize,
}

/// One row of [`Rows`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    pub(crate) values: &'a [u8],
    pub(crate) width: usize,
}

/// A value borrowed from SQLite or a guest: text is bytes until it is checked.
#[derive(Clone, Copy, Debug)]
pub enum RawValue<'a> {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Real(f64),
    /// Text that may not be UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl RawValue<'_> {
    /// Its size in [`Rows`], in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        match self {
            RawValue::Null => 1,
            RawValue::Integer(_) | RawValue::Real(_) => 1 + 8,
            RawValue::Text(bytes) | RawValue::Blob(bytes) => 1 + 4 + bytes.len() as u64,
        }
    }

    /// The length of a text or blob in bytes.
    #[inline]
    pub fn length(&self) -> u64 {
        match self {
            RawValue::Null | RawValue::Integer(_) | RawValue::Real(_) => 0,
            RawValue::Text(bytes) | RawValue::Blob(bytes) => bytes.len() as u64,
        }
    }
}

impl<'a> From<&'a Value> for RawValue<'a> {
    fn from(value: &'a Value) -> RawValue<'a> {
        match value {
            Value::Null => RawValue::Null,
            Value::Integer(value) => RawValue::Integer(*value),
            Value::Real(value) => RawValue::Real(*value),
            Value::Text(value) => RawValue::Text(value.as_bytes()),
            Value::Blob(value) => RawValue::Blob(value),
        }
    }
}

impl<'a> ValueRef<'a> {
    /// Convert a value whose text has been checked.
    pub(crate) fn from_checked(value: RawValue<'a>) -> ValueRef<'a> {
        match value {
            RawValue::Null => ValueRef::Null,
            RawValue::Integer(value) => ValueRef::Integer(value),
            RawValue::Real(value) => ValueRef::Real(value),
            RawValue::Text(value) => ValueRef::Text(str::from_utf8(value).unwrap_or_default()),
            RawValue::Blob(value) => ValueRef::Blob(value),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> ValueRef<'a> {
        ValueRef::from_checked(value.into())
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(value) => Value::Text(value.to_owned()),
            ValueRef::Blob(value) => Value::Blob(value.to_owned()),
        }
    }
}

macro_rules! value_from_integer {
    ($($type:ty)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::Integer(value.into())
            }
        }
    )*};
}

value_from_integer!(i64 i32 i16 i8 u32 u16 u8 bool);

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Value {
        Value::Real(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Blob(value.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Blob(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Value {
        value.clone()
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Parameters {
    fn from(values: [T; N]) -> Parameters {
        Parameters::positional(values)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Parameters {
    fn from(values: Vec<T>) -> Parameters {
        Parameters::positional(values)
    }
}

impl From<&[Value]> for Parameters {
    fn from(values: &[Value]) -> Parameters {
        Parameters::positional(values)
    }
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters::NONE
    }
}

impl PartialEq<[Value]> for Row<'_> {
    fn eq(&self, other: &[Value]) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter().map(ValueRef::from))
    }
}

impl<R: AsRef<[Value]>> PartialEq<[R]> for Rows {
    fn eq(&self, other: &[R]) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .zip(other)
                .all(|(row, other)| row == *other.as_ref())
    }
}

impl<R: AsRef<[Value]>> PartialEq<Vec<R>> for Rows {
    fn eq(&self, other: &Vec<R>) -> bool {
        self == other.as_slice()
    }
}

impl<R: AsRef<[Value]>, const N: usize> PartialEq<[R; N]> for Rows {
    fn eq(&self, other: &[R; N]) -> bool {
        self == other.as_slice()
    }
}
