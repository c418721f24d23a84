//! Opens an SQLite connection with everything installed on it, and the errors for databases that
//! cannot be used.

mod callback;
mod configure;
mod location;
pub(crate) mod self_test;
pub(crate) mod settings;

use std::sync::Arc;

use millpond_pool::clock::NEVER;
use millpond_pool::engine::StopFlag;
use rusqlite::ffi::{SQLITE_CANTOPEN, SQLITE_READONLY};
use rusqlite::{Connection, OpenFlags};

pub(crate) use self::callback::AuthorizerCallback;
pub(crate) use self::configure::limit_definitions;
use self::configure::standing;
pub(crate) use self::location::{LOST, Location, cannot_open};
use self::settings::Settings;
use crate::deadline::Watch;
use crate::deadline::Watched;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::changes::{self, Changes};
use crate::ffi::fts5;
use crate::ffi::functions;
use crate::ffi::hooks::{self, Progress};
use crate::ffi::leaves_log::LeavesLog;
use crate::ffi::length::LengthLimit;
use crate::ffi::memory::Budget;
use crate::ffi::raw;
use crate::ffi::series;
use crate::ffi::statement::Running;
use crate::ffi::vfs::Folder;
use crate::ffi::vfs::identity::Identity;
use crate::math;
use crate::policy::Authorizer;
use crate::policy::hints::Hints;

/// VDBE instructions between two checks of the deadline. An instruction can be a function call on a
/// large value, so even this few can take milliseconds.
pub(crate) const PROGRESS_INTERVAL: i32 = 50;

/// A connection that is configured, and has read its database.
#[derive(Debug)]
pub(crate) struct Opened {
    // Before the connection: see there.
    pub(crate) log: LeavesLog,
    pub(crate) conn: Connection,
    pub(crate) callback: AuthorizerCallback,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) hints: Arc<Hints>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) running: Arc<Running>,
    pub(crate) changes: Arc<Changes>,
    // After the connection, whose handlers use it.
    pub(crate) progress: Box<Progress>,
    // After the connection, whose memory it counts.
    pub(crate) memory: Budget,
    /// The file that closing may remove the log from.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) _folder: Option<Arc<Folder>>,
}

impl Location {
    /// Open a connection. Blocks while opening the file, and while another process recovers the
    /// database: up to the busy timeout, and at most until `until`, by
    /// [`clock`](millpond_pool::clock).
    pub(crate) fn open(
        &self,
        settings: &Settings,
        stop: Arc<StopFlag>,
        until: u64,
    ) -> Result<Opened> {
        if self.is_lost() {
            return Err(cannot_open(&self.name, LOST));
        }
        let opened = self
            .open_inner(settings, stop, until)
            .map_err(|error| self.explain(error, settings.read_only))?;
        // Again: SQLite has resolved the name in between.
        if self.is_lost() {
            return Err(cannot_open(&self.name, LOST));
        }
        opened.log.confirm();
        Ok(opened)
    }

    fn open_inner(&self, settings: &Settings, stop: Arc<StopFlag>, until: u64) -> Result<Opened> {
        let mut memory = Budget::new(settings.max_memory_bytes);
        let _scope = memory.enter();
        // Not CREATE: a file that vanished must not reappear empty.
        let access = match settings.read_only {
            true => OpenFlags::SQLITE_OPEN_READ_ONLY,
            false => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let flags = access
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE
            | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let mut conn = self.connect(flags)?;
        let log = LeavesLog::new(&conn, &self.identity);
        let watch = Arc::new(Watch::new(stop, settings.busy_timeout));
        watch.start(until, NEVER);
        memory.set_watch(&watch);
        raw::set_lookaside(&conn, settings.statement_cache)?;
        // First, so that everything else waits for another process instead of failing.
        hooks::set_busy_handler(&conn, &watch)?;
        self.configure(&conn, settings, &watch)?;
        functions::install(&conn, &watch)?;
        let changes = Arc::default();
        changes::install(&conn, &changes)?;
        math::install(&conn)?;
        series::install(&conn)?;
        fts5::install(&conn, &watch)?;

        let hints = Arc::new(Hints::new(&self.slow_schema));
        hints.check_definitions(&conn);
        let authorizer = Arc::new(Authorizer::new(
            names_in(&conn, "module_list")?,
            names_in(&conn, "function_list")?,
            standing(&conn, settings, self.is_memory())?,
        ));
        let running = Arc::new(Running::default());
        let callback = AuthorizerCallback::new(&authorizer, &hints, &watch, &running);
        callback.install(&mut conn)?;
        let progress = hooks::set_hooks(&conn, PROGRESS_INTERVAL, &watch, &running, &self.identity);
        watch.start(NEVER, NEVER);
        let watched = Watched::new(
            &watch,
            conn.get_interrupt_handle(),
            memory.account(),
            LengthLimit::new(&conn),
        )?;
        Ok(Opened {
            log,
            conn,
            progress,
            callback,
            authorizer,
            hints,
            watch,
            watched,
            running,
            changes,
            memory,
            identity: self.identity.clone(),
            _folder: self.folder(),
        })
    }

    fn explain(&self, error: Error, read_only: bool) -> Error {
        let reason = match error.kind() {
            // Which of the two depends on whether the shared memory exists.
            _ if read_only && matches!(error.code() & 0xff, SQLITE_CANTOPEN | SQLITE_READONLY) => {
                "to read a database with a write-ahead log, SQLite needs a writable folder, or a \
                 read-only disk and an empty log: open it once where it can be written, and switch \
                 it to `PRAGMA journal_mode = DELETE` if the folder must stay read-only"
                    .to_owned()
            }
            ErrorKind::Corrupt if error.code() == rusqlite::ffi::SQLITE_NOTADB => {
                "it is not a SQLite database".to_owned()
            }
            // The statements here are our own, so the fault is in the file.
            ErrorKind::Corrupt | ErrorKind::Sql => format!("it is damaged: {error}"),
            ErrorKind::Busy => "another process has it locked".to_owned(),
            ErrorKind::TooLarge => {
                "a definition in its schema is longer than a value may be: raise max_value_bytes"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        let kind = match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Sql => ErrorKind::Corrupt,
            _ => ErrorKind::CannotOpen,
        };
        let message = cannot_open(&self.name, &reason).to_string();
        error.with_kind(kind).with_message(message)
    }
}

/// What the linked library has, by one of SQLite's lists: of modules, or of functions.
fn names_in(conn: &Connection, list: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare(&format!("SELECT DISTINCT name FROM pragma_{list}"))?
        .query_map([], |row| row.get(0))?
        .collect()
}
