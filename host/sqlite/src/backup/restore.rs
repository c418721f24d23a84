//! Puts a backup in the place of a database.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use cap_std::fs::{Dir, Metadata};
use millpond_pool::engine::hand_over;

use super::alone::Alone;
use super::part::{COMPANIONS, Part, Publish, refuse_same_file, with_suffix};
use super::progress::Monitor;
use super::{BackupError, Cancel, Progress, copy, disk, names};
use crate::open::Location;

/// A restore of one database from a backup. See the [module](super).
#[must_use = "a restore does nothing until it is written"]
pub struct Restore<'a> {
    backup: PathBuf,
    overwrite: bool,
    keep_old: bool,
    monitor: Monitor<'a>,
}

/// A database that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The database.
    pub path: PathBuf,
    /// Its length, in pages.
    pub pages: u64,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Where the file is that it replaced.
    pub old: Option<PathBuf>,
    /// How long it took.
    pub time: Duration,
}

impl<'a> Restore<'a> {
    /// Restore from the backup in the file at `path`, which is only read. It can be any SQLite
    /// database: a [`Backup`](super::Backup), or a copy with its log beside it.
    pub fn of(path: impl AsRef<Path>) -> Restore<'a> {
        Restore {
            backup: path.as_ref().to_owned(),
            overwrite: false,
            keep_old: true,
            monitor: Monitor::default(),
        }
    }

    /// Whether to replace a database that exists. Defaults to false.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether to keep the file that is replaced, beside the database, as
    /// `NAME.before-20261127T184342Z`. Defaults to true.
    pub fn keep_old(mut self, keep: bool) -> Self {
        self.keep_old = keep;
        self
    }

    /// Call `progress` after each megabyte, on the thread that restores.
    pub fn on_progress(mut self, progress: impl FnMut(Progress) + 'a) -> Self {
        self.monitor.on_progress(progress);
        self
    }

    /// Stop when `cancel` says so: within milliseconds, except while the copy is synced. Nothing
    /// has changed then.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.monitor.cancel_with(cancel);
        self
    }

    /// Restore the database `to`, whose folder must exist. It must not be open, in this process or
    /// another: this keeps an exclusive lock on it until it is replaced, so that opening it
    /// meanwhile fails. It gets the mode and, if permitted, the owner of the file that it replaces.
    ///
    /// The backup is copied beside the database and checked before anything changes. Then the log
    /// of the old file is written into it, stale files that SQLite could take for the new one's are
    /// removed, and the two files are exchanged in one step. If the old file is damaged, its log
    /// is kept beside it instead.
    ///
    /// A pool that has no connection open at the moment, or a connection in another journal mode
    /// than WAL without a transaction, cannot be detected. Such a pool notices that its file was
    /// replaced: it refuses to open connections, and loses nothing.
    ///
    /// Blocks until done: see the [module](super).
    ///
    /// # Errors
    ///
    /// [`Exists`](BackupError::Exists), [`InUse`](BackupError::InUse),
    /// [`Running`](BackupError::Running), [`SameFile`](BackupError::SameFile).
    /// [`Database`](BackupError::Database): the backup cannot be read, or the database not be
    /// locked. [`File`](BackupError::File): the folder cannot be written.
    /// [`Damaged`](BackupError::Damaged): the backup is not sound.
    /// [`Cancelled`](BackupError::Cancelled). After any of them, the database has its old contents;
    /// except that with `File`, it can be restored if the folder could not be synced.
    pub fn write(mut self, to: impl AsRef<Path>) -> Result<RestoreReport, BackupError> {
        hand_over();
        let began = Instant::now();
        let backup = Location::path(&self.backup)?;
        let to = Location::path(to.as_ref())?;
        let publish = match self.overwrite {
            true => Publish::Replace,
            false => Publish::New,
        };
        let part = Part::begin(&to, publish)?;
        refuse_same_file(&backup, &to)?;
        let Some((folder, file)) = to.file() else {
            return Err(part.failed(io::ErrorKind::Unsupported.into()));
        };
        let old = match folder.dir().symlink_metadata(file) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(part.failed(error)),
        };
        // SQLite would take an empty file for a new database, and write it. No pool has one open.
        let alone = match &old {
            Some(old) if old.len() > 0 => Some(Alone::with(&to)?),
            _ => None,
        };
        let made = copy::copy(&backup, &part, &mut self.monitor)?;
        self.monitor.check()?;
        let swap = Swap {
            dir: part.dir(),
            target: file,
            aside: self.keep_old.then(|| aside(part.dir(), file)),
        };
        let swapped = swap.run(&part, old.as_ref(), alone.as_ref())?;
        // Only now may others open it.
        drop(alone);
        let path = PathBuf::from(to.name());
        Ok(RestoreReport {
            old: swapped.map(|name| path.with_file_name(name)),
            path,
            pages: made.pages,
            bytes: made.bytes,
            time: began.elapsed(),
        })
    }
}

