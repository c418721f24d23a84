//! Why something cannot be loaded, opened or served.

use std::fmt;
use std::path::Path;

use crate::printable::one_line;

/// A mistake in a file, a component or a setting, as one line that says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
}

/// A result with a mistake of the operator's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(message: impl fmt::Display) -> Error {
        Error {
            message: one_line(&message.to_string()),
        }
    }

    /// A mistake about the file at `path`.
    pub(crate) fn about(path: &Path, message: impl fmt::Display) -> Error {
        Error::new(format_args!("{}: {message}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
