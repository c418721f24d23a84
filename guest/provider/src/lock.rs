//! Shares a database file with other instances. WASI has no file locks, so SQLite creates a folder,
//! `NAME.db.lock`, for as long as it reads or writes, and removes it when it is done. This module
//! decides how long to wait for it, and when to take it from an owner that no longer exists.
//!
//! An instance that is killed, traps or ends in a transaction leaves the folder behind, and no
//! other is told. But no owner keeps it for longer than [`HELD`]: `session` ends its transaction
//! then, and stops its statement. So a folder that is older than [`STALE`] has no owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

/// How long a transaction or a cursor may be open, and a statement may run.
pub(crate) const HELD: Duration = Duration::from_secs(10);
/// The age from which a lock has no owner. Longer than [`HELD`] by the time that the last write to
/// the disk may take.
pub(crate) const STALE: Duration = Duration::from_secs(12);
/// How long to wait for a lock: longer than it takes to become stale.
pub(crate) const WAIT: Duration = Duration::from_secs(15);
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// When a connection's call began, and when it must end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadline(Arc<[AtomicU64; 2]>);

impl Deadline {
    /// A call begins. What is open was begun at `since`.
    pub(crate) fn start(&self, since: Option<u64>) {
        let began = now();
        self.set(began, after(since.unwrap_or(began)));
    }

    /// From now on nothing stops the call.
    pub(crate) fn unset(&self) {
        self.set(self.began(), u64::MAX);
    }

    /// When the call began, or got its lock.
    pub(crate) fn began(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        now() >= self.0[1].load(Ordering::Relaxed)
    }

    /// Whether what was begun at `since` is open for too long.
    pub(crate) fn has_passed(since: u64) -> bool {
        now() >= after(since)
    }

    fn set(&self, began: u64, until: u64) {
        self.0[0].store(began, Ordering::Relaxed);
        self.0[1].store(until, Ordering::Relaxed);
    }
}

/// Nanoseconds since the instance first asked.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn after(since: u64) -> u64 {
    since.saturating_add(u64::try_from(HELD.as_nanos()).unwrap_or(u64::MAX))
}

/// Make the connection wait for its file's lock; a call's time begins when it has it. `hopeless`
/// returns whether another connection of this instance holds the lock, and cannot release it while
/// this one waits.
pub(crate) fn install(
    conn: &mut Connection,
    file: &Path,
    deadline: &Deadline,
    hopeless: impl Fn() -> bool + Send + 'static,
) -> rusqlite::Result<()> {
    let lock = with_suffix(file, ".lock");
    let deadline = deadline.clone();
    let mut since = Instant::now();
    conn.busy_handler(Some(move |attempts: i32| {
        if attempts == 0 {
            since = Instant::now();
        }
        if hopeless() || since.elapsed() > WAIT {
            return false;
        }
        if !take_if_stale(&lock) {
            // Not longer than the owner usually takes.
            let pause = Duration::from_micros(200).saturating_mul(1 << attempts.clamp(0, 10));
            std::thread::sleep(pause.min(PAUSE));
        }
        deadline.start(None);
        true
    }))
}

/// Remove a lock without an owner. Returns whether it is worth trying again at once.
fn take_if_stale(lock: &Path) -> bool {
    if !is_stale(lock) {
        return false;
    }
    // One waiter at a time: another could remove the lock that the first then gets.
    let mutex = with_suffix(lock, ".takeover");
    if fs::create_dir(&mutex).is_err() {
        // Its owner can have been killed too.
        return is_stale(&mutex) && fs::remove_dir(&mutex).is_ok();
    }
    let removed = is_stale(lock) && fs::remove_dir(lock).is_ok();
    let _ = fs::remove_dir(&mutex);
    removed
}

fn is_stale(lock: &Path) -> bool {
    let changed = fs::metadata(lock).and_then(|folder| folder.modified());
    changed.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > STALE)
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
