//! Checks a database: its structure, its foreign keys, its migrations.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millpond_pool::engine::hand_over;
use rusqlite::Connection;

use super::connection::Snapshot;
use super::progress::{Monitor, Phase};
use super::{BackupError, Cancel, Progress};
use crate::error::{Error, ErrorKind};
use crate::migrations::{MigrationError, Migrations};
use crate::open::Location;

/// How many problems of each kind to report.
const MAX_PROBLEMS: usize = 100;

/// A check of one database, which may be in use. See the [module](super).
#[must_use = "a check does nothing until it is run"]
pub struct Verify<'a> {
    path: PathBuf,
    migrations: Option<&'a Migrations>,
    monitor: Monitor<'a>,
}

/// What a check found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The size of the database, in pages; 0 if it cannot be read.
    pub pages: u64,
    /// What is wrong: at most 100 problems of each kind.
    pub problems: Vec<Problem>,
    /// The migrations that have been applied, in order, if they were given and match.
    pub applied: Vec<String>,
    /// The migrations that have not been applied, in order, if they were given and match. That is
    /// not a problem.
    pub pending: Vec<String>,
}

impl Verification {
    /// Whether there are no problems.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What is wrong with a database.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The file is damaged, or a row violates a constraint other than a foreign key: in SQLite's
    /// words.
    Integrity(String),
    /// A row refers to one that does not exist.
    ForeignKey {
        /// The table of the row.
        table: String,
        /// The row, unless its table is `WITHOUT ROWID`.
        rowid: Option<i64>,
        /// The table that it refers to.
        parent: String,
    },
    /// The applied migrations are not those that were given.
    Migrations(MigrationError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integrity(problem) => f.write_str(problem),
            Self::ForeignKey {
                table,
                rowid,
                parent,
            } => {
                write!(f, "a row of the table {table}")?;
                if let Some(rowid) = rowid {
                    write!(f, " (rowid {rowid})")?;
                }
                write!(f, " refers to a missing row of the table {parent}")
            }
            Self::Migrations(error) => error.fmt(f),
        }
    }
}

impl<'a> Verify<'a> {
    /// A check of the database in the file at `path`.
    pub fn of(path: impl AsRef<Path>) -> Verify<'a> {
        Verify {
            path: path.as_ref().to_owned(),
            migrations: None,
            monitor: Monitor::default(),
        }
    }

    /// Also check that the migrations that were applied are these, unchanged.
    pub fn migrations(mut self, migrations: &'a Migrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// Call `progress` when a part of the check begins and ends.
    pub fn on_progress(mut self, progress: impl FnMut(Progress) + 'a) -> Self {
        self.monitor.on_progress(progress);
        self
    }

    /// Stop when `cancel` says so: within milliseconds.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.monitor.cancel_with(cancel);
        self
    }

    /// Set how long the check may take: with what a guest has written into its database, it can
    /// make a check compute for hours. A check that takes longer is an error. Defaults to 10 s plus
    /// 10 ms for each page.
    pub fn max_check_time(mut self, time: Duration) -> Self {
        self.monitor.set_check_time(time);
        self
    }

    /// Check it: SQLite's integrity check
    /// (<https://sqlite.org/pragma.html#pragma_integrity_check>), all foreign keys, and the
    /// migrations, if given. All in one read transaction: others read and write meanwhile, and the
    /// log grows by what they write.
    ///
    /// Blocks until done: about 0.5 to 1.5 s for 100 MB. SQLite uses up to 256 MiB of memory.
    ///
    /// # Errors
    ///
    /// [`Database`](BackupError::Database): the file cannot be opened; or, with the kind
    /// [`DeadlineExceeded`](ErrorKind::DeadlineExceeded), the check takes longer than
    /// [`max_check_time`](Verify::max_check_time); or, with the kind
    /// [`QuotaExceeded`](ErrorKind::QuotaExceeded), it needs more memory. Damage is not an error,
    /// but a problem in the result. [`Cancelled`](BackupError::Cancelled).
    pub fn run(mut self) -> Result<Verification, BackupError> {
        hand_over();
        let location = Location::path(&self.path)?;
        let mut found = Verification {
            pages: 0,
            problems: Vec::new(),
            applied: Vec::new(),
            pending: Vec::new(),
        };
        let snapshot = match Snapshot::begin(&location, self.monitor.cancel()) {
            Ok(snapshot) => snapshot,
            Err(BackupError::Database(error)) if error.kind() == ErrorKind::Corrupt => {
                found.problems.push(Problem::Integrity(error.to_string()));
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        found.pages = snapshot.pages;
        self.monitor.tell(Phase::Checking, 0, snapshot.pages);
        let time = self.monitor.check_time(snapshot.pages);
        snapshot
            .run(time, |conn| self.check(conn, &mut found))
            .map_err(|error| self.monitor.explain(error))?;
        self.monitor
            .tell(Phase::Checking, snapshot.pages, snapshot.pages);
        Ok(found)
    }

    fn check(&self, conn: &Connection, found: &mut Verification) -> Result<(), Error> {
        let problems = integrity(conn, MAX_PROBLEMS)?.into_iter();
        found.problems.extend(problems.map(Problem::Integrity));
        let mut rest = || {
            found.problems.extend(foreign_keys(conn)?);
            self.check_migrations(conn, found)
        };
        match rest() {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                found.problems.push(Problem::Integrity(error.to_string()));
                Ok(())
            }
            other => other,
        }
    }

    fn check_migrations(&self, conn: &Connection, found: &mut Verification) -> Result<(), Error> {
        let Some(migrations) = self.migrations else {
            return Ok(());
        };
        match migrations.compare(conn) {
            Ok((applied, pending)) => (found.applied, found.pending) = (applied, pending),
            Err(MigrationError::Database(error)) => return Err(error.into()),
            Err(error) => found.problems.push(Problem::Migrations(error)),
        }
        Ok(())
    }
}

impl fmt::Debug for Verify<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What SQLite's integrity check finds, at most `max` problems.
pub(super) fn integrity(conn: &Connection, max: usize) -> Result<Vec<String>, Error> {
    let check = || -> Result<Vec<String>, Error> {
        let mut check = conn.prepare(&format!("PRAGMA main.integrity_check({max})"))?;
        let rows = check.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    match check() {
        Ok(rows) if rows == ["ok"] => Ok(Vec::new()),
        Ok(rows) => Ok(rows),
        // So damaged that not even the check can run; or an index that calls a function which is
        // not there.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Sql) => {
            Ok(vec![error.to_string()])
        }
        Err(error) => Err(error),
    }
}

fn foreign_keys(conn: &Connection) -> Result<Vec<Problem>, Error> {
    let check = || -> Result<Vec<Problem>, Error> {
        let mut check = conn.prepare("PRAGMA main.foreign_key_check")?;
        let rows = check.query_map([], |row| {
            Ok(Problem::ForeignKey {
                table: row.get(0)?,
                rowid: row.get(1)?,
                parent: row.get(2)?,
            })
        })?;
        Ok(rows.take(MAX_PROBLEMS).collect::<rusqlite::Result<_>>()?)
    };
    match check() {
        // The schema's foreign keys do not match what they refer to.
        Err(error) if error.kind() == ErrorKind::Sql => {
            Ok(vec![Problem::Integrity(error.to_string())])
        }
        other => other,
    }
}
