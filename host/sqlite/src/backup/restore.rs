//! Puts a backup in the place of a database.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use cap_std::fs::{Dir, Metadata};
use millpond_pool::engine::hand_over;

use super::alone::Alone;
use super::part::{Part, Publish, refuse_same_file};
use super::progress::Monitor;
use super::{BackupError, Cancel, Progress, copy, names};
use crate::disk::{self, COMPANIONS, with_suffix};
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

    /// Set how long the check may take: with what a guest has written into its database, it can
    /// make a check compute for hours. A restore whose check takes longer fails. Defaults to 10 s
    /// plus 10 ms for each page.
    pub fn max_check_time(mut self, time: Duration) -> Self {
        self.monitor.set_check_time(time);
        self
    }

    /// Restore the database `to`, whose folder must exist. It must not be open, in this process or
    /// another: this keeps an exclusive lock on it until it is replaced, so that opening it
    /// meanwhile fails. It gets the mode and, if permitted, the owner of the file that it replaces.
    ///
    /// The backup is copied beside the database and checked before anything changes. Then the log
    /// of the old file is written into it, stale files that SQLite could take for the new one's are
    /// removed, and the two files are exchanged in one step. If the old file is damaged, its log
    /// cannot be written into it: then the old file and its log get a second name, before the log
    /// is removed from its place. So whenever the program or the system crashes, the database is
    /// the old file or the new one, and an old file that may need its log has it. A crash can leave
    /// a damaged file with both names: no pool opens it, and restoring again replaces it.
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
    /// locked. [`File`](BackupError::File): the folder cannot be written; or the old file is
    /// damaged, and its file system has no hard links.
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
            part: &part,
            target: file,
            aside: aside(part.dir(), file),
            keep_old: self.keep_old,
        };
        let swapped = swap.run(old.as_ref(), alone.as_ref())?;
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
    name.push(names::FORMER);
    name.push(names::timestamp(SystemTime::now()));
    // There is neither a file of this name nor a log of it.
    let is_free = |name: &OsString| {
        ["", "-wal", "-journal"]
            .iter()
            .all(|suffix| matches!(disk::exists(dir, &with_suffix(name, suffix)), Ok(false)))
    };
    let others = (2_u32..).map(|number| with_suffix(&name, &format!("-{number}")));
    let mut names = std::iter::once(name.clone()).chain(others);
    names.find(is_free).unwrap_or(name)
}

struct Swap<'a> {
    part: &'a Part,
    target: &'a OsStr,
    /// The name for the old file.
    aside: OsString,
    keep_old: bool,
}

impl Swap<'_> {
    /// Put the part in the target's place. Returns the name of the old file, if there was one and
    /// it is kept.
    fn run(
        self,
        old: Option<&Metadata>,
        alone: Option<&Alone>,
    ) -> Result<Option<OsString>, BackupError> {
        let failed = |error| self.part.failed(error);
        let log_ended = match alone {
            Some(alone) => alone.end_log()?,
            None => false,
        };
        match old {
            None => self.create().map_err(failed)?,
            Some(old) => {
                self.part.resemble(old).map_err(failed)?;
                match log_ended {
                    true => self.replace().map_err(failed)?,
                    false => self.replace_damaged().map_err(failed)?,
                }
            }
        }
        disk::sync(self.part.dir()).map_err(failed)?;
        Ok((old.is_some() && self.keep_old).then_some(self.aside))
    }

    /// Put the new file in place where there is no old one. A log without its database is kept too.
    fn create(&self) -> io::Result<()> {
        let dir = self.part.dir();
        if disk::exists(dir, self.target)? {
            // Created meanwhile: it has a log of its own.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        for suffix in ["-wal", "-journal"] {
            let name = with_suffix(self.target, suffix);
            let aside = with_suffix(&self.aside, suffix);
            match self.keep_old {
                true if disk::exists(dir, &name)? => disk::rename_new(dir, &name, &aside)?,
                _ => drop(disk::remove(dir, &name)?),
            }
        }
        self.clear()?;
        disk::rename_new(dir, self.part.name(), self.target)?;
        self.part.done();
        Ok(())
    }

    /// Replace an old file that is complete without a log.
    fn replace(&self) -> io::Result<()> {
        self.clear()?;
        match self.keep_old {
            true => self.exchange()?,
            false => self.rename()?,
        }
        self.part.done();
        Ok(())
    }

    /// Replace an old file that may need its log.
    fn replace_damaged(&self) -> io::Result<()> {
        let dir = self.part.dir();
        let mut kept = Vec::new();
        // First the log, so that the database has its log beside it once it has its second name.
        for suffix in ["-wal", "-journal", ""] {
            let name = with_suffix(self.target, suffix);
            if disk::exists(dir, &name)? {
                let aside = with_suffix(&self.aside, suffix);
                dir.hard_link(&name, dir, &aside)?;
                kept.push(aside);
            }
        }
        disk::sync(dir)?;
        self.clear()?;
        self.rename()?;
        self.part.done();
        if !self.keep_old {
            disk::sync(dir)?;
            for aside in kept.iter().rev() {
                disk::remove(dir, aside)?;
            }
        }
        Ok(())
    }

    fn rename(&self) -> io::Result<()> {
        let dir = self.part.dir();
        dir.rename(self.part.name(), dir, self.target)
    }

    /// At each moment, the target is one of the two files, and the old one has a name that nothing
    /// overwrites.
    fn exchange(&self) -> io::Result<()> {
        let (dir, part) = (self.part.dir(), self.part.name());
        disk::rename_new(dir, part, &self.aside)?;
        let Err(error) = disk::exchange(dir, &self.aside, self.target) else {
            return Ok(());
        };
        dir.rename(&self.aside, dir, part)?;
        if error.kind() != io::ErrorKind::Unsupported {
            return Err(error);
        }
        dir.hard_link(self.target, dir, &self.aside)?;
        disk::sync(dir)?;
        self.rename()
    }

    /// Remove the files that SQLite would take for those of the new file.
    fn clear(&self) -> io::Result<()> {
        let dir = self.part.dir();
        for suffix in COMPANIONS {
            disk::remove(dir, &with_suffix(self.target, suffix))?;
        }
        disk::sync(dir)
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
