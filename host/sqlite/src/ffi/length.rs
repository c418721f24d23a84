//! The maximum length of values, which can be lowered while the connection runs.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::c_int;

use rusqlite::{Connection, ffi};

/// The maximum length of a value that a connection may read or create.
#[derive(Debug)]
pub(crate) struct LengthLimit {
    db: *mut ffi::sqlite3,
    bytes: c_int,
}

// SAFETY: `lower` is for other threads, and says when; the rest is for the one that uses the
// connection.
unsafe impl Send for LengthLimit {}
// SAFETY: as above.
unsafe impl Sync for LengthLimit {}

impl LengthLimit {
    /// The connection's current limit.
    pub(crate) fn new(conn: &Connection) -> LengthLimit {
        // SAFETY: the connection is open; a negative value only asks.
        unsafe {
            let db = conn.handle();
            let bytes = ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, -1);
            LengthLimit { db, bytes }
        }
    }

    /// Limit values to `bytes` until the result is dropped, on the thread that uses the connection.
    /// Does nothing once the limit has been lowered: the time is over.
    pub(super) fn set_for_now(conn: &Connection, bytes: u32) -> RaiseLength {
        let limit = LengthLimit::new(conn);
        let bytes = match limit.bytes < LEAST_LENGTH {
            true => limit.bytes,
            false => c_int::try_from(bytes).unwrap_or(c_int::MAX),
        };
        // SAFETY: the connection is open.
        unsafe { ffi::sqlite3_limit(limit.db, ffi::SQLITE_LIMIT_LENGTH, bytes) };
        RaiseLength(limit)
    }

    /// Set it to SQLite's minimum. On any thread, while the connection is open, and a call on it is
    /// running that does not end before this does.
    pub(crate) fn lower(&self) {
        // SAFETY: the caller's promise: the connection is open. SQLite keeps each limit as an `int`
        // of its own, which this writes and whatever runs there reads, at every use: it sees the
        // old one or the new one.
        unsafe { ffi::sqlite3_limit(self.db, ffi::SQLITE_LIMIT_LENGTH, 0) };
    }

    /// Restore it, on the thread that uses the connection.
    pub(crate) fn raise(&self) {
        // SAFETY: the connection is open: a call on it is just ending.
        unsafe { ffi::sqlite3_limit(self.db, ffi::SQLITE_LIMIT_LENGTH, self.bytes) };
    }
}

/// SQLite's minimum for the limit (`SQLITE_MIN_LENGTH`), plus one.
const LEAST_LENGTH: c_int = 31;

/// See [`LengthLimit::set_for_now`].
pub(super) struct RaiseLength(LengthLimit);

impl Drop for RaiseLength {
    fn drop(&mut self) {
        self.0.raise();
    }
}
