//! One database of a schedule, and the backups in its folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::civil::DateTime;

use super::names::{self, Keep};
use super::{BackupError, part};
use crate::disk;
use crate::ffi::vfs::Folder;

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
        let found = Folder::open(&self.into).and_then(|folder| {
            let moments = self.look(&folder)?;
            Ok((folder, moments))
        });
        let (folder, moments) = match found {
            Ok(found) => found,
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
            match disk::remove(folder.dir(), name.as_ref()) {
                Ok(_) => removed.push(path),
                Err(error) => errors.push(BackupError::file(path, error)),
            }
        }
        errors
    }

    /// Remove what crashes have left. Returns when each backup in the folder was made.
    fn look(&self, folder: &Arc<Folder>) -> io::Result<Vec<DateTime>> {
        let mut stale = Vec::new();
        for entry in folder.dir().entries()? {
            let file = entry?.file_name();
            let target = file.to_str().and_then(part::target_of);
            if let Some(target) = target
                && names::moment(&self.stem, target).is_some()
            {
                stale.push(target.to_owned());
            }
        }
        for target in stale {
            part::remove_stale(folder, target.as_ref())?;
        }
        self.backups()
    }
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
