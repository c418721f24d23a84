//! The contract's flat form of rows and parameters, written only from its documentation, for
//! programs that use the contract without the guest library.

pub mod keyvalue;
pub mod node;
pub mod spin;

pub use millpond_guest::Value;

use std::fmt::Debug;

/// Whether the program's database is on a libSQL server, and not in a file.
pub fn is_on_server() -> bool {
    std::env::var("MILLPOND_TEST_ENGINE").as_deref() == Ok("server")
}

/// What a program expects where the engines differ: `on_file`, or `on_server` if its database is on
/// a libSQL server. The suite `libsql` compares the differences that programs report with the table
/// in `host/libsql/DIFFERENCES.md`.
pub fn differs<T: Debug>(what: &str, on_file: T, on_server: T) -> T {
    if !is_on_server() {
        return on_file;
    }
    println!("differs: {what} | {on_file:?} | {on_server:?}");
    on_server
}

/// No parameters.
pub const NONE: &[u8] = &[];

/// Parameters by position.
pub fn positional(values: &[Value]) -> Vec<u8> {
    rows(values.len(), values)
}

/// Parameters by name.
pub fn named(values: &[(&str, Value)]) -> Vec<u8> {
    let mut bytes = (values.len() as u32).to_le_bytes().to_vec();
    for (name, value) in values {
        write(&mut bytes, 6, name.as_bytes());
        write_value(&mut bytes, value);
    }
    bytes
}

/// Rows of `width` values.
pub fn rows(width: usize, values: &[Value]) -> Vec<u8> {
    let mut bytes = (width as u32).to_le_bytes().to_vec();
    for value in values {
        write_value(&mut bytes, value);
    }
    bytes
}

fn write_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(value) => {
            bytes.push(1);
            bytes.extend(value.to_le_bytes());
        }
        Value::Real(value) => {
            bytes.push(2);
            bytes.extend(value.to_le_bytes());
        }
        Value::Text(value) => write(bytes, 3, value.as_bytes()),
        Value::Blob(value) => write(bytes, 4, value),
        Value::Null => bytes.push(5),
    }
}

fn write(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    bytes.push(code);
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
}

/// The rows that the host sent.
///
/// # Panics
///
/// Panics if they are not of the contract's form.
pub fn read(mut rows: &[u8]) -> Vec<Vec<Value>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let width = u32::from_le_bytes(take(&mut rows));
    let mut all = Vec::new();
    while !rows.is_empty() {
        all.push((0..width).map(|_| read_value(&mut rows)).collect());
    }
    all
}

fn read_value(rows: &mut &[u8]) -> Value {
    match take(rows) {
        [1] => Value::Integer(i64::from_le_bytes(take(rows))),
        [2] => Value::Real(f64::from_le_bytes(take(rows))),
        [3] => Value::Text(String::from_utf8(take_bytes(rows)).expect("UTF-8")),
        [4] => Value::Blob(take_bytes(rows)),
        [5] => Value::Null,
        [code] => panic!("there is no code {code}"),
    }
}

fn take<const N: usize>(rows: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = rows.split_first_chunk().expect("more bytes");
    *rows = rest;
    *taken
}

fn take_bytes(rows: &mut &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes(take(rows)) as usize;
    let (taken, rest) = rows.split_at(length);
    *rows = rest;
    taken.to_vec()
}

/// Every value of the rows, all of which are integers.
///
/// # Panics
///
/// Panics if one is not.
pub fn integers(rows: &[u8]) -> Vec<i64> {
    let integer = |value| match value {
        Value::Integer(integer) => integer,
        other => panic!("{other:?} is no integer"),
    };
    read(rows).into_iter().flatten().map(integer).collect()
}
