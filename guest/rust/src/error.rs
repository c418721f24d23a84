//! What goes wrong, by what a guest could do about it.

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
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    kind: ErrorKind,
    code: i32,
    message: String,
    offset: Option<u32>,
    rolled_back: bool,
}

/// What kind of thing went wrong: the contract's kinds first, then this crate's own.
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
    /// Every connection was lent for as long as the caller was ready to wait.
    PoolTimeout,
    /// The host is shutting the pool down.
    PoolClosed,
    /// Another writer held the database for as long as the caller was ready to wait, or for
    /// ever: the caller itself, by another connection, or by rows of a statement that writes
    /// which have not been read to the end.
    Busy,
    /// The write would build on a snapshot from before a later commit. In a transaction: roll it
    /// back and run it again. Outside one, rows that are still being read hold the snapshot:
    /// read them to the end or drop them, and try again.
    BusySnapshot,
    /// A statement ran for longer than one may, or its request is over.
    DeadlineExceeded,
    /// A result, value or SQL text is larger than the grant allows.
    TooLarge,
    /// The database reached its largest size, the transaction writes more than one may, SQLite
    /// needs more memory than it may take, or the disk is full.
    QuotaExceeded,
    /// A `UNIQUE` constraint.
    ConstraintUnique,
    /// A `PRIMARY KEY` constraint.
    ConstraintPrimaryKey,
    /// A foreign key.
    ConstraintForeignKey,
    /// A `NOT NULL` constraint.
    ConstraintNotNull,
    /// A `CHECK` constraint.
    ConstraintCheck,
    /// Another constraint: the code says which.
    ConstraintOther,
    /// SQL that does not parse, names what is not there, holds more than one statement, or
    /// begins a transaction inside another.
    Sql,
    /// Parameters that do not fit the statement.
    Parameters,
    /// A text value that is not UTF-8. `CAST(… AS BLOB)` reads it all the same.
    NotUtf8,
    /// A handle used after its connection was returned, or its transaction ended.
    StaleHandle,
    /// The database file is not a database, or is damaged.
    Corrupt,
    /// The disk failed.
    Io,
    /// The engine behind this database has no such thing.
    Unsupported,
    /// The engine could not be reached; nothing was sent to it. This is also the error of every
    /// call in a program that is no component, such as `cargo test` of a guest's code.
    Unavailable,
    /// The engine stopped answering after the statement was sent: it may or may not have run.
    OutcomeUnknown,
    /// Whatever else SQLite reports: the code says what.
    Other,
    /// `query_row` of a query that yields no row. [`OptionalExtension::optional`] makes it `None`.
    QueryReturnedNoRows,
    /// A row has no column of this index or name.
    InvalidColumn,
    /// A value in a row is not of the type asked for.
    InvalidColumnType,
    /// A number in a row does not fit the type asked for.
    IntegralValueOutOfRange,
    /// A [`FromSql`](crate::FromSql) refused a value, or a row function did with
    /// [`Error::from_sql`].
    FromSqlConversionFailure,
    /// A value to bind has no counterpart in SQLite: a `u64` above `i64::MAX`, or what a
    /// [`ToSql`](crate::ToSql) of yours refused.
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

    /// An error for a row function that cannot make a value of what it reads:
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

    /// An error for a [`ToSql`](crate::ToSql) that cannot store its value:
    /// [`ErrorKind::ToSqlConversionFailure`].
    pub fn to_sql(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::ToSqlConversionFailure, message)
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// SQLite's extended result code (<https://sqlite.org/rescode.html>), 0 where the error is
    /// not SQLite's.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What happened, for people. It may change between versions.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the SQL text, in bytes, where SQLite knows.
    pub fn offset(&self) -> Option<u32> {
        self.offset
    }

    /// Whether SQLite ended the open transaction: nothing of it is kept. Every statement of the
    /// connection fails until the transaction is ended here too, by its guard (dropping it is
    /// enough) or by `ROLLBACK`.
    pub fn rolled_back(&self) -> bool {
        self.rolled_back
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
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

/// For a row function that reads with [`FromSql::column_result`](crate::FromSql::column_result).
/// The kind is the one that the variant names. [`Row::get`](crate::Row::get) also says which column
/// it was.
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

/// Turns the one error that is usually no error into `None`.
pub trait OptionalExtension<T> {
    /// `None` where the query yielded no row ([`ErrorKind::QueryReturnedNoRows`]).
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
    /// Every other error, as it is.
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
