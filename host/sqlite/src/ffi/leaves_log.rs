//! Closes a connection without touching the log of a file that has been replaced.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

use rusqlite::{Connection, ffi};

use super::vfs::identity::Identity;

/// Keeps the log and the shared memory, if the connection's file is lost when it closes: files of
/// their names may belong to another database. Drop this before the connection; the owner keeps
/// both.
#[derive(Debug)]
pub(crate) struct LeavesLog {
    db: *mut ffi::sqlite3,
    identity: Option<Arc<Identity>>,
}

// SAFETY: the handle is used as this is dropped, by the thread that owns the connection.
unsafe impl Send for LeavesLog {}

impl LeavesLog {
    /// Until it is known which file was opened, keep them in any case.
    pub(crate) fn new(conn: &Connection, identity: &Option<Arc<Identity>>) -> LeavesLog {
        // SAFETY: the connection is open.
        let db = unsafe { conn.handle() };
        let log = LeavesLog {
            db,
            identity: identity.clone(),
        };
        log.set(true);
        log
    }

    /// The opened file is the right one.
    pub(crate) fn confirm(&self) {
        self.set(false);
    }

    /// <https://sqlite.org/c3ref/c_dbconfig_defensive.html>, `SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE`.
    fn set(&self, leave: bool) {
        let leave = c_int::from(leave);
        // SAFETY: the connection is open, and the arguments are those that this one takes.
        unsafe {
            ffi::sqlite3_db_config(
                self.db,
                ffi::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                leave,
                ptr::null_mut::<c_int>(),
            );
        }
    }
}

impl Drop for LeavesLog {
    fn drop(&mut self) {
        if self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.is_lost())
        {
            self.set(true);
        }
    }
}