/// A free name for the old file.
fn aside(dir: &Dir, file: &OsStr) -> OsString {
    let mut name = file.to_owned();
    name.push(".before-");
    name.push(names::timestamp(SystemTime::now()));
    let is_free = |name: &OsString| dir.symlink_metadata(name).is_err();
    let others = (2_u32..).map(|number| with_suffix(&name, &format!("-{number}")));
    let mut names = std::iter::once(name.clone()).chain(others);
    names.find(is_free).unwrap_or(name)
}

struct Swap<'a> {
    dir: &'a Dir,
    target: &'a OsStr,
    /// The name for the old file, if it is kept.
    aside: Option<OsString>,
}

impl Swap<'_> {
    /// Put the part in the target's place. Returns the name of the old file, if there was one and
    /// it is kept.
    fn run(
        self,
        part: &Part,
        old: Option<&Metadata>,
        alone: Option<&Alone>,
    ) -> Result<Option<OsString>, BackupError> {
        let failed = |error| part.failed(error);
        if let Some(old) = old {
            disk::resemble(part.file(), old).map_err(failed)?;
        }
        let is_new = || self.dir.symlink_metadata(self.target).is_err();
        if old.is_none() && !is_new() {
            // Created meanwhile: it has a log of its own.
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let log_ended = match alone {
            Some(alone) => alone.end_log()?,
            None => false,
        };
        self.clear(log_ended).map_err(failed)?;
        disk::sync(self.dir).map_err(failed)?;
        let swapped = match (&self.aside, old) {
            (Some(aside), Some(_)) => self.exchange(part.name(), aside),
            (_, Some(_)) => self.dir.rename(part.name(), self.dir, self.target),
            (_, None) => disk::rename_new(self.dir, part.name(), self.target),
        };
        swapped.map_err(failed)?;
        part.done();
        disk::sync(self.dir).map_err(failed)?;
        Ok(self.aside.filter(|_| old.is_some()))
    }

    /// At each moment, the target is one of the two files, and the old one has a name that nothing
    /// overwrites.
    fn exchange(&self, part: &OsStr, aside: &OsStr) -> io::Result<()> {
        disk::rename_new(self.dir, part, aside)?;
        let Err(error) = disk::exchange(self.dir, aside, self.target) else {
            return Ok(());
        };
        self.dir.rename(aside, self.dir, part)?;
        if error.kind() != io::ErrorKind::Unsupported {
            return Err(error);
        }
        self.dir.hard_link(self.target, self.dir, aside)?;
        disk::sync(self.dir)?;
        self.dir.rename(part, self.dir, self.target)
    }

    /// Remove what SQLite would take for the log of the new file. What may still be of use goes
    /// with the old file.
    fn clear(&self, log_ended: bool) -> io::Result<()> {
        for suffix in COMPANIONS {
            let name = with_suffix(self.target, suffix);
            match &self.aside {
                Some(aside) if !log_ended && suffix != "-shm" => {
                    let moved = disk::rename_new(self.dir, &name, &with_suffix(aside, suffix));
                    match moved {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        other => other?,
                    }
                }
                _ => disk::remove(self.dir, &name)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore")
            .field("backup", &self.backup)
            .field("overwrite", &self.overwrite)
            .field("keep_old", &self.keep_old)
            .finish_non_exhaustive()
    }
}
