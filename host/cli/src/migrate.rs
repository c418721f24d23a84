//! `millpond migrate`: runs a folder of SQL files on databases, each file once.

use std::env;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use millpond_sqlite::migrations::{Migrations, Report};

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::granted::{DATABASE_PATH, Granted, MEMORY, granted};
use crate::output::{print, say};
#[cfg(feature = "libsql")]
use crate::servers::OnServer;
use crate::servers::ServerOptions;

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
    /// The database in this file; created if it does not exist. A URL (`libsql://HOST`,
    /// `https://HOST`, or `http://HOST` on this machine) is a database on a libSQL server. [env:
    /// DATABASE_PATH]
    #[arg(long, value_name = "[NAME=]PATH|URL", value_parser = arguments::database)]
    db: Vec<Named>,

    /// Apply the migrations in this folder to the database NAME (`default` if omitted).
    #[arg(long, value_name = "[NAME=]DIR", required = true, value_parser = arguments::named)]
    migrations: Vec<Named>,

    #[command(flatten)]
    servers: ServerOptions,
}

impl Migrate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let databases = granted(&self.db, &[], env::var_os(DATABASE_PATH))?;
        self.servers.check(&databases)?;
        for folder in &self.migrations {
            let database = database_of(folder, &databases)?;
            let report = apply(folder, database, &self.servers)?;
            print(&describe(&database.path, &report));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Apply every folder of `migrations` to its database.
pub(crate) fn apply_all(
    migrations: &[Named],
    databases: &[Granted],
    servers: &ServerOptions,
) -> Result<(), Failure> {
    for folder in migrations {
        apply(folder, database_of(folder, databases)?, servers)?;
    }
    Ok(())
}

fn database_of<'a>(folder: &Named, databases: &'a [Granted]) -> Result<&'a Named, Failure> {
    let mut named = databases.iter().map(|granted| &granted.named);
    named
        .find(|named| named.name == folder.name)
        .ok_or_else(|| {
            Failure::mistake(format_args!(
                "--migrations {}: there is no database `{}`: give its file with --db",
                folder.path.display(),
                folder.name
            ))
        })
}

fn apply(folder: &Named, database: &Named, servers: &ServerOptions) -> Result<Report, Failure> {
    if database.path == Path::new(MEMORY) {
        return Err(Failure::mistake(
            "migrations need a database in a file or on a server, not :memory:",
        ));
    }
    let migrations = Migrations::open(&folder.path).map_err(Failure::mistake)?;
    let report = match database.server() {
        Some(url) => run_on_server(&migrations, &database.name, url, servers)?,
        None => migrations.run(&database.path).map_err(Failure::mistake)?,
    };
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

#[cfg(feature = "libsql")]
fn run_on_server(
    migrations: &Migrations,
    name: &str,
    url: &str,
    servers: &ServerOptions,
) -> Result<Report, Failure> {
    let opened = servers.builder(name)?.open_migrator(url);
    let migrator = opened.map_err(|error| crate::servers::about(name, error))?;
    migrations
        .run_on(&mut OnServer(migrator))
        .map_err(|error| Failure::mistake(format_args!("the database `{name}`: {error}")))
}

#[cfg(not(feature = "libsql"))]
fn run_on_server(
    _: &Migrations,
    name: &str,
    _: &str,
    _: &ServerOptions,
) -> Result<Report, Failure> {
    Err(crate::servers::not_built(name))
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
