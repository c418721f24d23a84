//! SQLite's system calls, any of which can be made to fail (<https://sqlite.org/c3ref/vfs.html>,
//! `xSetSystemCall`).
#![expect(
    unsafe_code,
    reason = "functions that SQLite calls in place of the system's"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use libc::{off_t, size_t, ssize_t};
use millpond_sqlite::PoolBuilder;
use rusqlite::ffi;

/// How many more calls succeed; negative if none fails.
static LEFT: AtomicI64 = AtomicI64::new(-1);
static PERSISTENT: AtomicBool = AtomicBool::new(false);
static FAILING: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicI64 = AtomicI64::new(0);
static ERRNO: AtomicI32 = AtomicI32::new(0);
static SHORT: AtomicBool = AtomicBool::new(false);

/// How calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) errno: c_int,
    /// A write first writes half of its bytes.
    pub(crate) short: bool,
    /// All further calls fail too.
    pub(crate) persistent: bool,
}

/// Make call number `nth` fail, counted from 0.
pub(crate) fn arm(nth: i64, fault: Fault) {
    install();
    ERRNO.store(fault.errno, Ordering::Relaxed);
    SHORT.store(fault.short, Ordering::Relaxed);
    PERSISTENT.store(fault.persistent, Ordering::Relaxed);
    FAILING.store(false, Ordering::Relaxed);
    FAILED.store(0, Ordering::Relaxed);
    LEFT.store(nth, Ordering::Relaxed);
}

/// Make call number `nth` hang, counted from 0, before it runs.
pub(crate) fn arm_hang(nth: i64) {
    install();
    *gate() = Gate::Ahead;
    HANGS.store(true, Ordering::Relaxed);
    LEFT.store(nth, Ordering::Relaxed);
}

/// The state of the hanging call.
#[derive(Debug, PartialEq, Eq)]
enum Gate {
    Ahead,
    Hanging,
    /// No one waits for it any more: the work ended without it.
    Over,
    Released,
}

static HANGS: AtomicBool = AtomicBool::new(false);
static GATE: Mutex<Gate> = Mutex::new(Gate::Released);
static MOVED: Condvar = Condvar::new();

fn gate() -> std::sync::MutexGuard<'static, Gate> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wait until the call hangs; false if the work ends before.
pub(crate) fn hangs() -> bool {
    let wait = |gate: &mut Gate| *gate == Gate::Ahead;
    let gate = MOVED.wait_while(gate(), wait);
    *gate.unwrap_or_else(PoisonError::into_inner) == Gate::Hanging
}

/// Dropped when the work is over, however it ends.
#[derive(Debug)]
pub(crate) struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        let mut gate = gate();
        if *gate == Gate::Ahead {
            *gate = Gate::Over;
            MOVED.notify_all();
        }
    }
}

/// Release the hanging call, and let no call hang from now on.
pub(crate) fn release() {
    LEFT.store(-1, Ordering::Relaxed);
    HANGS.store(false, Ordering::Relaxed);
    *gate() = Gate::Released;
    MOVED.notify_all();
}

/// [Releases](release) the hanging call when dropped.
#[derive(Debug)]
pub(crate) struct ReleaseOnDrop;

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        release();
    }
}

fn hang() {
    let mut gate = gate();
    *gate = Gate::Hanging;
    MOVED.notify_all();
    let _released = MOVED.wait_while(gate, |gate| *gate == Gate::Hanging);
}

/// Let no more calls fail. Returns how many have failed.
pub(crate) fn disarm() -> i64 {
    LEFT.store(-1, Ordering::Relaxed);
    FAILING.store(false, Ordering::Relaxed);
    FAILED.load(Ordering::Relaxed)
}

fn fails() -> bool {
    let fails = if FAILING.load(Ordering::Relaxed) {
        true
    } else if LEFT.load(Ordering::Relaxed) < 0 {
        false
    } else if LEFT.fetch_sub(1, Ordering::Relaxed) == 0 {
        if HANGS.load(Ordering::Relaxed) {
            hang();
            return false;
        }
        FAILING.store(PERSISTENT.load(Ordering::Relaxed), Ordering::Relaxed);
        true
    } else {
        false
    };
    if fails {
        FAILED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the thread's own `errno`.
        unsafe { *libc::__errno_location() = ERRNO.load(Ordering::Relaxed) };
    }
    fails
}

