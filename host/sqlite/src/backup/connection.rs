//! Connections of the operator's, not a guest's: to read a database that may be in use.

use std::ops::Deref;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{BackupError, Cancel};
use crate::error::{Error, ErrorKind};
use crate::ffi::leaves_log::LeavesLog;
use crate::math;
use crate::open::{Location, cannot_open};

/// How long to wait for another process that recovers the database.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Instructions between two checks whether to stop: well under a millisecond.
const CHECK_INTERVAL: i32 = 10_000;

/// A connection in a read transaction.
pub(super) struct Snapshot {
    // Before the connection: see there.
    _log: LeavesLog,
    conn: Connection,
    /// The size of the database.
    pub(super) pages: u64,
}

impl Snapshot {
    /// Begin a read transaction on a database. `location` must outlive it.
    ///
    /// A database whose folder can be written is opened for writing, although nothing is written:
    /// the last connection to close then removes the log, as any other does.
    pub(super) fn begin(location: &Location, cancel: &Cancel) -> Result<Snapshot, BackupError> {
        begin(location, cancel).map_err(|error| {
            if error.kind() == ErrorKind::DeadlineExceeded && cancel.is_cancelled() {
                return BackupError::Cancelled;
            }
            explain(location, error).into()
        })
    }
}

fn begin(location: &Location, cancel: &Cancel) -> Result<Snapshot, Error> {
    exists(location)?;
    location.create(true)?;
    location.remember();
    let read_only = location
        .file()
        .is_some_and(|(folder, _)| folder.is_read_only());
    let access = match read_only {
        true => OpenFlags::SQLITE_OPEN_READ_ONLY,
        false => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let mut conn = location.connect(flags(access))?;
    let log = location.guard_log(&conn);
    conn.busy_timeout(LOCK_TIMEOUT)?;
    let cancel = cancel.clone();
    conn.progress_handler(CHECK_INTERVAL, Some(move || cancel.is_cancelled()))?;
    // What a guest has stored may be a trap for who reads it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A constraint or an index may call these.
    math::install(&conn)?;
    conn.execute_batch("PRAGMA cell_size_check = ON; BEGIN")?;
    let pages = conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
    // Replaced files are noticed when it closes.
    log.confirm();
    Ok(Snapshot {
        _log: log,
        conn,
        pages: u64::try_from(pages).unwrap_or(0),
    })
}

impl Deref for Snapshot {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

pub(super) fn flags(access: OpenFlags) -> OpenFlags {
    access
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
}

fn exists(location: &Location) -> Result<(), Error> {
    let Some((folder, file)) = location.file() else {
        return Ok(());
    };
    match folder.dir().symlink_metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(cannot_open(location.name(), "it does not exist"))
        }
        _ => Ok(()),
    }
}

/// The same error, with the name of the database.
fn explain(location: &Location, error: Error) -> Error {
    if error.kind() == ErrorKind::CannotOpen {
        return error;
    }
    let message = format!("cannot read the database {}: {error}", location.name());
    error.with_message(message)
}
