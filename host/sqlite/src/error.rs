//! Converts SQLite's errors to the pool's, with the kind of each result code.

use std::fmt;
use std::ops::Deref;

pub(crate) use millpond_pool::ErrorKind;

use crate::error_kind::kind_of;

/// The result of everything in this crate that can fail.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The pool's error, with conversions from SQLite's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error(millpond_pool::Error);

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(millpond_pool::Error::new(kind, message))
    }

    pub(crate) fn sqlite(code: i32, message: impl Into<String>, offset: Option<u32>) -> Error {
        let message = match code {
            rusqlite::ffi::SQLITE_ABORT => ABORTED.to_owned(),
            _ => message.into(),
        };
        let error = millpond_pool::Error::new(kind_of(code), message).with_code(code);
        Error(match offset {
            Some(offset) => error.at(offset as usize),
            None => error,
        })
    }

    pub(crate) fn stale_connection() -> Error {
        Error(millpond_pool::Error::stale_connection())
    }

    pub(crate) fn closed() -> Error {
        Error(millpond_pool::Error::closed())
    }

    pub(crate) fn with_kind(self, kind: ErrorKind) -> Error {
        Error(self.0.with_kind(kind))
    }

    pub(crate) fn with_message(self, message: impl Into<String>) -> Error {
        Error(self.0.with_message(message))
    }

    pub(crate) fn with_rolled_back(self) -> Error {
        Error(self.0.with_rolled_back())
    }

    /// The same error, at `offset` bytes in the SQL text.
    pub(crate) fn at(self, offset: usize) -> Error {
        Error(self.0.at(offset))
    }

    /// The same error, with its offset moved by `base` bytes: for a part of a longer text.
    pub(crate) fn shifted(self, base: usize) -> Error {
        Error(self.0.shifted(base))
    }

    /// Whether the message contains these words, for errors that have no code of their own.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.0.to_string().contains(words)
    }

    /// Whether SQLite ran out of memory.
    pub(crate) fn is_no_memory(&self) -> bool {
        use rusqlite::ffi::{SQLITE_IOERR_NOMEM, SQLITE_NOMEM};
        matches!(self.code(), SQLITE_NOMEM | SQLITE_IOERR_NOMEM)
    }

    /// Whether the connection that got this error must not use the file any more.
    pub(crate) fn is_unhealthy(&self) -> bool {
        matches!(self.kind(), ErrorKind::Corrupt | ErrorKind::Io)
    }
}

impl Deref for Error {
    type Target = millpond_pool::Error;

    fn deref(&self) -> &millpond_pool::Error {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for millpond_pool::Error {
    fn from(error: Error) -> millpond_pool::Error {
        error.0
    }
}

impl From<millpond_pool::Error> for Error {
    fn from(error: millpond_pool::Error) -> Error {
        Error(error)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => Error::sqlite(
                failure.extended_code,
                message.unwrap_or_else(|| failure.to_string()),
                None,
            ),
            other => Error::new(ErrorKind::Other, other.to_string()),
        }
    }
}

/// What `SQLITE_ABORT` means: FTS5 returns it where a cursor on an `fts5vocab` table continues
/// after the table's index has changed (`sqlite3Fts5StructureTest` in SQLite's source). SQLite
/// returns it for nothing else that a guest can do. Its own message is "query aborted".
const ABORTED: &str = "the full-text table has changed while its words were being read: read all \
                       of them before changing it";
