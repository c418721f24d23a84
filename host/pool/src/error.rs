//! Why a call failed, in one type for the whole crate.

use std::fmt;
use std::time::Duration;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: one case for each reaction that a caller could have.
///
/// A later minor version may add kinds. The enum is exhaustive nevertheless, so that a program that
/// maps every kind, like millpond-wasmtime, fails to compile until it maps the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A setting of the pool is out of its bounds. Only returned when building a pool.
    Config,
    /// There is no database of this key ([`Pools`](crate::Pools)), or no such namespace on the
    /// server.
    NoSuchDatabase,
    /// The database file could not be opened: it is missing, a directory, or inaccessible.
    CannotOpen,
    /// The statement, table, function, pragma or write is not allowed.
    NotAuthorized,
    /// Every connection was in use until the caller's wait timed out. From
    /// [`Pools`](crate::Pools): every pool was in use, or another caller was opening or closing the
    /// pool of the same key.
    PoolTimeout {
        /// How long the caller waited.
        waited: Duration,
        /// Connections in use when it timed out; from [`Pools`](crate::Pools), pools.
        in_use: u32,
    },
    /// The pool is closed, or closing.
    PoolClosed,
    /// Another writer held the database until the caller's wait timed out. Or that writer is the
    /// caller itself, so waiting cannot succeed: its other connection, or an open cursor of a
    /// statement that writes.
    Busy,
    /// The connection's snapshot is older than the last commit, so it cannot write. In a
    /// transaction: roll it back and run it again. Outside one, an open cursor holds the snapshot:
    /// read it to the end or drop it, and retry.
    BusySnapshot,
    /// A statement exceeded the grant's time limit, or its request is over.
    DeadlineExceeded,
    /// A result, value or SQL text is larger than the pool allows.
    TooLarge,
    /// The database or the transaction reached its largest size, SQLite reached its memory limit,
    /// or the disk is full.
    QuotaExceeded,
    /// A `UNIQUE` constraint failed.
    ConstraintUnique,
    /// A `PRIMARY KEY` constraint failed.
    ConstraintPrimaryKey,
    /// A `FOREIGN KEY` constraint failed.
    ConstraintForeignKey,
    /// A `NOT NULL` constraint failed.
    ConstraintNotNull,
    /// A `CHECK` constraint failed.
    ConstraintCheck,
    /// Any other constraint failed, such as the type of a column in a `STRICT` table.
    ConstraintOther,
    /// SQL that does not parse, names something that does not exist, or holds more than one
    /// statement.
    Sql,
    /// The parameters do not fit the statement.
    Parameters,
    /// A text value is not UTF-8.
    NotUtf8,
    /// The handle's connection was returned, or its transaction has ended.
    StaleHandle,
    /// The file is not a database, or is damaged.
    Corrupt,
    /// The disk failed.
    Io,
    /// The engine does not support this.
    Unsupported,
    /// The engine could not be reached; nothing was sent to it. From [`Pools`](crate::Pools): the
    /// database may be suspended.
    Unavailable,
    /// The statement may or may not have run. Either the engine stopped answering after it was
    /// sent, or another writer ran it (group commit) and the pool took the connection back before
    /// the result arrived.
    OutcomeUnknown,
    /// Any other error of the engine.
    Other,
}

impl ErrorKind {
    /// Its name, as in the contract with guests: in lower case with `-`. For logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::NoSuchDatabase => "no-such-database",
            ErrorKind::CannotOpen => "cannot-open",
            ErrorKind::NotAuthorized => "not-authorized",
            ErrorKind::PoolTimeout { .. } => "pool-timeout",
            ErrorKind::PoolClosed => "pool-closed",
            ErrorKind::Busy => "busy",
            ErrorKind::BusySnapshot => "busy-snapshot",
            ErrorKind::DeadlineExceeded => "deadline-exceeded",
            ErrorKind::TooLarge => "too-large",
            ErrorKind::QuotaExceeded => "quota-exceeded",
            ErrorKind::ConstraintUnique => "constraint-unique",
            ErrorKind::ConstraintPrimaryKey => "constraint-primary-key",
            ErrorKind::ConstraintForeignKey => "constraint-foreign-key",
            ErrorKind::ConstraintNotNull => "constraint-not-null",
            ErrorKind::ConstraintCheck => "constraint-check",
            ErrorKind::ConstraintOther => "constraint-other",
            ErrorKind::Sql => "sql",
            ErrorKind::Parameters => "parameters",
            ErrorKind::NotUtf8 => "not-utf8",
            ErrorKind::StaleHandle => "stale-handle",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Io => "io",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::OutcomeUnknown => "outcome-unknown",
            ErrorKind::Other => "other",
        }
    }
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
    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// SQLite's extended result code (<https://sqlite.org/rescode.html>); 0 if the error is not
    /// SQLite's.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The byte offset of the error in the SQL text, if SQLite knows it.
    pub fn offset(&self) -> Option<u32> {
        self.offset
    }

    /// Whether SQLite or the host rolled back the open transaction.
    pub fn rolled_back(&self) -> bool {
        self.rolled_back
    }

    /// An error without a result code.
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

    /// The error for a connection that has been returned.
    pub fn stale_connection() -> Error {
        Error::new(ErrorKind::StaleHandle, "the connection has been returned")
    }

    /// The error for a pool that is closed.
    pub fn closed() -> Error {
        Error::new(ErrorKind::PoolClosed, "the pool is closed")
    }

    /// The same error, with another kind.
    pub fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.kind = kind;
        self
    }

    /// The same error, with another message.
    pub fn with_message(mut self, message: impl Into<String>) -> Error {
        self.message = message.into();
        self
    }

    /// The same error, marked as having rolled back the transaction.
    pub fn with_rolled_back(mut self) -> Error {
        self.rolled_back = true;
        self
    }

    /// The same error, at `offset` bytes in the SQL text.
    pub fn at(mut self, offset: usize) -> Error {
        self.offset = u32::try_from(offset).ok();
        self
    }

    /// The same error, with its offset moved by `base` bytes: for a part of a longer text.
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
