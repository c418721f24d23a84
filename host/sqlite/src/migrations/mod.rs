//! Migrations: a folder of SQL files, each run once, in order, before the pool opens.
//!
//! ```
//! use millpond_sqlite::migrations::Migrations;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let here = tempfile::tempdir()?;
//! # let (folder, database) = (here.path().join("migrations"), here.path().join("app.db"));
//! # std::fs::create_dir(&folder)?;
//! std::fs::write(folder.join("001-create-note.sql"), "CREATE TABLE note(body TEXT);")?;
//! let migrations = Migrations::open(&folder)?;
//! assert_eq!(migrations.run(&database)?.applied, ["001-create-note.sql"]);
//! assert_eq!(migrations.run(&database)?.already_applied, ["001-create-note.sql"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Files
//!
//! A migration is a file `NNN-name.sql`, UTF-8, at most 16 MiB. Its number decides the order, and
//! may have leading zeros and gaps; it is at most 9,223,372,036,854,775,807, so that a time to the
//! second will do. Files that do not end in `.sql` or begin with `.`, and
//! folders, are ignored. Once applied, a file must stay as it is; it may be renamed as long as it
//! keeps its number. Line endings do not count as a change, nor does a byte order mark.
//!
//! # What holds while one runs
//!
//! Each migration runs in a transaction of its own, with its record in the table
//! `millpond_migrations`: it is there whole or not at all. Foreign keys are not enforced meanwhile,
//! so that a table can be rebuilt (<https://sqlite.org/lang_altertable.html#otheralter>), and no
//! `ON DELETE` or `ON UPDATE` action runs; instead all foreign keys are checked before the commit. A
//! row that referred to none before is a [`Warning`], and blocks nothing. Each runs as if alone: no
//! temporary table or setting of one reaches the next.
//!
//! What guests may then do to each table that it made or changed is compiled, as a guest's connection
//! would: what they may not use, such as a trigger that calls `sqlite_version()`, is a [`Warning`] too.
//! What SQLite does not do in a transaction (`VACUUM`, most settings by `PRAGMA`), a migration
//! cannot do.

mod check;
mod error;
mod folder;
mod foreign_keys;
mod run;

use std::fmt;
use std::path::Path;

use cap_std::fs::Dir;
pub use error::MigrationError;

use crate::open::Location;

/// The largest migration that is read, in bytes: 16 MiB. Data in bulk is better imported by a
/// program.
pub const MAX_MIGRATION_BYTES: u64 = 16 << 20;

/// The migrations of one folder, read and in order.
#[derive(Clone, Debug)]
pub struct Migrations {
    files: Vec<Migration>,
}

/// One file.
#[derive(Clone, Debug)]
struct Migration {
    number: i64,
    file: String,
    sql: String,
    /// SHA-256 of the text, in hexadecimal.
    sha256: String,
}

/// A problem that did not stop the migration. Its text names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The migration that met it.
    pub file: String,
    /// The line in it, from 1, if it is about one.
    pub line: Option<usize>,
    /// What it is, and what to do.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The files that this run applied, in order.
    pub applied: Vec<String>,
    /// The files that were applied before, or by another process meanwhile, in order.
    pub already_applied: Vec<String>,
    /// What this run met: rows that referred to none before it, and what the migrations made that
    /// guests cannot use.
    pub warnings: Vec<Warning>,
}

impl Migrations {
    /// Reads the migrations in a folder. Blocks while it reads; no database is touched.
    ///
    /// # Errors
    ///
    /// [`Read`](MigrationError::Read), [`Name`](MigrationError::Name),
    /// [`Duplicate`](MigrationError::Duplicate), [`TooLarge`](MigrationError::TooLarge),
    /// [`NotUtf8`](MigrationError::NotUtf8).
    pub fn read(folder: &Dir) -> Result<Migrations, MigrationError> {
        Ok(Migrations {
            files: folder::read(folder)?,
        })
    }

    /// Reads the migrations in the folder at `path`, as [`read`](Migrations::read) does.
    ///
    /// # Errors
    ///
    /// [`Folder`](MigrationError::Folder) where there is no such folder, and those of
    /// [`read`](Migrations::read).
    pub fn open(path: impl AsRef<Path>) -> Result<Migrations, MigrationError> {
        let path = path.as_ref();
        let folder =
            Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(|error| {
                MigrationError::Folder {
                    path: path.to_owned(),
                    error,
                }
            })?;
        Migrations::read(&folder)
    }

    /// Migrations that are compiled into the program: the name of each, which is like a file's, and
    /// its text. Nothing is read.
    ///
    /// ```
    /// use millpond_sqlite::migrations::Migrations;
    ///
    /// let migrations = Migrations::from_texts([
    ///     ("001-create-note.sql", "CREATE TABLE note(body TEXT);"),
    ///     ("002-add-title.sql", "ALTER TABLE note ADD COLUMN title TEXT;"),
    /// ])?;
    /// # Ok::<(), millpond_sqlite::migrations::MigrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`](Migrations::read) that are about one file or two.
    pub fn from_texts<N: Into<String>, T: Into<Vec<u8>>>(
        texts: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Migrations, MigrationError> {
        let texts = texts.into_iter();
        Ok(Migrations {
            files: folder::from_texts(texts.map(|(name, text)| (name.into(), text.into())))?,
        })
    }

    /// Runs those that the database does not have yet, each on a connection of its own, and creates
    /// the database where there is none.
    ///
    /// Blocks until done. Where another process writes, or runs the same migrations, it waits up
    /// to 30 seconds for each; the processes agree on who runs which, and each runs once. With
    /// nothing to run it waits for no writer.
    ///
    /// # Errors
    ///
    /// [`Database`](MigrationError::Database) where the database cannot be opened, or another
    /// process held it too long. [`Changed`](MigrationError::Changed),
    /// [`Missing`](MigrationError::Missing) and [`OutOfOrder`](MigrationError::OutOfOrder) where
    /// the files and the database do not agree: nothing has run then.
    /// [`Transaction`](MigrationError::Transaction), [`Failed`](MigrationError::Failed),
    /// [`Unusable`](MigrationError::Unusable), [`ForeignKey`](MigrationError::ForeignKey) and
    /// [`Commit`](MigrationError::Commit) where a migration does not work: it is undone, those
    /// before it are kept, those after it have not run.
    pub fn run(&self, database: impl AsRef<Path>) -> Result<Report, MigrationError> {
        let database = Location::path(database.as_ref()).map_err(MigrationError::database)?;
        run::run(&self.files, &database)
    }

    /// As [`run`](Migrations::run), on the file `name` in a folder that the embedder has opened.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Migrations::run).
    pub fn run_in(&self, dir: &Dir, name: &str) -> Result<Report, MigrationError> {
        let database = Location::in_dir(dir, name).map_err(MigrationError::database)?;
        run::run(&self.files, &database)
    }
}
