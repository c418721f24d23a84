//! Runs migrations on connections outside the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::check::Made;
use super::foreign_keys::{Orphan, Orphans};
use super::{Migration, MigrationError, Report, Warning};
use crate::error::{Error, ErrorKind};
use crate::ffi::leaves_log::LeavesLog;
use crate::ffi::statement::{RawStatement, Step};
use crate::open::{LOST, Location};
use crate::text::{SqlText, blank};

/// How long to wait for another process that writes or migrates. Longer than the pool's busy
/// timeout, because another process's migrations may take long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait between two attempts to turn on write-ahead logging.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

pub(super) fn run(files: &[Migration], database: &Location) -> Result<Report, MigrationError> {
    let failed = |error: Error| MigrationError::database(about(database, error));
    database.create(false).map_err(MigrationError::database)?;
    database.remember();
    // Kept open, so that the log is not truncated after each migration.
    let first = open(database).map_err(failed)?;
    let mut report = Report::default();
    // Usually there is nothing to do: find that out without waiting for a writer.
    while pending(files, &first.conn)
        .map_err(|stop| stop.about(database))?
        .is_some()
    {
        // A new connection, so that the state of one migration does not affect the next.
        let mut opened = open(database).map_err(failed)?;
        let conn = &mut opened.conn;
        conn.execute_batch("BEGIN IMMEDIATE")
            .map_err(|error| failed(error.into()))?;
        let applied = apply_next(files, conn, &mut report);
        // SQLite may have ended the transaction itself, for example because of a full disk.
        if !conn.is_autocommit() {
            let _ = conn.execute_batch("ROLLBACK");
        }
        applied.map_err(|stop| stop.about(database))?;
    }
    report.finish(files);
    Ok(report)
}

impl Report {
    /// What this run has not applied had been applied before.
    pub(super) fn finish(&mut self, files: &[Migration]) {
        self.already_applied = files
            .iter()
            .map(|migration| migration.file.clone())
            .filter(|file| !self.applied.contains(file))
            .collect();
    }
}

impl MigrationError {
    fn about(self, database: &Location) -> MigrationError {
        match self {
            MigrationError::Database(error) => {
                MigrationError::database(about(database, error.into()))
            }
            other => other,
        }
    }
}

/// The same error, with the name of the database.
fn about(database: &Location, error: Error) -> Error {
    let message = format!("cannot migrate the database {}: {error}", database.name());
    error.with_message(message)
}

#[derive(Debug)]
struct Opened {
    // Before the connection: see there.
    _log: LeavesLog,
    conn: Connection,
}

fn open(database: &Location) -> Result<Opened, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = database.connect(flags)?;
    let log = database.guard_log(&conn);
    conn.busy_timeout(LOCK_TIMEOUT)?;
    write_ahead_logging(&conn)?;
    // Deleted while it was being opened, or replaced: the log of its name is not this one's.
    if database.is_lost() {
        return Err(Error::new(ErrorKind::CannotOpen, LOST));
    }
    log.confirm();
    // The file may contain triggers and views that a guest has created.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF")?;
    Ok(Opened { _log: log, conn })
}

/// Turn on write-ahead logging. If two connections do this at once they would deadlock, so SQLite
/// fails one of them without calling its busy handler: retry here.
fn write_ahead_logging(conn: &Connection) -> Result<(), rusqlite::Error> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let mode = conn.query_row("PRAGMA journal_mode = WAL", [], |row| {
            row.get::<_, String>(0)
        });
        match mode {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY_INTERVAL);
            }
            other => return other.map(|_| ()),
        }
    }
}

