//! Types of other crates as columns, each behind the feature named like its crate.
//!
//! The stored formats are those of rusqlite's features of the same names.

#[cfg(feature = "chrono")]
mod chrono;
#[cfg(feature = "jiff")]
mod jiff;
#[cfg(feature = "serde_json")]
mod serde_json;
#[cfg(feature = "time")]
mod time;
#[cfg(feature = "url")]
mod url;
#[cfg(feature = "uuid")]
mod uuid;

#[cfg(any(
    feature = "chrono",
    feature = "jiff",
    feature = "time",
    feature = "url"
))]
use crate::{FromSqlError, FromSqlResult, ValueRef};

/// The text of a column, for types that are stored as text.
#[cfg(any(
    feature = "chrono",
    feature = "jiff",
    feature = "time",
    feature = "url"
))]
fn text(value: ValueRef<'_>) -> FromSqlResult<&str> {
    value.as_str().ok_or(FromSqlError::InvalidType)
}

/// Shared by the tests of all types.
#[cfg(test)]
#[allow(dead_code, reason = "each feature's tests use a part of it")]
mod tests {
    use std::fmt::Debug;

    use crate::{FromSql, FromSqlError, FromSqlResult, ToSql, Value, ValueRef};

    /// Asserts what a value is stored as, and that it can be read back.
    pub(super) fn stored<T: ToSql + FromSql + Debug + PartialEq>(value: T, expected: Value) {
        assert_eq!(value.to_sql().unwrap().into_value(), expected);
        assert_eq!(read::<T>(&expected), Ok(value));
    }

    pub(super) fn stored_text<T: ToSql + FromSql + Debug + PartialEq>(value: T, expected: &str) {
        stored(value, Value::Text(expected.to_owned()));
    }

    pub(super) fn read<T: FromSql>(value: &Value) -> FromSqlResult<T> {
        T::column_result(value.into())
    }

    pub(super) fn read_text<T: FromSql>(text: &str) -> FromSqlResult<T> {
        T::column_result(ValueRef::Text(text))
    }

    /// Asserts that reading each of these fails, without a panic.
    pub(super) fn refused<T: FromSql + Debug>(texts: &[&str], others: &[Value]) {
        let hostile = [
            "",
            " ",
            "2",
            "2016-02-",
            "2016-02-2\u{e9}",
            "\u{2003}\u{2003}\u{2003}",
            "2016-02-23 23:56:04.78\u{e9} +00:00",
            "9999999999-99-99 99:99:99",
        ];
        for text in hostile.iter().chain(texts) {
            let error = read_text::<T>(text).expect_err(text);
            assert!(matches!(error, FromSqlError::Other(_)), "{text}: {error:?}");
        }
        for value in others {
            assert_eq!(
                read::<T>(value).expect_err("another type"),
                FromSqlError::InvalidType,
                "{value:?}"
            );
        }
    }
}
