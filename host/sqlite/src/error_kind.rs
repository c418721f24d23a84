//! Which kind an SQLite result code is.

use crate::error::ErrorKind;

/// The kind of an extended result code.
pub(crate) fn kind_of(code: i32) -> ErrorKind {
    use rusqlite::ffi::*;
    match code {
        SQLITE_BUSY_SNAPSHOT => return ErrorKind::BusySnapshot,
        SQLITE_CONSTRAINT_UNIQUE => return ErrorKind::ConstraintUnique,
        SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_ROWID => {
            return ErrorKind::ConstraintPrimaryKey;
        }
        SQLITE_CONSTRAINT_FOREIGNKEY => return ErrorKind::ConstraintForeignKey,
        SQLITE_IOERR_NOMEM => return ErrorKind::QuotaExceeded,
        // The file ends in the middle of a page.
        SQLITE_IOERR_SHORT_READ => return ErrorKind::Corrupt,
        // The transaction was rolled back while this statement was reading.
        SQLITE_ABORT_ROLLBACK => return ErrorKind::StaleHandle,
        SQLITE_CONSTRAINT_NOTNULL => return ErrorKind::ConstraintNotNull,
        SQLITE_CONSTRAINT_CHECK => return ErrorKind::ConstraintCheck,
        _ => {}
    }
    // The low byte is the primary code: https://sqlite.org/rescode.html#pve
    match code & 0xff {
        SQLITE_BUSY | SQLITE_LOCKED => ErrorKind::Busy,
        SQLITE_AUTH | SQLITE_READONLY | SQLITE_PERM => ErrorKind::NotAuthorized,
        SQLITE_INTERRUPT => ErrorKind::DeadlineExceeded,
        SQLITE_TOOBIG => ErrorKind::TooLarge,
        SQLITE_FULL | SQLITE_NOMEM => ErrorKind::QuotaExceeded,
        SQLITE_CONSTRAINT | SQLITE_MISMATCH => ErrorKind::ConstraintOther,
        // `SQLITE_RANGE` means a function's argument: parameters are counted before binding.
        SQLITE_ERROR | SQLITE_SCHEMA | SQLITE_RANGE => ErrorKind::Sql,
        // See `error::ABORTED`: an honest mistake on a sound file.
        SQLITE_ABORT => ErrorKind::Sql,
        SQLITE_CORRUPT | SQLITE_NOTADB => ErrorKind::Corrupt,
        SQLITE_IOERR | SQLITE_CANTOPEN | SQLITE_PROTOCOL | SQLITE_NOLFS => ErrorKind::Io,
        _ => ErrorKind::Other,
    }
}
