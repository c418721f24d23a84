//! `millpond migrate`: runs a folder of SQL files on databases, each file once.

use std::env;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use millpond_sqlite::migrations::{Migrations, Report};

use crate::failure::Failure;
use crate::granted::{DATABASE_PATH, Granted, MEMORY, granted};
use crate::output::{print, say};
use crate::values::{self, Named};

/// Apply migrations to a database
///
/// A migration is a file `NNN-name.sql`. Runs those that the database does not have yet, in the
/// order of their numbers, each in its own transaction. `run` and `serve` do the same with
/// `--migrations`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond migrate --db notes.db --migrations migrations
  millpond migrate --db users=users.db --migrations users=sql/users

Exit status: 0 if every migration has been applied, now or before; 2 if one failed: it is
undone, and those before it are kept.")]
pub(crate) struct Migrate {
    /// The database in this file; created if it does not exist. [env: DATABASE_PATH]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = values::database)]
    db: Vec<Named>,

    /// Apply the migrations in this folder to the database NAME (`default` if omitted).
    #[arg(long, value_name = "[NAME=]DIR", required = true, value_parser = values::named)]
    migrations: Vec<Named>,
}

impl Migrate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let databases = granted(&self.db, &[], env::var_os(DATABASE_PATH))?;
        for folder in &self.migrations {
            let path = database_of(folder, &databases)?;
            let report = apply(folder, path)?;
            print(&describe(path, &report));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Apply every folder of `migrations` to its database.
pub(crate) fn apply_all(migrations: &[Named], databases: &[Granted]) -> Result<(), Failure> {
    for folder in migrations {
        apply(folder, database_of(folder, databases)?)?;
    }
    Ok(())
}

fn database_of<'a>(folder: &Named, databases: &'a [Granted]) -> Result<&'a Path, Failure> {
    let mut named = databases.iter().map(|granted| &granted.named);
    let database = named
        .find(|named| named.name == folder.name)
        .ok_or_else(|| {
            Failure::mistake(format_args!(
                "--migrations {}: there is no database `{}`: give its file with --db",
                folder.path.display(),
                folder.name
            ))
        })?;
    Ok(&database.path)
}

fn apply(folder: &Named, database: &Path) -> Result<Report, Failure> {
    if database == Path::new(MEMORY) {
        return Err(Failure::mistake(
            "migrations need a database in a file, not :memory:",
        ));
    }
    let report = Migrations::open(&folder.path)
        .and_then(|migrations| migrations.run(database))
        .map_err(Failure::mistake)?;
    if report.applied.is_empty() && report.already_applied.is_empty() {
        return Err(Failure::about(
            &folder.path,
            "there are no migrations in this folder: their names are NNN-name.sql",
        ));
    }
    for warning in &report.warnings {
        say(format_args!("warning: {warning}"));
    }
    Ok(report)
}

fn describe(database: &Path, report: &Report) -> String {
    let mut text = String::new();
    let database = database.display();
    // Writing to a string cannot fail.
    for file in &report.already_applied {
        _ = writeln!(text, "{database}: already applied {file}");
    }
    for file in &report.applied {
        _ = writeln!(text, "{database}: applied {file}");
    }
    text
}
