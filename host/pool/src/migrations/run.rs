//! Running migrations on a connection outside the pool.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Migration, MigrationError, Report};
use crate::error::{Error, ErrorKind};
use crate::open::Location;
use crate::raw::{RawStatement, Step};
use crate::text::{SqlText, blank};

/// How long to wait for another process that writes, or migrates. Longer than the pool's own
/// busy timeout, because another process's migrations take what they take.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait between two tries to turn on write-ahead logging.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

pub(super) fn run(files: &[Migration], database: &Path) -> Result<Report, MigrationError> {
    let mut conn = open(database).map_err(MigrationError::Database)?;
    let database = |error: rusqlite::Error| MigrationError::Database(error.into());
    let mut report = Report::default();
    // Most often there is nothing to do: that is found without waiting for a writer.
    while next(files, &conn)?.is_some() {
        conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        match apply_next(files, &mut conn) {
            Ok(Some(file)) => report.applied.push(file),
            // Another process applied the last one meanwhile.
            Ok(None) => conn.execute_batch("ROLLBACK").map_err(database)?,
            Err(error) => {
                // SQLite may have ended the transaction itself, as for a full disk.
                if !conn.is_autocommit() {
                    let _ = conn.execute_batch("ROLLBACK");
                }
                return Err(error);
            }
        }
    }
    report.already_applied = files
        .iter()
        .map(|migration| migration.file.clone())
        .filter(|file| !report.applied.contains(file))
        .collect();
    Ok(report)
}

fn open(database: &Path) -> Result<Connection, Error> {
    let cannot_open = |reason: &dyn std::fmt::Display| {
        let message = format!("cannot open the database {}: {reason}", database.display());
        Error::new(ErrorKind::CannotOpen, message)
    };
    Location::path(database)?.create()?;
    let path = std::fs::canonicalize(database).map_err(|error| cannot_open(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = Connection::open_with_flags(path, flags).and_then(|conn| {
        conn.busy_timeout(LOCK_TIMEOUT)?;
        write_ahead_logging(&conn)?;
        // The file may hold triggers and views that a guest has made.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF")?;
        Ok(conn)
    });
    opened.map_err(|error| {
        let error = Error::from(error);
        let message = cannot_open(&error).to_string();
        error.with_message(message)
    })
}

/// Turns write-ahead logging on. Two connections that do so at once would deadlock, and SQLite
/// fails one of them without asking its busy handler: so it tries again here.
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

/// Applies the next migration, in the transaction that is open, and commits it. Returns its file.
fn apply_next(
    files: &[Migration],
    conn: &mut Connection,
) -> Result<Option<String>, MigrationError> {
    // Asked again, now that no other process can write.
    let Some(migration) = next(files, conn)? else {
        return Ok(None);
    };
    execute(migration, conn)?;
    check_foreign_keys(migration, conn)?;
    let record = || {
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS main.millpond_migrations(
                number INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                sha256 TEXT NOT NULL,
                applied TEXT NOT NULL
            ) STRICT",
        )?;
        conn.execute(
            "INSERT INTO main.millpond_migrations(number, name, sha256, applied)
             VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ'))",
            (migration.number, &migration.file, &migration.sha256),
        )?;
        conn.execute_batch("COMMIT")
    };
    record().map_err(|error| MigrationError::Database(error.into()))?;
    Ok(Some(migration.file.clone()))
}

/// The first migration that is not applied, once it is sure that the files and the database agree.
fn next<'a>(
    files: &'a [Migration],
    conn: &Connection,
) -> Result<Option<&'a Migration>, MigrationError> {
    let recorded = recorded(conn).map_err(|error| MigrationError::Database(error.into()))?;
    for (number, name, sha256) in &recorded {
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

/// Number, name and hash of every migration that the database has, by number.
fn recorded(conn: &Connection) -> Result<Vec<(i64, String, String)>, rusqlite::Error> {
    let is_new = conn
        .query_row(
            "SELECT 1 FROM main.sqlite_schema WHERE name = 'millpond_migrations' COLLATE NOCASE",
            [],
            |_| Ok(()),
        )
        .optional()?
        .is_none();
    if is_new {
        return Ok(Vec::new());
    }
    conn.prepare("SELECT number, name, sha256 FROM main.millpond_migrations ORDER BY number")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Runs every statement of a migration.
fn execute(migration: &Migration, conn: &mut Connection) -> Result<(), MigrationError> {
    let sql = migration.sql.as_str();
    let file = || migration.file.clone();
    // Asked when a statement is compiled, so that a COMMIT is found before it runs.
    let ends_transaction = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ends_transaction);
    let authorizer = move |context: AuthContext<'_>| match context.action {
        AuthAction::Transaction { .. } => {
            seen.store(true, Ordering::Relaxed);
            Authorization::Deny
        }
        _ => Authorization::Allow,
    };
    let database = |error: rusqlite::Error| MigrationError::Database(error.into());
    conn.authorizer(Some(authorizer)).map_err(database)?;

    let text = SqlText::new(sql);
    let mut at = 0;
    while at < sql.len() {
        // A statement does not outlive this turn of the loop, nor the connection.
        let end = text.as_ref().map_err(Error::clone);
        let end = end.and_then(|text| execute_next(conn, text, at));
        let end = end.map_err(|error| {
            let begin = at + sql.get(at..).map_or(0, blank);
            let offset = error.offset().map_or(begin, |offset| offset as usize);
            let line = 1 + sql
                .bytes()
                .take(offset)
                .filter(|byte| *byte == b'\n')
                .count();
            if ends_transaction.load(Ordering::Relaxed) {
                MigrationError::Transaction { file: file(), line }
            } else {
                MigrationError::Failed {
                    file: file(),
                    line,
                    error,
                }
            }
        })?;
        if end == at {
            break;
        }
        at = end;
    }
    conn.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
        .map_err(database)
}

/// Runs the statement of `sql` that begins at the byte `start`, and returns where it ends.
fn execute_next(conn: &Connection, sql: &SqlText<'_>, start: usize) -> Result<usize, Error> {
    let (statement, end) = RawStatement::prepare(conn, sql, start)?;
    if let Some(mut statement) = statement {
        if statement.parameter_count() > 0 {
            return Err(Error::new(
                ErrorKind::Parameters,
                "it has parameters, and nothing binds them",
            ));
        }
        while statement.step(conn)? == Step::Row {}
    }
    Ok(end)
}

/// The check that <https://sqlite.org/lang_altertable.html#otheralter> asks for, since foreign
/// keys are not enforced while a migration runs.
fn check_foreign_keys(migration: &Migration, conn: &Connection) -> Result<(), MigrationError> {
    let first = conn
        .query_row("PRAGMA foreign_key_check", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(|error| MigrationError::Database(error.into()))?;
    match first {
        None => Ok(()),
        Some((table, rowid, parent)) => Err(MigrationError::ForeignKey {
            file: migration.file.clone(),
            table,
            rowid,
            parent,
        }),
    }
}
