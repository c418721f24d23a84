//! Opening one SQLite connection: where the file is, how it is set up, and what is said of a file
//! that cannot be used.

pub(crate) mod self_test;
pub(crate) mod settings;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cap_std::fs::{Dir, Metadata, OpenOptions};
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_CANTOPEN;
use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use self::settings::{Settings, Synchronous};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::changes::{self, Changes};
use crate::ffi::fts5;
use crate::ffi::functions;
use crate::ffi::memory::{self, Budget};
use crate::ffi::raw::{self, LeavesLog, LengthLimit, Progress, Running};
use crate::ffi::series;
use crate::ffi::vfs::identity::Identity;
use crate::ffi::vfs::{self, Folder};
use crate::limits::{MAX_ARGUMENTS, MAX_COLUMNS, MAX_COMPOUND, MAX_DEFINITION_BYTES, MAX_DEPTH};
use crate::math;
use crate::policy::Seen;
use crate::policy::hints::{Hints, has_slow_functions, reads_statistics};
use crate::watch::{Pace, Watch};
use crate::watchdog::Watched;
use millpond_pool::clock::NEVER;
use millpond_pool::engine::StopFlag;

/// Older versions can corrupt a write-ahead log that several connections write
/// (<https://sqlite.org/wal.html#walresetbug>), or overflow in FTS5.
const OLDEST_SQLITE: i32 = 3_053_002;

/// VDBE instructions between two looks at the deadline. One instruction can be a function's call
/// on a large value, so that even this few take milliseconds.
pub(crate) const PROGRESS_INTERVAL: i32 = 50;

/// How often the authorizer is asked between two looks at the deadline.
const AUTHORIZER_LOOKS: u32 = 32;

/// Limits that no setting changes (<https://sqlite.org/c3ref/c_limit_attached.html>). They keep
/// what one statement needs of time, stack and memory small, whatever a guest writes.
const LIMITS: &[(Limit, i32)] = &[
    // None: it bars ATTACH, and with it VACUUM INTO, which would write any file.
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32_766),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    // SQLite's own, wherever it was built with others. They hold for the schema too, which is the
    // operator's: what a guest sends has lower ones, see `compile`.
    (Limit::SQLITE_LIMIT_COLUMN, MAX_COLUMNS),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, MAX_COMPOUND),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, MAX_DEPTH),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, MAX_ARGUMENTS as i32),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 2_500),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_DEFINITION_BYTES),
    // A trigger's program takes memory for each level, and no stack.
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1_000),
];

/// What is left of the log, in bytes, once it has been written into the database: it grows
/// beyond while a transaction is large, or a reader keeps an old snapshot.
const JOURNAL_SIZE_LIMIT: u32 = 4 << 20;

/// A database, and how it is named in errors.
#[derive(Debug)]
pub(crate) struct Location {
    target: Target,
    name: String,
    /// `None` in memory.
    identity: Option<Arc<Identity>>,
    /// The schema has had slow functions in it: see [`Hints`].
    slow_schema: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Target {
    /// A file in an open folder: SQLite's name for it, and ours.
    File { folder: Arc<Folder>, file: OsString },
    /// A `file:` URI of SQLite's memdb VFS.
    Memory(String),
}

/// What has become of a file that is not where it was.
pub(crate) const LOST: &str =
    "its file was moved, replaced or deleted while it was open: close the pool, and open it again";

/// A connection that is set up and known to reach its database.
#[derive(Debug)]
pub(crate) struct Opened {
    // Before the connection: see there.
    pub(crate) log: LeavesLog,
    pub(crate) conn: Connection,
    pub(crate) seen: Arc<Seen>,
    pub(crate) hints: Arc<Hints>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) running: Arc<Running>,
    pub(crate) changes: Arc<Changes>,
    // After the connection, whose handler is given it.
    pub(crate) _progress: Box<Progress>,
    // After the connection, whose memory it counts.
    pub(crate) memory: Budget,
    /// Closing may remove the log from it.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) _folder: Option<Arc<Folder>>,
}

