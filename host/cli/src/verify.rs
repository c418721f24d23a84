//! `millpond verify`: checks a database that may be in use.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use millpond_sqlite::backup::{self, Problem, Verification};
use millpond_sqlite::migrations::Migrations;
use serde_json::{Value, json};

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::keeping::{self, DAMAGED, ProgressLine};
use crate::output::print;

/// Check a database, or a backup of one
///
/// Checks the structure of the file, all constraints and foreign keys, and with --migrations that the
/// applied migrations are those in the folder. Others may read and write it meanwhile.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond verify --db notes.db
  millpond verify --db /var/backups/notes.db --migrations migrations --json

Exit status: 0 sound; 1 not sound, with the problems on stdout; 2 a mistake, such as a file that does
not exist. Migrations that are still to be applied are no problem.")]
pub(crate) struct Verify {
    /// The database in this file. [env: DATABASE_PATH]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = arguments::database)]
    db: Option<Named>,

    /// Compare the applied migrations with those in this folder.
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let file = keeping::file_of(self.db.as_ref())?;
        let migrations = match &self.migrations {
            Some(folder) => Some(Migrations::open(folder).map_err(Failure::mistake)?),
            None => None,
        };
        let mut line = ProgressLine::new();
        let mut check = backup::Verify::of(&file).on_progress(|progress| line.show(progress));
        if let Some(migrations) = &migrations {
            check = check.migrations(migrations);
        }
        let found = check.run();
        drop(line);
        let found = found.map_err(Failure::mistake)?;
        print(&match self.json {
            true => format!("{}\n", to_json(&file, &found)),
            false => to_text(&file, &found, migrations.is_some()),
        });
        match found.is_sound() {
            true => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::from(DAMAGED)),
        }
    }
}

fn to_json(file: &Path, found: &Verification) -> Value {
    let problems = found.problems.iter().map(|problem| {
        let kind = match problem {
            Problem::ForeignKey { .. } => "foreign-key",
            Problem::Migrations(_) => "migrations",
            _ => "integrity",
        };
        json!({ "kind": kind, "problem": problem.to_string() })
    });
    json!({
        "database": file.to_string_lossy(),
        "sound": found.is_sound(),
        "pages": found.pages,
        "problems": problems.collect::<Vec<_>>(),
        "applied": found.applied,
        "pending": found.pending,
    })
}

fn to_text(file: &Path, found: &Verification, has_migrations: bool) -> String {
    let mut text = String::new();
    let file = file.display();
    // Writing to a string cannot fail.
    for problem in &found.problems {
        // It may quote what a guest has chosen.
        let problem = problem.to_string().replace(char::is_control, " ");
        _ = writeln!(text, "{file}: {problem}");
    }
    for pending in &found.pending {
        _ = writeln!(text, "{file}: not applied yet: {pending}");
    }
    let verdict = match found.problems.len() {
        0 => "sound".to_owned(),
        1 => "not sound: 1 problem".to_owned(),
        count => format!("not sound: {count} problems"),
    };
    let migrations = match has_migrations && found.is_sound() {
        true => format!(", {} migrations applied", found.applied.len()),
        false => String::new(),
    };
    _ = writeln!(
        text,
        "{file}: {verdict} ({} pages{migrations})",
        found.pages
    );
    text
}
