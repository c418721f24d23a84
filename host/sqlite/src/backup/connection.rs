//! Connections of the operator's, not a guest's: to read a database that may be in use.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_pool::clock::{self, NEVER};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use super::{BackupError, Cancel};
use crate::deadline::{Watch, Watched};
use crate::error::{Error, ErrorKind};
use crate::ffi::leaves_log::LeavesLog;
use crate::ffi::length::LengthLimit;
use crate::ffi::memory::{Budget, Scope};
use crate::ffi::{fts5, functions};
use crate::math;
use crate::open::{Location, PROGRESS_INTERVAL, cannot_open, limit_definitions};

/// How long to wait for another process that has the database locked, and between two checks
/// whether to stop.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The maximum memory that SQLite may use for a connection, in bytes: a guest chooses what an index
/// or a constraint computes.
const MAX_MEMORY: u64 = 256 << 20;

/// A connection in a read transaction. As on a pool's connection, what a guest has stored in the
/// database can only use limited memory and, in [`run`](Snapshot::run), limited time.
pub(super) struct Snapshot {
    // Before the connection: see there.
    _log: LeavesLog,
    conn: Connection,
    // After the connection, whose functions and memory use these.
    watch: Arc<Watch>,
    watched: Arc<Watched>,
    memory: Budget,
    /// The size of the database.
    pub(super) pages: u64,
}

impl Snapshot {
    /// Begin a read transaction on a database. `location` must outlive it.
    ///
    /// A database whose folder can be written is opened for writing, although nothing is written:
    /// the last connection to close then removes the log, as any other does.
    pub(super) fn begin(location: &Location, cancel: &Cancel) -> Result<Snapshot, BackupError> {
        begin(location, cancel).map_err(|error| {
            if error.kind() == ErrorKind::DeadlineExceeded && cancel.is_cancelled() {
                return BackupError::Cancelled;
            }
            explain(location, error).into()
        })
    }
}

fn begin(location: &Location, cancel: &Cancel) -> Result<Snapshot, Error> {
    exists(location)?;
    location.create(true)?;
    location.remember();
    let read_only = location
        .file()
        .is_some_and(|(folder, _)| folder.is_read_only());
    let access = match read_only {
        true => OpenFlags::SQLITE_OPEN_READ_ONLY,
        false => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let mut memory = Budget::new(MAX_MEMORY);
    let scope = memory.enter();
    let mut conn = location.connect(flags(access))?;
    let log = location.guard_log(&conn);
    let watch = Arc::new(Watch::new(Arc::default(), LOOK_AGAIN));
    memory.set_watch(&watch);
    conn.busy_timeout(LOOK_AGAIN)?;
    let (asked, watching) = (cancel.clone(), Arc::clone(&watch));
    let stops = move || asked.is_cancelled() || watching.look();
    conn.progress_handler(PROGRESS_INTERVAL, Some(stops))?;
    // What a guest has stored may be a trap for who reads it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    limit_definitions(&conn)?;
    // A constraint or an index may call these.
    functions::install(&conn, &watch)?;
    math::install(&conn)?;
    let watched = Watched::new(
        &watch,
        conn.get_interrupt_handle(),
        memory.account(),
        LengthLimit::new(&conn),
    )?;
    conn.execute_batch("PRAGMA cell_size_check = ON; BEGIN")?;
    let pages = pages(&conn, cancel)?;
    // Replaced files are noticed when it closes.
    log.confirm();
    drop(scope);
    Ok(Snapshot {
        _log: log,
        conn,
        watch,
        watched,
        memory,
        pages: u64::try_from(pages).unwrap_or(0),
    })
}

impl Snapshot {
    /// Until the scope is dropped, the memory that this thread uses counts against the connection's
    /// limit.
    pub(super) fn enter(&self) -> Scope {
        self.memory.enter()
    }

    /// Run `work`, which may execute what a guest has stored. After `time` it is stopped, with an
    /// error of the kind `DeadlineExceeded`.
    pub(super) fn run<T>(
        &self,
        time: Duration,
        work: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _scope = self.enter();
        self.watch.start(clock::after(time), NEVER);
        self.watched.begin();
        // Installing reads the schema, so it must stop in time too. If the schema is damaged,
        // nothing uses FTS5, and `work` finds the damage.
        let result = match fts5::install(&self.conn, &self.watch) {
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => work(&self.conn),
        };
        self.watched.end();
        // SQLite may report as damage what it could not read any more.
        let is_late = self.watch.must_stop();
        self.watch.start(NEVER, NEVER);
        match is_late {
            false => result,
            true => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!(
                    "checking it takes longer than {:.1} s: an index, a generated column or a \
                     constraint computes for too long",
                    time.as_secs_f64()
                ),
            )),
        }
    }
}

/// The size of the database. Its transaction begins with this.
fn pages(conn: &Connection, cancel: &Cancel) -> Result<i64, Error> {
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        let pages = conn.query_row("PRAGMA page_count", [], |row| row.get(0));
        match pages.map_err(Error::from) {
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < until => {
                if cancel.is_cancelled() {
                    return Err(Error::sqlite(ffi::SQLITE_INTERRUPT, "cancelled", None));
                }
            }
            other => return other,
        }
    }
}

impl Deref for Snapshot {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

pub(super) fn flags(access: OpenFlags) -> OpenFlags {
    access
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
}

fn exists(location: &Location) -> Result<(), Error> {
    let Some((folder, file)) = location.file() else {
        return Ok(());
    };
    match folder.dir().symlink_metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(cannot_open(location.name(), "it does not exist"))
        }
        _ => Ok(()),
    }
}

/// The same error, with the name of the database.
fn explain(location: &Location, error: Error) -> Error {
    if error.kind() == ErrorKind::CannotOpen {
        return error;
    }
    let message = format!("cannot read the database {}: {error}", location.name());
    error.with_message(message)
}
