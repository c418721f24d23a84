//! Why a call failed, in one type for the whole crate.

use std::fmt;
use std::time::Duration;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller could act on it.
///
/// A later minor version may have more kinds. The enum is exhaustive all the same: a program that
/// maps each kind to one of its own, as millpond-wasmtime does, then fails to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A setting of the pool is out of its bounds. Only when a pool is built.
    Config,
    /// The database file could not be opened: it is missing, a directory, or out of reach.
    CannotOpen,
    /// The statement, table, function, pragma or write is not allowed here.
    NotAuthorized,
    /// Every connection stayed lent for as long as the caller was ready to wait.
    PoolTimeout {
        /// How long the caller waited.
        waited: Duration,
        /// Connections in use when it gave up.
        in_use: u32,
    },
    /// The pool is closed, or closing.
    PoolClosed,
    /// Another writer held the database for as long as the caller was ready to wait, or the
    /// caller would have waited for itself: for another of its connections, or for an open cursor
    /// of a statement that writes.
    Busy,
    /// The write would build on a snapshot from before a later commit. In a transaction: roll it
    /// back and run it again. Outside one, an open cursor holds the snapshot: read it to the
    /// end or drop it, and try again.
    BusySnapshot,
    /// A statement ran for longer than its grant allows, or its request is over.
    DeadlineExceeded,
    /// A result, value or SQL text is larger than the pool allows.
    TooLarge,
    /// The database reached its largest size, a transaction writes more than one may, SQLite needs
    /// more memory than it may take, or the disk is full.
    QuotaExceeded,
    /// A `UNIQUE` constraint.
    ConstraintUnique,
    /// A `PRIMARY KEY` constraint.
    ConstraintPrimaryKey,
    /// A `FOREIGN KEY` constraint.
    ConstraintForeignKey,
    /// A `NOT NULL` constraint.
    ConstraintNotNull,
    /// A `CHECK` constraint.
    ConstraintCheck,
    /// Any other constraint, such as a value of the wrong type in a `STRICT` table.
    ConstraintOther,
    /// SQL that does not parse, names what is not there, or holds more than one statement.
    Sql,
    /// Parameters that do not fit the statement.
    Parameters,
    /// A text value that is not UTF-8.
    NotUtf8,
    /// A handle used after its connection was returned, or its transaction ended.
    StaleHandle,
    /// The file is not a database, or is damaged.
    Corrupt,
    /// The disk failed.
    Io,
    /// The engine has no such thing.
    Unsupported,
    /// The engine could not be reached; nothing was sent to it.
    Unavailable,
    /// The engine stopped answering after the statement was sent: it may or may not have run.
    OutcomeUnknown,
    /// Anything else that the engine reports.
    Other,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    code: i32,
    message: String,
    offset: Option<u32>,
    rolled_back: bool,
}

impl Error {
    /// What a caller could act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// SQLite's extended result code (<https://sqlite.org/rescode.html>); 0 where the error
    /// is not SQLite's.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Where in the SQL text, in bytes, where SQLite knows.
    pub fn offset(&self) -> Option<u32> {
        self.offset
    }

    /// Whether SQLite ended the open transaction: nothing of it is kept.
    pub fn rolled_back(&self) -> bool {
        self.rolled_back
    }

    /// An error that is no engine's, or of an engine without result codes.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            code: 0,
            message: message.into(),
            offset: None,
            rolled_back: false,
        }
    }

    /// The same error, with the engine's result code.
    pub fn with_code(mut self, code: i32) -> Error {
        self.code = code;
        self
    }

    /// The connection has been returned.
    pub fn stale_connection() -> Error {
        Error::new(ErrorKind::StaleHandle, "the connection has been returned")
    }

    /// The pool is closed.
    pub fn closed() -> Error {
        Error::new(ErrorKind::PoolClosed, "the pool is closed")
    }

    /// The same error, of another kind.
    pub fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.kind = kind;
        self
    }

    /// The same error, with another message.
    pub fn with_message(mut self, message: impl Into<String>) -> Error {
        self.message = message.into();
        self
    }

    /// The same error, which ended the open transaction.
    pub fn with_rolled_back(mut self) -> Error {
        self.rolled_back = true;
        self
    }

    /// The same error, at `offset` bytes in the SQL text.
    pub fn at(mut self, offset: usize) -> Error {
        self.offset = u32::try_from(offset).ok();
        self
    }

    /// The same error, at `base` bytes further into a longer text.
    pub fn shifted(mut self, base: usize) -> Error {
        self.offset = self
            .offset
            .and_then(|offset| u32::try_from(base).ok()?.checked_add(offset));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
