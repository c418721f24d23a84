//! Texts that no message may repeat.

use std::fmt;

/// A text that may hold a secret: `Debug` shows nothing of it, and no error quotes it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// The text itself. Print it only where its reader may know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Hide what may be a secret in a text that is shown: what a URL has before its `@`, and its query.
pub(crate) fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // A password may contain anything, unescaped too.
    let (hidden, rest) = match rest.rfind('@') {
        Some(at) => ("…", &rest[at..]),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']);
    let (rest, query) = match end {
        Some(end) => (&rest[..end], "?…"),
        None => (rest, ""),
    };
    format!("{scheme}://{hidden}{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("a.db", "a.db"),
            ("libsql://db.example.com", "libsql://db.example.com"),
            ("https://me:s3/c@ret@db/x?token=s#s", "https://…@db/x?…"),
            ("https://db?s3cret@x", "https://…@x"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "…");
    }
}
