//! Notices that files have changed, by looking at them.
//!
//! It makes one system call for each file, which works on every file system. Links are followed: so
//! it also notices an editor that replaces a file, and Kubernetes, which replaces a link. Of a
//! folder, it looks at the migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use millpond_sqlite::migrations::is_migration;

/// How often to look for changed files. A change counts at the next look if no file has changed
/// again: until then a file may be half written, or one of several that are being replaced.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files, and the state of each at the last look.
#[derive(Debug, Default)]
pub(crate) struct Stamps(BTreeMap<PathBuf, Watched>);

#[derive(Clone, Debug)]
struct Watched {
    /// At the last look.
    now: Option<Stamp>,
    /// When the file was last read.
    read: Option<Stamp>,
}

/// The state of what is at a path; of a link, of what it leads to.
#[derive(Clone, Debug, PartialEq)]
enum Stamp {
    File(FileStamp),
    /// Of the migrations in a folder. Nothing else in it counts: an editor's temporary files do
    /// not.
    Folder(BTreeMap<OsString, Option<FileStamp>>),
}

/// When a file was written, its length, and which file it is; of a link, the file that it leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FileStamp {
    modified: SystemTime,
    length: u64,
    identity: Identity,
}

#[cfg(unix)]
type Identity = (u64, u64, (i64, i64));

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), changed)
}

#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {}

impl Stamp {
    /// `None` if there is no such file, or it cannot be looked at.
    fn new(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        if !metadata.is_dir() {
            return FileStamp::new(&metadata).map(Stamp::File);
        }
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).ok()? {
            let name = entry.ok()?.file_name();
            if is_migration(&name) {
                let file = fs::metadata(path.join(&name));
                files.insert(name, file.ok().as_ref().and_then(FileStamp::new));
            }
        }
        Some(Stamp::Folder(files))
    }
}

impl FileStamp {
    fn new(metadata: &Metadata) -> Option<FileStamp> {
        Some(FileStamp {
            modified: metadata.modified().ok()?,
            length: metadata.len(),
            identity: identity(metadata),
        })
    }
}

impl Stamps {
    /// Call this before reading these files or folders: it notices changes from now on.
    pub(crate) fn reading(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for file in files {
            let stamp = Stamp::new(&file);
            let watched = Watched {
                now: stamp.clone(),
                read: stamp,
            };
            self.0.insert(file, watched);
        }
    }

    /// Whether a file has changed since it was read, and no file has changed since the last look.
    /// Returns true once for each change.
    pub(crate) fn look(&mut self) -> bool {
        let (mut is_settled, mut has_changed) = (true, false);
        for (path, watched) in &mut self.0 {
            let now = Stamp::new(path);
            is_settled &= now == watched.now;
            has_changed |= now != watched.read;
            watched.now = now;
        }
        let changed = is_settled && has_changed;
        if changed {
            for watched in self.0.values_mut() {
                watched.read.clone_from(&watched.now);
            }
        }
        changed
    }
}

/// Notices when files change: a configuration, and the files that it names. A folder has changed
/// when one of its migrations has, or there is one more or less. Clones share the files.
///
/// Call [`reading`](FileChanges::reading) before you read a file, so that no change in between is
/// lost.
#[derive(Clone, Debug, Default)]
pub struct FileChanges(Arc<Noticed>);

#[derive(Debug, Default)]
struct Noticed {
    stamps: Mutex<Stamps>,
    /// There is a change that [`changed`](FileChanges::changed) has not reported yet. Outside of
    /// the lock, which is held while a disk answers.
    is_new: AtomicBool,
}

impl FileChanges {
    /// Watch these files and folders too, from now on. Call it before you read them. Blocks while
    /// it looks at them.
    pub fn reading<'a>(&self, files: impl IntoIterator<Item = &'a Path>) {
        self.stamps().reading(files.into_iter().map(Path::to_owned));
    }

    /// Stop watching all other files.
    pub fn keep_only<'a>(&self, files: impl IntoIterator<Item = &'a Path>) {
        let files: BTreeSet<_> = files.into_iter().collect();
        self.stamps().0.retain(|path, _| files.contains(&**path));
    }

    /// Completes when a file has changed and none of them changes again for about a second. Looks
    /// at all of them each second, on another thread. If the future is dropped, the next call still
    /// reports the change.
    ///
    /// # Panics
    ///
    /// If it is polled outside of a tokio runtime with timers.
    pub async fn changed(&self) {
        while !self.0.is_new.swap(false, Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
            let changes = self.clone();
            // A file may be on a network file system, so looking can block for long.
            let looking = tokio::task::spawn_blocking(move || {
                if changes.stamps().look() {
                    changes.0.is_new.store(true, Ordering::Relaxed);
                }
            });
            let _ = looking.await;
        }
    }

    fn stamps(&self) -> MutexGuard<'_, Stamps> {
        let stamps = self.0.stamps.lock();
        stamps.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(files: &[&Path]) -> Stamps {
        let mut stamps = Stamps::default();
        stamps.reading(files.iter().map(|&path| path.to_owned()));
        stamps
    }

    #[test]
    fn a_change_counts_once_when_it_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "1").expect("a file");
        let mut stamps = stamps(&[&one, &two]);
        assert!(!stamps.look());
        fs::write(&one, "12").expect("a file");
        assert!(!stamps.look());
        // The other one, which was not there, comes later.
        fs::write(&two, "2").expect("a file");
        assert!(!stamps.look());
        assert!(stamps.look());
        assert!(!stamps.look());
        fs::remove_file(&two).expect("a file");
        assert!(!stamps.look());
        assert!(stamps.look());
    }

    #[test]
    fn a_folder_changes_with_its_migrations() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let mut stamps = stamps(&[folder.path()]);
        let mut changes = || [stamps.look(), stamps.look(), stamps.look()];
        const CHANGED: [bool; 3] = [false, true, false];
        const SAME: [bool; 3] = [false; 3];
        fs::write(file("1-one.sql"), "1").expect("a file");
        assert_eq!(changes(), CHANGED);
        fs::write(file("1-one.sql"), "12").expect("a file");
        assert_eq!(changes(), CHANGED);
        fs::rename(file("1-one.sql"), file("2-two.sql")).expect("renamed");
        assert_eq!(changes(), CHANGED);
        // An editor's, and one that explains the others.
        for other in [".2-two.sql.swp", ".2-two.sql", "2-two.sql~", "README.md"] {
            fs::write(file(other), "1").expect("a file");
        }
        assert_eq!(changes(), SAME);
        fs::remove_file(file("2-two.sql")).expect("removed");
        assert_eq!(changes(), CHANGED);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_by_one_of_the_same_length_and_time_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, other, link] = ["file", "other", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "old").expect("a file");
        fs::write(&other, "new").expect("a file");
        let time = fs::metadata(&file).and_then(|file| file.modified());
        let opened = fs::File::options().write(true).open(&other);
        let opened = opened.expect("a file");
        opened.set_modified(time.expect("a time")).expect("a time");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let mut stamps = stamps(&[&link]);
        assert!(!stamps.look());
        // As editors, and tools that replace links, do.
        let new = folder.path().join("new link");
        std::os::unix::fs::symlink(&other, &new).expect("a link");
        fs::rename(&new, &link).expect("renamed");
        assert!(!stamps.look());
        assert!(stamps.look());
        fs::rename(&file, &other).expect("renamed");
        assert!(!stamps.look());
        assert!(stamps.look());
    }
}
