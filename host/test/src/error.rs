//! A mistake in a test, its files or its component, as opposed to a failed expectation.

use std::fmt;

/// A mistake in a test, its files or its component. The message says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(String);

impl Mistake {
    pub(crate) fn new(message: impl Into<String>) -> Mistake {
        Mistake(message.into())
    }

    /// A mistake about a file.
    pub(crate) fn about(path: &std::path::Path, message: impl fmt::Display) -> Mistake {
        Mistake(format!("{}: {message}", path.display()))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}

/// A suggestion for a name that is not known, or nothing.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
    match known.iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.len() / 4 => format!(" (did you mean `{best}`?)"),
        _ => String::new(),
    }
}
