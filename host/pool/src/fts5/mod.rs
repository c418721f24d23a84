//! FTS5 (<https://sqlite.org/fts5.html>) that keeps to the deadline. SQLite asks its progress
//! handler between instructions, and FTS5 does most of its work within one: tokenizing a text
//! takes as long as it likes. A guest chooses the text, the table and the query.
//!
//! So each connection gets tokenizers that look at the deadline (`tokenizers`).
#![expect(
    unsafe_code,
    reason = "FTS5's C interface; each block states why it holds"
)]

mod tokenizers;
pub(crate) mod under_way;

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use rusqlite::{Connection, ffi};

use crate::error::{Error, Result};

/// Replace what does not look at the deadline. Does nothing if SQLite was built without FTS5.
/// Call it before the connection uses any table of FTS5.
pub(crate) fn install(conn: &Connection) -> Result<()> {
    let Some(api) = api(conn)? else {
        return Ok(());
    };
    tokenizers::install(api)
}

/// FTS5's interface of this connection, if SQLite has FTS5
/// (<https://sqlite.org/fts5.html#extending_fts5>).
fn api(conn: &Connection) -> Result<Option<NonNull<ffi::fts5_api>>> {
    let mut api: *mut ffi::fts5_api = ptr::null_mut();
    let mut stmt = ptr::null_mut();
    // SAFETY: the connection is open; the text ends in a NUL. The statement lives until it is
    // finalized below, after its last use. `api` outlives it, and the type in FTS5's name for
    // such a pointer is that of `api`.
    let code = unsafe {
        let sql = c"SELECT fts5(?1)".as_ptr();
        let code = ffi::sqlite3_prepare_v2(conn.handle(), sql, -1, &mut stmt, ptr::null_mut());
        if code != ffi::SQLITE_OK {
            // There is no such function.
            return match code {
                ffi::SQLITE_ERROR => Ok(None),
                code => check(code, "FTS5").map(|()| None),
            };
        }
        let name = c"fts5_api_ptr".as_ptr();
        ffi::sqlite3_bind_pointer(stmt, 1, (&raw mut api).cast(), name, None);
        ffi::sqlite3_step(stmt);
        ffi::sqlite3_finalize(stmt)
    };
    check(code, "FTS5")?;
    Ok(NonNull::new(api))
}

fn check(code: c_int, what: &str) -> Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        _ => {
            let message = format!("{what} cannot be replaced");
            Err(Error::sqlite(code, message, None))
        }
    }
}
