//! Scheduled backups.

use millpond_sqlite::backup::{BackupSchedule, RunningSchedule};

use crate::config::{Database, Location};
use crate::error::{Error, Result};

/// Start the scheduled backups of a database, if it is to have any: until the result is dropped.
/// The schedule logs failures; backups are logged at the level `info`.
pub(super) fn start(name: &str, settings: &Database) -> Result<Option<RunningSchedule>> {
    let Some(backup) = &settings.backup else {
        return Ok(None);
    };
    let into = &backup.folder;
    if !into.is_dir() {
        return Err(Error::about(into, "there is no such folder: create it"));
    }
    let schedule = match settings.location() {
        Some(Location::File(path)) => BackupSchedule::of(path, into, backup.every),
        Some(Location::Folder(path)) => BackupSchedule::of_folder(path, into, backup.every),
        // Refused by the checks of a configuration.
        _ => return Ok(None),
    };
    let schedule = match backup.max_check_time {
        Some(time) => schedule.max_check_time(time),
        None => schedule,
    };
    let about = name.to_owned();
    let schedule = schedule
        .keep_last(backup.keep_last as usize)
        .keep_days(backup.keep_days as usize)
        .keep_weeks(backup.keep_weeks as usize)
        .on_backup(move |outcome| {
            if outcome.result.is_ok() {
                log::info!("the database `{about}`: backed up {}", outcome.database);
            }
        });
    let started = schedule.start();
    let not_now = |error| Error::new(error).passing_if(true);
    Ok(Some(started.map_err(not_now)?))
}
