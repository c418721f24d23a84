//! URLs as text.

use url::Url;

use super::text;
use crate::{FromSql, FromSqlError, FromSqlResult, Result, ToSql, ToSqlOutput, ValueRef};

/// Text.
impl ToSql for Url {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// Text that is an absolute URL. It may be normalised: `http://a` becomes `http://a/`.
impl FromSql for Url {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Url> {
        Url::parse(text(value)?).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use crate::types::tests::{read_text, refused, stored_text};

    #[test]
    fn a_url_is_text() {
        let url = Url::parse("https://example.org/ü?q=1#top").unwrap();
        stored_text(url, "https://example.org/%C3%BC?q=1#top");
        let url = read_text::<Url>("http://example.org").unwrap();
        assert_eq!(url.as_str(), "http://example.org/");
        refused::<Url>(
            &["/relative", "http://", "illegal"],
            &[
                Value::Null,
                Value::Integer(1),
                Value::Blob(b"http://a".to_vec()),
            ],
        );
    }
}
