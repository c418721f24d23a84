//! Errors, by what a guest can do about them.

use std::fmt;

use crate::FromSqlError;
use crate::bindings::connections as wit;

/// Why a call failed.
///
/// Match on [`kind`](Error::kind):
///
/// ```no_run
/// use millpond_guest::{ErrorKind, db};
///
/// # fn main() -> millpond_guest::Result<()> {
/// match db()?.execute("INSERT INTO tags (name) VALUES (?1)", ["new"]) {
///     Ok(_) => println!("added"),
///     Err(error) if error.kind() == ErrorKind::ConstraintUnique => println!("already there"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct Error {
    kind: ErrorKind,
    code: i32,
    message: String,
    offset: Option<u32>,
    rolled_back: bool,
}

/// The kind of an error: the contract's kinds first, then this crate's own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No database of that name was granted to this guest.
    NoSuchDatabase,
    /// The grant does not allow this: a write through a read-only grant, a table, a function, a
    /// pragma, `ATTACH`.
    NotAuthorized,
    /// The request holds as many connections, statements, cursors or transactions as its grant
    /// allows: drop one first.
    TooManyHandles,
    /// Every connection was in use until the caller's wait timed out.
    PoolTimeout,
    /// The host is shutting the pool down.
    PoolClosed,
    /// Another writer held the database until the caller's wait timed out. Or that writer is the
    /// caller itself, so waiting cannot succeed: its other connection, or unread rows of a
    /// statement that writes.
    Busy,
    /// The connection's snapshot is older than the last commit, so it cannot write. In a
    /// transaction: roll it back and run it again. Outside one, unread rows hold the snapshot: read
    /// them to the end or drop them, and retry.
    BusySnapshot,
    /// A statement exceeded its time limit, or its request is over.
    DeadlineExceeded,
    /// A result, value or SQL text is larger than the grant allows.
    TooLarge,
    /// The database or the transaction reached its largest size, SQLite reached its memory limit,
    /// or the disk is full.
    QuotaExceeded,
    /// A `UNIQUE` constraint failed.
    ConstraintUnique,
    /// A `PRIMARY KEY` constraint failed.
    ConstraintPrimaryKey,
    /// A foreign key constraint failed.
    ConstraintForeignKey,
    /// A `NOT NULL` constraint failed.
    ConstraintNotNull,
    /// A `CHECK` constraint failed.
    ConstraintCheck,
    /// Another constraint failed: the code says which.
    ConstraintOther,
    /// SQL that does not parse, names something that does not exist, holds more than one statement,
    /// or begins a transaction inside another.
    Sql,
    /// The parameters do not fit the statement.
    Parameters,
    /// A text value is not UTF-8. `CAST(… AS BLOB)` reads such a value.
    NotUtf8,
    /// The handle's connection was returned, or its transaction has ended.
    StaleHandle,
    /// The database file is not a database, or is damaged.
    Corrupt,
    /// The disk failed.
    Io,
    /// The engine behind this database does not support this.
    Unsupported,
    /// The engine could not be reached; nothing was sent to it. This is also the error of every
    /// call in a program that is not a component, such as in `cargo test`.
    Unavailable,
    /// The statement may or may not have run. Either the engine stopped answering after it was
    /// sent, or another writer ran it (group commit) and the host took the connection back before
    /// the result arrived.
    OutcomeUnknown,
    /// Any other error of SQLite: the code says which.
    Other,
    /// The query of `query_row` yielded no row. [`OptionalExtension::optional`] turns it into
    /// `None`.
    QueryReturnedNoRows,
    /// The row has no column with this index or name.
    InvalidColumn,
    /// The value is not of the requested type.
    InvalidColumnType,
    /// The number does not fit the requested type.
    IntegralValueOutOfRange,
    /// A [`FromSql`](crate::FromSql) refused the value, or a row function did with
    /// [`Error::from_sql`].
    FromSqlConversionFailure,
    /// A value to bind has no counterpart in SQLite: a `u64` above `i64::MAX`, or one that a custom
    /// [`ToSql`](crate::ToSql) refused.
    ToSqlConversionFailure,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            code: 0,
            message: message.into(),
            offset: None,
            rolled_back: false,
        }
    }

    /// Creates an error for a row function that cannot convert what it reads:
    /// [`ErrorKind::FromSqlConversionFailure`]. A [`FromSql`](crate::FromSql) returns a
    /// [`FromSqlError`] instead.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// use millpond_guest::{Error, db};
    ///
    /// let (from, to): (i64, i64) = db()?.query_row("SELECT lo, hi FROM span", (), |row| {
    ///     match (row.get(0)?, row.get(1)?) {
    ///         (from, to) if from <= to => Ok((from, to)),
    ///         (from, to) => Err(Error::from_sql(format!("{from} is above {to}"))),
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_sql(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::FromSqlConversionFailure, message)
    }

    /// Creates an error for a [`ToSql`](crate::ToSql) that cannot store its value:
    /// [`ErrorKind::ToSqlConversionFailure`].
    pub fn to_sql(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::ToSqlConversionFailure, message)
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// SQLite's extended result code (<https://sqlite.org/rescode.html>); 0 if the error is not
    /// SQLite's.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What happened, for people. It may change between versions.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The byte offset of the error in the SQL text, if SQLite knows it.
    pub fn offset(&self) -> Option<u32> {
        self.offset
    }

    /// Whether SQLite or the host rolled back the open transaction. Every statement of the
    /// connection fails until you end the transaction too, by its guard (dropping it is enough) or
    /// by `ROLLBACK`.
    pub fn rolled_back(&self) -> bool {
        self.rolled_back
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// For the output of a `main` that returns the error, and of `unwrap`: only what says something.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut error = f.debug_struct("Error");
        error.field("kind", &self.kind);
        error.field("message", &self.message);
        if self.code != 0 {
            error.field("code", &self.code);
        }
        if let Some(offset) = self.offset {
            error.field("offset", &offset);
        }
        if self.rolled_back {
            error.field("rolled_back", &true);
        }
        error.finish()
    }
}