impl Location {
    /// A path that the operator gives. Symbolic links in it are followed, once, now.
    pub(crate) fn path(path: &Path) -> Result<Location> {
        let name = path.display().to_string();
        let (folder, file) = match fs::canonicalize(path) {
            Ok(resolved) => (
                resolved.parent().unwrap_or(Path::new("/")).to_owned(),
                resolved.file_name().unwrap_or_default().to_owned(),
            ),
            Err(_) => {
                let file = path
                    .file_name()
                    .ok_or_else(|| cannot_open(&name, "it is not a file name"))?;
                let folder = match path.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    _ => Path::new("."),
                };
                let folder = fs::canonicalize(folder).map_err(|error| match error.kind() {
                    IoErrorKind::NotFound => cannot_open(
                        &name,
                        &format!(
                            "the folder {} does not exist: create it first",
                            folder.display()
                        ),
                    ),
                    _ => cannot_open(&name, &error.to_string()),
                })?;
                (folder, file.to_owned())
            }
        };
        let folder =
            Folder::open(&folder).map_err(|error| cannot_open(&name, &error.to_string()))?;
        let identity = Identity::new(&folder, file.clone());
        Ok(Location {
            target: Target::File { folder, file },
            name,
            identity: Some(Arc::new(identity)),
            slow_schema: Arc::default(),
        })
    }

    /// A file in a folder that the embedder has opened. The name is one plain component.
    pub(crate) fn in_dir(dir: &Dir, name: &str) -> Result<Location> {
        let mut components = Path::new(name).components();
        let plain = matches!(
            (components.next(), components.next()),
            (Some(std::path::Component::Normal(part)), None) if part == name
        );
        if !plain || name.contains(['\0', '\\', ':']) {
            return Err(cannot_open(
                name,
                "the name of a database is one file name, without a folder",
            ));
        }
        let folder = Folder::of(dir).map_err(|error| cannot_open(name, &error.to_string()))?;
        let identity = Identity::new(&folder, name.into());
        let file = name.into();
        Ok(Location {
            target: Target::File { folder, file },
            name: name.to_owned(),
            identity: Some(Arc::new(identity)),
            slow_schema: Arc::default(),
        })
    }

    /// A database in memory that every connection of one pool shares.
    pub(crate) fn memory() -> Location {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A name that begins with a slash is shared: https://sqlite.org/inmemorydb.html
        Location {
            target: Target::Memory(format!("file:/millpond-{number}?vfs=memdb")),
            name: ":memory:".to_owned(),
            identity: None,
            slow_schema: Arc::default(),
        }
    }

    /// Remember which file it is: no other will be opened in its place.
    pub(crate) fn remember(&self) {
        if let Some(identity) = &self.identity {
            identity.remember();
        }
    }

    /// For its operator: guests are told no path.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.target, Target::Memory(_))
    }

    fn folder(&self) -> Option<Arc<Folder>> {
        match &self.target {
            Target::File { folder, .. } => Some(Arc::clone(folder)),
            Target::Memory(_) => None,
        }
    }

    /// Where SQLite is to keep what it sorts, and temporary tables: see `vfs`. A database
    /// in memory has another VFS, without them.
    pub(crate) fn temp_store(&self) -> &'static str {
        match self.is_memory() {
            true => "MEMORY",
            false => "FILE",
        }
    }

    /// Create the file where there is none, unless `read_only`, and say what is wrong
    /// with it where it is no file.
    pub(crate) fn create(&self, read_only: bool) -> Result<()> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(cannot_open(
                &self.name,
                &format!(
                    "SQLite {} is too old: 3.53.2 is needed",
                    rusqlite::version()
                ),
            ));
        }
        if !memory::is_installed() {
            return Err(cannot_open(
                &self.name,
                "SQLite was used before this program's `main`, so that its memory cannot be bounded",
            ));
        }
        let Target::File { folder, file } = &self.target else {
            return Ok(());
        };
        match folder.dir().symlink_metadata(file) {
            Ok(found) if found.is_file() && has_other_names(&found) => Err(cannot_open(
                &self.name,
                "it has several names (hard links), each of which would have a log of its own",
            )),
            Ok(found) if found.is_file() => Ok(()),
            Ok(found) if found.is_dir() => Err(cannot_open(&self.name, "it is a directory")),
            Ok(_) => Err(cannot_open(&self.name, "it is not a regular file")),
            Err(error) if error.kind() == IoErrorKind::NotFound && read_only => Err(cannot_open(
                &self.name,
                "it does not exist, and what is opened for reading only is not created",
            )),
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                create_private(folder.dir(), file)
                    .map_err(|error| cannot_open(&self.name, &error.to_string()))
            }
            Err(error) => Err(cannot_open(&self.name, &error.to_string())),
        }
    }

    /// Open a connection. Blocks for as long as opening a file takes, and where another process
    /// is just recovering the database, up to the busy timeout, and until `until` by
    /// [`clock`](millpond_pool::clock) at most.
    pub(crate) fn open(
        &self,
        settings: &Settings,
        stop: Arc<StopFlag>,
        until: u64,
    ) -> Result<Opened> {
        let is_lost = || {
            self.identity
                .as_ref()
                .is_some_and(|identity| identity.is_lost())
        };
        if is_lost() {
            return Err(cannot_open(&self.name, LOST));
        }
        let opened = self
            .open_inner(settings, stop, until)
            .map_err(|error| self.explain(error, settings.read_only))?;
        // Once more: SQLite has looked the name up in between.
        if is_lost() {
            return Err(cannot_open(&self.name, LOST));
        }
        opened.log.confirm();
        Ok(opened)
    }

    /// Open a connection that is not set up at all. This must outlive it.
    pub(crate) fn connect(&self, flags: OpenFlags) -> Result<Connection> {
        Ok(match &self.target {
            Target::File { folder, file } => {
                vfs::register()?;
                let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW;
                let path = folder.path_of(file);
                if flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) && self.is_immutable() {
                    let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                    return Ok(Connection::open_with_flags_and_vfs(
                        immutable(&path),
                        flags,
                        vfs::VFS,
                    )?);
                }
                Connection::open_with_flags_and_vfs(path, flags, vfs::VFS)?
            }
            Target::Memory(uri) => Connection::open_with_flags(
                uri,
                flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE,
            )?,
        })
    }

    /// Whether the file is on a read-only mount and not in use, so that SQLite may read it
    /// without the shared memory of a write-ahead log, which it could not make.
    fn is_immutable(&self) -> bool {
        let Target::File { folder, file } = &self.target else {
            return false;
        };
        let length = |suffix| {
            let mut name = file.clone();
            name.push(suffix);
            let found = folder.dir().symlink_metadata(name);
            found.ok().map(|found| found.len())
        };
        // Shared memory is there while the log is in use, by another mount perhaps; a journal
        // is of a transaction that was never finished.
        let unfinished = |suffix| length(suffix).is_some_and(|length| length > 0);
        folder.is_read_only()
            && length("-shm").is_none()
            && !unfinished("-wal")
            && !unfinished("-journal")
    }

    fn open_inner(&self, settings: &Settings, stop: Arc<StopFlag>, until: u64) -> Result<Opened> {
        let mut memory = Budget::new(settings.max_memory_bytes);
        let _scope = memory.enter();
        // Not CREATE: a file that vanished must not come back empty.
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
        // First of all, so that what follows waits for another process instead of failing.
        raw::set_busy_handler(&conn, &watch)?;
        self.configure(&conn, settings, &watch)?;
        functions::install(&conn, &watch)?;
        let changes = Arc::default();
        changes::install(&conn, &changes)?;
        math::install(&conn)?;
        series::install(&conn)?;
        fts5::install(&conn, &watch)?;

        if has_slow_functions(&conn) {
            self.slow_schema.store(true, Ordering::Relaxed);
        }
        let hints = Arc::new(Hints::new(&self.slow_schema));
        let seen = Arc::new(Seen::new(
            modules(&conn)?,
            standing(settings, self.is_memory()),
        ));
        let (authorizer, asked) = (Arc::clone(&seen), Arc::clone(&watch));
        let noted = Arc::clone(&hints);
        let running = Arc::new(Running::default());
        let asked_for = Arc::clone(&running);
        let mut times = 0_u32;
        conn.authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| {
            noted.see(&context);
            // SQLite compiles a statement again, in the midst of a call: run it aside.
            let again = !authorizer.trusts() && asked_for.is_beginning();
            if again {
                noted.set_schema_changed(true);
            }
            if again
                && asked.pace() == Pace::Runs
                && (asked_for.is_long() || !reads_statistics(&context.action))
                && asked.defer_start()
            {
                return Authorization::Deny;
            }
            // While it resolves names, SQLite calls nothing else of ours. Few statements take long,
            // and looking costs as much as the rest: so only now and then.
            times = times.wrapping_add(1);
            if !times.is_multiple_of(AUTHORIZER_LOOKS) {
                return authorizer.authorize(&context);
            }
            let ends = matches!(
                context.action,
                AuthAction::Transaction { .. } | AuthAction::Savepoint { .. }
            );
            match asked.look() && !ends && !authorizer.trusts() {
                true => Authorization::Deny,
                false => authorizer.authorize(&context),
            }
        }))?;
        let progress = raw::set_hooks(&conn, PROGRESS_INTERVAL, &watch, &running, &self.identity);
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
            _progress: progress,
            seen,
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

    fn configure(&self, conn: &Connection, settings: &Settings, watch: &Watch) -> Result<()> {
        // What https://sqlite.org/security.html asks for where SQL is not trusted.
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
            (DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        ] {
            if conn.set_db_config(setting, value)? != value {
                return Err(not_taken(format_args!("{setting:?}")));
            }
        }
        for (limit, value) in LIMITS {
            conn.set_limit(*limit, *value)?;
            if conn.limit(*limit)? > *value {
                return Err(not_taken(format_args!("{limit:?}")));
            }
        }
        let page_size: u32 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let max_pages = settings.max_database_bytes / u64::from(page_size.max(1));
        watch.set_max_written(settings.max_transaction_bytes / u64::from(page_size.max(1)));
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, settings.max_value_bytes as i32)?;

        if !self.is_memory() && !settings.read_only {
            if conn.is_readonly("main")? {
                return Err(Error::new(
                    ErrorKind::CannotOpen,
                    "the file or its disk cannot be written: make it writable, or open it for reading \
                     only",
                ));
            }
            let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            if mode != "wal" {
                return Err(Error::new(
                    ErrorKind::CannotOpen,
                    "its disk has no shared memory, which write-ahead logging needs: use a local disk",
                ));
            }
        }
        let synchronous = match settings.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        conn.execute_batch(&format!(
            "PRAGMA synchronous = {synchronous};
             PRAGMA cache_size = -{cache};
             PRAGMA mmap_size = {mmap};
             PRAGMA temp_store = {temp_store};
             PRAGMA cell_size_check = ON;
             PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT};
             PRAGMA max_page_count = {max_pages};",
            temp_store = self.temp_store(),
            cache = settings.cache_size / 1024,
            mmap = settings.mmap_size,
        ))?;
        // Reads the header and the schema, so that a file which is no database, or damaged
        // where it matters first, is found now and not by a guest.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(())
    }

    fn explain(&self, error: Error, read_only: bool) -> Error {
        let reason = match error.kind() {
            ErrorKind::Io if read_only && error.code() & 0xff == SQLITE_CANTOPEN => {
                "to read what has a write-ahead log, SQLite needs a folder that it can write, or or a \
                 read-only disk and an empty log: open it once where it can be written"
                    .to_owned()
            }
            ErrorKind::Corrupt if error.code() == rusqlite::ffi::SQLITE_NOTADB => {
                "it is not a SQLite database".to_owned()
            }
            // The statements here are our own: what is wrong is in the file.
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

/// A name for SQLite that says that the file does not change
/// (<https://sqlite.org/uri.html#uriimmutable>).
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'/' | b'-' | b'_' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// What SQLite was built without, or otherwise than this crate builds it.
fn not_taken(setting: std::fmt::Arguments<'_>) -> Error {
    let message = format!("the SQLite that this program is linked with refuses {setting}");
    Error::new(ErrorKind::CannotOpen, message)
}

/// Pragmas with the values that [`configure`](Location::configure) and SQLite's defaults give them,
/// in all the ways to write them.
fn standing(settings: &Settings, in_memory: bool) -> Vec<(&'static str, Vec<String>)> {
    let all = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let on = || all(&["1", "on", "yes", "true"]);
    let off = || all(&["0", "off", "no", "false"]);
    let one = |value: String| vec![value];
    vec![
        (
            "busy_timeout",
            one(settings.busy_timeout.as_millis().to_string()),
        ),
        (
            "cache_size",
            one(format!("-{}", settings.cache_size / 1024)),
        ),
        ("cell_size_check", on()),
        ("encoding", all(&["UTF-8", "UTF8"])),
        ("foreign_keys", on()),
        ("ignore_check_constraints", off()),
        (
            "journal_mode",
            match (in_memory, settings.read_only) {
                (true, _) => all(&["memory"]),
                (false, false) => all(&["wal"]),
                (false, true) => Vec::new(),
            },
        ),
        ("legacy_alter_table", off()),
        ("locking_mode", all(&["normal"])),
        ("mmap_size", one(settings.mmap_size.to_string())),
        ("read_uncommitted", off()),
        ("recursive_triggers", off()),
        (
            "synchronous",
            match settings.synchronous {
                Synchronous::Normal => all(&["1", "normal"]),
                Synchronous::Full => all(&["2", "full"]),
            },
        ),
        (
            "temp_store",
            match in_memory {
                true => all(&["2", "memory"]),
                false => all(&["1", "file"]),
            },
        ),
        ("trusted_schema", off()),
        ("writable_schema", off()),
    ]
}

/// The virtual tables that the linked library knows.
fn modules(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare("SELECT name FROM pragma_module_list")?
        .query_map([], |row| row.get(0))?
        .collect()
}

pub(crate) fn cannot_open(name: &str, reason: &str) -> Error {
    Error::new(
        ErrorKind::CannotOpen,
        format!("cannot open the database {name}: {reason}"),
    )
}

/// Create an empty file that nobody else on the machine may read. SQLite gives the log and the
/// shared memory beside it the same mode.
fn create_private(folder: &Dir, file: &OsStr) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match folder.open_with(file, &options) {
        // Another process was quicker.
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

#[cfg(unix)]
fn has_other_names(file: &Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    file.nlink() > 1
}

/// Other systems do not tell.
#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}
