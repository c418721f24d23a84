//! Calls of SQLite on a connection that rusqlite does not offer in the form needed here.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use rusqlite::{Connection, ffi};

use crate::error::{Error, Result};

/// Set the last inserted rowid of the connection
/// (<https://sqlite.org/c3ref/set_last_insert_rowid.html>).
pub(crate) fn set_last_insert_rowid(conn: &Connection, rowid: i64) {
    // SAFETY: the connection is open.
    unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
}

/// Give the connection enough lookaside memory, which SQLite uses to compile short statements
/// without the allocator (<https://sqlite.org/malloc.html#lookaside>): besides the default, enough
/// for `kept` cached statements, each of which keeps its part. Call it before anything else. If
/// there is too little memory, SQLite works without it.
pub(crate) fn set_lookaside(conn: &Connection, kept: usize) -> Result<()> {
    /// SQLite's default.
    const SLOT_BYTES: c_int = 1_200;
    const SLOTS: usize = 40;
    const MAX_SLOTS: usize = 1_000;
    let slots = (2 * kept.min(MAX_SLOTS) + SLOTS).min(MAX_SLOTS);
    // SAFETY: the connection is open, and the arguments are those that this one takes: SQLite
    // allocates the slots itself.
    let code = unsafe {
        ffi::sqlite3_db_config(
            conn.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            ptr::null_mut::<c_void>(),
            SLOT_BYTES,
            slots as c_int,
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(failure(conn, code)),
    }
}

/// How many pages the connection has written, to the log or the file, since it was opened
/// (<https://sqlite.org/c3ref/c_dbstatus_options.html>, `SQLITE_DBSTATUS_CACHE_WRITE`).
pub(crate) fn pages_written(conn: &Connection) -> u64 {
    // SAFETY: the connection is open.
    unsafe { pages_written_of(conn.handle()) }
}

/// # Safety
///
/// `db` is an open connection, which this thread alone uses.
pub(super) unsafe fn pages_written_of(db: *mut ffi::sqlite3) -> u64 {
    let (mut pages, mut highest) = (0, 0);
    // SAFETY: the caller's promise; both pointers are valid, and nothing is reset.
    unsafe {
        ffi::sqlite3_db_status(
            db,
            ffi::SQLITE_DBSTATUS_CACHE_WRITE,
            &mut pages,
            &mut highest,
            0,
        );
    }
    u64::try_from(pages).unwrap_or(0)
}

/// Whether no deferred foreign key constraint is violated at this moment
/// (<https://sqlite.org/c3ref/c_dbstatus_options.html>, `SQLITE_DBSTATUS_DEFERRED_FKS`).
pub(crate) fn constraints_hold(conn: &Connection) -> bool {
    status(conn, ffi::SQLITE_DBSTATUS_DEFERRED_FKS) == Some(0)
}

/// The memory that the schema uses, in bytes (`SQLITE_DBSTATUS_SCHEMA_USED`, as above).
pub(crate) fn schema_used(conn: &Connection) -> u64 {
    let bytes = status(conn, ffi::SQLITE_DBSTATUS_SCHEMA_USED);
    bytes
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(u64::MAX)
}

fn status(conn: &Connection, what: c_int) -> Option<c_int> {
    let (mut now, mut highest) = (0, 0);
    // SAFETY: the connection is open, and this thread alone uses it; both pointers are valid.
    let code = unsafe { ffi::sqlite3_db_status(conn.handle(), what, &mut now, &mut highest, 0) };
    (code == ffi::SQLITE_OK).then_some(now)
}

/// Whether an interrupt is pending, which lasts until every statement of the connection has ended
/// (<https://sqlite.org/c3ref/interrupt.html>).
pub(crate) fn is_interrupted(conn: &Connection) -> bool {
    // SAFETY: the connection is open.
    unsafe { ffi::sqlite3_is_interrupted(conn.handle()) != 0 }
}

/// Reset every running statement, which clears a pending interrupt. Returns whether any was
/// running.
pub(crate) fn reset_statements(conn: &Connection) -> bool {
    let mut any = false;
    // SAFETY: the connection is open, this thread alone uses it, and a statement stays in SQLite's
    // list when it is reset. Nothing borrowed from a row outlives a call of this crate. Virtual
    // tables' own statements are in the list too: whatever reads through them is under way itself,
    // and reset.
    unsafe {
        let db = conn.handle();
        let mut stmt = ffi::sqlite3_next_stmt(db, ptr::null_mut());
        while !stmt.is_null() {
            if ffi::sqlite3_stmt_busy(stmt) != 0 {
                ffi::sqlite3_reset(stmt);
                any = true;
            }
            stmt = ffi::sqlite3_next_stmt(db, stmt);
        }
    }
    any
}

/// The state of a transaction (<https://sqlite.org/c3ref/txn_state.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionState {
    None,
    Read,
    Write,
}

pub(crate) fn transaction_state(conn: &Connection) -> TransactionState {
    // SAFETY: the connection is open; a null schema asks for the highest state of any.
    match unsafe { ffi::sqlite3_txn_state(conn.handle(), ptr::null()) } {
        ffi::SQLITE_TXN_NONE => TransactionState::None,
        ffi::SQLITE_TXN_READ => TransactionState::Read,
        _ => TransactionState::Write,
    }
}

/// The error of the connection's last call. Its text is copied: the next call overwrites it.
pub(super) fn failure(conn: &Connection, code: c_int) -> Error {
    // SAFETY: the connection is open, and this thread alone uses it, so that the text is this
    // call's and stays until it is copied.
    unsafe {
        let db = conn.handle();
        let message = shortened(text_of(ffi::sqlite3_errmsg(db)).unwrap_or_default());
        let offset = u32::try_from(ffi::sqlite3_error_offset(db)).ok();
        Error::sqlite(code, message, offset)
    }
}

/// SQLite quotes the offending text, which a guest can make as long as a text may be.
fn shortened(mut message: String) -> String {
    const MAX_BYTES: usize = 500;
    if message.len() > MAX_BYTES {
        message.truncate(message.floor_char_boundary(MAX_BYTES));
        message.push('…');
    }
    message
}

/// A copy of a C string; `None` for a null pointer.
///
/// # Safety
///
/// `text` is null, or ends in a NUL and stays valid during the call.
pub(super) unsafe fn text_of(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned(),
    )
}
