//! A file that is being made, under a temporary name in the folder of its target.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::BackupError;
use crate::disk::{self, COMPANIONS, with_suffix};
use crate::ffi::vfs::Folder;
use crate::open::Location;

/// How to give a part its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// The name must be free.
    New,
    /// It replaces a file of that name.
    Replace,
}

/// A file that is removed unless it is published.
///
/// No descriptor of it is open when it gets its name. Closing one later would drop the locks that
/// this process has on the database by then (POSIX, `fcntl`): others could write while it writes.
pub(crate) struct Part {
    folder: Arc<Folder>,
    /// `.NAME.part`.
    name: OsString,
    target: OsString,
    /// The path of the target, for errors.
    path: PathBuf,
    /// Dropped last: as long as it is held, the part is being made.
    _lock: Lock,
    is_done: Cell<bool>,
}

impl Part {
    /// Create the part of `target`, readable only by its owner. Replaces one that a crash has left.
    pub(crate) fn begin(target: &Location, publish: Publish) -> Result<Part, BackupError> {
        let path = PathBuf::from(target.name());
        let Some((folder, file)) = target.file() else {
            let error = io::Error::other("it is not a file");
            return Err(BackupError::file(path, error));
        };
        let found = folder.dir().symlink_metadata(file);
        match found {
            Ok(found) if !found.is_file() => {
                let error = io::Error::other("it is not a regular file");
                return Err(BackupError::file(path, error));
            }
            Ok(_) if publish == Publish::New => return Err(BackupError::Exists { path }),
            _ => {}
        }
        let name = part_of(file);
        let lock = match Lock::take(folder, &name) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(BackupError::Running { path }),
            Err(error) => return Err(BackupError::file(path, error)),
        };
        let part = Part {
            folder: Arc::clone(folder),
            name,
            target: file.to_owned(),
            path,
            _lock: lock,
            is_done: Cell::new(false),
        };
        part.create().map_err(|error| part.failed(error))?;
        Ok(part)
    }

    fn create(&self) -> io::Result<()> {
        remove_with_companions(self.dir(), &self.name)?;
        match disk::create_private(self.dir(), &self.name)? {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    pub(crate) fn location(&self) -> Location {
        let name = self.path.display().to_string();
        Location::in_folder(&self.folder, &self.name, name)
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn dir(&self) -> &Dir {
        self.folder.dir()
    }

    pub(super) fn failed(&self, error: io::Error) -> BackupError {
        BackupError::file(&self.path, error)
    }

    /// Give it the mode and, if permitted, the owner of another file. No connection to the part may
    /// be open.
    pub(super) fn resemble(&self, other: &Metadata) -> io::Result<()> {
        disk::resemble(&self.open()?, other)
    }

    /// Sync it to the disk. No connection to the part may be open. Returns its length, in bytes.
    pub(crate) fn sync(&self) -> Result<u64, BackupError> {
        let synced = || {
            let file = self.open()?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        synced().map_err(|error| self.failed(error))
    }

    /// Whether a connection has left a log or a journal beside it.
    pub(crate) fn has_log(&self) -> io::Result<bool> {
        let there = |suffix| disk::exists(self.dir(), &with_suffix(&self.name, suffix));
        Ok(there("-wal")? || there("-journal")?)
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = self.dir().open_with(&self.name, &options)?;
        Ok(file.into_std())
    }

    /// Give it its name. It must have been synced.
    pub(crate) fn publish(self, publish: Publish) -> Result<(), BackupError> {
        let dir = self.folder.dir();
        let renamed = match publish {
            Publish::New => disk::rename_new(dir, &self.name, &self.target),
            Publish::Replace => dir.rename(&self.name, dir, &self.target),
        };
        match renamed {
            Ok(()) => self.done(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists {
                    path: self.path.clone(),
                });
            }
            Err(error) => return Err(self.failed(error)),
        }
        disk::sync(self.folder.dir()).map_err(|error| self.failed(error))
    }

    /// It has another name: do not remove it.
    pub(super) fn done(&self) {
        self.is_done.set(true);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_done.get() {
            // If this fails, the next part of this name replaces it.
            let _ = remove_with_companions(self.dir(), &self.name);
        }
    }
}

/// The name of the part of a target.
fn part_of(target: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(target);
    name.push(PART);
    name
}

const PART: &str = ".part";
const LOCK: &str = ".lock";

/// The target of a part, or of its lock, of this name.
pub(super) fn target_of(name: &str) -> Option<&str> {
    let name = name.strip_suffix(LOCK).unwrap_or(name);
    name.strip_prefix('.')?.strip_suffix(PART)
}

/// Remove the part of `target`, if a crash has left it. Returns whether there was one; `None` if
/// another process or thread is making it.
pub(crate) fn remove_stale(folder: &Arc<Folder>, target: &OsStr) -> io::Result<Option<bool>> {
    let name = part_of(target);
    let Some(_lock) = Lock::take(folder, &name)? else {
        return Ok(None);
    };
    remove_with_companions(folder.dir(), &name).map(Some)
}

fn remove_with_companions(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    for suffix in COMPANIONS {
        disk::remove(dir, &with_suffix(name, suffix))?;
    }
    disk::remove(dir, name)
}

/// The right to make one part: a lock on a file beside it. A crash releases the lock, and leaves
/// the file.
struct Lock {
    folder: Arc<Folder>,
    name: OsString,
    _file: File,
}

impl Lock {
    /// `None` if another process or thread has it.
    fn take(folder: &Arc<Folder>, part: &OsStr) -> io::Result<Option<Lock>> {
        let (dir, name) = (folder.dir(), with_suffix(part, LOCK));
        // It tries again if another removes the file in between.
        for _ in 0..100 {
            // A link would be followed.
            match dir.symlink_metadata(&name) {
                Ok(found) if !is_own(&found) => return Err(io::ErrorKind::AlreadyExists.into()),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            #[cfg(unix)]
            cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = dir.open_with(&name, &options)?;
            let opened = disk::id(&file.metadata()?);
            let file = file.into_std();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // It may have been removed before it was locked here.
            match dir.symlink_metadata(&name) {
                Ok(found) if disk::id(&found) == opened => {
                    return Ok(Some(Lock {
                        folder: Arc::clone(folder),
                        name,
                        _file: file,
                    }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock is released. A file that remains does no harm.
        let _ = disk::remove(self.folder.dir(), &self.name);
    }
}

/// Whether it is a file with no other name.
#[cfg(unix)]
fn is_own(found: &Metadata) -> bool {
    use cap_std::fs::MetadataExt;
    found.is_file() && found.nlink() == 1
}

/// Whether it is a file.
#[cfg(not(unix))]
fn is_own(found: &Metadata) -> bool {
    found.is_file()
}

/// Refuse a target with a log beside it, which SQLite would take for that of the copy.
pub(super) fn refuse_log(target: &Location) -> Result<(), BackupError> {
    let Some((folder, file)) = target.file() else {
        return Ok(());
    };
    for suffix in ["-wal", "-journal"] {
        let name = with_suffix(file, suffix);
        if folder.dir().symlink_metadata(&name).is_ok() {
            let error = io::Error::other(format!(
                "{} belongs to a database of that name: choose another name, or restore the \
                 backup to it",
                name.display()
            ));
            return Err(BackupError::file(target.name(), error));
        }
    }
    Ok(())
}

pub(super) fn refuse_same_file(from: &Location, to: &Location) -> Result<(), BackupError> {
    let id = |location: &Location| {
        let (folder, file) = location.file()?;
        disk::id(&folder.dir().symlink_metadata(file).ok()?)
    };
    match (id(from), id(to)) {
        (Some(from), Some(target)) if from == target => Err(BackupError::SameFile {
            path: to.name().into(),
        }),
        _ => Ok(()),
    }
}
