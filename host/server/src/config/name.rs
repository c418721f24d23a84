//! Names that an operator gives: of components, of databases, and of databases as a guest knows
//! them.

use std::borrow::Borrow;
use std::fmt;

/// A name of a component or a database: 1 to 64 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// [`Name`] as a regular expression.
pub(crate) const PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

impl Name {
    /// Check a name. Returns `None` if it has other characters, none, or more than 64.
    pub fn new(name: &str) -> Option<Name> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_name = (1..=64).contains(&name.len()) && name.chars().all(is_allowed);
        is_name.then(|| Name(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
