//! A VFS (<https://sqlite.org/vfs.html>) for this crate's connections. It is the system's default
//! VFS with two differences: temporary files are in memory, and a database's files open only in its
//! folder.
//!
//! **Invariant:** SQLite passes what <https://sqlite.org/c3ref/vfs.html> says it does. Nothing here
//! unwinds: no code below panics, whatever SQLite asks for.
#![expect(
    unsafe_code,
    reason = "SQLite's C interface; each block states why it holds"
)]

#[cfg_attr(unix, path = "folder_unix.rs")]
#[cfg_attr(not(unix), path = "folder_other.rs")]
mod folder;
pub(crate) mod identity;
mod temp_files;

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

pub(crate) use self::folder::Folder;
use crate::error::{Error, Result};

/// The name of the VFS.
pub(crate) const VFS: &CStr = c"millpond";

/// Register the VFS with SQLite, once.
pub(crate) fn register() -> Result<()> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    let code = *REGISTERED.get_or_init(|| {
        // SAFETY: SQLite keeps a VFS that it finds for as long as the process lasts, as ours is
        // kept, which is leaked. It is a copy, with another name and other ways to open files
        // and to resolve their names.
        unsafe {
            let base = ffi::sqlite3_vfs_find(ptr::null());
            if base.is_null() {
                return ffi::SQLITE_ERROR;
            }
            if let Err(code) = folder::confine(base) {
                return code;
            }
            let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
                pNext: ptr::null_mut(),
                zName: VFS.as_ptr(),
                xOpen: Some(open),
                xFullPathname: Some(full_pathname),
                ..*base
            }));
            vfs.szOsFile = vfs.szOsFile.max(temp_files::SIZE);
            let _ = BASE.set(Base(base));
            ffi::sqlite3_vfs_register(vfs, 0)
        }
    });
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Error::sqlite(
            code,
            "the files of SQLite cannot be reached",
            None,
        )),
    }
}

/// The system's default VFS.
#[derive(Debug)]
struct Base(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite uses a VFS from every thread.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

static BASE: OnceLock<Base> = OnceLock::new();

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(Base(base)) = BASE.get() else {
        return ffi::SQLITE_CANTOPEN;
    };
    // SAFETY: SQLite gives room for `szOsFile` bytes at `file`, which is enough for either kind.
    // `out_flags` is null or valid. The base VFS is called as SQLite would call it.
    unsafe {
        if name.is_null() && temp_files::is_temporary(flags) {
            temp_files::open(file);
            if !out_flags.is_null() {
                *out_flags = flags;
            }
            return ffi::SQLITE_OK;
        }
        match (**base).xOpen {
            Some(open) => open(*base, name, file, flags, out_flags),
            None => ffi::SQLITE_CANTOPEN,
        }
    }
}

/// A name in a [`Folder`] is resolved by the folder, whenever a file is opened. SQLite's own VFS
/// follows symbolic links now and opens the result later, when it may be another file.
unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let Some(Base(base)) = BASE.get() else {
        return ffi::SQLITE_CANTOPEN;
    };
    // SAFETY: `name` ends in a NUL; `out` has room for `size` bytes, which is looked at. The base
    // VFS is called as SQLite would call it.
    unsafe {
        let whole = CStr::from_ptr(name).to_bytes_with_nul();
        if folder::is_in_one(whole) {
            if usize::try_from(size).unwrap_or(0) < whole.len() {
                return ffi::SQLITE_CANTOPEN;
            }
            out.copy_from_nonoverlapping(name, whole.len());
            return ffi::SQLITE_OK;
        }
        match (**base).xFullPathname {
            Some(full_pathname) => full_pathname(*base, name, size, out),
            None => ffi::SQLITE_CANTOPEN,
        }
    }
}