/// Apply the next migration in the open transaction, and commit it. Leaves the transaction open if
/// another process has applied the last one meanwhile.
fn apply_next(
    files: &[Migration],
    conn: &mut Connection,
    report: &mut Report,
) -> Result<(), MigrationError> {
    let database = |error: rusqlite::Error| MigrationError::database(error);
    // Check again, now that no other process can write.
    let Some(migration) = pending(files, conn)? else {
        return Ok(());
    };
    let file = &migration.file;
    // If the schema's foreign keys do not match what they refer to, they cannot be checked.
    let orphans =
        |conn: &Connection| Orphans::find(conn).map_err(|error| Error::from(error).into());
    let before = orphans(conn);
    let mut made = Made::since(conn).map_err(database)?;
    execute(migration, conn, &mut made)?;
    let after = orphans(conn);
    let known = check_foreign_keys(file, before, after)?;
    let warnings = made.check(file)?;
    let record = || {
        // Other settings of the migration end with its connection.
        conn.execute_batch("PRAGMA query_only = OFF")?;
        conn.execute_batch(CREATE_RECORDS)?;
        conn.execute(RECORD, (migration.number, file, &migration.sha256))?;
        conn.execute_batch("COMMIT")
    };
    record().map_err(|error| MigrationError::Commit {
        file: file.clone(),
        error: Error::from(error).into(),
    })?;
    if report.applied.is_empty() {
        report.warnings.extend(known);
    }
    report.warnings.extend(warnings);
    report.applied.push(file.clone());
    Ok(())
}

fn pending<'a>(
    files: &'a [Migration],
    conn: &Connection,
) -> Result<Option<&'a Migration>, MigrationError> {
    next(files, &recorded(conn).map_err(MigrationError::database)?)
}

/// The names of those that have been applied, and of those that have not, after checking that they
/// match.
pub(super) fn compare(
    files: &[Migration],
    conn: &Connection,
) -> Result<(Vec<String>, Vec<String>), MigrationError> {
    let recorded = recorded(conn).map_err(MigrationError::database)?;
    next(files, &recorded)?;
    let is_applied = |migration: &&Migration| {
        let mut numbers = recorded.iter().map(|(number, ..)| *number);
        numbers.any(|number| number == migration.number)
    };
    let (applied, pending): (Vec<_>, Vec<_>) = files.iter().partition(is_applied);
    let names = |migrations: Vec<&Migration>| {
        let names = migrations.iter().map(|migration| migration.file.clone());
        names.collect()
    };
    Ok((names(applied), names(pending)))
}

/// The number, name and hash of an applied migration.
pub(super) type Recorded = (i64, String, String);

/// The first migration that has not been applied, after checking that the files match the database,
/// which has `recorded` those that were applied, by number.
pub(super) fn next<'a>(
    files: &'a [Migration],
    recorded: &[Recorded],
) -> Result<Option<&'a Migration>, MigrationError> {
    for (number, name, sha256) in recorded {
        let migration = files
            .iter()
            .find(|migration| migration.number == *number)
            .ok_or_else(|| MigrationError::Missing { file: name.clone() })?;
        if migration.sha256 != *sha256 {
            return Err(MigrationError::Changed {
                file: migration.file.clone(),
                applied_as: name.clone(),
            });
        }
    }
    let pending = files.iter().find(|migration| {
        recorded
            .iter()
            .all(|(number, ..)| *number != migration.number)
    });
    match (pending, recorded.last()) {
        (Some(migration), Some((last, name, _))) if migration.number < *last => {
            Err(MigrationError::OutOfOrder {
                file: migration.file.clone(),
                last_applied: name.clone(),
            })
        }
        _ => Ok(pending),
    }
}

/// Whether migrations have been recorded: it has a row then.
pub(super) const HAS_RECORDS: &str =
    "SELECT 1 FROM main.sqlite_schema WHERE name = 'millpond_migrations' COLLATE NOCASE";
/// A guest may have written the table, so reading it must take limited memory.
pub(super) const RECORDS: &str = "SELECT number, substr(name, 1, 1000), substr(sha256, 1, 64)
     FROM main.millpond_migrations ORDER BY number LIMIT 100000";
pub(super) const CREATE_RECORDS: &str = "CREATE TABLE IF NOT EXISTS main.millpond_migrations(
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied TEXT NOT NULL
) STRICT";
pub(super) const RECORD: &str =
    "INSERT INTO main.millpond_migrations(number, name, sha256, applied)
     VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ'))";

