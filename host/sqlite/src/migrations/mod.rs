//! Migrations: a folder of SQL files. Each runs once, in order, before the pool opens.
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
//! A migration is a file `NNN-name.sql`, UTF-8, at most 16 MiB. The numbers determine the order,
//! and may have leading zeros and gaps; the maximum is 9,223,372,036,854,775,807, so timestamps
//! work. Folders, and files that begin with `.` or do not end in `.sql`, are ignored. Once applied,
//! a file must not change; it may be renamed if it keeps its number. Line endings and a byte order
//! mark do not count as changes.
//!
//! # What holds while one runs
//!
//! Each migration runs in its own transaction, with its record in the table `millpond_migrations`:
//! it is applied completely or not at all. Foreign keys are not enforced meanwhile, so that a table
//! can be rebuilt (<https://sqlite.org/lang_altertable.html#otheralter>), and no `ON DELETE` or `ON
//! UPDATE` action runs; instead all foreign keys are checked before the commit. A row that already
//! violated one is a [`Warning`], and blocks nothing. No temporary table or setting of one
//! migration affects the next.
//!
//! Then everything that guests may do to each new or changed table is compiled, as on a guest's
//! connection. What they cannot use, such as a trigger that calls `sqlite_version()`, is a
//! [`Warning`] too. A migration cannot do what SQLite does not support in a transaction: `VACUUM`,
//! and setting most pragmas.

mod check;
mod error;
mod folder;
mod foreign_keys;
mod remote;
mod run;

use std::fmt;
use std::path::Path;

use cap_std::fs::Dir;
pub use error::MigrationError;
pub use folder::is_migration;
pub use remote::Database;
use rusqlite::Connection;

use crate::open::Location;

/// The maximum size of a migration file, in bytes: 16 MiB. To import bulk data, use a program.
pub const MAX_MIGRATION_BYTES: u64 = 16 << 20;

/// The migrations of one folder, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrations {
    files: Vec<Migration>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Migration {
    number: i64,
    file: String,
    sql: String,
    /// SHA-256 of the text, in hexadecimal.
    sha256: String,
}

/// A problem that did not stop the migration. The message names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The migration with the problem.
    pub file: String,
    /// The line, from 1, if the problem is in one.
    pub line: Option<usize>,
    /// What the problem is, and what to do.
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

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The files that this run applied, in order.
    pub applied: Vec<String>,
    /// The files that had already been applied, or that another process applied meanwhile, in
    /// order.
    pub already_applied: Vec<String>,
    /// The warnings of this run: foreign key violations from before it, and what the migrations
    /// created that guests cannot use.
    pub warnings: Vec<Warning>,
}

impl Migrations {
    /// Read the migrations in a folder. Blocks while reading; opens no database.
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

    /// Read the migrations in the folder at `path`, like [`read`](Migrations::read).
    ///
    /// # Errors
    ///
    /// [`Folder`](MigrationError::Folder) if the folder cannot be opened, and those of
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

    /// Create migrations from texts that are compiled into the program, each with a name like a
    /// file's.
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
    /// Those of [`read`](Migrations::read) that concern names and texts.
    pub fn from_texts<N: Into<String>, T: Into<Vec<u8>>>(
        texts: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Migrations, MigrationError> {
        let texts = texts.into_iter();
        Ok(Migrations {
            files: folder::from_texts(texts.map(|(name, text)| (name.into(), text.into())))?,
        })
    }

    /// Run the migrations that the database does not have yet, each on its own connection. Creates
    /// the database if it does not exist.
    ///
    /// Blocks until done. If another process writes, or runs the same migrations, it waits up to 30
    /// seconds for each migration; each migration runs once, in one of the processes. If nothing
    /// needs to run, it waits for no writer.
    ///
    /// # Errors
    ///
    /// [`Database`](MigrationError::Database) if the database cannot be opened, or another process
    /// had it locked for too long. [`Changed`](MigrationError::Changed),
    /// [`Missing`](MigrationError::Missing) and [`OutOfOrder`](MigrationError::OutOfOrder) if the
    /// files and the database do not match: then nothing has run.
    /// [`Transaction`](MigrationError::Transaction), [`Failed`](MigrationError::Failed),
    /// [`Unusable`](MigrationError::Unusable), [`ForeignKey`](MigrationError::ForeignKey) and
    /// [`Commit`](MigrationError::Commit) if a migration fails: it is undone, those before it are
    /// kept, and those after it have not run.
    pub fn run(&self, database: impl AsRef<Path>) -> Result<Report, MigrationError> {
        let database = Location::path(database.as_ref()).map_err(MigrationError::database)?;
        run::run(&self.files, &database)
    }

    /// Like [`run`](Migrations::run), for the file `name` in a folder that the embedder has opened.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Migrations::run).
    pub fn run_in(&self, dir: &Dir, name: &str) -> Result<Report, MigrationError> {
        let database = Location::in_dir(dir, name).map_err(MigrationError::database)?;
        run::run(&self.files, &database)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// No migrations: running them creates the database.
    pub(crate) fn none() -> Migrations {
        Migrations { files: Vec::new() }
    }

    pub(crate) fn run_at(&self, database: &Location) -> Result<Report, MigrationError> {
        run::run(&self.files, database)
    }

    /// The files that a database has, and those that it does not have yet, if they match.
    ///
    /// # Errors
    ///
    /// [`Changed`](MigrationError::Changed), [`Missing`](MigrationError::Missing),
    /// [`OutOfOrder`](MigrationError::OutOfOrder), [`Database`](MigrationError::Database).
    pub(crate) fn compare(
        &self,
        conn: &Connection,
    ) -> Result<(Vec<String>, Vec<String>), MigrationError> {
        run::compare(&self.files, conn)
    }

    /// Like [`run`](Migrations::run), on a database that is not a file of this crate, such as one
    /// on a server. It has the same table of applied migrations. Does not check what guests can
    /// use, and returns no warnings about it.
    ///
    /// Blocks until done, and waits for other writers as long as the database does.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Migrations::run), except that [`Failed`](MigrationError::Failed) is also
    /// for a migration that begins or ends a transaction, and that the line is that of the
    /// statement. [`Unknown`](MigrationError::Unknown) if the database did not say whether it
    /// committed: run them again.
    pub fn run_on(&self, database: &mut dyn Database) -> Result<Report, MigrationError> {
        remote::run(&self.files, database)
    }
}
