//! Migrates all databases of a folder, in parallel.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Folder, FolderError, TenantKey, files};
use crate::migrations::{MigrationError, Migrations, Report};
use crate::open::Location;

/// The most threads that migrate at once.
const MAX_THREADS: usize = 64;

/// The outcome for one database of [`Folder::migrate_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Migrated {
    /// The database.
    pub key: TenantKey,
    /// What ran, or why it failed.
    pub outcome: Result<Report, MigrationError>,
    /// How many are done, with this one.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// The result of [`Folder::migrate_all`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigratedAll {
    /// How many databases got at least one migration.
    pub migrated: u64,
    /// How many had all.
    pub current: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were not looked at, because it was cancelled, or they were deleted meanwhile.
    pub skipped: u64,
}

impl Folder {
    /// Run the [migrations](Folder::migrations) on all databases in the folder, suspended ones too,
    /// in up to `threads` threads (1 to 64; others count as the nearest). Blocks until done. Lists
    /// the keys first, and so needs about 100 bytes of memory for each.
    ///
    /// Calls `each` on this thread with the outcome for each database, as soon as it is done. One
    /// that fails does not stop the others. If `each` returns [`ControlFlow::Break`], no further
    /// database is begun, and those that are being migrated are finished, and passed to `each` too.
    ///
    /// Each database is migrated as [`Migrations::run`] says, also while other processes use it: it
    /// waits up to 30 seconds for a writer, and then fails. One that is current waits for no
    /// writer. To resume after a failure, a cancellation or a crash, call it again.
    ///
    /// # Errors
    ///
    /// [`Io`](FolderError::Io): the folder cannot be listed; nothing was migrated.
    pub fn migrate_all(
        &self,
        threads: usize,
        mut each: impl FnMut(&Migrated) -> ControlFlow<()>,
    ) -> Result<MigratedAll, FolderError> {
        let keys = self.keys()?.collect::<Result<Vec<_>, _>>()?;
        let total = keys.len() as u64;
        let mut all = MigratedAll::default();
        let threads = threads.clamp(1, MAX_THREADS).min(keys.len().max(1));
        let none = Migrations::none();
        let migrations = self.migrations.as_deref().unwrap_or(&none);
        let (queue, is_cancelled) = (Mutex::new(keys.into_iter()), AtomicBool::new(false));
        let next = || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue
                .next()
                .filter(|_| !is_cancelled.load(Ordering::Relaxed))
        };
        thread::scope(|scope| {
            let (sender, outcomes) = sync_channel(threads);
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(key) = next() {
                        // Fails only if `each` has panicked.
                        if let Some(outcome) = self.migrate(migrations, &key)
                            && sender.send((key, outcome)).is_err()
                        {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (done, (key, outcome)) in (1..).zip(outcomes) {
                match &outcome {
                    Ok(report) if report.applied.is_empty() => all.current += 1,
                    Ok(_) => all.migrated += 1,
                    Err(_) => all.failed += 1,
                }
                let migrated = Migrated {
                    key,
                    outcome,
                    done,
                    total,
                };
                if each(&migrated).is_break() {
                    is_cancelled.store(true, Ordering::Relaxed);
                }
            }
        });
        all.skipped = total - all.migrated - all.current - all.failed;
        Ok(all)
    }

    /// Migrate one. `None` if it has been deleted meanwhile.
    fn migrate(
        &self,
        migrations: &Migrations,
        key: &TenantKey,
    ) -> Option<Result<Report, MigrationError>> {
        let file = files::database(key.as_str());
        let outcome = match Location::in_dir(&self.dir, &file) {
            Ok(location) => migrations.run_at(&location.must_exist(true)),
            Err(error) => Err(MigrationError::database(error)),
        };
        let is_gone = || matches!(files::find(&self.dir, &file), Ok(None));
        match outcome {
            Err(_) if is_gone() => None,
            outcome => Some(outcome),
        }
    }
}
