//! UUIDs as blobs of 16 bytes, most significant byte first.

use uuid::Uuid;

use crate::{FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

/// A blob of 16 bytes.
impl ToSql for Uuid {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_bytes().as_slice().into())
    }
}

/// A blob of 16 bytes. Text is refused.
impl FromSql for Uuid {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Uuid> {
        let bytes = value.as_blob().ok_or(FromSqlError::InvalidType)?;
        Uuid::from_slice(bytes).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::types::tests::{read, stored};

    #[test]
    fn a_uuid_is_a_blob_of_16_bytes() {
        for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(1 << 100 | 7)] {
            stored(id, Value::Blob(id.into_bytes().to_vec()));
        }
        for length in [0, 15, 17] {
            let error = read::<Uuid>(&Value::Blob(vec![7; length])).unwrap_err();
            assert!(matches!(error, FromSqlError::Other(_)));
        }
        let text = Value::Text(Uuid::nil().to_string());
        for value in [text, Value::Integer(7), Value::Null] {
            assert_eq!(read::<Uuid>(&value), Err(FromSqlError::InvalidType));
        }
    }
}
