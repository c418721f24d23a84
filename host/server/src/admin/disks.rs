//! How much space is free on the file systems of the databases and of their backups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::config::{Database, Location, Size};
use crate::databases::WeakDatabases;

/// The file systems of the databases, as of the last look.
#[derive(Debug)]
pub(super) struct Disks {
    min_free: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By database.
    places: BTreeMap<String, Vec<Place>>,
    /// The file systems with too little space.
    low: Vec<FileSystem>,
}

/// A folder of a database.
#[derive(Debug)]
pub(super) struct Place {
    /// What it is for, `database` or `backups`: a label of the metrics.
    pub(super) of: &'static str,
    /// In bytes.
    pub(super) free: u64,
    pub(super) is_low: bool,
}

/// Its device number.
type FileSystem = u64;

/// A file system that has crossed the limit since the look before: it has too little space now, or
/// enough again. Sizes are in bytes.
#[derive(Debug)]
pub(super) struct Crossed {
    pub(super) folder: PathBuf,
    pub(super) free: u64,
    pub(super) min: u64,
    pub(super) is_low: bool,
}

impl Disks {
    pub(super) fn new(min_free: Size) -> Disks {
        Disks {
            min_free: AtomicU64::new(min_free.bytes()),
            seen: Mutex::default(),
        }
    }

    /// Set how much must be free from now on.
    pub(super) fn set_min_free(&self, min_free: Size) {
        self.min_free.store(min_free.bytes(), Ordering::Relaxed);
    }

    /// Look at the file systems of these databases. Returns those to report. Blocks until each disk
    /// has answered.
    pub(super) fn look(&self, databases: &WeakDatabases) -> Vec<Crossed> {
        let min = self.min_free.load(Ordering::Relaxed);
        let was_low = self.lock(|seen| seen.low.clone());
        let mut now = Seen::default();
        let mut crossed = Vec::new();
        let mut known = BTreeMap::new();
        for (name, database) in databases.iter() {
            let places = now.places.entry(name.to_string()).or_default();
            for (of, folder) in folders(database.settings()) {
                let Some((file_system, free)) = space(folder) else {
                    continue;
                };
                let is_low = *known.entry(file_system).or_insert_with(|| {
                    let before = was_low.contains(&file_system);
                    // An eighth more, so that a disk near the limit is not reported again and again.
                    let enough = if before { min + min / 8 } else { min };
                    let is_low = free < enough;
                    if is_low != before {
                        crossed.push(Crossed {
                            folder: folder.to_owned(),
                            free,
                            min,
                            is_low,
                        });
                    }
                    is_low
                });
                if is_low && !now.low.contains(&file_system) {
                    now.low.push(file_system);
                }
                places.push(Place { of, free, is_low });
            }
        }
        self.lock(|seen| *seen = now);
        crossed
    }

    /// Call `look` with the name of each database and its folders.
    pub(super) fn each(&self, mut look: impl FnMut(&str, &[Place])) {
        self.lock(|seen| {
            for (name, places) in &seen.places {
                look(name, places);
            }
        });
    }

    /// Whether a database or its backups have too little space.
    pub(super) fn is_low(&self, database: &str) -> bool {
        let is_low = |places: &Vec<Place>| places.iter().any(|place| place.is_low);
        self.lock(|seen| seen.places.get(database).is_some_and(is_low))
    }

    /// The disks of a database, for the operator's page.
    pub(super) fn to_json(&self, database: &str) -> Value {
        self.lock(|seen| {
            let places = seen.places.get(database).map_or(&[][..], Vec::as_slice);
            let places = places
                .iter()
                .map(|place| json!({ "of": place.of, "free": place.free, "low": place.is_low }));
            places.collect()
        })
    }

    fn lock<T>(&self, read: impl FnOnce(&mut Seen) -> T) -> T {
        read(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The folders in which a database and its backups grow.
fn folders(settings: &Database) -> impl Iterator<Item = (&'static str, &Path)> {
    let own = match settings.location() {
        Some(Location::File(file)) => file.parent(),
        Some(Location::Folder(folder)) => Some(folder),
        _ => None,
    };
    // A file without a folder in its path is in the working directory.
    let own = own.map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    let backups = settings.backup.as_ref();
    let backups = backups.map(|backup| ("backups", &*backup.folder));
    own.map(|own| ("database", own)).into_iter().chain(backups)
}

/// The file system of a folder, and how many bytes are free there for a process without privileges.
#[cfg(unix)]
fn space(folder: &Path) -> Option<(FileSystem, u64)> {
    use std::os::unix::fs::MetadataExt;
    let file_system = std::fs::metadata(folder).ok()?.dev();
    let space = rustix::fs::statvfs(folder).ok()?;
    Some((file_system, space.f_bavail.saturating_mul(space.f_frsize)))
}

#[cfg(not(unix))]
fn space(_: &Path) -> Option<(FileSystem, u64)> {
    None
}
