//! Finds out whether a database is open elsewhere, in this process or another.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::leaves_log::LeavesLog;

/// The only connection to a database. While it lives, no process can read it.
#[derive(Debug)]
pub(crate) struct Alone {
    // Before the connection: see there. It keeps the log, whose file is the owner's to remove.
    _log: LeavesLog,
    _conn: Connection,
}

impl Location {
    /// Lock the database against every other connection; or `None`, if there is one. A connection of
    /// a database with a write-ahead log holds a shared lock as long as it is open, so that an idle
    /// one counts too (<https://sqlite.org/wal.html#noshm>). Blocks for up to `wait`.
    pub(crate) fn lock_alone(&self, wait: Duration) -> Result<Option<Alone>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let conn = self.connect(flags)?;
        let log = LeavesLog::new(&conn, &None);
        conn.busy_timeout(wait)?;
        match conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE") {
            Ok(()) => Ok(Some(Alone {
                _log: log,
                _conn: conn,
            })),
            Err(error) => match Error::from(error) {
                busy if busy.kind() == ErrorKind::Busy => Ok(None),
                other => Err(other),
            },
        }
    }
}
