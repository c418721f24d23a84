//! SQLite without a sandbox: rusqlite, and a pool of its connections, with Millpond's settings.

use millpond_sqlite::Synchronous;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// A connection with the default settings of Millpond's pool.
pub(crate) fn open(path: &Path, synchronous: Synchronous) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", format!("{synchronous:?}"))?;
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// A pool of such connections.
pub(crate) fn pool(path: &Path, synchronous: Synchronous, size: u32) -> r2d2::Pool<Manager> {
    let path = path.to_owned();
    r2d2::Pool::builder()
        .max_size(size)
        // As r2d2_sqlite is mostly used: a connection is not tested at each checkout.
        .test_on_check_out(false)
        .build(Manager { path, synchronous })
        .expect("a pool")
}

/// Like that of `r2d2_sqlite`, which requires a different version of rusqlite.
#[derive(Debug)]
pub(crate) struct Manager {
    path: PathBuf,
    synchronous: Synchronous,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        open(&self.path, self.synchronous)
    }

    fn is_valid(&self, conn: &mut Connection) -> Result<(), rusqlite::Error> {
        conn.execute_batch("")
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}
