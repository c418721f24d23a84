//! The owned form of a compiled statement, and the few calls of SQLite that rusqlite does not
//! have in the shape needed here.
//!
//! rusqlite's statements borrow their connection, while a guest's live as handles, for as long
//! as it likes. So a statement here owns its `sqlite3_stmt` and borrows nothing, under one rule:
//!
//! **Invariant:** a `RawStatement` and its `Connection` are fields of one `Db`, which one thread at
//! a time has, behind a mutex or as its owner, and which drops its statements before its
//! connection. So no statement is touched by two threads at once, which SQLite's multi-thread mode
//! asks for (<https://sqlite.org/threadsafe.html>), and none outlives its connection. Should one do
//! so by mistake, `sqlite3_close` refuses (<https://sqlite.org/c3ref/close.html>) and the
//! connection leaks: nothing dangles.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rusqlite::{Connection, ffi};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::memory;
use crate::ffi::vfs::identity::Identity;
use crate::text::SqlText;
use crate::watch::Watch;
use millpond_pool::engine::RawValue;

/// What is longer, in bytes, may take long to compile.
pub(crate) const BRIEF_TEXT: usize = 4 * 1024;

/// A compiled statement.
#[derive(Debug)]
pub(crate) struct RawStatement {
    stmt: NonNull<ffi::sqlite3_stmt>,
    /// The longest value that it may handle, in bytes, where that is another than any may be.
    max_length: Option<u32>,
}

// SAFETY: SQLite's multi-thread mode lets a statement move between threads as long as one at a
// time uses it and its connection: the module's invariant.
unsafe impl Send for RawStatement {}

/// Which of a connection's statements is running for a guest.
#[derive(Debug, Default)]
pub(crate) struct Running {
    stmt: AtomicPtr<ffi::sqlite3_stmt>,
    /// It takes long to compile it again.
    is_long: AtomicBool,
}

impl Running {
    /// A statement begins to run. Returns the one that ran until now.
    pub(crate) fn begin(&self, statement: StatementId, is_long: bool) -> StatementId {
        // Only one thread at a time uses it.
        let before = self.stmt.load(Ordering::Relaxed);
        self.stmt.store(statement.0, Ordering::Relaxed);
        self.is_long.store(is_long, Ordering::Relaxed);
        StatementId(before)
    }

    /// It has ended, and must not be dropped before.
    pub(crate) fn end(&self, before: StatementId) {
        self.stmt.store(before.0, Ordering::Relaxed);
    }

    /// Its text; empty where none runs.
    pub(crate) fn sql(&self) -> String {
        let stmt = self.stmt.load(Ordering::Relaxed);
        if stmt.is_null() {
            return String::new();
        }
        // SAFETY: a statement that lives, by `end`, and keeps its text as long.
        let text = unsafe { text_of(ffi::sqlite3_sql(stmt)) };
        text.unwrap_or_default()
    }

    /// Whether it is about to take its first step. What SQLite compiles now is that statement, once
    /// more, because the schema has changed; later, it is a virtual table's own.
    pub(crate) fn is_beginning(&self) -> bool {
        let stmt = self.stmt.load(Ordering::Relaxed);
        // SAFETY: null, or a statement that lives, by `end`. SQLite asks on the thread that runs
        // it.
        !stmt.is_null() && unsafe { ffi::sqlite3_stmt_busy(stmt) == 0 }
    }

    /// Whether it takes long to compile it again.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }
}

/// Names a statement while it lives, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatementId(*mut ffi::sqlite3_stmt);

impl StatementId {
    pub(crate) const NONE: StatementId = StatementId(ptr::null_mut());
}

/// Whether a step came to a row or to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Row,
    Done,
}

