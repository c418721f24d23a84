//! Rows and values: from SQLite's to JavaScript's.

use millpond_pool::{Column, Row, Rows, Value, ValueRef};

use super::failure::{Failure, Result};
use super::options::Options;
use super::wit;
use crate::yielding::{COPIED_AT_ONCE, yield_now};

/// How many bytes `all` and `get` return at most, as the host holds them: each value of a row, with its
/// column's name.
pub const MAX_ANSWER: usize = 64 << 20;
/// JavaScript's largest safe integer.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// The names of a result's columns; none if rows are arrays.
pub(super) type Columns = Option<Vec<String>>;

pub(super) fn names(columns: Vec<Column>, options: Options) -> Columns {
    let names = columns.into_iter().map(|column| column.name);
    (!options.return_arrays).then(|| names.collect())
}

/// The value to bind.
pub(super) fn bound(value: wit::Value) -> Value {
    match value {
        wit::Value::Null => Value::Null,
        wit::Value::Number(value) => Value::Real(value),
        wit::Value::Bigint(value) => Value::Integer(value),
        wit::Value::Text(value) => Value::Text(value),
        wit::Value::Blob(value) => Value::Blob(value),
    }
}

/// An integer, as a number or a bigint.
pub(super) fn integer(value: i64, options: Options) -> Result<wit::Value> {
    if options.read_big_ints {
        return Ok(wit::Value::Bigint(value));
    }
    if value.unsigned_abs() > MAX_SAFE {
        return Err(Failure::out_of_range(format!(
            "Value is too large to be represented as a JavaScript number: {value}"
        )));
    }
    Ok(wit::Value::Number(value as f64))
}

fn read(value: ValueRef<'_>, options: Options) -> Result<wit::Value> {
    Ok(match value {
        ValueRef::Null => wit::Value::Null,
        ValueRef::Integer(value) => integer(value, options)?,
        ValueRef::Real(value) => wit::Value::Number(value),
        ValueRef::Text(value) => wit::Value::Text(value.to_owned()),
        ValueRef::Blob(value) => wit::Value::Blob(value.to_vec()),
    })
}

/// What a value takes, with its column's name.
fn size(value: ValueRef<'_>, name: &str) -> usize {
    let data = match value {
        ValueRef::Text(text) => text.len(),
        ValueRef::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    size_of::<(String, wit::Value)>() + name.len() + data
}

/// Converts rows, and limits their total size.
#[derive(Debug)]
pub(super) struct Answer {
    options: Options,
    pub(super) size: usize,
}

impl Answer {
    pub(super) fn new(options: Options) -> Answer {
        Answer { options, size: 0 }
    }

    pub(super) async fn rows(&mut self, rows: &Rows, columns: &Columns) -> Result<Vec<wit::Row>> {
        let mut all = Vec::new();
        let mut yielded = self.size;
        for row in rows {
            all.push(self.row(row, columns)?);
            if self.size - yielded >= COPIED_AT_ONCE {
                yielded = self.size;
                yield_now().await;
            }
        }
        Ok(all)
    }

    pub(super) fn row(&mut self, row: Row<'_>, columns: &Columns) -> Result<wit::Row> {
        let options = self.options;
        self.take(size_of::<wit::Row>())?;
        let Some(names) = columns else {
            let mut values = Vec::with_capacity(row.len());
            for value in row.iter() {
                self.take(size(value, ""))?;
                values.push(read(value, options)?);
            }
            return Ok(wit::Row::Array(values));
        };
        let mut values = Vec::with_capacity(row.len());
        for (name, value) in names.iter().zip(row.iter()) {
            self.take(size(value, name))?;
            values.push((name.clone(), read(value, options)?));
        }
        Ok(wit::Row::Object(values))
    }

    fn take(&mut self, size: usize) -> Result<()> {
        self.size += size;
        if self.size > MAX_ANSWER {
            return Err(Failure::too_large(format!(
                "the rows have more than {MAX_ANSWER} bytes with their columns' names: iterate over \
                 them, or return arrays"
            )));
        }
        Ok(())
    }
}
