//! A folder by its path, on systems without `openat`. To stay in it, SQLite gets one plain
//! component as the name, and symbolic links are refused. They are checked before the file is
//! opened: a user who can replace the folder in between can lead SQLite elsewhere.

use std::ffi::{OsStr, c_int};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rusqlite::ffi;

#[derive(Debug)]
pub(crate) struct Folder {
    dir: Dir,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Folder>> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let path = path.to_owned();
        Ok(Arc::new(Folder { dir, path }))
    }

    pub(crate) fn of(_: &Dir) -> io::Result<Arc<Folder>> {
        Err(io::Error::other(
            "this system cannot open a database in an open folder: open it by path",
        ))
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether its disk is read-only, which is unknown on this system.
    pub(crate) fn is_read_only(&self) -> bool {
        false
    }

    /// The path for SQLite to open.
    pub(crate) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }
}

pub(super) fn is_in_one(_: &[u8]) -> bool {
    false
}

pub(super) fn confine(_: *mut ffi::sqlite3_vfs) -> Result<(), c_int> {
    Ok(())
}