impl RawStatement {
    /// Compile the first statement of `sql` from the byte `start` on. Returns it, or `None` where
    /// there is only space or a comment, and where it ends.
    ///
    /// SQLite would copy a text that does not end in a NUL, whole, for each of its statements: a
    /// guest could make that take hours.
    pub(crate) fn prepare(
        conn: &Connection,
        sql: &SqlText<'_>,
        start: usize,
    ) -> Result<(Option<RawStatement>, usize)> {
        let text = sql.from(start);
        let len = c_int::try_from(text.len())
            .map_err(|_| Error::sqlite(ffi::SQLITE_TOOBIG, "the SQL text is too long", None))?;
        // Without lookaside: a long one must end when the allocator refuses.
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
        // SQLite leaves `tail` within the text it was given, at the end of the statement.
        let read = (tail as usize).saturating_sub(text.as_ptr() as usize);
        let end = (start + read).min(sql.len());
        let raw = NonNull::new(stmt).map(|stmt| RawStatement {
            stmt,
            max_length: None,
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

    /// Apart, because hardly a statement needs it, and this is the innermost loop.
    #[cold]
    fn step_at_other_length(&mut self, conn: &Connection, bytes: u32) -> Result<Step> {
        let _back = LengthLimit::set_for_now(conn, bytes);
        self.step_at_length(conn)
            .map_err(|error| match error.code() & 0xff {
                ffi::SQLITE_TOOBIG => error.with_message(format!(
                    "a value has more than {bytes} bytes, which is too long for what this \
                     statement does with it: divide it"
                )),
                _ => error,
            })
    }

    /// Back to before the first step. The result of the last step is dropped: it was reported.
    pub(crate) fn reset(&mut self) {
        // SAFETY: the statement is live, and nothing borrowed from its row is (`&mut self`).
        unsafe { ffi::sqlite3_reset(self.stmt.as_ptr()) };
    }

    /// As [`reset`](RawStatement::reset), before the last row: what that comes to.
    pub(crate) fn finish(&mut self, conn: &Connection) -> Result<()> {
        // SAFETY: the statement is live, and nothing borrowed from its row is (`&mut self`).
        match unsafe { ffi::sqlite3_reset(self.stmt.as_ptr()) } {
            ffi::SQLITE_OK => Ok(()),
            code => Err(failure(conn, code)),
        }
    }

    /// Every parameter null, so that no value of one user reaches the next.
    pub(crate) fn clear_bindings(&mut self) {
        // SAFETY: the statement is live.
        unsafe { ffi::sqlite3_clear_bindings(self.stmt.as_ptr()) };
    }

    /// Bind one parameter, counted from 1. The bytes are copied.
    pub(crate) fn bind(
        &mut self,
        conn: &Connection,
        index: usize,
        value: RawValue<'_>,
    ) -> Result<()> {
        let stmt = self.stmt.as_ptr();
        let index = c_int::try_from(index)
            .map_err(|_| Error::new(ErrorKind::Parameters, "too many parameters"))?;
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

    /// The name of a column, counted from 0. A damaged schema may hold bytes that are no
    /// UTF-8: they are replaced.
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

    /// A value of the current row, counted from 0; null where there is no row or no such column.
    pub(crate) fn column(&self, index: usize) -> RawValue<'_> {
        // SAFETY: the statement is live; SQLite answers a null for a column out of range. The value
        // may be looked at, because nobody else uses the connection meanwhile
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

    /// How much memory the program takes, in bytes
    /// (<https://sqlite.org/c3ref/c_stmtstatus_counter.html>, `SQLITE_STMTSTATUS_MEMUSED`).
    pub(crate) fn memory_used(&self) -> u32 {
        // SAFETY: the statement is live; nothing is reset.
        let bytes = unsafe {
            ffi::sqlite3_stmt_status(self.stmt.as_ptr(), ffi::SQLITE_STMTSTATUS_MEMUSED, 0)
        };
        u32::try_from(bytes).unwrap_or(0)
    }

    /// Whether SQLite has compiled it again since, because the schema had changed
    /// (<https://sqlite.org/c3ref/c_stmtstatus_counter.html>, `SQLITE_STMTSTATUS_REPREPARE`).
    pub(crate) fn was_recompiled(&self) -> bool {
        // SAFETY: the statement is live; nothing is reset.
        unsafe {
            ffi::sqlite3_stmt_status(self.stmt.as_ptr(), ffi::SQLITE_STMTSTATUS_REPREPARE, 0) > 0
        }
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

/// Pretend that the connection last inserted the row `rowid`
/// (<https://sqlite.org/c3ref/set_last_insert_rowid.html>).
pub(crate) fn set_last_insert_rowid(conn: &Connection, rowid: i64) {
    // SAFETY: the connection is open.
    unsafe { ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
}

/// Give the connection enough of the memory that SQLite compiles short statements in without asking
/// the allocator (<https://sqlite.org/malloc.html#lookaside>): beside what it has by default, for
/// `kept` statements that stay compiled, each of which keeps its share. To be called before
/// anything else is done with the connection. SQLite does without where there is too little memory.
pub(crate) fn set_lookaside(conn: &Connection, kept: usize) -> Result<()> {
    /// As SQLite does by itself.
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

/// Ask `watch` whether to go on waiting, wherever SQLite finds the database locked by another
/// process (<https://sqlite.org/c3ref/busy_handler.html>). rusqlite's own handler is a function
/// without data, which cannot know of a deadline.
///
/// The handler lasts as long as the connection, and `watch` must outlast it: the connection's
/// owner keeps both, and drops the connection first.
pub(crate) fn set_busy_handler(conn: &Connection, watch: &Arc<Watch>) -> Result<()> {
    unsafe extern "C" fn wait(watch: *mut c_void, tries: c_int) -> c_int {
        // SAFETY: the `Watch` that was given below, which is shared and lives.
        let watch = unsafe { &*watch.cast::<Watch>() };
        c_int::from(watch.wait_busy(u32::try_from(tries).unwrap_or(u32::MAX)))
    }
    let data = Arc::as_ptr(watch).cast_mut().cast();
    // SAFETY: the connection is open; `data` is what `wait` takes it for, and only read.
    match unsafe { ffi::sqlite3_busy_handler(conn.handle(), Some(wait), data) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(failure(conn, code)),
    }
}

/// Is told how long each commit leaves the log, in pages. False where it can do nothing about it.
pub(crate) trait LogLength {
    fn committed(&self, pages: u32) -> bool;
}

/// Tell `log` how long each commit leaves the log, in place of SQLite's own way
/// (<https://sqlite.org/c3ref/wal_hook.html>), which has the commit write it into the database; or
/// do so too where there is no other way.
///
/// The hook lasts as long as the connection, and `log` must outlast it, as for
/// [`set_busy_handler`].
pub(crate) fn set_log_hook<L: LogLength>(conn: &Connection, log: &Arc<L>) {
    unsafe extern "C" fn committed<L: LogLength>(
        log: *mut c_void,
        db: *mut ffi::sqlite3,
        schema: *const c_char,
        pages: c_int,
    ) -> c_int {
        // SAFETY: what was given below, which is shared and lives.
        let log = unsafe { &*log.cast::<L>() };
        if !log.committed(u32::try_from(pages).unwrap_or(0)) {
            // What it comes to is nothing to the commit, which has succeeded: the next one tries
            // again.
            // SAFETY: SQLite's own arguments; neither number is asked for.
            unsafe {
                ffi::sqlite3_wal_checkpoint_v2(
                    db,
                    schema,
                    ffi::SQLITE_CHECKPOINT_PASSIVE,
                    ptr::null_mut(),
                    ptr::null_mut(),
                );
            }
        }
        ffi::SQLITE_OK
    }
    let data = Arc::as_ptr(log).cast_mut().cast();
    // SAFETY: the connection is open; `data` is what `committed` takes it for, and only read.
    unsafe { ffi::sqlite3_wal_hook(conn.handle(), Some(committed::<L>), data) };
}

/// What SQLite's progress handler and commit hook are given.
#[derive(Debug)]
pub(crate) struct Progress {
    watch: Arc<Watch>,
    running: Arc<Running>,
    identity: Option<Arc<Identity>>,
    db: *mut ffi::sqlite3,
}

// SAFETY: the handle is used where SQLite calls the handler, by the thread that uses the
// connection.
unsafe impl Send for Progress {}

/// Ask `watch` whether to go on, every `steps` instructions
/// (<https://sqlite.org/c3ref/progress_handler.html>), and whether to commit
/// (<https://sqlite.org/c3ref/commit_hook.html>), and tell it how much has been written: which
/// rusqlite's own handlers, closures, could not look at.
///
/// What is returned must outlast the connection: the connection's owner keeps both, and drops the
/// connection first.
pub(crate) fn set_hooks(
    conn: &Connection,
    steps: c_int,
    watch: &Arc<Watch>,
    running: &Arc<Running>,
    identity: &Option<Arc<Identity>>,
) -> Box<Progress> {
    unsafe extern "C" fn go_on(progress: *mut c_void) -> c_int {
        // SAFETY: the `Progress` that was given below, which lives as long as the connection.
        let Progress {
            watch, running, db, ..
        } = unsafe { &*progress.cast::<Progress>() };
        // SAFETY: the connection is open: it is calling.
        let written = || unsafe { pages_written_of(*db) };
        // A row is indexed by one instruction.
        memory::forget_row();
        c_int::from(watch.progress(written, || !running.is_beginning()))
    }
    unsafe extern "C" fn roll_back(progress: *mut c_void) -> c_int {
        // SAFETY: as above.
        let Progress {
            watch,
            db,
            identity,
            ..
        } = unsafe { &*progress.cast::<Progress>() };
        if identity
            .as_ref()
            .is_some_and(|identity| identity.was_lost())
        {
            return 1;
        }
        // SAFETY: as above.
        let written = unsafe { pages_written_of(*db) };
        c_int::from(!watch.may_commit(written))
    }
    // SAFETY: the connection is open.
    let db = unsafe { conn.handle() };
    let mut progress = Box::new(Progress {
        watch: Arc::clone(watch),
        running: Arc::clone(running),
        identity: identity.clone(),
        db,
    });
    let data = (&raw mut *progress).cast();
    // SAFETY: as above; `progress` is what both functions take it for, stays where it is, and is
    // only read.
    unsafe {
        ffi::sqlite3_progress_handler(db, steps, Some(go_on), data);
        ffi::sqlite3_commit_hook(db, Some(roll_back), data);
    }
    progress
}

/// Leaves the log and the shared memory as they are, if the connection's file is lost by the time
/// that it closes: what has their names may belong to another file. To be dropped before the
/// connection, whose owner keeps both.
#[derive(Debug)]
pub(crate) struct LeavesLog {
    db: *mut ffi::sqlite3,
    identity: Option<Arc<Identity>>,
}

// SAFETY: the handle is used as this is dropped, by the thread that owns the connection.
unsafe impl Send for LeavesLog {}

impl LeavesLog {
    /// Until it is known which file was opened, leave them anyhow.
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

    /// The file is the one that was to be opened.
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

/// How many pages the connection has written, to the log or the file, since it was opened
/// (<https://sqlite.org/c3ref/c_dbstatus_options.html>, `SQLITE_DBSTATUS_CACHE_WRITE`).
pub(crate) fn pages_written(conn: &Connection) -> u64 {
    // SAFETY: the connection is open.
    unsafe { pages_written_of(conn.handle()) }
}

/// # Safety
///
/// `db` is an open connection, which this thread alone uses.
unsafe fn pages_written_of(db: *mut ffi::sqlite3) -> u64 {
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

/// Whether no foreign key constraint that is checked at the commit is broken as it stands
/// (<https://sqlite.org/c3ref/c_dbstatus_options.html>, `SQLITE_DBSTATUS_DEFERRED_FKS`).
pub(crate) fn constraints_hold(conn: &Connection) -> bool {
    status(conn, ffi::SQLITE_DBSTATUS_DEFERRED_FKS) == Some(0)
}

/// How much memory the schema takes, in bytes (`SQLITE_DBSTATUS_SCHEMA_USED`, as above).
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
    fn set_for_now(conn: &Connection, bytes: u32) -> RaiseLength {
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
struct RaiseLength(LengthLimit);

impl Drop for RaiseLength {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Whether an interrupt is on, until every statement of the connection has ended
/// (<https://sqlite.org/c3ref/interrupt.html>).
pub(crate) fn is_interrupted(conn: &Connection) -> bool {
    // SAFETY: the connection is open.
    unsafe { ffi::sqlite3_is_interrupted(conn.handle()) != 0 }
}

/// Reset every statement that is under way, so that an interrupt is no longer on. Returns whether
/// any was.
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

/// How far a transaction has got (<https://sqlite.org/c3ref/txn_state.html>).
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

/// The error that the connection's last call ended with. Its text is copied: the next call
/// overwrites it.
fn failure(conn: &Connection, code: c_int) -> Error {
    // SAFETY: the connection is open, and this thread alone uses it, so that the text is this
    // call's and stays until it is copied.
    unsafe {
        let db = conn.handle();
        let message = shortened(text_of(ffi::sqlite3_errmsg(db)).unwrap_or_default());
        let offset = u32::try_from(ffi::sqlite3_error_offset(db)).ok();
        Error::sqlite(code, message, offset)
    }
}

/// SQLite quotes what it stumbles over, which a guest can make as long as a text may be.
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
unsafe fn text_of(text: *const c_char) -> Option<String> {
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

/// The bytes at `data`; none for a null pointer, which SQLite returns for an empty blob and
/// when it is out of memory.
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
