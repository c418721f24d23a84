//! Converts SQLite's values to Rust's.

use std::fmt;

use crate::{Value, ValueRef};

/// A type that can be read from a column.
///
/// Nothing is converted implicitly, with two exceptions: an integer can be read as a float, and as
/// a bool (0 is false). `Option` reads null as `None`.
///
/// ```
/// use millpond_guest::{FromSql, FromSqlError, FromSqlResult, ValueRef};
///
/// enum Colour {
///     Red,
///     Green,
/// }
///
/// impl FromSql for Colour {
///     fn column_result(value: ValueRef<'_>) -> FromSqlResult<Colour> {
///         match value.as_str() {
///             Some("red") => Ok(Colour::Red),
///             Some("green") => Ok(Colour::Green),
///             Some(other) => Err(FromSqlError::Other(format!("{other} is no colour"))),
///             None => Err(FromSqlError::InvalidType),
///         }
///     }
/// }
/// # assert!(matches!(Colour::column_result(ValueRef::Text("red")), Ok(Colour::Red)));
/// # assert!(matches!(Colour::column_result(ValueRef::Text("green")), Ok(Colour::Green)));
/// ```
pub trait FromSql: Sized {
    /// Converts a column's value.
    ///
    /// # Errors
    ///
    /// The value is not of this type. [`Row::get`](crate::Row::get) adds the column.
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self>;
}

/// What [`FromSql::column_result`] returns.
pub type FromSqlResult<T> = std::result::Result<T, FromSqlError>;

/// Why a value could not be read as a type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FromSqlError {
    /// The value is of another type. Becomes
    /// [`ErrorKind::InvalidColumnType`](crate::ErrorKind::InvalidColumnType).
    InvalidType,
    /// The integer, given here, does not fit. Becomes
    /// [`ErrorKind::IntegralValueOutOfRange`](crate::ErrorKind::IntegralValueOutOfRange).
    OutOfRange(i64),
    /// Another reason, for people, in lower case. Becomes
    /// [`ErrorKind::FromSqlConversionFailure`](crate::ErrorKind::FromSqlConversionFailure).
    Other(String),
}

impl FromSqlError {
    /// [`FromSqlError::Other`] with an error's message, for `map_err`.
    pub fn other(reason: impl fmt::Display) -> FromSqlError {
        FromSqlError::Other(reason.to_string())
    }
}

impl fmt::Display for FromSqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromSqlError::InvalidType => f.write_str("the value is of another type"),
            FromSqlError::OutOfRange(integer) => write!(f, "{integer} does not fit the type"),
            FromSqlError::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for FromSqlError {}

impl FromSql for Value {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Value> {
        Ok(value.into())
    }
}

impl<T: FromSql> FromSql for Option<T> {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Option<T>> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::column_result(value).map(Some),
        }
    }
}

impl FromSql for i64 {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<i64> {
        value.as_i64().ok_or(FromSqlError::InvalidType)
    }
}

macro_rules! from_sql_integer_if_it_fits {
    ($($type:ty)*) => {$(
        impl FromSql for $type {
            #[inline]
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$type> {
                let integer = i64::column_result(value)?;
                integer.try_into().map_err(|_| FromSqlError::OutOfRange(integer))
            }
        }
    )*};
}

from_sql_integer_if_it_fits!(i8 i16 i32 isize u8 u16 u32 u64 usize);

impl FromSql for bool {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<bool> {
        i64::column_result(value).map(|integer| integer != 0)
    }
}

impl FromSql for f64 {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<f64> {
        match value {
            ValueRef::Real(real) => Ok(real),
            ValueRef::Integer(integer) => Ok(integer as f64),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl FromSql for f32 {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<f32> {
        f64::column_result(value).map(|real| real as f32)
    }
}

impl FromSql for String {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<String> {
        let text = value.as_str().ok_or(FromSqlError::InvalidType)?;
        Ok(text.to_owned())
    }
}

impl FromSql for Box<str> {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Box<str>> {
        String::column_result(value).map(String::into_boxed_str)
    }
}

impl FromSql for Vec<u8> {
    #[inline]
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Vec<u8>> {
        let bytes = value.as_blob().ok_or(FromSqlError::InvalidType)?;
        Ok(bytes.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_refused() {
        let largest = ValueRef::Integer(i64::MAX);
        assert_eq!(i64::column_result(largest), Ok(i64::MAX));
        assert_eq!(u64::column_result(largest), Ok(i64::MAX as u64));
        let out_of_range = FromSqlError::OutOfRange(i64::MAX);
        assert_eq!(i32::column_result(largest), Err(out_of_range));
        let negative = ValueRef::Integer(-1);
        let out_of_range = FromSqlError::OutOfRange(-1);
        assert_eq!(u8::column_result(negative), Err(out_of_range.clone()));
        assert_eq!(u64::column_result(negative), Err(out_of_range));
        assert_eq!(bool::column_result(negative), Ok(true));
    }

    #[test]
    fn nothing_is_converted_silently() {
        assert_eq!(f64::column_result(ValueRef::Integer(2)), Ok(2.0));
        for value in [ValueRef::Real(1.0), ValueRef::Text("1"), ValueRef::Null] {
            assert_eq!(i64::column_result(value), Err(FromSqlError::InvalidType));
        }
        for value in [ValueRef::Blob(b"a"), ValueRef::Integer(1), ValueRef::Null] {
            assert_eq!(String::column_result(value), Err(FromSqlError::InvalidType));
        }
        let text = ValueRef::Text("a");
        assert_eq!(
            Vec::<u8>::column_result(text),
            Err(FromSqlError::InvalidType)
        );
    }

    #[test]
    fn null_is_none_and_empty_is_not() {
        assert_eq!(Option::<String>::column_result(ValueRef::Null), Ok(None));
        let empty = Option::<String>::column_result(ValueRef::Text(""));
        assert_eq!(empty, Ok(Some(String::new())));
    }
}
