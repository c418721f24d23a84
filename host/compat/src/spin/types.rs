//! The types of Spin's SQLite, which are the same in all versions, and their conversions.

use millpond_pool as pool;
use millpond_pool::{Row, Rows, ValueRef};
use millpond_wasmtime::bindings::connections::{self, ErrorKind};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::error::summary;

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

impl From<Row<'_>> for RowResult {
    fn from(row: Row<'_>) -> RowResult {
        let mut values = Vec::with_capacity(row.len());
        values.extend(row.iter().map(Value::from));
        RowResult { values }
    }
}

pub(super) fn rows(rows: &Rows) -> Vec<RowResult> {
    rows.iter().map(RowResult::from).collect()
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

impl From<pool::Error> for Error {
    fn from(error: pool::Error) -> Error {
        connections::Error::from(error).into()
    }
}
