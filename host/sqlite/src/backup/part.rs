//! A file that is being made, under a temporary name in the folder of its target.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::{BackupError, disk};
use crate::ffi::vfs::Folder;
use crate::open::Location;

/// What SQLite may have left beside a database.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How to give a part its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// The name must be free.
    New,
    /// It replaces a file of that name.
    Replace,
}

/// A file that is removed unless it is published.
pub(super) struct Part {
    folder: Arc<Folder>,
    /// `.NAME.part`.
    name: OsString,
    target: OsString,
    /// The path of the target, for errors.
    path: PathBuf,
    /// Locked as long as it is being made: a part that is not locked was left by a crash.
    file: File,
    is_done: Cell<bool>,
}

impl Part {
    /// Create the part of `target`, readable only by its owner; or take the one that a crash has
    /// left.
    pub(super) fn begin(target: &Location, publish: Publish) -> Result<Part, BackupError> {
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
        let locked = match lock(folder.dir(), &name) {
            Ok(locked) => locked,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(BackupError::Running { path });
            }
            Err(error) => return Err(BackupError::file(path, error)),
        };
        let part = Part {
            folder: Arc::clone(folder),
            name,
            target: file.to_owned(),
            path,
            file: locked,
            is_done: Cell::new(false),
        };
        part.empty().map_err(|error| part.failed(error))?;
        Ok(part)
    }

    fn empty(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.remove_companions()
    }

    fn remove_companions(&self) -> io::Result<()> {
        for suffix in COMPANIONS {
            disk::remove(self.folder.dir(), &with_suffix(&self.name, suffix))?;
        }
        Ok(())
    }

    pub(super) fn location(&self) -> Location {
        let name = self.path.display().to_string();
        Location::in_folder(&self.folder, &self.name, name)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
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

    /// Write it to the disk. Returns its length.
    pub(super) fn sync(&self) -> Result<u64, BackupError> {
        let synced = self.file.sync_all().and_then(|()| self.file.metadata());
        let found = synced.map_err(|error| self.failed(error))?;
        Ok(found.len())
    }

    /// Give it its name. It is on the disk.
    pub(super) fn publish(self, publish: Publish) -> Result<(), BackupError> {
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
            // A part that remains is in no one's way: the next one of its name takes it.
            let _ = self.remove_companions();
            let _ = disk::remove(self.folder.dir(), &self.name);
        }
    }
}

pub(super) fn part_of(target: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(target);
    name.push(".part");
    name
}

pub(super) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

/// Remove the part of this name, if a crash has left it.
pub(super) fn remove_stale(dir: &Dir, name: &OsStr) -> io::Result<()> {
    match lock(dir, name) {
        Ok(_locked) => {
            for suffix in COMPANIONS {
                disk::remove(dir, &with_suffix(name, suffix))?;
            }
            disk::remove(dir, name)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Open the part of this name, and lock it. An error of the kind `WouldBlock`: it is locked.
fn lock(dir: &Dir, name: &OsStr) -> io::Result<File> {
    // Each time that another publishes or removes it at that moment.
    for _ in 0..100 {
        // A link would be followed, and its target emptied.
        match dir.symlink_metadata(name) {
            Ok(found) if !is_own(&found) => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = dir.open_with(name, &options)?;
        let opened = disk::id(&file.metadata()?);
        let file = file.into_std();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The file may have been published or removed before it was locked here.
        match dir.symlink_metadata(name) {
            Ok(found) if disk::id(&found) == opened => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
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
