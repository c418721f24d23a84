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
    last: Mutex<LastLook>,
}

#[derive(Debug, Default)]
struct LastLook {
    /// By database.
    places: BTreeMap<String, Vec<Place>>,
    /// The file systems with too little space.
    low: Vec<FileSystem>,
}

/// What the folder of a database itself is for.
const OWN: &str = "database";

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
            last: Mutex::default(),
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
        let was_low = self.lock(|last| last.low.clone());
        let mut now = LastLook::default();
        let mut crossed = Vec::new();
        let mut known = BTreeMap::new();
        for (name, database) in databases.iter() {
            let places = now.places.entry(name.to_string()).or_default();
            let settings = database.settings();
            for (of, folder) in folders(settings) {
                let Some((file_system, free)) = space(folder) else {
                    continue;
                };
                if of == OWN && settings.read_only {
                    // It does not grow.
                    let is_low = false;
                    places.push(Place { of, free, is_low });
                    continue;
                }
                let is_low = *known.entry(file_system).or_insert_with(|| {
                    let before = was_low.contains(&file_system);
                    // An eighth more, so that a disk near the limit is not reported again and
                    // again.
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
        self.lock(|last| *last = now);
        crossed
    }

    /// Call `look` with the name of each database and its folders.
    pub(super) fn each(&self, mut look: impl FnMut(&str, &[Place])) {
        self.lock(|last| {
            for (name, places) in &last.places {
                look(name, places);
            }
        });
    }

    /// Whether a database or its backups have too little space.
    pub(super) fn is_low(&self, database: &str) -> bool {
        let is_low = |places: &Vec<Place>| places.iter().any(|place| place.is_low);
        self.lock(|last| last.places.get(database).is_some_and(is_low))
    }

    /// The disks of a database, for the operator's page.
    pub(super) fn to_json(&self, database: &str) -> Value {
        self.lock(|last| {
            let places = last.places.get(database).map_or(&[][..], Vec::as_slice);
            let places = places
                .iter()
                .map(|place| json!({ "of": place.of, "free": place.free, "low": place.is_low }));
            places.collect()
        })
    }

    fn lock<T>(&self, read: impl FnOnce(&mut LastLook) -> T) -> T {
        read(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
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
    own.map(|own| (OWN, own)).into_iter().chain(backups)
}

/// The file system of a folder, and how many bytes are free there for a process without privileges.
/// `None` if it does not say.
#[cfg(unix)]
fn space(folder: &Path) -> Option<(FileSystem, u64)> {
    use std::os::unix::fs::MetadataExt;
    let file_system = std::fs::metadata(folder).ok()?.dev();
    let space = rustix::fs::statvfs(folder).ok()?;
    // Of file systems without a size, such as some that are made of other things than a disk.
    if space.f_blocks == 0 {
        return None;
    }
    Some((file_system, space.f_bavail.saturating_mul(space.f_frsize)))
}

#[cfg(not(unix))]
fn space(_: &Path) -> Option<(FileSystem, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::databases::Databases;

    /// Whether the database `app` with these settings has too little space, by a limit that no disk
    /// reaches.
    fn is_low(settings: &str) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("app.db");
        std::fs::write(&file, "").expect("a file");
        let text = format!(
            "[components.app]\nfile = \"app.wasm\"\n[databases.app]\nfile = {file:?}\n{settings}\n"
        );
        let config = Config::parse(&text, "millpond.toml".as_ref()).expect("a configuration");
        let databases = Databases::open(&config).expect("databases");
        let disks = Disks::new(Size(1 << 60));
        disks.look(&databases.downgrade());
        let mut places = 0;
        disks.each(|_, all| places += all.len());
        assert_eq!(places, 1);
        disks.is_low("app")
    }

    #[cfg(unix)]
    #[test]
    fn only_a_database_that_can_grow_has_too_little_space() {
        assert!(is_low(""));
        assert!(!is_low("read-only = true"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_without_a_size_is_not_full() {
        assert_eq!(space("/proc".as_ref()), None);
    }
}
