//! Backups at intervals, of which the older ones are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::names::{self, Keep};
use super::task::{Task, create_private};
use super::{Backup, BackupError, BackupReport, Cancel};
use crate::folder::{Folder, TenantKey, file_of};

/// How long to wait without looking at the clock, which may be set, or run on while the machine
/// sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How long the check of one database of a folder may take by default: one of 10 GiB takes 1 to 3
/// minutes. A tenant can make its own check take all that time, and all others wait for it.
const MAX_CHECK_TIME: Duration = Duration::from_secs(10 * 60);

/// Backs a database up at intervals, or all databases of a [`Folder`](crate::Folder), and removes
/// older backups.
///
/// A backup is named after its database and the time, in UTC: `app-20261127T184342Z.db`. It is due
/// when the newest one in the folder is as old as the interval, so a restart of the program neither
/// makes nor delays one. One is made at a time. If one fails, the others are made, no older one is
/// removed, and the next attempt is after the interval, when the others have been made.
///
/// ```no_run
/// use std::time::Duration;
/// use millpond_sqlite::backup::BackupSchedule;
///
/// let hour = Duration::from_secs(3600);
/// let schedule = BackupSchedule::of("/var/lib/app/app.db", "/var/backups/app", hour)
///     .keep_last(24)
///     .keep_days(14)
///     .start()?;
/// // At the end of the program:
/// schedule.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a schedule does nothing until it is started"]
pub struct BackupSchedule {
    from: Databases,
    into: PathBuf,
    every: Duration,
    keep: Keep,
    clock: Box<dyn Fn() -> SystemTime + Send>,
    report: Box<dyn FnMut(&BackupOutcome) + Send>,
    /// `None`: as for any backup.
    max_check_time: Option<Duration>,
    cancel: Cancel,
    known: Known,
}

/// What the schedule knows of the databases. A schedule of many databases wakes often, and need not
/// read all their folders each time.
#[derive(Debug, Default)]
struct Known {
    /// When they were listed. `None` if that failed or was never done.
    listed: Option<SystemTime>,
    /// When each database was last backed up, or a backup was last attempted.
    last: BTreeMap<String, Option<SystemTime>>,
    /// Those whose last attempt failed.
    failed: BTreeSet<String>,
}

/// What to back up.
enum Databases {
    One(PathBuf),
    Folder(PathBuf),
}

/// What came of one scheduled backup.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackupOutcome {
    /// The database: its path, or its key in the folder. The folder, if it cannot be read.
    pub database: String,
    /// The backup, or why there is none.
    pub result: Result<BackupReport, BackupError>,
    /// Older backups that were removed.
    pub removed: Vec<PathBuf>,
    /// Why older backups could not be removed.
    pub not_removed: Vec<BackupError>,
}

impl BackupSchedule {
    /// Back up the database in the file at `path` into the folder `into`, which must exist.
    /// `every` is the interval between two backups, at least one second.
    pub fn of(path: impl AsRef<Path>, into: impl AsRef<Path>, every: Duration) -> BackupSchedule {
        BackupSchedule::new(Databases::One(path.as_ref().to_owned()), into, every)
    }

    /// Back up each database of the [`Folder`](crate::Folder) at `path` into its own folder in
    /// `into`, which must exist: `into/KEY/KEY-20261127T184342Z.db`. Databases that are added later
    /// are found within the interval. The backups of one that is deleted stay.
    pub fn of_folder(
        path: impl AsRef<Path>,
        into: impl AsRef<Path>,
        every: Duration,
    ) -> BackupSchedule {
        BackupSchedule::new(Databases::Folder(path.as_ref().to_owned()), into, every)
            .max_check_time(MAX_CHECK_TIME)
    }

    fn new(from: Databases, into: impl AsRef<Path>, every: Duration) -> BackupSchedule {
        BackupSchedule {
            from,
            into: into.as_ref().to_owned(),
            every: every.max(Duration::from_secs(1)),
            keep: Keep {
                last: 7,
                days: 0,
                weeks: 0,
            },
            clock: Box::new(SystemTime::now),
            report: Box::new(|_| ()),
            max_check_time: None,
            cancel: Cancel::new(),
            known: Known::default(),
        }
    }

    /// Keep the newest `count` backups of each database; at least 1. Defaults to 7. Only regular
    /// files with exactly the name that a backup gets are ever removed, and only after a backup has
    /// succeeded.
    pub fn keep_last(mut self, count: usize) -> Self {
        self.keep.last = count.max(1);
        self
    }

    /// Also keep the newest backup of each of the last `count` days that have one, in UTC. Defaults
    /// to 0.
    pub fn keep_days(mut self, count: usize) -> Self {
        self.keep.days = count;
        self
    }

    /// Also keep the newest backup of each of the last `count` weeks that have one, in UTC, from
    /// Monday. Defaults to 0.
    pub fn keep_weeks(mut self, count: usize) -> Self {
        self.keep.weeks = count;
        self
    }

