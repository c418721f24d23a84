//! JSON values: null and numbers in SQLite's own types, everything else as JSON text.

use serde_json::{Number, Value};

use crate::{Error, FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

/// Null is stored as null, a number as an integer or a real (above `i64::MAX` as text), and
/// everything else as JSON text: a string with its quotes, `true` as the text `true`.
impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        if self.is_null() {
            return Ok(ValueRef::Null.into());
        }
        if let Some(integer) = self.as_i64() {
            return Ok(integer.into());
        }
        match self.as_f64() {
            Some(real) if self.is_f64() => Ok(real.into()),
            _ => match serde_json::to_string(self) {
                Ok(text) => Ok(text.into()),
                Err(error) => Err(Error::to_sql(error.to_string())),
            },
        }
    }
}

/// Null and numbers are read as such. Text and blobs are read as JSON text, so that the text `a` is
/// refused and the text `"a"` is a string. Infinities are refused: JSON has none.
impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Value> {
        match value {
            ValueRef::Null => Ok(Value::Null),
            ValueRef::Integer(integer) => Ok(integer.into()),
            ValueRef::Real(real) => match Number::from_f64(real) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(FromSqlError::InvalidType),
            },
            ValueRef::Text(text) => serde_json::from_str(text).map_err(FromSqlError::other),
            ValueRef::Blob(bytes) => serde_json::from_slice(bytes).map_err(FromSqlError::other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Value as Sql;
    use crate::types::tests::{read, read_text, stored, stored_text};

    #[test]
    fn json_is_null_a_number_or_text() {
        stored(json!(null), Sql::Null);
        stored(json!(i64::MIN), Sql::Integer(i64::MIN));
        stored(json!(0.5), Sql::Real(0.5));
        stored_text(json!(u64::MAX), "18446744073709551615");
        stored_text(json!(true), "true");
        stored_text(json!("a"), "\"a\"");
        stored_text(json!([0, 1]), "[0,1]");
        stored_text(json!({"x": null}), "{\"x\":null}");
        assert_eq!(read(&Sql::Blob(b"[1]".to_vec())), Ok(json!([1])));
        for text in ["", "a", "{", "[1] 2"] {
            let error = read_text::<Value>(text).unwrap_err();
            assert!(matches!(error, FromSqlError::Other(_)), "{text}");
        }
        let infinity = read::<Value>(&Sql::Real(f64::INFINITY));
        assert_eq!(infinity, Err(FromSqlError::InvalidType));
    }
}
