//! The errors of migrations, with what to do about each.

use std::path::PathBuf;
use std::{fmt, io};

use millpond_pool::{Error, ErrorKind};

use super::MAX_MIGRATION_BYTES;

/// Why migrations could not be read or run. The message names the file and says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrationError {
    /// The folder cannot be opened.
    Folder {
        /// The folder, as given.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The folder or a file in it cannot be read.
    Read {
        /// The file, or `.` for the folder.
        file: String,
        /// The system's error.
        error: io::Error,
    },
    /// The name of a file that ends in `.sql` is not `NNN-name.sql`.
    Name {
        /// The file.
        file: String,
    },
    /// Two files have the same number.
    Duplicate {
        /// The number.
        number: i64,
        /// The two files, in alphabetical order.
        files: [String; 2],
    },
    /// A file is larger than [`MAX_MIGRATION_BYTES`](super::MAX_MIGRATION_BYTES).
    TooLarge {
        /// The file.
        file: String,
    },
    /// A file is not UTF-8.
    NotUtf8 {
        /// The file.
        file: String,
        /// The first invalid line, from 1.
        line: usize,
    },
    /// A line that ends in a carriage return alone continues a comment: SQLite would skip what
    /// follows.
    LineEnds {
        /// The file.
        file: String,
        /// The line of the comment, from 1.
        line: usize,
    },
    /// The database cannot be opened, or another process had it locked for too long.
    Database(Error),
    /// A file has changed since it was applied.
    Changed {
        /// The file.
        file: String,
        /// The name that it was applied under.
        applied_as: String,
    },
    /// The file of an applied migration is missing.
    Missing {
        /// The name that it was applied under.
        file: String,
    },
    /// A file that has not been applied has a lower number than one that has.
    OutOfOrder {
        /// The file.
        file: String,
        /// The last applied file.
        last_applied: String,
    },
    /// A migration begins or ends a transaction.
    Transaction {
        /// The file.
        file: String,
        /// The line of the statement, from 1.
        line: usize,
    },
    /// A statement of a migration failed.
    Failed {
        /// The file.
        file: String,
        /// The line, from 1: of the error, if SQLite knows it, or else of the statement's
        /// beginning.
        line: usize,
        /// SQLite's error.
        error: Error,
    },
    /// A migration ran, but its commit failed.
    Commit {
        /// The file.
        file: String,
        /// SQLite's error.
        error: Error,
    },
    /// A migration ran, and the database did not say whether its commit succeeded.
    Unknown {
        /// The file.
        file: String,
        /// The database's error.
        error: Error,
    },
    /// A migration creates something that would prevent a pool from opening connections.
    Unusable {
        /// The file.
        file: String,
        /// The line, from 1, of the statement that creates it.
        line: usize,
        /// The name of the object.
        name: String,
        /// The error of such a connection.
        error: Error,
    },
    /// A migration leaves a new foreign key violation: a row refers to one that does not exist.
    ForeignKey {
        /// The file.
        file: String,
        /// The table of the row.
        table: String,
        /// The row, unless its table is `WITHOUT ROWID`.
        rowid: Option<i64>,
        /// The table that it refers to.
        parent: String,
    },
}

impl MigrationError {
    pub(crate) fn database(error: impl Into<crate::error::Error>) -> MigrationError {
        MigrationError::Database(error.into().into())
    }

    /// The migration whose transaction the database has ended.
    pub(super) fn lost_transaction_of(&self) -> Option<&str> {
        match self {
            Self::Failed { file, error, .. } | Self::Commit { file, error } => {
                let lost = error.kind() == ErrorKind::StaleHandle && error.rolled_back();
                lost.then_some(file)
            }
            _ => None,
        }
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, error } => {
                write!(
                    f,
                    "cannot open the folder of migrations {}: {error}",
                    path.display()
                )
            }
            Self::Read { file, error } => write!(f, "cannot read the migration {file}: {error}"),
            Self::Name { file } => write!(
                f,
                "the name of {file} is not a number, a hyphen and a name: rename it, as in \
                 001-create-note.sql"
            ),
            Self::Duplicate {
                number,
                files: [one, other],
            } => write!(
                f,
                "{one} and {other} both have the number {number}: give the one that has \
                 not been applied a higher number"
            ),
            Self::TooLarge { file } => write!(
                f,
                "the migration {file} is larger than {MAX_MIGRATION_BYTES} bytes: split it"
            ),
            Self::NotUtf8 { file, line } => {
                write!(
                    f,
                    "the migration {file} is not UTF-8 in line {line}: save it as UTF-8"
                )
            }
            Self::LineEnds { file, line } => write!(
                f,
                "the migration {file} ends its lines with a carriage return alone, so that the \
                 comment in line {line} would not end: save it with line feeds"
            ),
            Self::Database(error) => error.fmt(f),
            Self::Changed { file, applied_as } if file == applied_as => write!(
                f,
                "the migration {file} has changed since it was applied: restore it, and put the \
                 change into a new migration"
            ),
            Self::Changed { file, applied_as } => write!(
                f,
                "the migration {file} is not what was applied under its number, {applied_as}: \
                 restore that one, and give {file} a higher number"
            ),
            Self::Missing { file } => {
                write!(
                    f,
                    "the migration {file} has been applied, but its file is missing: restore it"
                )
            }
            Self::OutOfOrder { file, last_applied } => write!(
                f,
                "the migration {file} comes before {last_applied}, which has already been applied: \
                 give it a higher number"
            ),
            Self::Transaction { file, line } => write!(
                f,
                "the migration {file} begins or ends a transaction in line {line}: remove that, \
                 because each migration already runs in one"
            ),
            Self::Failed { file, line, error } => {
                write!(
                    f,
                    "the migration {file} fails in line {line} and is undone: {error}"
                )
            }
            Self::Commit { file, error } => {
                write!(f, "the migration {file} is undone: {error}")
            }
            Self::Unknown { file, error } => write!(
                f,
                "the migration {file} may have been applied: run the migrations again, which finds \
                 that out: {error}"
            ),
            Self::Unusable {
                file,
                line,
                name,
                error,
            } => write!(
                f,
                "the migration {file} is undone: {name}, which it creates in line {line}, is too \
                 large for a guest's connection to read: {error}"
            ),
            Self::ForeignKey {
                file,
                table,
                rowid,
                parent,
            } => {
                write!(
                    f,
                    "the migration {file} is undone: it leaves a row of the table {table}"
                )?;
                if let Some(rowid) = rowid {
                    write!(f, " (rowid {rowid})")?;
                }
                write!(
                    f,
                    " that refers to a missing row of the table {parent}: fix the row first"
                )
            }
        }
    }
}

impl std::error::Error for MigrationError {}
