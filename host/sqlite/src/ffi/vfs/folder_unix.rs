//! Keeps SQLite's files in their folder.
//!
//! SQLite opens a database, its log and its shared memory by path, at any time, and first checks
//! for symbolic links in the path: a folder that is replaced by a link in between leads it
//! elsewhere. So SQLite gets a name that is not a path, `millpond:7/app.db`. Its system calls are
//! replaced (<https://sqlite.org/c3ref/vfs.html>, `xSetSystemCall`) by ones that look up such a
//! name in folder 7, which is open, with `openat` and related calls. Only one component is left to
//! resolve, and `O_NOFOLLOW` prevents that from being a link.
//!
//! The replacements affect the whole process. They pass all other names on: SQLite makes paths
//! absolute before it opens them, so no other user's path begins like these.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rusqlite::ffi;

const PREFIX: &str = "millpond:";

/// An open folder. While it lives, SQLite finds the files in it.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: Dir,
    number: u64,
}

/// The living folders, by number.
static FOLDERS: RwLock<BTreeMap<u64, RawFd>> = RwLock::new(BTreeMap::new());

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Folder>> {
        Folder::new(Dir::open_ambient_dir(path, ambient_authority())?)
    }

    pub(crate) fn of(dir: &Dir) -> io::Result<Arc<Folder>> {
        Folder::new(dir.try_clone()?)
    }

    fn new(dir: Dir) -> io::Result<Arc<Folder>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut folders = FOLDERS.write().unwrap_or_else(PoisonError::into_inner);
        folders.insert(number, dir.as_raw_fd());
        drop(folders);
        Ok(Arc::new(Folder { dir, number }))
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether its disk is read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        let disk = rustix::fs::fstatvfs(&self.dir);
        disk.is_ok_and(|disk| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }

    /// The path for SQLite to open.
    pub(crate) fn path_of(&self, name: &OsStr) -> PathBuf {
        Path::new(&format!("{PREFIX}{}", self.number)).join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Before the descriptor is closed, and may be reused for another file.
        let mut folders = FOLDERS.write().unwrap_or_else(PoisonError::into_inner);
        folders.remove(&self.number);
    }
}

/// Whether a name is in a [`Folder`].
pub(super) fn is_in_one(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

/// SQLite's original system calls.
#[derive(Debug)]
struct System {
    open: unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int,
    access: unsafe extern "C" fn(*const c_char, c_int) -> c_int,
    stat: unsafe extern "C" fn(*const c_char, *mut libc::stat) -> c_int,
    unlink: unsafe extern "C" fn(*const c_char) -> c_int,
}

static SYSTEM: OnceLock<System> = OnceLock::new();

/// Replace the system calls of the VFS `base`, and of those that share them.
///
/// # Safety
///
/// `base` is the system's default VFS.
pub(super) unsafe fn confine(base: *mut ffi::sqlite3_vfs) -> Result<(), c_int> {
    // SAFETY: the VFS has version 3, and so both methods. Each function has the type that SQLite
    // casts the one of its name to (`aSyscall` in `os_unix.c`). SQLite reads these pointers
    // without a lock: another thread that opens a file just now uses one or the other.
    unsafe {
        let (Some(get), Some(set)) = ((*base).xGetSystemCall, (*base).xSetSystemCall) else {
            return Err(ffi::SQLITE_ERROR);
        };
        let own = |name: &CStr| get(base, name.as_ptr());
        let (Some(open), Some(access), Some(stat), Some(unlink)) =
            (own(c"open"), own(c"access"), own(c"stat"), own(c"unlink"))
        else {
            return Err(ffi::SQLITE_ERROR);
        };
        type Call = unsafe extern "C" fn();
        let system = System {
            open: std::mem::transmute::<Call, unsafe extern "C" fn(_, _, _) -> _>(open),
            access: std::mem::transmute::<Call, unsafe extern "C" fn(_, _) -> _>(access),
            stat: std::mem::transmute::<Call, unsafe extern "C" fn(_, _) -> _>(stat),
            unlink: std::mem::transmute::<Call, unsafe extern "C" fn(_) -> _>(unlink),
        };
        if SYSTEM.set(system).is_err() {
            return Ok(());
        }
        let replaced: [(&CStr, *const ()); 4] = [
            (c"open", sys_open as *const ()),
            (c"access", sys_access as *const ()),
            (c"stat", sys_stat as *const ()),
            (c"unlink", sys_unlink as *const ()),
        ];
        for (name, call) in replaced {
            let call = std::mem::transmute::<*const (), Call>(call);
            match set(base, name.as_ptr(), Some(call)) {
                ffi::SQLITE_OK => {}
                code => return Err(code),
            }
        }
    }
    Ok(())
}

/// Call `there` with the folder and name that `path` stands for, or `elsewhere` if it is an
/// ordinary path. The folder stays open meanwhile.
///
/// # Safety
///
/// `path` ends in a NUL, and stays valid meanwhile.
unsafe fn find(
    path: *const c_char,
    there: impl FnOnce(RawFd, &CStr) -> c_int,
    elsewhere: impl FnOnce(&System) -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    let Some(rest) = path.to_bytes_with_nul().strip_prefix(PREFIX.as_bytes()) else {
        return SYSTEM.get().map_or(-1, elsewhere);
    };
    let (number, name) = match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&rest[..slash], &rest[slash + 1..]),
        // The folder itself, which is synced after a file in it is removed.
        None => (rest.strip_suffix(b"\0").unwrap_or(rest), &b".\0"[..]),
    };
    let number = str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse().ok());
    let name = CStr::from_bytes_with_nul(name).unwrap_or(c".");
    let folders = FOLDERS.read().unwrap_or_else(PoisonError::into_inner);
    let folder = number.and_then(|number: u64| folders.get(&number));
    match folder {
        Some(folder) if !name.to_bytes().contains(&b'/') => there(*folder, name),
        _ => there(NO_FOLDER, name),
    }
}

/// An invalid descriptor: every lookup there fails.
const NO_FOLDER: RawFd = -1;

unsafe extern "C" fn sys_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let flags_there = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: SQLite's arguments; the name is a part of them.
    unsafe {
        find(
            path,
            |folder, name| libc::openat(folder, name.as_ptr(), flags_there, mode),
            |system| (system.open)(path, flags, mode),
        )
    }
}

unsafe extern "C" fn sys_access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        find(
            path,
            |folder, name| libc::faccessat(folder, name.as_ptr(), mode, 0),
            |system| (system.access)(path, mode),
        )
    }
}

unsafe extern "C" fn sys_stat(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: as above; `into` has room for one.
    unsafe {
        find(
            path,
            |folder, name| libc::fstatat(folder, name.as_ptr(), into, libc::AT_SYMLINK_NOFOLLOW),
            |system| (system.stat)(path, into),
        )
    }
}

unsafe extern "C" fn sys_unlink(path: *const c_char) -> c_int {
    // SAFETY: as above.
    unsafe {
        find(
            path,
            |folder, name| libc::unlinkat(folder, name.as_ptr(), 0),
            |system| (system.unlink)(path),
        )
    }
}
