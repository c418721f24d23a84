//! `millpond migrate`: runs a folder of SQL files on databases, each file once.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use millpond_server::config::Database;
use millpond_sqlite::migrations::Report;

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::granted::{DATABASE_PATH, Granted, MEMORY, granted};
use crate::output::print;
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
        for (name, folder) in by_database(&self.migrations, &databases)? {
            let named = databases.iter().map(|granted| &granted.named);
            let Some(named) = named.into_iter().find(|named| named.name == name) else {
                continue;
            };
            let mut database = Database::default();
            match named.server() {
                Some(url) => self.servers.configure(&name, url, &mut database),
                None => database.file = Some(named.path.clone()),
            }
            database.migrations = Some(folder.clone());
            if let Some(report) = millpond_server::migrate(&name, &database)? {
                print(&describe(&named.path, &report));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The folders of migrations, by the names of their databases.
pub(crate) fn by_database<'a>(
    migrations: &'a [Named],
    databases: &[Granted],
) -> Result<BTreeMap<String, &'a PathBuf>, Failure> {
    let mut folders = BTreeMap::new();
    for folder in migrations {
        let mut named = databases.iter().map(|granted| &granted.named);
        let database = named.find(|named| named.name == folder.name);
        let database = database.ok_or_else(|| {
            Failure::mistake(format_args!(
                "--migrations {}: there is no database `{}`: give its file with --db",
                folder.path.display(),
                folder.name
            ))
        })?;
        if database.path == Path::new(MEMORY) {
            return Err(Failure::mistake(
                "migrations need a database in a file or on a server, not :memory:",
            ));
        }
        if folders.insert(folder.name.clone(), &folder.path).is_some() {
            return Err(Failure::mistake(format_args!(
                "--migrations: the database `{}` has two folders: leave one out",
                folder.name
            )));
        }
    }
    Ok(folders)
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