impl std::error::Error for Error {}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Error {
        Error {
            kind: error.kind.into(),
            code: error.code,
            message: error.message,
            offset: error.offset,
            rolled_back: error.rolled_back,
        }
    }
}

/// For a row function that calls [`FromSql::column_result`](crate::FromSql::column_result). The
/// variant determines the kind. [`Row::get`](crate::Row::get) also names the column.
impl From<FromSqlError> for Error {
    fn from(error: FromSqlError) -> Error {
        let kind = match error {
            FromSqlError::InvalidType => ErrorKind::InvalidColumnType,
            FromSqlError::OutOfRange(_) => ErrorKind::IntegralValueOutOfRange,
            FromSqlError::Other(_) => ErrorKind::FromSqlConversionFailure,
        };
        Error::new(kind, error.to_string())
    }
}

impl From<wit::ErrorKind> for ErrorKind {
    fn from(kind: wit::ErrorKind) -> ErrorKind {
        match kind {
            wit::ErrorKind::NoSuchDatabase => ErrorKind::NoSuchDatabase,
            wit::ErrorKind::NotAuthorized => ErrorKind::NotAuthorized,
            wit::ErrorKind::TooManyHandles => ErrorKind::TooManyHandles,
            wit::ErrorKind::PoolTimeout => ErrorKind::PoolTimeout,
            wit::ErrorKind::PoolClosed => ErrorKind::PoolClosed,
            wit::ErrorKind::Busy => ErrorKind::Busy,
            wit::ErrorKind::BusySnapshot => ErrorKind::BusySnapshot,
            wit::ErrorKind::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            wit::ErrorKind::TooLarge => ErrorKind::TooLarge,
            wit::ErrorKind::QuotaExceeded => ErrorKind::QuotaExceeded,
            wit::ErrorKind::ConstraintUnique => ErrorKind::ConstraintUnique,
            wit::ErrorKind::ConstraintPrimaryKey => ErrorKind::ConstraintPrimaryKey,
            wit::ErrorKind::ConstraintForeignKey => ErrorKind::ConstraintForeignKey,
            wit::ErrorKind::ConstraintNotNull => ErrorKind::ConstraintNotNull,
            wit::ErrorKind::ConstraintCheck => ErrorKind::ConstraintCheck,
            wit::ErrorKind::ConstraintOther => ErrorKind::ConstraintOther,
            wit::ErrorKind::Sql => ErrorKind::Sql,
            wit::ErrorKind::Parameters => ErrorKind::Parameters,
            wit::ErrorKind::NotUtf8 => ErrorKind::NotUtf8,
            wit::ErrorKind::StaleHandle => ErrorKind::StaleHandle,
            wit::ErrorKind::Corrupt => ErrorKind::Corrupt,
            wit::ErrorKind::Io => ErrorKind::Io,
            wit::ErrorKind::Unsupported => ErrorKind::Unsupported,
            wit::ErrorKind::Unavailable => ErrorKind::Unavailable,
            wit::ErrorKind::OutcomeUnknown => ErrorKind::OutcomeUnknown,
            wit::ErrorKind::Other => ErrorKind::Other,
        }
    }
}

