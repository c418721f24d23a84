//! One SQLite value, owned or borrowed.

/// One SQLite value, by storage class (<https://sqlite.org/datatype3.html>).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's `NULL`.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A 64-bit floating point number. NaN is bound as null.
    Real(f64),
    /// Text, which may be empty and may contain NUL characters.
    Text(String),
    /// Bytes, which may be empty.
    Blob(Vec<u8>),
}

/// A value that is read, or bound, without copying it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL's `NULL`.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A 64-bit floating point number. NaN is bound as null.
    Real(f64),
    /// Text, which may be empty and may contain NUL characters.
    Text(&'a str),
    /// Bytes, which may be empty.
    Blob(&'a [u8]),
}

impl<'a> ValueRef<'a> {
    /// SQLite's name for the type: `null`, `integer`, `real`, `text` or `blob`.
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueRef::Null => "null",
            ValueRef::Integer(_) => "integer",
            ValueRef::Real(_) => "real",
            ValueRef::Text(_) => "text",
            ValueRef::Blob(_) => "blob",
        }
    }

    /// The text, if this is text.
    #[inline]
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            ValueRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if this is a blob.
    #[inline]
    pub fn as_blob(&self) -> Option<&'a [u8]> {
        match *self {
            ValueRef::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, if this is one.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            ValueRef::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// The real number, if this is one. An integer is not.
    #[inline]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            ValueRef::Real(real) => Some(real),
            _ => None,
        }
    }
}

impl From<ValueRef<'_>> for Value {
    #[inline]
    fn from(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Real(real) => Value::Real(real),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    #[inline]
    fn from(value: &'a Value) -> ValueRef<'a> {
        match value {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}
