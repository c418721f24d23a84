//! The rule that a key must meet to name a file.

use std::fmt;
use std::str::FromStr;

/// The longest key, in bytes.
const MAX_KEY: usize = 64;

/// A key that names a database of a [`Folder`](super::Folder): 1 to 64 characters, each a
/// lower-case ASCII letter, a digit, `-` or `_`; the first is a letter or a digit.
///
/// So no key names a file outside the folder, or another key's file on a case-insensitive file
/// system. Nothing is decoded, lowered or trimmed: what is not a key in its exact bytes is refused.
///
/// ```
/// use millpond_sqlite::TenantKey;
///
/// assert_eq!(TenantKey::new("a-tenant")?.as_str(), "a-tenant");
/// assert!(TenantKey::new("A-Tenant").is_err());
/// # Ok::<(), millpond_sqlite::InvalidKey>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKey(Box<str>);

/// A text is not a [`TenantKey`]. Does not contain the text, which may be long, and a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl TenantKey {
    /// The key with exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`]: it is none.
    pub fn new(key: &str) -> Result<TenantKey, InvalidKey> {
        match is_key(key) {
            true => Ok(TenantKey(key.into())),
            false => Err(InvalidKey),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TenantKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<TenantKey, InvalidKey> {
        TenantKey::new(key)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a key has 1 to {MAX_KEY} characters: lower-case letters a to z, digits, `-` and `_`, \
             and begins with a letter or a digit"
        )
    }
}

impl std::error::Error for InvalidKey {}

pub(crate) fn is_key(key: &str) -> bool {
    let is_plain = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9');
    let bytes = key.as_bytes();
    bytes.first().is_some_and(|first| is_plain(*first))
        && bytes.len() <= MAX_KEY
        && bytes
            .iter()
            .all(|c| is_plain(*c) || matches!(c, b'-' | b'_'))
}
