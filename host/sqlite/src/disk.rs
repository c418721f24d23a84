//! Files in an open folder, and what the standard library's functions cannot do with them: rename
//! without replacing, exchange two files, and sync a folder. Symbolic links are not followed.

use std::ffi::{OsStr, OsString};
use std::io;

use cap_std::fs::{Dir, Metadata, OpenOptions};

/// What SQLite may keep beside a database: its log, its shared memory and its journal.
pub(crate) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The name with this suffix.
pub(crate) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

/// Create an empty file that only its owner may read. Returns false if the name is taken.
pub(crate) fn create_private(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match dir.open_with(name, &options) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is something of this name.
pub(crate) fn exists(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    match dir.symlink_metadata(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Give the file `from` the name `to`, which must be free.
pub(crate) fn rename_new(dir: &Dir, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match rename_with(dir, from, to, Rename::New) {
        Err(error) if is_unsupported(&error) => {
            if dir.symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            dir.rename(from, dir, to)
        }
        other => other,
    }
}

/// Exchange two files, in one step. It is an error of the kind `Unsupported` where the disk cannot.
pub(crate) fn exchange(dir: &Dir, one: &OsStr, other: &OsStr) -> io::Result<()> {
    match rename_with(dir, one, other, Rename::Exchange) {
        Err(error) if is_unsupported(&error) => Err(io::ErrorKind::Unsupported.into()),
        other => other,
    }
}

/// Remove a file, or the symbolic link of that name. Returns false if there is none.
pub(crate) fn remove(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    match dir.remove_file(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Write a folder's names to the disk.
#[cfg(unix)]
pub(crate) fn sync(dir: &Dir) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, openat};
    // The descriptor of a `Dir` is only for finding names.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(dir, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsync(folder)?)
}

/// Not possible on other systems, which need not do it.
#[cfg(not(unix))]
pub(crate) fn sync(_: &Dir) -> io::Result<()> {
    Ok(())
}

/// Which file it is. `None` where that is unknown.
#[cfg(unix)]
pub(crate) fn id(file: &Metadata) -> Option<(u64, u64)> {
    use cap_std::fs::MetadataExt;
    Some((file.dev(), file.ino()))
}

/// See above.
#[cfg(not(unix))]
pub(crate) fn id(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Give a file the mode and, if permitted, the owner of another one.
#[cfg(unix)]
pub(crate) fn resemble(file: &std::fs::File, other: &Metadata) -> io::Result<()> {
    use cap_std::fs::MetadataExt;
    let (user, group) = (
        rustix::fs::Uid::from_raw(other.uid()),
        rustix::fs::Gid::from_raw(other.gid()),
    );
    // Only root may give a file away, and others made a file that is theirs.
    match rustix::fs::fchown(file, Some(user), Some(group)) {
        Ok(()) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let mode = rustix::fs::Mode::from_raw_mode(other.mode());
    Ok(rustix::fs::fchmod(file, mode)?)
}

/// Not on other systems.
#[cfg(not(unix))]
pub(crate) fn resemble(_: &std::fs::File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

enum Rename {
    New,
    Exchange,
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_with(dir: &Dir, from: &OsStr, to: &OsStr, how: Rename) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    let flags = match how {
        Rename::New => RenameFlags::NOREPLACE,
        Rename::Exchange => RenameFlags::EXCHANGE,
    };
    Ok(renameat_with(dir, from, dir, to, flags)?)
}

/// Not available on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_with(_: &Dir, _: &OsStr, _: &OsStr, _: Rename) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the disk or the system cannot do it at all.
fn is_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}
