//! Identifies a database's file independently of its name.
//!
//! An operator may move, replace or delete the file of an open pool, usually to restore a backup.
//! SQLite's open connections then continue with their file, which has no name any more, while the
//! next one opens the new file under that name, with the old file's log next to it: commits to the
//! old file are lost, and the new one is corrupted. So a pool remembers which file it opened.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Metadata;
use millpond_pool::clock;

use super::Folder;

/// The name of a file, and which file had that name when the pool was opened.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: Arc<Folder>,
    file: OsString,
    /// Device and inode.
    id: OnceLock<(u64, u64)>,
    /// When the name was last checked, by [`clock`], and the result.
    looked: AtomicU64,
    lost: AtomicBool,
}

impl Identity {
    pub(crate) fn new(folder: &Arc<Folder>, file: OsString) -> Identity {
        Identity {
            folder: Arc::clone(folder),
            file,
            id: OnceLock::new(),
            looked: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        }
    }

    /// Remember which file has the name now.
    pub(crate) fn remember(&self) {
        let file = self.folder.dir().symlink_metadata(&self.file);
        if let Some(id) = file.ok().and_then(|file| id(&file)) {
            let _ = self.id.set(id);
        }
    }

    /// Whether another file, or none, has the name now. False if that cannot be determined.
    pub(crate) fn is_lost(&self) -> bool {
        let Some(id) = self.id.get() else {
            return false;
        };
        let lost = match self.folder.dir().symlink_metadata(&self.file) {
            Ok(file) => self::id(&file) != Some(*id),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        self.lost.store(lost, Ordering::Relaxed);
        self.looked.store(clock::now(), Ordering::Relaxed);
        lost
    }

    /// Like [`is_lost`](Identity::is_lost), but up to a few milliseconds old: the coarse clock only
    /// advances that often, and checking takes longer than a commit that does not sync.
    pub(crate) fn was_lost(&self) -> bool {
        match self.looked.load(Ordering::Relaxed) == clock::now() {
            true => self.lost.load(Ordering::Relaxed),
            false => self.is_lost(),
        }
    }
}

#[cfg(unix)]
fn id(file: &Metadata) -> Option<(u64, u64)> {
    use cap_std::fs::MetadataExt;
    Some((file.dev(), file.ino()))
}

/// Not available on other systems, which do not let an open file be replaced.
#[cfg(not(unix))]
fn id(_: &Metadata) -> Option<(u64, u64)> {
    None
}