    /// Limit how long the check of each backup may take, if that is less than the default of
    /// [`Backup::max_check_time`]. Defaults to 10 minutes for a folder, whose databases wait for
    /// each other, and to no limit for one database.
    pub fn max_check_time(mut self, time: Duration) -> Self {
        self.max_check_time = Some(time);
        self
    }

    /// Call `report` after each backup, on the schedule's thread. A failure is also logged as a
    /// warning.
    pub fn on_backup(mut self, report: impl FnMut(&BackupOutcome) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// Read the time from `clock`. Defaults to the system's. For tests: after it was set, call
    /// [`RunningSchedule::look`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Start the schedule, on a thread of its own. Backups that are due are made now.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub fn start(self) -> io::Result<RunningSchedule> {
        let shared = Arc::new(Shared::default());
        let cancel = self.cancel.clone();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("millpond-backup".to_owned())
            .spawn(move || self.run(&for_thread))?;
        Ok(RunningSchedule {
            shared,
            cancel,
            thread: Some(thread),
        })
    }

    /// Make a backup of each database now, due or not, and remove older ones. Blocks until done, as
    /// [`Backup::write`] does for each.
    pub fn run_once(&mut self) -> Vec<BackupOutcome> {
        let now = (self.clock)();
        let mut databases = match self.databases() {
            Ok(databases) => databases,
            Err(error) => return vec![self.no_tasks(error)],
        };
        databases.sort_unstable();
        self.relist(databases, now);
        let databases = self.in_turn();
        let tasks = databases.iter().map(|database| self.task(database));
        let tasks: Vec<_> = tasks.collect();
        tasks.iter().map(|task| self.back_up(task, now)).collect()
    }

