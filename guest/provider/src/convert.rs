//! Converts between the contract's types and those of the rest of this crate.

use crate::bindings::connections as wit;
use crate::error::{Error, ErrorKind};
use crate::error_kind::kind_of;
use crate::value;

impl From<Error> for wit::Error {
    fn from(error: Error) -> wit::Error {
        wit::Error {
            kind: error.kind().into(),
            code: error.code(),
            message: error.to_string(),
            offset: error.offset(),
            rolled_back: error.rolled_back(),
        }
    }
}

impl From<ErrorKind> for wit::ErrorKind {
    fn from(kind: ErrorKind) -> wit::ErrorKind {
        use wit::ErrorKind as To;
        match kind {
            ErrorKind::NoSuchDatabase => To::NoSuchDatabase,
            ErrorKind::NotAuthorized => To::NotAuthorized,
            ErrorKind::PoolTimeout { .. } => To::PoolTimeout,
            ErrorKind::PoolClosed => To::PoolClosed,
            ErrorKind::Busy => To::Busy,
            ErrorKind::BusySnapshot => To::BusySnapshot,
            ErrorKind::DeadlineExceeded => To::DeadlineExceeded,
            ErrorKind::TooLarge => To::TooLarge,
            ErrorKind::QuotaExceeded => To::QuotaExceeded,
            ErrorKind::ConstraintUnique => To::ConstraintUnique,
            ErrorKind::ConstraintPrimaryKey => To::ConstraintPrimaryKey,
            ErrorKind::ConstraintForeignKey => To::ConstraintForeignKey,
            ErrorKind::ConstraintNotNull => To::ConstraintNotNull,
            ErrorKind::ConstraintCheck => To::ConstraintCheck,
            ErrorKind::ConstraintOther => To::ConstraintOther,
            ErrorKind::Sql => To::Sql,
            ErrorKind::Parameters => To::Parameters,
            ErrorKind::NotUtf8 => To::NotUtf8,
            ErrorKind::StaleHandle => To::StaleHandle,
            ErrorKind::Corrupt => To::Corrupt,
            ErrorKind::Io | ErrorKind::CannotOpen => To::Io,
            ErrorKind::Unsupported => To::Unsupported,
            ErrorKind::Unavailable => To::Unavailable,
            ErrorKind::OutcomeUnknown => To::OutcomeUnknown,
            ErrorKind::Config | ErrorKind::Other => To::Other,
        }
    }
}

impl From<value::Summary> for wit::Summary {
    fn from(summary: value::Summary) -> wit::Summary {
        wit::Summary {
            changes: summary.changes,
            last_insert_rowid: summary.last_insert_rowid,
        }
    }
}

pub(crate) fn columns(columns: Vec<value::Column>) -> Vec<wit::Column> {
    let column = |column: value::Column| wit::Column {
        name: column.name,
        declared_type: column.declared_type,
    };
    columns.into_iter().map(column).collect()
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let of = |failure: rusqlite::ffi::Error, message: String| {
            let code = failure.extended_code;
            Error::new(kind_of(code), message).with_code(code)
        };
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                of(failure, message.unwrap_or_else(|| failure.to_string()))
            }
            rusqlite::Error::SqlInputError {
                error, msg, offset, ..
            } => match usize::try_from(offset) {
                Ok(offset) => of(error, msg).at(offset),
                Err(_) => of(error, msg),
            },
            rusqlite::Error::MultipleStatement => Error::new(
                ErrorKind::Sql,
                "the SQL text holds more than one statement: run them one by one, or as a script",
            ),
            other => Error::new(ErrorKind::Other, other.to_string()),
        }
    }
}
