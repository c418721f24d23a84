//! Shares a database file with other instances. WASI has no file locks, so SQLite creates a folder,
//! `NAME.db.lock`, for as long as it reads or writes, and removes it when it is done. This module
//! decides how long to wait for it, and when to take it from an owner that no longer exists.
//!
//! An instance that is killed, traps or ends in a transaction leaves the folder behind, and no
//! other is told. So others take a folder that is older than [`STALE`]. Its owner may exist:
//! nothing of it runs between the guest's calls. But it has stopped by then: a statement ends after
//! [`HELD`], a transaction or a cursor at the guest's first call after that, and a connection that
//! has held its lock for [`LOST`] never uses its file again: see `Session::abandon`. A call that
//! finds itself beyond [`STALE`] ends the instance: see [`Deadline::is_over`].

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

/// How long a transaction or a cursor may be open, and a statement may run.
pub(crate) const HELD: Duration = Duration::from_secs(10);
/// The age from which a connection does not use its file, because another may take its lock. What
/// has begun by then has a second to end.
const LOST: Duration = Duration::from_secs(11);
/// The age from which a lock is taken from its owner.
pub(crate) const STALE: Duration = Duration::from_secs(12);
/// How long to wait for a lock: longer than it takes to become stale.
pub(crate) const WAIT: Duration = Duration::from_secs(15);
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// When something began, by both clocks. Others tell the age of a lock by the wall clock, which can
/// be set; the monotonic one can stop while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Moment {
        Moment {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The time since then, by the clock that counted more.
    fn age(self) -> Duration {
        let wall = self.wall.elapsed().unwrap_or_default();
        wall.max(self.monotonic.elapsed())
    }

    /// Whether what began then has been open for too long.
    pub(crate) fn is_overdue(self) -> bool {
        self.age() >= HELD
    }

    /// Whether another may have taken a lock that was got then, or may do so soon.
    pub(crate) fn is_lost(self) -> bool {
        self.age() >= LOST
    }
}

/// When a connection's call began, and until when it may run.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(Arc<Mutex<Call>>);

#[derive(Debug)]
struct Call {
    /// When it began, or got its lock.
    began: Moment,
    /// What its time counts from. `None` if nothing stops it.
    since: Option<Moment>,
}

impl Deadline {
    /// A call begins now.
    pub(crate) fn new() -> Deadline {
        let began = Moment::now();
        Deadline(Arc::new(Mutex::new(Call {
            began,
            since: Some(began),
        })))
    }

    /// A call begins. What is open was begun at `since`.
    pub(crate) fn start(&self, since: Option<Moment>) {
        let began = Moment::now();
        *self.call() = Call {
            began,
            since: Some(since.unwrap_or(began)),
        };
    }

    /// From now on nothing stops the call.
    pub(crate) fn unset(&self) {
        self.call().since = None;
    }

    /// What was open has ended: from now on only the call's own time counts.
    pub(crate) fn resume(&self) {
        let mut call = self.call();
        call.since = Some(call.began);
    }

    /// When the call began, or got its lock.
    pub(crate) fn began(&self) -> Moment {
        self.call().began
    }

    /// Whether the call's time is over. Does not return if another may have taken the lock: an
    /// error would make SQLite undo what it did in the file, which may be the other's by now.
    pub(crate) fn is_over(&self) -> bool {
        let since = self.call().since;
        let age = since.map_or(Duration::ZERO, Moment::age);
        if age >= STALE {
            let _ = writeln!(
                io::stderr(),
                "the database's lock is too old to go on: this process was suspended, or one step \
                 took more than {} seconds",
                (STALE - HELD).as_secs()
            );
            process::abort();
        }
        age >= HELD
    }

    /// Whether both are the deadline of one connection.
    pub(crate) fn is_same(&self, other: &Deadline) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn call(&self) -> MutexGuard<'_, Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Take a stale lock from its owner. Returns whether it is worth trying again at once.
fn take_if_stale(lock: &Path) -> bool {
    if !is_stale(lock) {
        return false;
    }
    // One waiter at a time: another could remove the lock that the first then gets.
    let mutex = with_suffix(lock, ".takeover");
    if fs::create_dir(&mutex).is_err() {
        // Its owner can have been killed too.
        return remove_if_stale(&mutex);
    }
    let removed = remove_if_stale(lock);
    let _ = fs::remove_dir(&mutex);
    removed
}

/// Remove a folder, unless another has replaced it by a new one. If this instance is suspended
/// after the first look, the folder can be replaced: so rename it, which only one instance can, and
/// look again.
fn remove_if_stale(folder: &Path) -> bool {
    let aside = with_suffix(
        folder,
        &format!(".{:016x}", RandomState::new().hash_one(folder)),
    );
    if !is_stale(folder) || fs::rename(folder, &aside).is_err() {
        return false;
    }
    if !is_stale(&aside) {
        let _ = fs::rename(&aside, folder);
        return false;
    }
    let _ = fs::remove_dir(&aside);
    true
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
