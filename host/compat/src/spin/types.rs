//! The types of Spin's SQLite, which are the same in all versions, and their conversions.

use millpond_pool as pool;
use millpond_pool::{Row, Rows, ValueRef};
use millpond_wasmtime::bindings::connections::{self, ErrorKind};
use tokio::task::JoinError;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::error::summary;
use crate::yielding::Copied;

/// The most bytes of a result of `execute`, as the host holds it for the guest: each row counts
/// with 24, and each value with 32 besides its text or blob.
pub const MAX_RESULT_BYTES: usize = 64 << 20;

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Value {
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "real")]
    Real(f64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "blob")]
    Blob(Vec<u8>),
    #[component(name = "null")]
    Null,
}

impl Value {
    /// Its size on the host, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::Text(text) => text.len(),
                Value::Blob(blob) => blob.len(),
                _ => 0,
            }
    }
}

impl From<Value> for pool::Value {
    fn from(value: Value) -> pool::Value {
        match value {
            Value::Integer(value) => pool::Value::Integer(value),
            Value::Real(value) => pool::Value::Real(value),
            Value::Text(value) => pool::Value::Text(value),
            Value::Blob(value) => pool::Value::Blob(value),
            Value::Null => pool::Value::Null,
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(value) => Value::Text(value.to_owned()),
            ValueRef::Blob(value) => Value::Blob(value.to_vec()),
            ValueRef::Null => Value::Null,
        }
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct RowResult {
    values: Vec<Value>,
}

impl RowResult {
    /// Its size on the host, in bytes.
    fn size(&self) -> usize {
        size_of::<RowResult>() + self.values.iter().map(Value::size).sum::<usize>()
    }
}

impl From<Row<'_>> for RowResult {
    fn from(row: Row<'_>) -> RowResult {
        let mut values = Vec::with_capacity(row.len());
        values.extend(row.iter().map(Value::from));
        RowResult { values }
    }
}

/// All rows of a page, which are few.
pub(super) fn rows(rows: &Rows) -> Vec<RowResult> {
    rows.iter().map(RowResult::from).collect()
}

/// The rows of a whole result.
pub(super) async fn all_rows(rows: &Rows) -> Result<Vec<RowResult>, Error> {
    let (mut all, mut size, mut copied) = (Vec::new(), 0, Copied::default());
    for row in rows {
        let row = RowResult::from(row);
        let bytes = row.size();
        size += bytes;
        if size > MAX_RESULT_BYTES {
            return Err(Error::Io(format!(
                "too-large: the rows have more than {MAX_RESULT_BYTES} bytes with 24 for each row and \
                 32 for each value: select fewer at a time, or use execute-async"
            )));
        }
        all.push(row);
        copied.add(bytes).await;
    }
    Ok(all)
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct QueryResult {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<RowResult>,
}

pub(super) fn names(columns: Vec<pool::Column>) -> Vec<String> {
    columns.into_iter().map(|column| column.name).collect()
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Error {
    #[component(name = "no-such-database")]
    NoSuchDatabase,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "invalid-connection")]
    InvalidConnection,
    #[component(name = "database-full")]
    DatabaseFull,
    #[component(name = "io")]
    Io(String),
}

impl From<connections::Error> for Error {
    fn from(error: connections::Error) -> Error {
        match error.kind {
            // As in Spin, whether there is a database of that name is not told.
            ErrorKind::NoSuchDatabase => Error::AccessDenied,
            ErrorKind::StaleHandle => Error::InvalidConnection,
            ErrorKind::QuotaExceeded => Error::DatabaseFull,
            _ => Error::Io(summary(&error)),
        }
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Error {
        Error::Io(format!("other: {error}"))
    }
}

impl From<pool::Error> for Error {
    fn from(error: pool::Error) -> Error {
        connections::Error::from(error).into()
    }
}
