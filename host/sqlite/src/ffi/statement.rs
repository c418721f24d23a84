//! A compiled statement that owns its handle.
//!
//! rusqlite's statements borrow their connection, but a guest keeps its statements as handles, for
//! as long as it likes. So a statement here owns its `sqlite3_stmt` and borrows nothing, under one
//! rule:
//!
//! **Invariant:** a `RawStatement` and its `Connection` are fields of one `Db`, which only one
//! thread at a time can access, behind a mutex or as its owner, and which drops its statements
//! before its connection. So no two threads use a statement at once, as SQLite's multi-thread mode
//! requires (<https://sqlite.org/threadsafe.html>), and no statement outlives its connection. If
//! one did by mistake, `sqlite3_close` would fail (<https://sqlite.org/c3ref/close.html>) and the
//! connection would leak: nothing dangles.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use millpond_pool::engine::RawValue;
use rusqlite::{Connection, ffi};

use super::length::LengthLimit;
use super::raw::{failure, text_of};
use crate::error::{Error, ErrorKind, Result};
use crate::text::SqlText;

/// The length, in bytes, from which compiling a text may take long.
pub(crate) const BRIEF_TEXT: usize = 4 * 1024;

/// A compiled statement.
#[derive(Debug)]
pub(crate) struct RawStatement {
    stmt: NonNull<ffi::sqlite3_stmt>,
    /// The maximum length of a value that it may handle, in bytes, if it differs from the
    /// connection's.
    max_length: Option<u32>,
    /// Which of its parameters, of the first few, were bound to an integer last: a bit for each.
    integers: u64,
}

/// Of how many of a statement's parameters it is known whether they are integers.
const INTEGERS: usize = u64::BITS as usize;

// SAFETY: SQLite's multi-thread mode lets a statement move between threads as long as one at a
// time uses it and its connection: the module's invariant.
unsafe impl Send for RawStatement {}

/// The statement of a connection that is running for a guest.
#[derive(Debug, Default)]
pub(crate) struct Running {
    stmt: AtomicPtr<ffi::sqlite3_stmt>,
    /// Compiling it again takes long.
    is_long: AtomicBool,
    /// It has changed a row of a table with rowids.
    has_changed: AtomicBool,
}

impl Running {
    /// A statement begins to run. Returns the one that ran until now.
    pub(crate) fn begin(&self, statement: StatementId, is_long: bool) -> StatementId {
        // Only one thread at a time uses this.
        let before = self.stmt.load(Ordering::Relaxed);
        self.stmt.store(statement.0, Ordering::Relaxed);
        self.is_long.store(is_long, Ordering::Relaxed);
        self.has_changed.store(false, Ordering::Relaxed);
        StatementId(before)
    }

    /// The statement has ended; it must live until then.
    pub(crate) fn end(&self, before: StatementId) {
        self.stmt.store(before.0, Ordering::Relaxed);
    }

    pub(super) fn note_change(&self) {
        if !self.has_changed.load(Ordering::Relaxed) {
            self.has_changed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the statement, or a trigger of it, has changed a row. SQLite does not report rows of
    /// tables without rowids.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Relaxed)
    }

    /// Its text; empty if none is running.
    pub(crate) fn sql(&self) -> String {
        let stmt = self.stmt.load(Ordering::Relaxed);
        if stmt.is_null() {
            return String::new();
        }
        // SAFETY: a statement that lives, by `end`, and keeps its text as long.
        let text = unsafe { text_of(ffi::sqlite3_sql(stmt)) };
        text.unwrap_or_default()
    }

    /// Whether it is about to take its first step. If so, SQLite is compiling it again, because the
    /// schema has changed, or for other values of its parameters; later, SQLite compiles a virtual
    /// table's own statements.
    pub(crate) fn is_beginning(&self) -> bool {
        let stmt = self.stmt.load(Ordering::Relaxed);
        // SAFETY: null, or a statement that lives, by `end`. SQLite asks on the thread that runs
        // it.
        !stmt.is_null() && unsafe { ffi::sqlite3_stmt_busy(stmt) == 0 }
    }

    /// Whether compiling it again takes long.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }
}

/// Identifies a living statement, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatementId(*mut ffi::sqlite3_stmt);

impl StatementId {
    pub(crate) const NONE: StatementId = StatementId(ptr::null_mut());
}

/// The result of a step: a row, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Row,
    Done,
}