macro_rules! replace {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $failure:expr;)*) => {
        /// The system's original.
        #[derive(Debug)]
        struct Own {
            $($name: Option<unsafe extern "C" fn($($type),*) -> $result>,)*
        }

        static OWN: OnceLock<Own> = OnceLock::new();

        $(
            unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                if fails() {
                    return $failure;
                }
                match OWN.get().and_then(|own| own.$name) {
                    // SAFETY: SQLite's arguments, unchanged.
                    Some(own) => unsafe { own($($argument),*) },
                    None => $failure,
                }
            }
        )*

        fn install() {
            static ONCE: OnceLock<()> = OnceLock::new();
            ONCE.get_or_init(|| {
                // The pool also replaces some, for names in its folders, and then calls the
                // originals: these replacements must come after.
                let folder = tempfile::tempdir().expect("a folder");
                PoolBuilder::new().open(folder.path().join("t.db")).expect("a pool");
                // SAFETY: the VFS of the system is there for as long as the process; each
                // function has the type that SQLite calls the one of its name with.
                unsafe {
                    assert_eq!(ffi::sqlite3_initialize(), ffi::SQLITE_OK);
                    let vfs = ffi::sqlite3_vfs_find(c"unix".as_ptr());
                    let get = (*vfs).xGetSystemCall.expect("system calls");
                    let set = (*vfs).xSetSystemCall.expect("system calls");
                    let name = |name: &'static str| {
                        CStr::from_bytes_with_nul(name.as_bytes()).expect("a name").as_ptr()
                    };
                    let own = Own {
                        $($name: get(vfs, name(concat!(stringify!($name), "\0"))).map(|own| {
                            std::mem::transmute::<
                                unsafe extern "C" fn(),
                                unsafe extern "C" fn($($type),*) -> $result,
                            >(own)
                        }),)*
                    };
                    OWN.set(own).expect("set once");
                    $(
                        // SQLite uses one form of reading and writing, and lacks the others.
                        if OWN.get().is_some_and(|own| own.$name.is_some()) {
                            let function = std::mem::transmute::<
                                unsafe extern "C" fn($($type),*) -> $result,
                                unsafe extern "C" fn(),
                            >($name);
                            let name = name(concat!(stringify!($name), "\0"));
                            assert_eq!(set(vfs, name, Some(function)), ffi::SQLITE_OK);
                        }
                    )*
                }
            });
        }
    };
}

replace! {
    open(path: *const c_char, flags: c_int, mode: c_int) -> c_int, -1;
    access(path: *const c_char, mode: c_int) -> c_int, -1;
    unlink(path: *const c_char) -> c_int, -1;
    ftruncate(fd: c_int, len: off_t) -> c_int, -1;
    read(fd: c_int, into: *mut c_void, len: size_t) -> ssize_t, -1;
    pread(fd: c_int, into: *mut c_void, len: size_t, offset: off_t) -> ssize_t, -1;
    pread64(fd: c_int, into: *mut c_void, len: size_t, offset: off_t) -> ssize_t, -1;
    write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t, half(len, |len| {
        // SAFETY: SQLite's arguments, of which less is used.
        OWN.get()?.write.map(|own| unsafe { own(fd, from, len) })
    });
    pwrite(fd: c_int, from: *const c_void, len: size_t, offset: off_t) -> ssize_t, half(len, |len| {
        // SAFETY: SQLite's arguments, of which less is used.
        OWN.get()?.pwrite.map(|own| unsafe { own(fd, from, len, offset) })
    });
    pwrite64(fd: c_int, from: *const c_void, len: size_t, offset: off_t) -> ssize_t, half(len, |len| {
        // SAFETY: SQLite's arguments, of which less is used.
        OWN.get()?.pwrite64.map(|own| unsafe { own(fd, from, len, offset) })
    });
    mmap(
        address: *mut c_void, len: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void, libc::MAP_FAILED;
}

/// The result of a failing write.
fn half(len: size_t, write: impl FnOnce(size_t) -> Option<ssize_t>) -> ssize_t {
    if !SHORT.load(Ordering::Relaxed) || len < 2 {
        return -1;
    }
    // The disk is full after these bytes: the next write fails too.
    FAILING.store(true, Ordering::Relaxed);
    write(len / 2).unwrap_or(-1)
}
