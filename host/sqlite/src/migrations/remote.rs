//! Runs migrations on databases that are not files of this crate, such as those on a server.

use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond_pool::{Error, ErrorKind, Parameters, Rows, Value};

use super::foreign_keys::{Orphans, each};
use super::run::{
    CREATE_RECORDS, HAS_RECORDS, RECORD, RECORDS, Recorded, check_foreign_keys, next,
};
use super::{Migration, MigrationError, Report};

/// How long to wait for another client to apply a migration, after it took this one's turn; and how
/// often to look.
const OTHERS_TIME: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A database that is not a file of this crate: [`Migrations::run_on`](super::Migrations::run_on)
/// runs migrations on it. Its functions block until done.
pub trait Database {
    /// Begin a transaction, in which no other client can write, and foreign keys are not enforced.
    /// Waits for other writers.
    ///
    /// # Errors
    ///
    /// The transaction has not begun.
    fn begin(&mut self) -> Result<(), Error>;

    /// Run a query, and return all rows. Also outside of a transaction.
    ///
    /// # Errors
    ///
    /// Those of the database.
    fn query(&mut self, sql: &str) -> Result<Rows, Error>;

    /// Run one statement, in the transaction.
    ///
    /// # Errors
    ///
    /// Those of the database.
    fn execute(&mut self, sql: &str, parameters: &Parameters) -> Result<(), Error>;

    /// Run the statements of a migration, in the transaction, up to the first one that fails.
    ///
    /// # Errors
    ///
    /// Those of the database, with the offset of the statement in the text. A statement that begins
    /// or ends a transaction must be an error.
    fn execute_script(&mut self, sql: &str) -> Result<(), Error>;

    /// Commit the transaction.
    ///
    /// # Errors
    ///
    /// It is not committed; or, with [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), it may be.
    fn commit(&mut self) -> Result<(), Error>;

    /// Roll the transaction back, if it is open.
    fn rollback(&mut self);
}

pub(super) fn run(
    files: &[Migration],
    database: &mut dyn Database,
) -> Result<Report, MigrationError> {
    let mut report = Report::default();
    // Usually there is nothing to do: find that out without waiting for a writer.
    while next(files, &recorded(database)?)?.is_some() {
        database.begin().map_err(MigrationError::Database)?;
        let applied = apply_next(files, database, &mut report);
        if !matches!(applied, Ok(true)) {
            database.rollback();
        }
        if let Err(error) = applied {
            let Some(file) = error.lost_transaction_of().map(str::to_owned) else {
                return Err(error);
            };
            wait_for_others(files, &file, database, error)?;
        }
    }
    report.finish(files);
    Ok(report)
}

/// The database has ended the transaction for another client, which may be about to apply the same
/// migration. Wait for that, and do not begin again meanwhile: that would end the other's.
fn wait_for_others(
    files: &[Migration],
    file: &str,
    database: &mut dyn Database,
    lost: MigrationError,
) -> Result<(), MigrationError> {
    let since = Instant::now();
    log::warn!(
        "{file}: another client has ended the transaction; waiting up to {OTHERS_TIME:?} for one \
         that applies it"
    );
    while since.elapsed() < OTHERS_TIME {
        sleep(LOOK_AGAIN);
        let pending = next(files, &recorded(database)?)?;
        if pending.is_none_or(|pending| pending.file != file) {
            return Ok(());
        }
    }
    Err(lost)
}

/// Apply the next migration in the open transaction, and commit it. Returns false, with the
/// transaction open, if another client has applied the last one meanwhile.
fn apply_next(
    files: &[Migration],
    database: &mut dyn Database,
    report: &mut Report,
) -> Result<bool, MigrationError> {
    // Check again, now that no other client can write.
    let Some(migration) = next(files, &recorded(database)?)? else {
        return Ok(false);
    };
    let file = &migration.file;
    let before = Orphans::find_on(database);
    database
        .execute_script(&migration.sql)
        .map_err(|error| failed(migration, error))?;
    let after = Orphans::find_on(database);
    let known = check_foreign_keys(file, before, after)?;
    let record = Parameters::positional([
        Value::Integer(migration.number),
        Value::Text(file.clone()),
        Value::Text(migration.sha256.clone()),
    ]);
    database
        .execute(CREATE_RECORDS, &Parameters::NONE)
        .and_then(|()| database.execute(RECORD, &record))
        .and_then(|()| database.commit())
        .map_err(|error| match error.kind() {
            ErrorKind::OutcomeUnknown => MigrationError::Unknown {
                file: file.clone(),
                error,
            },
            _ => MigrationError::Commit {
                file: file.clone(),
                error,
            },
        })?;
    if report.applied.is_empty() {
        report.warnings.extend(known);
    }
    report.applied.push(file.clone());
    Ok(true)
}

fn failed(migration: &Migration, error: Error) -> MigrationError {
    MigrationError::Failed {
        file: migration.file.clone(),
        line: migration.line_of(error.offset().unwrap_or(0) as usize),
        error,
    }
}

/// Every applied migration, by number.
fn recorded(database: &mut dyn Database) -> Result<Vec<Recorded>, MigrationError> {
    let is_new = database.query(HAS_RECORDS).map(|rows| rows.is_empty());
    if is_new.map_err(MigrationError::Database)? {
        return Ok(Vec::new());
    }
    let rows = database.query(RECORDS).map_err(MigrationError::Database)?;
    let text = |value| match value {
        Some(Value::Text(text)) => text,
        _ => String::new(),
    };
    let recorded = each(&rows, |row| match row(0) {
        Some(Value::Integer(number)) => Some((number, text(row(1)), text(row(2)))),
        _ => None,
    });
    Ok(recorded.flatten().collect())
}