/// Every applied migration, by number.
fn recorded(conn: &Connection) -> Result<Vec<Recorded>, rusqlite::Error> {
    let is_new = conn
        .query_row(HAS_RECORDS, [], |_| Ok(()))
        .optional()?
        .is_none();
    if is_new {
        return Ok(Vec::new());
    }
    conn.prepare(RECORDS)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Run every statement of a migration.
fn execute(
    migration: &Migration,
    conn: &mut Connection,
    made: &mut Made,
) -> Result<(), MigrationError> {
    let sql = migration.sql.as_str();
    let file = || migration.file.clone();
    // Called when a statement is compiled, so it detects a COMMIT before it runs.
    let ends_transaction = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ends_transaction);
    let authorizer = move |context: AuthContext<'_>| match context.action {
        AuthAction::Transaction { .. } => {
            seen.store(true, Ordering::Relaxed);
            Authorization::Deny
        }
        _ => Authorization::Allow,
    };
    let database = |error: rusqlite::Error| MigrationError::database(error);
    conn.authorizer(Some(authorizer)).map_err(database)?;

    let text = SqlText::new(sql);
    let line_of = |offset| migration.line_of(offset);
    let begin_of = |at: usize| at + sql.get(at..).map_or(0, blank);
    let mut at = 0;
    while at < sql.len() {
        // A statement does not outlive this iteration, nor the connection.
        let end = text.as_ref().map_err(Error::clone);
        let end = end.and_then(|text| execute_next(conn, text, at));
        let end = end.map_err(|error| {
            let offset = error
                .offset()
                .map_or_else(|| begin_of(at), |offset| offset as usize);
            let line = line_of(offset);
            if ends_transaction.load(Ordering::Relaxed) {
                MigrationError::Transaction { file: file(), line }
            } else {
                MigrationError::Failed {
                    file: file(),
                    line,
                    error: error.into(),
                }
            }
        })?;
        if end == at {
            break;
        }
        made.note(conn, || line_of(begin_of(at)))
            .map_err(database)?;
        at = end;
    }
    conn.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
        .map_err(database)
}

impl Migration {
    /// The line, from 1, of the byte `offset` of the text.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = self.sql.bytes().take(offset);
        1 + before.filter(|byte| *byte == b'\n').count()
    }
}

/// Run the statement of `sql` that begins at the byte `start`, and return where it ends.
fn execute_next(conn: &Connection, sql: &SqlText<'_>, start: usize) -> Result<usize, Error> {
    let (statement, end) = RawStatement::prepare(conn, sql, start)?;
    if let Some(mut statement) = statement {
        if statement.parameter_count() > 0 {
            return Err(Error::new(
                ErrorKind::Parameters,
                "it has parameters, which a migration cannot bind",
            ));
        }
        while statement.step(conn)? == Step::Row {}
    }
    Ok(end)
}

/// Check the foreign keys. Returns a warning about violations from before.
pub(super) fn check_foreign_keys(
    file: &str,
    before: Result<Orphans, millpond_pool::Error>,
    after: Result<Orphans, millpond_pool::Error>,
) -> Result<Option<Warning>, MigrationError> {
    let warning = |message| Warning {
        file: file.to_owned(),
        line: None,
        message,
    };
    match (before, after) {
        (Ok(before), Ok(after)) => match after.first_new(&before) {
            None => Ok(before.rows.first().map(|orphan| {
                let count = before.rows.len();
                warning(format!(
                    "before it, {count} rows referred to missing rows, the first in the table {} \
                     to the table {}: foreign keys are not enforced for existing rows",
                    orphan.table, orphan.parent
                ))
            })),
            Some(Orphan {
                table,
                rowid,
                parent,
            }) => Err(MigrationError::ForeignKey {
                file: file.to_owned(),
                table: table.clone(),
                rowid: *rowid,
                parent: parent.clone(),
            }),
        },
        // The migration repaired the schema, so what the check now finds was there before.
        (Err(_), Ok(_)) => Ok(None),
        (Err(error), Err(_)) => Ok(Some(warning(format!(
            "foreign keys could not be checked before or after it: {error}"
        )))),
        (Ok(_), Err(error)) => Err(MigrationError::Commit {
            file: file.to_owned(),
            error,
        }),
    }
}
