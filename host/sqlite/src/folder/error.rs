//! The errors of the functions that manage the databases of a folder.

use std::{fmt, io};

use millpond_pool::Error;

use super::TenantKey;
use crate::migrations::MigrationError;

/// Why a database of a [`Folder`](super::Folder) could not be listed, created, suspended or
/// deleted. The message says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum FolderError {
    /// There is no database of this key.
    Missing(TenantKey),
    /// There is a database of this key already, or a rest of one.
    Exists(TenantKey),
    /// This process or another has the database open, or is creating it.
    InUse(TenantKey),
    /// The new database could not be migrated, and was removed.
    Migration {
        /// The database.
        key: TenantKey,
        /// Why.
        error: Box<MigrationError>,
    },
    /// The database could not be opened.
    Open(Error),
    /// The system refuses.
    Io {
        /// The file, or `.` for the folder.
        file: String,
        /// The system's error.
        error: io::Error,
    },
}

impl FolderError {
    pub(crate) fn io(file: &str, error: io::Error) -> FolderError {
        FolderError::Io {
            file: file.to_owned(),
            error,
        }
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "there is no database `{key}`"),
            Self::Exists(key) => write!(
                f,
                "there is a database `{key}` already, or a rest of one: delete it first"
            ),
            Self::InUse(key) => write!(
                f,
                "the database `{key}` is open: suspend it, so that it is closed once its requests \
                 have ended and it has been idle, and then try again"
            ),
            Self::Migration { key, error } => {
                write!(f, "the database `{key}` was not created: {error}")
            }
            Self::Open(error) => error.fmt(f),
            Self::Io { file, error } if file == "." => {
                write!(f, "cannot access the folder: {error}")
            }
            Self::Io { file, error } => write!(f, "cannot access {file}: {error}"),
        }
    }
}

impl std::error::Error for FolderError {}
