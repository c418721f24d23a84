//! `millpond backup`: copies a database that may be in use.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use millpond_sqlite::backup;
use serde_json::json;

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::keeping::{self, ProgressLine};
use crate::output::print;

/// Back up a database that may be in use
///
/// Copies the database as it is at one moment, while others read and write it, and checks the copy.
/// The copy is one file, which only its owner may read, and gets its name when it is complete and
/// on the disk.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond backup --db notes.db /var/backups/notes.db
  millpond backup --db notes.db --json \"backups/notes-$(date -u +%Y%m%dT%H%M%SZ).db\"

Exit status: 0 done; 1 the database is damaged; 2 a mistake, such as an OUT that exists. Without 0,
there is no backup. A part named .OUT.part remains if the process was killed: the next backup to OUT
replaces it.")]
pub(crate) struct Backup {
    /// The database in this file. [env: DATABASE_PATH]
    #[arg(long, value_name = "[NAME=]PATH", value_parser = arguments::database)]
    db: Option<Named>,

    /// Replace OUT if it exists.
    #[arg(long)]
    overwrite: bool,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,

    /// The file to write. Its folder must exist.
    out: PathBuf,
}

impl Backup {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let file = keeping::file_of(self.db.as_ref())?;
        let copy = backup::Backup::of(&file).overwrite(self.overwrite);
        write(copy, &file.to_string_lossy(), &self.out, self.json)
    }
}

/// Write a backup of `database`, and print what was made.
pub(crate) fn write(
    copy: backup::Backup<'_>,
    database: &str,
    out: &Path,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut line = ProgressLine::new();
    let made = copy.on_progress(|progress| line.show(progress)).write(out);
    drop(line);
    let report = match made {
        Ok(report) => report,
        Err(error) => return keeping::failed(&error),
    };
    let seconds = report.time.as_secs_f64();
    print(&match json {
        true => format!(
            "{}\n",
            json!({
                "database": database,
                "backup": report.path.to_string_lossy(),
                "pages": report.pages,
                "bytes": report.bytes,
                "seconds": seconds,
            })
        ),
        false => format!(
            "{}: {} bytes in {seconds:.1} s, checked\n",
            report.path.display(),
            report.bytes
        ),
    });
    Ok(ExitCode::SUCCESS)
}
