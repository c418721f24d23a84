//! `changes()` and `total_changes()`, counting only the current borrower's changes.
//!
//! SQLite counts from when a connection was opened (<https://sqlite.org/c3ref/changes.html>), and
//! its counters cannot be set: they would include earlier borrowers, and statements that this
//! connection ran for others, but not those that others ran for this one.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::{CStr, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, ffi};

use crate::error::Result;
use crate::ffi::functions::{Function, replace_one};

/// What SQL functions report on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) last_insert_rowid: i64,
    pub(crate) changes: u64,
    pub(crate) total_changes: u64,
}

/// Counters in addition to SQLite's. Used by the thread that uses the connection.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// SQLite's total when `last` was set, and its total when the borrower's count began.
    mark: AtomicU64,
    base: AtomicU64,
    /// What `changes()` returns until SQLite has counted more.
    last: AtomicU64,
}

impl Changes {
    /// With SQLite's counters unchanged from now on, report these.
    pub(crate) fn set(&self, conn: &Connection, changes: u64, total_changes: u64) {
        let total = conn.total_changes();
        self.mark.store(total, Ordering::Relaxed);
        self.base
            .store(total.wrapping_sub(total_changes), Ordering::Relaxed);
        self.last.store(changes, Ordering::Relaxed);
    }

    /// A statement that writes has changed nothing.
    pub(crate) fn note_none(&self, conn: &Connection) {
        if conn.total_changes() == self.mark.load(Ordering::Relaxed) {
            self.last.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn changes(&self, conn: &Connection) -> u64 {
        self.changes_of(conn.changes(), conn.total_changes())
    }

    pub(crate) fn total_changes(&self, conn: &Connection) -> u64 {
        self.total_of(conn.total_changes())
    }

    fn changes_of(&self, changes: u64, total: u64) -> u64 {
        match total == self.mark.load(Ordering::Relaxed) {
            true => self.last.load(Ordering::Relaxed),
            false => changes,
        }
    }

    fn total_of(&self, total: u64) -> u64 {
        total.wrapping_sub(self.base.load(Ordering::Relaxed))
    }
}

/// Replace SQLite's functions. `changes` must outlive the connection: its owner keeps both, and
/// drops the connection first.
pub(crate) fn install(conn: &Connection, changes: &Arc<Changes>) -> Result<()> {
    let functions: [(&CStr, c_int, Function); 2] = [
        (c"changes", 0, answer::<false>),
        (c"total_changes", 0, answer::<true>),
    ];
    for function in &functions {
        // SAFETY: it takes its data for what it is given, and only reads it.
        unsafe { replace_one(conn, function, 0, changes)? };
    }
    Ok(())
}

unsafe extern "C" fn answer<const TOTAL: bool>(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls with a context of the connection that the function was made for, and
    // with the data that it was made with, which lives as long as the connection.
    unsafe {
        let changes = &*ffi::sqlite3_user_data(context).cast::<Changes>();
        let db = ffi::sqlite3_context_db_handle(context);
        let total = ffi::sqlite3_total_changes64(db) as u64;
        let answer = match TOTAL {
            true => changes.total_of(total),
            false => changes.changes_of(ffi::sqlite3_changes64(db) as u64, total),
        };
        ffi::sqlite3_result_int64(context, answer as i64);
    }
}