    fn run(mut self, shared: &Shared) {
        loop {
            let next = self.run_due();
            let mut state = shared.state();
            loop {
                let now = (self.clock)();
                let left = next.duration_since(now).unwrap_or_default();
                if state.stopped {
                    return;
                }
                // The clock was set back, and `next` is of before. Small corrections do no harm.
                if left.is_zero() || left > self.every + LOOK_AGAIN {
                    break;
                }
                let wait = left.min(LOOK_AGAIN);
                let waited = shared.changed.wait_timeout(state, wait);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Make the backups that are due. Returns when to look again.
    fn run_due(&mut self) -> SystemTime {
        let began = (self.clock)();
        // List again if the clock was set back: otherwise new databases would not be found.
        let is_recent = |listed: SystemTime| listed <= began && began < listed + self.every;
        if !self.known.listed.is_some_and(is_recent) {
            self.known.listed = None;
            match self.databases() {
                Ok(databases) => self.relist(databases, began),
                Err(error) => {
                    self.no_tasks(error);
                    return began + self.every;
                }
            }
        }
        let mut next = self.known.listed.unwrap_or(began) + self.every;
        for database in self.in_turn() {
            if self.cancel.is_cancelled() {
                break;
            }
            let now = (self.clock)();
            let task = self.task(&database);
            let known = self.known.last.get(&database).copied().flatten();
            let mut due = self.due(known, now);
            if due <= now {
                // Another program may have made a backup.
                let made = self.last(&task, now).max(known);
                self.known.last.insert(database.clone(), made);
                due = self.due(made, now);
            }
            if due > now {
                next = next.min(due);
            } else if self.is_gone(&task) {
                self.known.last.remove(&database);
                self.known.failed.remove(&database);
            } else {
                self.back_up(&task, now);
            }
        }
        next
    }

    /// Forget the databases that do not exist any more, and add new ones.
    fn relist(&mut self, databases: Vec<String>, now: SystemTime) {
        let mut before = std::mem::take(&mut self.known.last);
        let known = |database: String| {
            let last = before.remove(&database).flatten();
            (database, last)
        };
        self.known = Known {
            listed: Some(now),
            last: databases.into_iter().map(known).collect(),
            failed: std::mem::take(&mut self.known.failed),
        };
        let last = &self.known.last;
        self.known
            .failed
            .retain(|database| last.contains_key(database));
    }

    /// The databases, in the order in which to back them up: by name, but last those that failed,
    /// because each of these may take as long as a check may.
    fn in_turn(&self) -> Vec<String> {
        let mut databases: Vec<String> = self.known.last.keys().cloned().collect();
        databases.sort_by_key(|database| self.known.failed.contains(database));
        databases
    }

    /// When the next backup is due. A `last` in the future, from a clock that was wrong, does not
    /// count.
    fn due(&self, last: Option<SystemTime>, now: SystemTime) -> SystemTime {
        let last = last.filter(|last| *last <= now);
        last.map_or(now, |last| last + self.every)
    }

    /// When the newest backup in the folder was made.
    fn last(&self, task: &Task, now: SystemTime) -> Option<SystemTime> {
        let made = task.backups().unwrap_or_default();
        let made = made.into_iter().filter_map(names::to_clock);
        made.filter(|last| *last <= now).max()
    }

    /// The names of the databases: a path, or the keys in the folder.
    fn databases(&self) -> Result<Vec<String>, BackupError> {
        match &self.from {
            Databases::One(path) => Ok(vec![path.display().to_string()]),
            Databases::Folder(path) => {
                let keys = || {
                    let folder = Folder::open(path).map_err(io::Error::other)?;
                    let keys = folder.keys().map_err(io::Error::other)?;
                    let key = |key: Result<TenantKey, _>| key.map(|key| key.to_string());
                    let keys = keys.map(key).collect::<Result<Vec<_>, _>>();
                    keys.map_err(io::Error::other)
                };
                keys().map_err(|error| BackupError::file(path, error))
            }
        }
    }

    fn task(&self, database: &str) -> Task {
        let (into, stem) = match &self.from {
            Databases::One(path) => {
                let stem = path.file_stem().unwrap_or_default();
                (self.into.clone(), stem.to_string_lossy().into_owned())
            }
            Databases::Folder(_) => (self.into.join(database), database.to_owned()),
        };
        Task {
            database: database.to_owned(),
            into,
            stem,
        }
    }

    /// Whether a database of the folder has been deleted since the folder was listed.
    fn is_gone(&self, task: &Task) -> bool {
        match &self.from {
            Databases::One(_) => false,
            Databases::Folder(folder) => {
                let found = std::fs::symlink_metadata(folder.join(file_of(&task.stem)));
                found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            }
        }
    }

    /// Report that there is nothing to back up.
    fn no_tasks(&mut self, error: BackupError) -> BackupOutcome {
        let (Databases::One(path) | Databases::Folder(path)) = &self.from;
        self.reported(BackupOutcome {
            database: path.display().to_string(),
            result: Err(error),
            removed: Vec::new(),
            not_removed: Vec::new(),
        })
    }

    fn back_up(&mut self, task: &Task, now: SystemTime) -> BackupOutcome {
        self.known.last.insert(task.database.clone(), Some(now));
        let mut outcome = BackupOutcome {
            database: task.database.clone(),
            result: self.make(task, now),
            removed: Vec::new(),
            not_removed: Vec::new(),
        };
        if outcome.result.is_err() {
            self.known.failed.insert(task.database.clone());
        } else {
            self.known.failed.remove(&task.database);
            let not_removed = task.remove_surplus(self.keep, now, &mut outcome.removed);
            outcome.not_removed = not_removed;
        }
        self.reported(outcome)
    }

    fn make(&self, task: &Task, now: SystemTime) -> Result<BackupReport, BackupError> {
        if let Databases::Folder(_) = self.from {
            create_private(&task.into).map_err(|error| BackupError::file(&task.into, error))?;
        }
        let backup = match &self.from {
            Databases::One(path) => Backup::of(path),
            Databases::Folder(folder) => {
                // A link that has been put in its place is not followed.
                let dir = Dir::open_ambient_dir(folder, ambient_authority());
                let dir = dir.map_err(|error| BackupError::file(folder, error))?;
                Backup::of_file_in(&dir, &file_of(&task.stem))?
            }
        };
        let mut backup = backup.cancel(&self.cancel);
        if let Some(time) = self.max_check_time {
            backup.monitor.limit_check_time(time);
        }
        backup.write(task.into.join(names::name(&task.stem, now)))
    }

    fn reported(&mut self, outcome: BackupOutcome) -> BackupOutcome {
        match &outcome.result {
            Err(BackupError::Cancelled) | Ok(_) => {}
            Err(error) => log::warn!("{}: there is no backup: {error}", outcome.database),
        }
        for error in &outcome.not_removed {
            log::warn!("{}: {error}", outcome.database);
        }
        (self.report)(&outcome);
        outcome
    }
}

impl fmt::Debug for BackupSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Databases::One(from) | Databases::Folder(from)) = &self.from;
        f.debug_struct("BackupSchedule")
            .field("from", from)
            .field("into", &self.into)
            .field("every", &self.every)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A schedule that runs. Dropping it stops it, as [`stop`](RunningSchedule::stop) does.
#[derive(Debug)]
pub struct RunningSchedule {
    shared: Arc<Shared>,
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl RunningSchedule {
    /// Look at the clock now, and make the backups that are due. Does not wait for them.
    pub fn look(&self) {
        // The thread must not be between reading the clock and waiting.
        drop(self.shared.state());
        self.shared.changed.notify_all();
    }

    /// Stop it: a backup that is being made is discarded. Blocks for the milliseconds that this
    /// takes, or as long as the copy is synced.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for RunningSchedule {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the embedder's callback has been printed.
            let _ = thread.join();
        }
    }
}
