//! Which file a database is, beyond its name.
//!
//! An operator may move, replace or delete the file of an open pool, most often to restore a
//! backup. SQLite's connections then go on with the file that they have, which has no name any
//! more, while the next one opens another under the name, with the log of the first beside it: what
//! is committed to the one is lost, and the other damaged. So a pool remembers which file it is.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Metadata;
use millpond_pool::clock;

use super::Folder;

/// The name of a file, and what it named when the pool was opened.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: Arc<Folder>,
    file: OsString,
    /// Device and inode.
    id: OnceLock<(u64, u64)>,
    /// When the name was last looked at, by [`clock`], and what was found.
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

    /// Remember what the name names now.
    pub(crate) fn remember(&self) {
        let file = self.folder.dir().symlink_metadata(&self.file);
        if let Some(id) = file.ok().and_then(|file| id(&file)) {
            let _ = self.id.set(id);
        }
    }

    /// Whether the name names something else now, or nothing. Not where that cannot be found out.
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

    /// As [`is_lost`](Identity::is_lost), as it was up to a few milliseconds ago: the rough clock
    /// stands still for as long, and looking takes longer than to commit without the disk.
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

/// Other systems do not tell, and do not let an open file be replaced.
#[cfg(not(unix))]
fn id(_: &Metadata) -> Option<(u64, u64)> {
    None
}
