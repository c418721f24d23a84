//! Why something cannot be loaded, opened or served.

use std::fmt;
use std::path::Path;

use crate::printable::one_line;

/// A mistake in a file, a component or a setting, as one line that says what is wrong and what to
/// do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    may_pass: bool,
}

/// A result with a mistake of the operator's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(message: impl fmt::Display) -> Error {
        Error {
            message: one_line(&message.to_string()),
            may_pass: false,
        }
    }

    /// This error, which may pass by itself if `may_pass`.
    pub(crate) fn passing_if(self, may_pass: bool) -> Error {
        Error { may_pass, ..self }
    }

    /// Whether it may pass without a change by the operator, so that a later start may succeed: an
    /// address in use, a database that is locked or whose server cannot be reached, no more
    /// threads. What [`check`](crate::check()) refuses does not pass.
    pub fn may_pass(&self) -> bool {
        self.may_pass
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
