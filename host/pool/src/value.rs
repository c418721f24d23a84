//! Values, parameters and rows: the contract's data, in Rust.

/// What a connection is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads. Never waits for a writer, and refuses every write.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

/// How a transaction begins (<https://sqlite.org/lang_transaction.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionMode {
    /// Reads a snapshot, and becomes a writer at its first write, which waits its turn. It fails
    /// with [`BusySnapshot`](crate::ErrorKind::BusySnapshot) if anything was committed since the snapshot,
    /// and with [`Busy`](crate::ErrorKind::Busy), at once, if it has read and another process writes just
    /// then: once that commits, it could only fail. Roll back and run it again, or begin
    /// [`Immediate`](TransactionMode::Immediate).
    Deferred,
    /// A writer from the start: waits its turn.
    Immediate,
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

/// What a statement's parameters are bound to. Every parameter must be bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// Values for `?1`, `?2`, … in order.
    Positional(Vec<Value>),
    /// Names without their `:`, `@`, `$` or `?`, each bound once.
    Named(Vec<(String, Value)>),
}

impl Parameters {
    /// No parameters.
    pub const NONE: Parameters = Parameters::Positional(Vec::new());
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name after `AS`, or whatever SQLite calls the column without one.
    pub name: String,
    /// The type in the table's declaration, where the column comes straight from a table.
    pub declared_type: Option<String>,
}

/// A whole result, held in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// What a statement that finished did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows inserted, updated or deleted by the statement itself.
    pub changes: u64,
    /// The rowid of the last row this connection inserted while lent; 0 before any.
    pub last_insert_rowid: i64,
}

/// Many rows of values in five flat lists.
///
/// Walk [`kinds`](Cells::kinds): each entry says from which list the next value is taken.
/// Every list is read front to back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    /// One entry a value, row after row: 1 integer, 2 real, 3 text, 4 blob, 5 null.
    pub kinds: Vec<u8>,
    /// The integers, in order.
    pub integers: Vec<i64>,
    /// The reals, in order.
    pub reals: Vec<f64>,
    /// The length in bytes of each text and blob, in order.
    pub lengths: Vec<u32>,
    /// The texts and blobs, back to back.
    pub bytes: Vec<u8>,
}

/// A value that is read where it lies. Text is bytes until somebody has checked it.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Real(f64),
    /// Text, perhaps not UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl ValueRef<'_> {
    /// What it takes in a result: its bytes, and its place in the row.
    pub fn size(&self) -> u64 {
        self.length() + size_of::<Value>() as u64
    }

    /// How many bytes a text or blob has.
    pub fn length(&self) -> u64 {
        match self {
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> ValueRef<'a> {
        match value {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        }
    }
}
