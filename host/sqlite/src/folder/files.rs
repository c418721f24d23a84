//! The files of one key, by name, in a folder that is open. Symbolic links are not followed.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::time::SystemTime;

use cap_std::fs::Dir;

use crate::disk::COMPANIONS;

/// The name of its database.
pub(crate) fn database(key: &str) -> String {
    format!("{key}.db")
}

pub(crate) fn log(key: &str) -> String {
    format!("{key}.db-wal")
}

pub(crate) fn side_files(key: &str) -> [String; 3] {
    COMPANIONS.map(|suffix| format!("{key}.db{suffix}"))
}

/// The marker of a database that is suspended.
pub(crate) fn marker(key: &str) -> String {
    format!("{key}.suspended")
}

/// The key whose database has this name.
pub(super) fn key_of(name: &OsStr) -> Option<&str> {
    let key = name.to_str()?.strip_suffix(".db")?;
    super::is_key(key).then_some(key)
}

/// What is known of a file.
#[derive(Debug)]
pub(crate) struct Found {
    /// False for folders, symbolic links and devices.
    pub(crate) is_file: bool,
    pub(super) bytes: u64,
    pub(super) changed: SystemTime,
}

/// The file of this name, or `None`.
pub(crate) fn find(dir: &Dir, name: &str) -> io::Result<Option<Found>> {
    match stat(dir, name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One system call, where cap-std has three: each request for a tenant waits for two of these.
#[cfg(unix)]
fn stat(dir: &Dir, name: &str) -> io::Result<Found> {
    use std::time::{Duration, UNIX_EPOCH};

    use rustix::fs::{AtFlags, FileType, statat};

    let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let since = Duration::new(
        u64::try_from(found.st_mtime).unwrap_or(0),
        u32::try_from(found.st_mtime_nsec).unwrap_or(0),
    );
    Ok(Found {
        is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
        bytes: u64::try_from(found.st_size).unwrap_or(0),
        changed: UNIX_EPOCH + since,
    })
}

#[cfg(not(unix))]
fn stat(dir: &Dir, name: &str) -> io::Result<Found> {
    let found = dir.symlink_metadata(name)?;
    Ok(Found {
        is_file: found.is_file(),
        bytes: found.len(),
        changed: found.modified()?.into_std(),
    })
}