impl RawStatement {
    /// Compile the first statement of `sql` from the byte `start`. Returns it, or `None` if there
    /// is only space or a comment, and where it ends.
    ///
    /// SQLite would copy the whole text for each of its statements if it did not end in a NUL: a
    /// guest could make that take hours.
    pub(crate) fn prepare(
        conn: &Connection,
        sql: &SqlText<'_>,
        start: usize,
    ) -> Result<(Option<RawStatement>, usize)> {
        let text = sql.from(start);
        let len = c_int::try_from(text.len())
            .map_err(|_| Error::sqlite(ffi::SQLITE_TOOBIG, "the SQL text is too long", None))?;
        // Without lookaside, so that a long one ends when the allocator refuses.
        let flags = match text.len() > BRIEF_TEXT {
            true => ffi::SQLITE_PREPARE_PERSISTENT,
            false => 0,
        };
        let mut stmt = ptr::null_mut();
        let mut tail: *const c_char = ptr::null();
        // SAFETY: the connection is open; `text` is valid for `len` bytes, the last of which is
        // a NUL; both out-pointers are valid.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                conn.handle(),
                text.as_ptr().cast(),
                len,
                flags,
                &mut stmt,
                &mut tail,
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(failure(conn, code).shifted(start));
        }
        // SQLite sets `tail` within the text, at the end of the statement.
        let read = (tail as usize).saturating_sub(text.as_ptr() as usize);
        let end = (start + read).min(sql.len());
        let raw = NonNull::new(stmt).map(|stmt| RawStatement {
            stmt,
            max_length: None,
            integers: 0,
        });
        Ok((raw, end))
    }

    /// Handle values of up to `bytes`: a longer one fails with
    /// [`TooLarge`](crate::ErrorKind::TooLarge). `None` for the connection's own limit.
    pub(crate) fn set_max_length(&mut self, bytes: Option<u32>) {
        self.max_length = bytes;
    }

    #[inline]
    pub(crate) fn step(&mut self, conn: &Connection) -> Result<Step> {
        match self.max_length {
            None => self.step_at_length(conn),
            Some(bytes) => self.step_at_other_length(conn, bytes),
        }
    }

    #[inline]
    fn step_at_length(&mut self, conn: &Connection) -> Result<Step> {
        // SAFETY: the statement is live, and nothing borrowed from its row is (`&mut self`).
        match unsafe { ffi::sqlite3_step(self.stmt.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(Step::Row),
            ffi::SQLITE_DONE => Ok(Step::Done),
            code => Err(failure(conn, code)),
        }
    }

    /// Separate, because hardly any statement needs it, and this is the innermost loop.
    #[cold]
    fn step_at_other_length(&mut self, conn: &Connection, bytes: u32) -> Result<Step> {
        let _back = LengthLimit::set_for_now(conn, bytes);
        self.step_at_length(conn)
            .map_err(|error| match error.code() & 0xff {
                ffi::SQLITE_TOOBIG => error.with_message(format!(
                    "a value has more than {bytes} bytes, which is too long for what this \
                     statement does with it: split it"
                )),
                _ => error,
            })
    }

    /// Reset to before the first step. Ignores the last step's error, which was already reported.
    pub(crate) fn reset(&mut self) {
        // SAFETY: the statement is live, and nothing borrowed from its row is (`&mut self`).
        unsafe { ffi::sqlite3_reset(self.stmt.as_ptr()) };
    }

    /// Like [`reset`](RawStatement::reset), but before the end: stops early and returns the
    /// outcome.
    pub(crate) fn finish(&mut self, conn: &Connection) -> Result<()> {
        // SAFETY: the statement is live, and nothing borrowed from its row is (`&mut self`).
        match unsafe { ffi::sqlite3_reset(self.stmt.as_ptr()) } {
            ffi::SQLITE_OK => Ok(()),
            code => Err(failure(conn, code)),
        }
    }

    /// Set every parameter to null, so that no value keeps memory. But leave integers: SQLite
    /// compiles some statements again when one changes, such as the maximum number of rows, and in
    /// the next run it may be the same. Every run binds all parameters before its first step.
    pub(crate) fn clear_bindings(&mut self) {
        let count = self.parameter_count();
        if count > INTEGERS {
            // SAFETY: the statement is live.
            unsafe { ffi::sqlite3_clear_bindings(self.stmt.as_ptr()) };
            return;
        }
        for at in (0..count).filter(|at| self.integers & (1 << at) == 0) {
            // SAFETY: the statement is live. There are few parameters.
            unsafe { ffi::sqlite3_bind_null(self.stmt.as_ptr(), at as c_int + 1) };
        }
    }

    /// Bind one parameter, counted from 1. The bytes are copied.
    pub(crate) fn bind(
        &mut self,
        conn: &Connection,
        index: usize,
        value: RawValue<'_>,
    ) -> Result<()> {
        let stmt = self.stmt.as_ptr();
        let bit = match index {
            1..=INTEGERS => 1 << (index - 1),
            _ => 0,
        };
        let index = c_int::try_from(index)
            .map_err(|_| Error::new(ErrorKind::Parameters, "too many parameters"))?;
        let is_integer = matches!(value, RawValue::Integer(_));
        if is_integer && self.integers & bit == 0 {
            // An integer would keep the memory of a text before it, and stays in the cache.
            // SAFETY: the statement is live.
            unsafe { ffi::sqlite3_bind_null(stmt, index) };
        }
        match is_integer {
            true => self.integers |= bit,
            false => self.integers &= !bit,
        }
        // SAFETY: the statement is live. Text and blobs are valid for their length, which is
        // given; SQLITE_TRANSIENT makes SQLite copy them before the call returns. An empty slice
        // has a non-null pointer, so SQLite stores an empty value and not a null.
        let code = unsafe {
            match value {
                RawValue::Null => ffi::sqlite3_bind_null(stmt, index),
                RawValue::Integer(value) => ffi::sqlite3_bind_int64(stmt, index, value),
                RawValue::Real(value) => ffi::sqlite3_bind_double(stmt, index, value),
                RawValue::Text(value) => ffi::sqlite3_bind_text64(
                    stmt,
                    index,
                    value.as_ptr().cast(),
                    value.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ffi::SQLITE_UTF8 as _,
                ),
                RawValue::Blob(value) => ffi::sqlite3_bind_blob64(
                    stmt,
                    index,
                    value.as_ptr().cast(),
                    value.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                ),
            }
        };
        if code == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(failure(conn, code))
        }
    }

    pub(crate) fn id(&self) -> StatementId {
        StatementId(self.stmt.as_ptr())
    }

    pub(crate) fn parameter_count(&self) -> usize {
        // SAFETY: the statement is live.
        unsafe { ffi::sqlite3_bind_parameter_count(self.stmt.as_ptr()) as usize }
    }

    /// The name of a parameter, counted from 1, with its prefix.
    pub(crate) fn parameter_name(&self, index: usize) -> Option<&str> {
        // SAFETY: the statement is live; SQLite answers null for an index out of range, and the
        // name lives as long as the statement.
        let name = unsafe {
            let name = ffi::sqlite3_bind_parameter_name(self.stmt.as_ptr(), index as c_int);
            if name.is_null() {
                return None;
            }
            CStr::from_ptr(name)
        };
        name.to_str().ok()
    }

    pub(crate) fn column_count(&self) -> usize {
        // SAFETY: the statement is live.
        unsafe { ffi::sqlite3_column_count(self.stmt.as_ptr()) as usize }
    }

    /// The name of a column, counted from 0. If a damaged schema has invalid UTF-8, it is replaced.
    pub(crate) fn column_name(&self, index: usize) -> String {
        // SAFETY: the statement is live; SQLite answers null for an index out of range. The
        // name is copied before any call that could move it.
        unsafe { text_of(ffi::sqlite3_column_name(self.stmt.as_ptr(), index as c_int)) }
            .unwrap_or_default()
    }

    /// The declared type of the table column behind a result column.
    pub(crate) fn column_declared_type(&self, index: usize) -> Option<String> {
        // SAFETY: as `column_name`.
        unsafe {
            text_of(ffi::sqlite3_column_decltype(
                self.stmt.as_ptr(),
                index as c_int,
            ))
        }
    }

    /// A value of the current row, counted from 0; null if there is no row or no such column.
    pub(crate) fn column(&self, index: usize) -> RawValue<'_> {
        // SAFETY: the statement is live; SQLite answers a null for a column out of range. The value
        // may be looked at, because no other thread uses the connection meanwhile
        // (<https://sqlite.org/c3ref/value.html>): asked of the value, its type, bytes and length
        // take one look at the row instead of three. The bytes stay where they are until the next
        // step, reset or finalize, which need `&mut self`, and no conversion follows that would
        // move them.
        unsafe {
            let value = ffi::sqlite3_column_value(self.stmt.as_ptr(), index as c_int);
            match ffi::sqlite3_value_type(value) {
                ffi::SQLITE_INTEGER => RawValue::Integer(ffi::sqlite3_value_int64(value)),
                ffi::SQLITE_FLOAT => RawValue::Real(ffi::sqlite3_value_double(value)),
                ffi::SQLITE_TEXT => {
                    let data = ffi::sqlite3_value_text(value);
                    RawValue::Text(bytes_of(data, ffi::sqlite3_value_bytes(value)))
                }
                ffi::SQLITE_BLOB => {
                    let data = ffi::sqlite3_value_blob(value);
                    RawValue::Blob(bytes_of(data.cast(), ffi::sqlite3_value_bytes(value)))
                }
                _ => RawValue::Null,
            }
        }
    }

    /// The memory that the program uses, in bytes
    /// (<https://sqlite.org/c3ref/c_stmtstatus_counter.html>, `SQLITE_STMTSTATUS_MEMUSED`).
    pub(crate) fn memory_used(&self) -> u32 {
        // SAFETY: the statement is live; nothing is reset.
        let bytes = unsafe {
            ffi::sqlite3_stmt_status(self.stmt.as_ptr(), ffi::SQLITE_STMTSTATUS_MEMUSED, 0)
        };
        u32::try_from(bytes).unwrap_or(0)
    }

    /// How many times SQLite has compiled it again, because the schema had changed, or for other
    /// values of its parameters
    /// (<https://sqlite.org/c3ref/c_stmtstatus_counter.html>, `SQLITE_STMTSTATUS_REPREPARE`).
    pub(crate) fn recompile_count(&self) -> i32 {
        // SAFETY: the statement is live; nothing is reset.
        unsafe { ffi::sqlite3_stmt_status(self.stmt.as_ptr(), ffi::SQLITE_STMTSTATUS_REPREPARE, 0) }
    }

    /// The text that it was compiled from (<https://sqlite.org/c3ref/expanded_sql.html>).
    pub(crate) fn sql(&self) -> String {
        // SAFETY: the statement is live, and so is its text.
        let text = unsafe { text_of(ffi::sqlite3_sql(self.stmt.as_ptr())) };
        text.unwrap_or_default()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: the statement is live.
        unsafe { ffi::sqlite3_stmt_readonly(self.stmt.as_ptr()) != 0 }
    }

    /// `EXPLAIN` and `EXPLAIN QUERY PLAN` describe a statement, and run nothing.
    pub(crate) fn is_explain(&self) -> bool {
        // SAFETY: the statement is live.
        unsafe { ffi::sqlite3_stmt_isexplain(self.stmt.as_ptr()) != 0 }
    }
}

impl Drop for RawStatement {
    fn drop(&mut self) {
        // SAFETY: the statement is live until here, and nothing borrows from it.
        unsafe { ffi::sqlite3_finalize(self.stmt.as_ptr()) };
    }
}

/// The bytes at `data`; empty for a null pointer, which SQLite returns for an empty blob and when
/// out of memory.
///
/// # Safety
///
/// `data` is null, or valid for `len` bytes during `'a`.
unsafe fn bytes_of<'a>(data: *const u8, len: c_int) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, usize::try_from(len).unwrap_or(0)) }
}
