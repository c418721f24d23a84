//! Where a database is: a file in an open folder, or memory; and the errors for unusable files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cap_std::fs::{Dir, Metadata};
use rusqlite::{Connection, OpenFlags};

use crate::disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::leaves_log::LeavesLog;
use crate::ffi::memory;
use crate::ffi::vfs::identity::Identity;
use crate::ffi::vfs::{self, Folder};

/// Older versions can corrupt a write-ahead log that several connections write
/// (<https://sqlite.org/wal.html#walresetbug>), or overflow in FTS5.
const OLDEST_SQLITE: i32 = 3_053_002;

/// A database, and its name in errors.
#[derive(Debug)]
pub(crate) struct Location {
    target: Target,
    pub(super) name: String,
    /// `None` for an in-memory database.
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether the schema has had slow functions in it: see [`Hints`].
    pub(super) slow_schema: Arc<AtomicBool>,
    /// Whether a missing file is an error: it is not created.
    must_exist: bool,
}

#[derive(Debug)]
enum Target {
    /// A file in an open folder: the name for SQLite is ours.
    File { folder: Arc<Folder>, file: OsString },
    /// A `file:` URI of SQLite's memdb VFS.
    Memory(String),
}

/// The error for a file that is no longer at its path.
pub(crate) const LOST: &str =
    "its file was moved, replaced or deleted while it was open: close the pool, and open it again";

impl Location {
    /// The database at a path from the operator. Symbolic links in it are resolved once, now.
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
        Ok(Location::in_folder(&folder, &file, name))
    }

    /// The file of this name in an open folder. The name is one component.
    pub(crate) fn in_folder(folder: &Arc<Folder>, file: &OsStr, name: String) -> Location {
        let (folder, file) = (Arc::clone(folder), file.to_owned());
        let identity = Identity::new(&folder, file.clone());
        Location {
            target: Target::File { folder, file },
            name,
            identity: Some(Arc::new(identity)),
            slow_schema: Arc::default(),
            must_exist: false,
        }
    }

    /// A file in a folder that the embedder has opened. The name must be one plain component.
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
        Ok(Location::in_folder(&folder, name.as_ref(), name.to_owned()))
    }

    /// An in-memory database that all connections of one pool share.
    pub(crate) fn memory() -> Location {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A name that begins with a slash is shared: https://sqlite.org/inmemorydb.html
        Location {
            target: Target::Memory(format!("file:/millpond-{number}?vfs=memdb")),
            name: ":memory:".to_owned(),
            identity: None,
            slow_schema: Arc::default(),
            must_exist: false,
        }
    }

    /// The same database, and whether not to create its file if it is missing.
    pub(crate) fn must_exist(mut self, must_exist: bool) -> Location {
        self.must_exist = must_exist;
        self
    }

    /// Remember which file it is: no other will be opened in its place.
    pub(crate) fn remember(&self) {
        if let Some(identity) = &self.identity {
            identity.remember();
        }
    }

    /// Whether the file has been moved, replaced or deleted since.
    pub(crate) fn is_lost(&self) -> bool {
        let identity = self.identity.as_ref();
        identity.is_some_and(|identity| identity.is_lost())
    }

    /// For a connection that [`connect`](Location::connect) opened: see there.
    pub(crate) fn guard_log(&self, conn: &Connection) -> LeavesLog {
        LeavesLog::new(conn, &self.identity)
    }

    /// For the operator: guests must not see paths.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.target, Target::Memory(_))
    }

    pub(super) fn folder(&self) -> Option<Arc<Folder>> {
        self.file().map(|(folder, _)| Arc::clone(folder))
    }

    /// The folder of the file, and its name there. `None` for an in-memory database.
    pub(crate) fn file(&self) -> Option<(&Arc<Folder>, &OsStr)> {
        match &self.target {
            Target::File { folder, file } => Some((folder, file)),
            Target::Memory(_) => None,
        }
    }

    /// Where SQLite must keep temporary tables and what it sorts: see `vfs`. An in-memory database
    /// has another VFS, without temporary files.
    pub(crate) fn temp_store(&self) -> &'static str {
        match self.is_memory() {
            true => "MEMORY",
            false => "FILE",
        }
    }

    /// Create the file if it does not exist, unless `read_only`. Returns an error if it is not a
    /// usable file.
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
                "SQLite was used before this program's `main`, so its memory cannot be limited",
            ));
        }
        let Target::File { folder, file } = &self.target else {
            return Ok(());
        };
        match folder.dir().symlink_metadata(file) {
            Ok(found) if found.is_file() && has_other_names(&found) => Err(cannot_open(
                &self.name,
                "it has several hard links, and each name would have its own log",
            )),
            Ok(found) if found.is_file() => Ok(()),
            Ok(found) if found.is_dir() => Err(cannot_open(&self.name, "it is a directory")),
            Ok(_) => Err(cannot_open(&self.name, "it is not a regular file")),
            Err(error) if error.kind() == IoErrorKind::NotFound && read_only => Err(cannot_open(
                &self.name,
                "it does not exist, and a read-only pool does not create it",
            )),
            Err(error) if error.kind() == IoErrorKind::NotFound && self.must_exist => {
                Err(cannot_open(&self.name, "it does not exist"))
            }
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                // Another process may create it first. SQLite gives the log and the shared memory
                // the same mode.
                disk::create_private(folder.dir(), file)
                    .map(|_| ())
                    .map_err(|error| cannot_open(&self.name, &error.to_string()))
            }
            Err(error) => Err(cannot_open(&self.name, &error.to_string())),
        }
    }

    /// Open a connection without configuring it. `self` must outlive it.
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

    /// Whether the file is on a read-only mount and not in use, so that SQLite may read it without
    /// the shared memory of a write-ahead log, which it could not create.
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
        // Shared memory exists while the log is in use, perhaps by another mount; a journal means
        // an unfinished transaction.
        let unfinished = |suffix| length(suffix).is_some_and(|length| length > 0);
        folder.is_read_only()
            && length("-shm").is_none()
            && !unfinished("-wal")
            && !unfinished("-journal")
    }
}

/// A name that tells SQLite that the file never changes
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

pub(crate) fn cannot_open(name: &str, reason: &str) -> Error {
    Error::new(
        ErrorKind::CannotOpen,
        format!("cannot open the database {name}: {reason}"),
    )
}

#[cfg(unix)]
fn has_other_names(file: &Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    file.nlink() > 1
}

/// Not available on other systems.
#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}
