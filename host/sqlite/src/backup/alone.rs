//! Keeps everyone else out of a database, in this process and in others.
//!
//! A connection to a database in WAL mode has a shared lock on the file, from its first read until
//! it closes (`pager.c` in SQLite's source). So an exclusive lock proves that there is no such
//! connection, and keeps new ones from reading. SQLite takes it if its locking mode is exclusive
//! (<https://sqlite.org/pragma.html#pragma_locking_mode>). A connection that has not read yet has
//! no lock, and one in another journal mode only has one during a transaction.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::BackupError;
use super::connection::flags;
use crate::error::{Error, ErrorKind};
use crate::open::Location;

/// How long to wait for another connection that just closes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Dropping it lets others in. It leaves the files as they are.
pub(crate) struct Alone {
    conn: Connection,
    /// Whether SQLite can read the file, so that its log can be written into it.
    is_sound: bool,
}

impl Alone {
    /// Lock a database, whose file exists. `location` must outlive the lock. While this is locked,
    /// the file keeps its name, if others also remove and replace it only with this lock.
    pub(crate) fn with(location: &Location) -> Result<Alone, BackupError> {
        location.remember();
        let alone = Alone::lock(location)?;
        match location.is_lost() {
            // Another holder of the lock has replaced or deleted the file.
            true => Err(BackupError::InUse {
                path: location.name().into(),
            }),
            false => Ok(alone),
        }
    }

    fn lock(location: &Location) -> Result<Alone, BackupError> {
        let conn = location.connect(flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
        let explain = |error: Error| match error.kind() {
            ErrorKind::Busy => BackupError::InUse {
                path: location.name().into(),
            },
            _ => {
                let message = format!("cannot lock the database {}: {error}", location.name());
                error.with_message(message).into()
            }
        };
        match lock(&conn) {
            Ok(()) => Ok(Alone {
                conn,
                is_sound: true,
            }),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                drop(conn);
                let conn = location.connect(flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
                lock_damaged(&conn).map_err(explain)?;
                Ok(Alone {
                    conn,
                    is_sound: false,
                })
            }
            Err(error) => Err(explain(error)),
        }
    }

    /// Write the log into the file, and remove it, unless the file is damaged. Returns whether it
    /// has.
    pub(crate) fn end_log(&self) -> Result<bool, Error> {
        if !self.is_sound {
            return Ok(false);
        }
        let set = |mode: &str| {
            let set = format!("PRAGMA journal_mode = {mode}");
            self.conn.query_row(&set, [], |row| row.get::<_, String>(0))
        };
        let ended = || -> Result<bool, Error> {
            let is_ended = set("DELETE")? == "delete";
            // Otherwise, closing removes a journal, whose name may be that of the new file's.
            set("MEMORY")?;
            Ok(is_ended)
        };
        match ended() {
            // A page of it is, which was not read until now.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            other => other,
        }
    }
}

fn prepare(conn: &Connection) -> Result<(), Error> {
    conn.busy_timeout(PATIENCE)?;
    // When this connection closes, the log's name may already be that of another file's log.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?)
}

fn lock(conn: &Connection) -> Result<(), Error> {
    prepare(conn)?;
    // The lock outlasts the transaction.
    Ok(conn.execute_batch("BEGIN EXCLUSIVE; COMMIT")?)
}

/// A transaction that takes the file for an empty one, and so need not read it. It is rolled back
/// without having written anything.
fn lock_damaged(conn: &Connection) -> Result<(), Error> {
    prepare(conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let mode = "PRAGMA journal_mode";
    let mode: String = conn.query_row(mode, [], |row| row.get(0))?;
    // With a log, nothing is written before a commit, but leaving its mode writes. Without, a
    // journal would be a file.
    if mode != "wal" {
        conn.execute_batch("PRAGMA journal_mode = MEMORY")?;
    }
    Ok(conn.execute_batch("BEGIN EXCLUSIVE")?)
}
