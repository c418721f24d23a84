//! The errors of backups, with what to do about each.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use millpond_pool::Error;

/// Why a backup, a restore or a check did not succeed. The message names the file and says what to
/// do.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The database or the backup cannot be opened or read.
    Database(Error),
    /// A file or its folder cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// There is a file of the target's name, and overwriting was not asked for.
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// Another backup to the same name, or restore of the same database, is running.
    Running {
        /// The target.
        path: PathBuf,
    },
    /// The database to restore is open, in this process or another.
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The source and the target are the same file.
    SameFile {
        /// The target.
        path: PathBuf,
    },
    /// The copy is damaged, and so is what it was made of.
    Damaged {
        /// The database or backup that was copied.
        path: PathBuf,
        /// The first problem that was found.
        problem: String,
    },
    /// It was cancelled. Nothing has changed.
    Cancelled,
}

impl BackupError {
    pub(super) fn file(path: impl AsRef<Path>, error: io::Error) -> BackupError {
        let path = path.as_ref().to_owned();
        BackupError::File { path, error }
    }
}

impl From<crate::error::Error> for BackupError {
    fn from(error: crate::error::Error) -> BackupError {
        BackupError::Database(error.into())
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Exists { path } => write!(
                f,
                "{} exists: choose another name, or overwrite it explicitly",
                path.display()
            ),
            Self::Running { path } => write!(
                f,
                "{} is being written by another backup or restore: wait until that ends",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "the database {} is in use: stop the programs that have it open, or suspend it if \
                 it is a tenant's",
                path.display()
            ),
            Self::SameFile { path } => write!(
                f,
                "{} would be copied to itself: choose another file",
                path.display()
            ),
            Self::Damaged { path, problem } => write!(
                f,
                "the database {} is damaged, so its copy was discarded: {problem}",
                path.display()
            ),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for BackupError {}
