//! Makes FTS5 (<https://sqlite.org/fts5.html>) respect the deadline. SQLite calls its progress
//! handler between instructions, but FTS5 does most of its work within one: tokenizing a text,
//! `highlight`, `snippet` and `bm25` take as long as they like. A guest chooses the text, the table
//! and the query, and some of that work takes quadratic time.
//!
//! So each connection gets tokenizers that check the deadline (`tokenizers`), and replacements of
//! the auxiliary functions that take linear time, check it too, and return the same results
//! (`highlight`, `snippet`, `bm25`). On a damaged index they may return a result where SQLite's
//! functions return an error, because they read the positions of words differently.
//! `integrity-check` reports such damage. `fts5_get_locale` stays SQLite's: it copies one short
//! text.
#![expect(
    unsafe_code,
    reason = "FTS5's C interface; each block states why it holds"
)]

mod bm25;
mod call;
mod highlight;
mod matches;
mod score;
mod sentences;
mod snippet;
mod tokenizers;

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rusqlite::{Connection, ffi};

use self::bm25::Bm25;
use self::call::Auxiliary;
use self::highlight::Highlight;
use self::snippet::Snippet;
pub(crate) use self::tokenizers::{MAX_QUERY_WORDS, MAX_ROW_WORDS};
use crate::deadline::Watch;
use crate::error::{Error, Result};

/// Replace what does not check the deadline. Does nothing if SQLite was built without FTS5. Call it
/// before the connection uses any FTS5 table. `watch` must outlive the connection, as for
/// [`functions::install`](crate::ffi::functions::install).
pub(crate) fn install(conn: &Connection, watch: &Arc<Watch>) -> Result<()> {
    let Some(api) = api(conn)? else {
        return Ok(());
    };
    tokenizers::install(api)?;
    create_function::<Highlight>(api, watch)?;
    create_function::<Snippet>(api, watch)?;
    create_function::<Bm25>(api, watch)
}

fn create_function<F: Auxiliary>(api: NonNull<ffi::fts5_api>, watch: &Arc<Watch>) -> Result<()> {
    let data = Arc::as_ptr(watch).cast_mut().cast();
    // SAFETY: the connection's own `fts5_api`, and the connection is open. The name ends in a
    // NUL. The data is a `Watch` that outlives the connection, as `call::run` requires.
    let code = unsafe {
        match api.as_ref().xCreateFunction {
            None => ffi::SQLITE_ERROR,
            Some(create) => create(
                api.as_ptr(),
                F::NAME.as_ptr(),
                data,
                Some(call::run::<F>),
                None,
            ),
        }
    };
    check(code, "an auxiliary function of FTS5")
}

/// This connection's FTS5 interface, if SQLite has FTS5
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
