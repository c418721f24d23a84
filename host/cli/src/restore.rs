//! `millpond restore`: puts a backup in the place of a database.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millpond_sqlite::backup;
use serde_json::json;

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::keeping::{self, ProgressLine};
use crate::output::print;

/// Restore a database from a backup
///
/// Copies the backup beside the database and checks it, and then exchanges the two files in one
/// step. Stop the programs that have the database open first: while one does, it is not replaced.
/// For the database of a tenant, suspend that tenant instead (`millpond tenants suspend`), and
/// resume it after.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond restore --db notes.db /var/backups/notes.db
  millpond restore --db notes.db --overwrite backups/notes-20261127T184342Z.db

Exit status: 0 done; 1 the backup is damaged; 2 a mistake, or the database is in use. Without 0, the
database has its old contents. The file that was replaced is kept as PATH.before-TIMESTAMP.")]
pub(crate) struct Restore {
    /// The database in this file. Its folder must exist. [env: DATABASE_PATH]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = arguments::database)]
    db: Option<Named>,

    /// Replace the database if it exists.
    #[arg(long)]
    overwrite: bool,

    /// Do not keep the file that is replaced.
    #[arg(long, requires = "overwrite")]
    discard_old: bool,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,

    /// The backup: any SQLite database in a file. It is only read.
    backup: PathBuf,
}

impl Restore {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let file = keeping::file_of(self.db.as_ref())?;
        let mut line = ProgressLine::new();
        let replace = backup::Restore::of(&self.backup)
            .overwrite(self.overwrite)
            .keep_old(!self.discard_old)
            .on_progress(|progress| line.show(progress));
        let restored = replace.write(&file);
        drop(line);
        let report = match restored {
            Ok(report) => report,
            Err(error) => return keeping::failed(&error),
        };
        let old = report.old.as_ref();
        if self.json {
            let result = json!({
                "database": report.path.to_string_lossy(),
                "backup": self.backup.to_string_lossy(),
                "pages": report.pages,
                "bytes": report.bytes,
                "old": old.map(|old| old.to_string_lossy()),
                "seconds": report.time.as_secs_f64(),
            });
            print(&format!("{result}\n"));
        } else {
            let kept = old.map(|old| format!("; its old file is {}", old.display()));
            print(&format!(
                "{}: {} bytes, checked{}\n",
                report.path.display(),
                report.bytes,
                kept.unwrap_or_default()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
