//! One database of a schedule, and the backups in its folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use jiff::civil::DateTime;

use super::names::{self, Keep};
use super::{BackupError, disk, part};
use crate::folder::is_key;

/// What to back up, and where to.
pub(super) struct Task {
    pub(super) database: String,
    pub(super) into: PathBuf,
    pub(super) stem: String,
}

impl Task {
    /// When the backups in its folder were made.
    pub(super) fn backups(&self) -> io::Result<Vec<DateTime>> {
        let mut moments = Vec::new();
        for entry in std::fs::read_dir(&self.into)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(moment) = name
                .to_str()
                .and_then(|name| names::moment(&self.stem, name))
                && entry.file_type()?.is_file()
            {
                moments.push(moment);
            }
        }
        Ok(moments)
    }

    /// Remove surplus backups, and what crashes have left. Returns what could not be removed.
    pub(super) fn remove_surplus(
        &self,
        keep: Keep,
        now: SystemTime,
        removed: &mut Vec<PathBuf>,
    ) -> Vec<BackupError> {
        let mut errors = Vec::new();
        let folder = Dir::open_ambient_dir(&self.into, ambient_authority());
        let dir = match folder.and_then(|dir| self.remove_stale(&dir).map(|()| dir)) {
            Ok(dir) => dir,
            Err(error) => return vec![BackupError::file(&self.into, error)],
        };
        let moments = match self.backups() {
            Ok(moments) => moments,
            Err(error) => return vec![BackupError::file(&self.into, error)],
        };
        // Those of a time when the clock was wrong must not take the place of others.
        let is_past = |moment: &DateTime| names::to_clock(*moment).is_some_and(|time| time <= now);
        let moments = moments.into_iter().filter(is_past).collect();
        for moment in keep.surplus(moments) {
            let Some(moment) = names::to_clock(moment) else {
                continue;
            };
            let name = names::name(&self.stem, moment);
            let path = self.into.join(&name);
            match disk::remove(&dir, name.as_ref()) {
                Ok(()) => removed.push(path),
                Err(error) => errors.push(BackupError::file(path, error)),
            }
        }
        errors
    }

    fn remove_stale(&self, dir: &Dir) -> io::Result<()> {
        for entry in dir.entries()? {
            let file = entry?.file_name();
            let of_target = file
                .to_str()
                .and_then(|name| name.strip_prefix('.')?.strip_suffix(".part"));
            if of_target.is_some_and(|target| names::moment(&self.stem, target).is_some()) {
                part::remove_stale(dir, &file)?;
            }
        }
        Ok(())
    }
}

/// The keys of the databases in a folder, in order.
pub(super) fn keys(folder: &Path) -> io::Result<Vec<String>> {
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(key) = name.to_str().and_then(|name| name.strip_suffix(".db"))
            && is_key(key)
            && entry.file_type()?.is_file()
        {
            keys.push(key.to_owned());
        }
    }
    keys.sort_unstable();
    Ok(keys)
}

/// Create a folder that only its owner may read, unless it exists.
pub(super) fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
