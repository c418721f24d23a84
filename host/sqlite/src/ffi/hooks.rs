//! The callbacks of a connection: its busy handler, progress handler, commit hook and log hook.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use rusqlite::{Connection, ffi};

use super::memory;
use super::raw::{failure, pages_written_of};
use super::statement::Running;
use super::vfs::identity::Identity;
use crate::deadline::Watch;
use crate::error::Result;

/// Let `watch` decide whether to continue to wait when another process has the database locked
/// (<https://sqlite.org/c3ref/busy_handler.html>). rusqlite's own handler is a function without
/// data, which cannot know the deadline.
///
/// The handler lasts as long as the connection, and `watch` must outlive it: the connection's owner
/// keeps both, and drops the connection first.
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

/// Receives the log's length after each commit, in pages. Returns false if it cannot checkpoint.
pub(crate) trait LogLength {
    fn committed(&self, pages: u32) -> bool;
}

/// Report to `log` how long each commit leaves the log. This replaces SQLite's default hook
/// (<https://sqlite.org/c3ref/wal_hook.html>), which makes the committing connection checkpoint; if
/// `log` returns false, the connection still does.
///
/// The hook lasts as long as the connection, and `log` must outlive it, as for
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

/// The data of SQLite's progress handler and commit hook.
#[derive(Debug)]
pub(crate) struct Progress {
    watch: Arc<Watch>,
    running: Arc<Running>,
    identity: Option<Arc<Identity>>,
    db: *mut ffi::sqlite3,
    steps: c_int,
}

impl Progress {
    /// Make this the connection's progress handler, of which it has one: again, after another one
    /// has replaced it.
    pub(crate) fn install(&self) {
        unsafe extern "C" fn go_on(progress: *mut c_void) -> c_int {
            // SAFETY: the `Progress` that was given below, which lives as long as the connection.
            let Progress {
                watch, running, db, ..
            } = unsafe { &*progress.cast::<Progress>() };
            // SAFETY: the connection is open: it is calling.
            let written = || unsafe { pages_written_of(*db) };
            // One instruction indexes a row, so it is done now.
            memory::forget_row();
            c_int::from(watch.progress(written, || !running.is_beginning()))
        }
        let data = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the connection is open, because its owner drops it before this; `go_on` takes
        // `data` for what it is, which stays where it is, in its box, and is only read.
        unsafe { ffi::sqlite3_progress_handler(self.db, self.steps, Some(go_on), data) };
    }
}

// SAFETY: the handle is used where SQLite calls the handler, by the thread that uses the
// connection.
unsafe impl Send for Progress {}

/// Let `watch` decide whether to continue, every `steps` instructions
/// (<https://sqlite.org/c3ref/progress_handler.html>), and whether to commit
/// (<https://sqlite.org/c3ref/commit_hook.html>), and tell it how much has been written, which
/// rusqlite's closures cannot access. Also tell `running` of each row that changes
/// (<https://sqlite.org/c3ref/update_hook.html>), which takes a dozen instructions.
///
/// The result must outlive the connection: the connection's owner keeps both, and drops the
/// connection first.
pub(crate) fn set_hooks(
    conn: &Connection,
    steps: c_int,
    watch: &Arc<Watch>,
    running: &Arc<Running>,
    identity: &Option<Arc<Identity>>,
) -> Box<Progress> {
    unsafe extern "C" fn changed(
        progress: *mut c_void,
        _: c_int,
        _: *const c_char,
        _: *const c_char,
        _: ffi::sqlite3_int64,
    ) {
        // SAFETY: the `Progress` that was given below, which lives as long as the connection.
        let Progress { running, .. } = unsafe { &*progress.cast::<Progress>() };
        running.note_change();
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
    let progress = Box::new(Progress {
        watch: Arc::clone(watch),
        running: Arc::clone(running),
        identity: identity.clone(),
        db,
        steps,
    });
    progress.install();
    let data = ptr::from_ref(&*progress).cast_mut().cast();
    // SAFETY: as above; `progress` is what the functions take it for, stays where it is, and is
    // only read.
    unsafe {
        ffi::sqlite3_commit_hook(db, Some(roll_back), data);
        ffi::sqlite3_update_hook(db, Some(changed), data);
    }
    progress
}
