//! How long the values may be that a connection handles, lowered while it runs.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::c_int;

use rusqlite::{Connection, ffi};

/// The longest value that a connection may read or make, which can be lowered while it runs.
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
    /// The limit as it is now.
    pub(crate) fn new(conn: &Connection) -> LengthLimit {
        // SAFETY: the connection is open; a negative value only asks.
        unsafe {
            let db = conn.handle();
            let bytes = ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, -1);
            LengthLimit { db, bytes }
        }
    }

    /// No value may be longer than `bytes`, until the result is dropped, on the thread that uses
    /// the connection. Not once the limit is as low as it gets: the time is over.
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

    /// Make it as low as SQLite lets it be. On any thread, while the connection is open, and a call
    /// on it is under way that does not end before this does.
    pub(crate) fn lower(&self) {
        // SAFETY: the caller's promise: the connection is open. SQLite keeps each limit as an `int`
        // of its own, which this writes and whatever runs there reads, at every use: it sees the
        // old one or the new one.
        unsafe { ffi::sqlite3_limit(self.db, ffi::SQLITE_LIMIT_LENGTH, 0) };
    }

    /// Make it what it was, on the thread that uses the connection.
    pub(crate) fn raise(&self) {
        // SAFETY: the connection is open: a call on it is just ending.
        unsafe { ffi::sqlite3_limit(self.db, ffi::SQLITE_LIMIT_LENGTH, self.bytes) };
    }
}

/// The least that SQLite takes for the limit (`SQLITE_MIN_LENGTH`), and one more.
const LEAST_LENGTH: c_int = 31;

/// See [`LengthLimit::set_for_now`].
pub(super) struct RaiseLength(LengthLimit);

impl Drop for RaiseLength {
    fn drop(&mut self) {
        self.0.raise();
    }
}
