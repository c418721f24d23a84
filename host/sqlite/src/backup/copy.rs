//! Copies a database into a part, and checks the copy.

use rusqlite::OpenFlags;
use rusqlite::backup::{Backup, StepResult};

use super::BackupError;
use super::connection::{Snapshot, flags};
use super::part::Part;
use super::progress::{Monitor, Phase};
use super::verify::integrity;
use crate::error::{Error, ErrorKind};
use crate::open::Location;

/// How many pages to copy between two checks whether to stop: a megabyte, of pages of the usual
/// size.
const PAGES_PER_STEP: i32 = 256;

/// A copy that is complete and sound.
pub(super) struct Copied {
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// Copy `from` into `part`: one file, not in WAL mode, on the disk.
pub(super) fn copy(
    from: &Location,
    part: &Part,
    monitor: &mut Monitor<'_>,
) -> Result<Copied, BackupError> {
    let pages = copy_pages(from, part, monitor)?;
    monitor.check()?;
    let damaged = |problem: String| BackupError::Damaged {
        path: from.name().into(),
        problem,
    };
    // On its own connection, which knows nothing of the first, and reads what it wrote.
    let location = part.location();
    let copy = Snapshot::begin(&location, monitor.cancel())?;
    if copy.pages != pages {
        let found = copy.pages;
        return Err(damaged(format!("{found} of {pages} pages were copied")));
    }
    // A guest's CHECK may compute for as long as it likes, or hold at one moment and not at
    // another.
    let ignore = copy.execute_batch("PRAGMA ignore_check_constraints = ON");
    ignore.map_err(|error| monitor.explain(Error::from(error)))?;
    monitor.tell(Phase::Checking, 0, pages);
    let time = monitor.check_time(pages);
    let problems = copy.run(time, |conn| integrity(conn, 1));
    let problems = problems.map_err(|error| monitor.explain(error))?;
    if let Some(problem) = problems.into_iter().next() {
        return Err(damaged(problem));
    }
    monitor.tell(Phase::Checking, pages, pages);
    drop(copy);
    Ok(Copied {
        pages,
        bytes: part.sync()?,
    })
}

/// Returns the number of pages.
fn copy_pages(from: &Location, part: &Part, monitor: &mut Monitor<'_>) -> Result<u64, BackupError> {
    // The read transaction: without it, every commit of another connection would begin the copy
    // again.
    let source = Snapshot::begin(from, monitor.cancel())?;
    let _scope = source.enter();
    let failed = |error: rusqlite::Error| explain(error, from);
    // SQLite gives a new, empty database its first page.
    let pages = source.pages.max(1);
    let location = part.location();
    let mut to = location.connect(flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    // No journal, and no sync: a part that is not complete is discarded. With the exclusive lock,
    // switching the mode below needs no shared memory.
    to.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
    )
    .map_err(failed)?;
    let backup = Backup::new(&source, &mut to).map_err(failed)?;
    loop {
        monitor.check()?;
        match backup.step(PAGES_PER_STEP).map_err(failed)? {
            StepResult::Done => break,
            StepResult::More => {}
            // No one else has the copy open, and the source's transaction has begun.
            _ => return Err(refused(from)),
        }
        let left = u64::try_from(backup.progress().remaining).unwrap_or(0);
        monitor.tell(Phase::Copying, pages.saturating_sub(left), pages);
    }
    drop(backup);
    monitor.tell(Phase::Copying, pages, pages);
    // Its header says WAL, like that of its source, and reading a file in WAL mode needs a folder
    // that can be written.
    let mode = "PRAGMA journal_mode = DELETE";
    let mode: String = to.query_row(mode, [], |row| row.get(0)).map_err(failed)?;
    if mode != "delete" {
        return Err(refused(from));
    }
    drop(to);
    Ok(pages)
}

fn refused(from: &Location) -> BackupError {
    let message = format!("cannot copy the database {}: SQLite refuses", from.name());
    Error::new(ErrorKind::Busy, message).into()
}

fn explain(error: rusqlite::Error, from: &Location) -> BackupError {
    let error = Error::from(error);
    match error.kind() {
        ErrorKind::Corrupt => BackupError::Damaged {
            path: from.name().into(),
            problem: error.to_string(),
        },
        _ => {
            let message = format!("cannot copy the database {}: {error}", from.name());
            error.with_message(message).into()
        }
    }
}