/// Turns the error for "no row" into `None`.
pub trait OptionalExtension<T> {
    /// Returns `None` if the query yielded no row ([`ErrorKind::QueryReturnedNoRows`]).
    ///
    /// ```no_run
    /// use millpond_guest::{OptionalExtension, db};
    ///
    /// # fn main() -> millpond_guest::Result<()> {
    /// let title: Option<String> = db()?
    ///     .query_row("SELECT title FROM notes WHERE id = ?1", [7], |row| row.get(0))
    ///     .optional()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any other error, unchanged.
    fn optional(self) -> Result<Option<T>, Error>;
}

impl<T> OptionalExtension<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind == ErrorKind::QueryReturnedNoRows => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_error_keeps_everything() {
        let error = Error::from(wit::Error {
            kind: wit::ErrorKind::ConstraintUnique,
            code: 2067,
            message: "taken".to_owned(),
            offset: Some(7),
            rolled_back: true,
        });
        assert_eq!(error.kind(), ErrorKind::ConstraintUnique);
        assert_eq!(error.code(), 2067);
        assert_eq!(error.message(), "taken");
        assert_eq!(error.to_string(), "taken");
        assert_eq!(error.offset(), Some(7));
        assert!(error.rolled_back());
    }

    #[test]
    fn an_error_that_main_returns_says_what_happened() {
        let error = Error::new(ErrorKind::PoolTimeout, "none free");
        assert_eq!(
            format!("{error:?}"),
            r#"Error { kind: PoolTimeout, message: "none free" }"#
        );
    }

    #[test]
    fn reading_and_writing_have_errors_of_their_own() {
        let error = Error::from_sql("odd");
        assert_eq!(error.kind(), ErrorKind::FromSqlConversionFailure);
        let error = Error::to_sql("odd");
        assert_eq!(error.kind(), ErrorKind::ToSqlConversionFailure);
        for (refused, kind) in [
            (FromSqlError::InvalidType, ErrorKind::InvalidColumnType),
            (
                FromSqlError::OutOfRange(-1),
                ErrorKind::IntegralValueOutOfRange,
            ),
            (
                FromSqlError::other("odd"),
                ErrorKind::FromSqlConversionFailure,
            ),
        ] {
            let boxed: Box<dyn std::error::Error + Send + Sync> = refused.clone().into();
            assert_eq!(boxed.to_string(), Error::from(refused.clone()).message());
            assert_eq!(Error::from(refused).kind(), kind);
        }
    }

    #[test]
    fn optional_hides_no_other_error() {
        let none: Result<i64, Error> = Err(Error::new(ErrorKind::QueryReturnedNoRows, "none"));
        assert_eq!(none.optional(), Ok(None));
        let busy: Result<i64, Error> = Err(Error::new(ErrorKind::Busy, "busy"));
        assert_eq!(busy.optional().unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(Ok::<_, Error>(1).optional(), Ok(Some(1)));
    }
}
