//! The databases: their names, files and counters, and how a file is opened.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::{Rc, Weak};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use wasip2::filesystem::types::PathFlags;

use crate::error::{Error, ErrorKind, Result};
use crate::lock::{self, Deadline};

/// The database that exists without being created or named.
const DEFAULT: &str = "default";
/// `MILLPOND_DB_NAME=path` names the file of the database `NAME`.
const VARIABLE: &str = "MILLPOND_DB_";
/// The most connections that a guest may hold, of each database.
pub(crate) const MAX_CONNECTIONS: u32 = 4;
/// The largest value, in bytes.
pub(crate) const MAX_VALUE_BYTES: i32 = 1 << 20;
/// The longest pattern of `LIKE` and `GLOB`, in bytes.
const MAX_PATTERN_BYTES: i32 = 1_000;

thread_local! {
    /// The databases that were used, by name.
    static DATABASES: RefCell<BTreeMap<String, Rc<Database>>> = RefCell::default();
}

/// A database of this instance.
pub(crate) struct Database {
    path: PathBuf,
    /// The connections that are lent.
    lent: RefCell<Vec<Lent>>,
    pub(crate) created: Cell<u64>,
    pub(crate) closed: Cell<u64>,
    pub(crate) rolled_back: Cell<u64>,
}

/// A connection that is lent, and its deadline, which tells it from others.
#[derive(Clone)]
struct Lent {
    conn: Weak<Connection>,
    deadline: Deadline,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.path)
            .finish()
    }
}

/// The names of the databases, in alphabetical order.
pub(crate) fn names() -> Vec<String> {
    let mut names = BTreeSet::from([DEFAULT.to_owned()]);
    for (variable, _) in std::env::vars() {
        let name = variable.strip_prefix(VARIABLE);
        names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
    }
    let files = folder().and_then(|folder| fs::read_dir(folder).ok());
    for file in files.into_iter().flatten().flatten() {
        let name = file.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".db"));
        names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
    }
    names.into_iter().collect()
}

/// The database of this name.
pub(crate) fn named(name: &str) -> Result<Rc<Database>, NoSuchDatabase> {
    if let Some(known) = DATABASES.with_borrow(|databases| databases.get(name).cloned()) {
        return Ok(known);
    }
    let database = Rc::new(Database {
        path: path_of(name).ok_or(NoSuchDatabase)?,
        lent: RefCell::default(),
        created: Cell::new(0),
        closed: Cell::new(0),
        rolled_back: Cell::new(0),
    });
    DATABASES.with_borrow_mut(|databases| databases.insert(name.to_owned(), Rc::clone(&database)));
    Ok(database)
}

/// There is no database of that name.
#[derive(Debug)]
pub(crate) struct NoSuchDatabase;

/// The file of a database: what its variable says, or `NAME.db` in the first preopened folder. The
/// file of `default` is created; every other must exist, because a misspelt name must be an error.
fn path_of(name: &str) -> Option<PathBuf> {
    if !is_name(name) {
        return None;
    }
    if let Some(path) = std::env::var_os(format!("{VARIABLE}{name}")) {
        return Some(path.into());
    }
    // Without a folder, opening fails, and says why.
    let file = folder().unwrap_or_default().join(format!("{name}.db"));
    (name == DEFAULT || file.exists()).then_some(file)
}

/// Names that are safe as a part of a file's name and of a variable's.
fn is_name(name: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(safe)
}

/// The first preopened folder.
fn folder() -> Option<PathBuf> {
    let mut folders = wasip2::filesystem::preopens::get_directories().into_iter();
    folders.next().map(|(_, name)| name.into())
}

impl Database {
    /// The connections that are lent now.
    pub(crate) fn in_use(&self) -> u32 {
        let mut lent = self.lent.borrow_mut();
        lent.retain(|lent| lent.conn.strong_count() > 0);
        u32::try_from(lent.len()).unwrap_or(u32::MAX)
    }

    /// Count a connection as lent no longer, though it is not closed.
    pub(crate) fn forget(&self, conn: &Rc<Connection>) {
        let mut lent = self.lent.borrow_mut();
        lent.retain(|lent| lent.conn.as_ptr() != Rc::as_ptr(conn));
    }

    /// Open a connection. Waits for the file's lock.
    pub(crate) fn open(
        self: &Rc<Database>,
        deadline: &Deadline,
        install: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<Rc<Connection>> {
        let conn = self.open_file(deadline, install).map_err(|error| {
            let error = Error::from(error);
            // SQLite's own message names a path.
            match (error.kind(), folder()) {
                (ErrorKind::Io, None) => error.with_message(
                    "the database cannot be opened: no folder is preopened (run with `--dir`)",
                ),
                (ErrorKind::Io, Some(_)) => error.with_message(
                    "the database cannot be opened: its folder is missing or cannot be written",
                ),
                _ => error,
            }
        })?;
        let conn = Rc::new(conn);
        self.lent.borrow_mut().push(Lent {
            conn: Rc::downgrade(&conn),
            deadline: deadline.clone(),
        });
        self.created.set(self.created.get() + 1);
        Ok(conn)
    }

    fn open_file(
        self: &Rc<Database>,
        deadline: &Deadline,
        install: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_EXRESCODE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(&self.path, flags)?;
        let (path, waiting) = (self.path.clone(), deadline.clone());
        lock::install(&mut conn, &self.path, deadline, move || {
            is_busy(&path, &waiting)
        })?;
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        ] {
            conn.set_db_config(setting, value)?;
        }
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN_BYTES)?;
        // The library has no shared memory, so a file in write-ahead logging mode, such as
        // Millpond's, can only be read exclusively; and only outside that mode can it be shared.
        // The first query takes the lock, or fails: the pragma would only wait.
        conn.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             SELECT count(*) FROM sqlite_schema;
             PRAGMA journal_mode = DELETE;
             PRAGMA locking_mode = NORMAL;
             PRAGMA synchronous = FULL;
             PRAGMA temp_store = MEMORY;
             SELECT count(*) FROM sqlite_schema;",
        )?;
        rusqlite::vtab::series::load_module(&conn)?;
        install(&mut conn)?;
        Ok(conn)
    }
}

/// Whether another connection of this instance has the file's lock. The one that is `waiting` for
/// it must not be asked: it can be compiling a statement, which reads the schema.
fn is_busy(path: &Path, waiting: &Deadline) -> bool {
    DATABASES.with_borrow(|databases| {
        let same = databases
            .values()
            .filter(|database| is_same_file(&database.path, path));
        same.flat_map(|database| database.lent.borrow().clone())
            .filter(|lent| !lent.deadline.is_same(waiting))
            .filter_map(|lent| lent.conn.upgrade())
            .any(|conn| crate::session::is_open(&conn))
    })
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    a == b || identity(a).is_some_and(|file| identity(b) == Some(file))
}

/// What tells a file from all others, whatever its name. `None` if it does not exist.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let relative = |path: &Path| -> PathBuf {
        let parts = path.components();
        parts
            .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
            .collect()
    };
    let path = relative(path);
    // As the library finds it: in the folder with the longest name.
    let folders = wasip2::filesystem::preopens::get_directories().into_iter();
    let (folder, name) = folders
        .map(|(folder, name)| (folder, relative(Path::new(&name))))
        .filter(|(_, name)| path.starts_with(name))
        .max_by_key(|(_, name)| name.components().count())?;
    let path = path.strip_prefix(name).ok()?.to_str()?;
    let hash = folder.metadata_hash_at(PathFlags::SYMLINK_FOLLOW, path);
    hash.ok().map(|hash| (hash.upper, hash.lower))
}
