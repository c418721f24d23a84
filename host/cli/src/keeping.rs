//! What `backup`, `restore` and `verify` share: their database, their errors, and their progress.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use millpond_sqlite::backup::{BackupError, Phase, Progress};

use millpond_server::printable::one_line;

use crate::arguments::Named;
use crate::failure::Failure;
use crate::granted::{DATABASE_PATH, MEMORY, granted};
use crate::output::say;

/// The exit code where a database or a backup is damaged.
pub(crate) const DAMAGED: u8 = 1;

/// The file of the one database that the command is for.
pub(crate) fn file_of(db: Option<&Named>) -> Result<PathBuf, Failure> {
    let named = match db {
        Some(named) => named.clone(),
        None => {
            let mut databases = granted(&[], &[], env::var_os(DATABASE_PATH))?;
            match databases.pop() {
                Some(granted) => granted.named,
                None => {
                    return Err(Failure::mistake(
                        "name the database's file: --db PATH, or DATABASE_PATH in the environment",
                    ));
                }
            }
        }
    };
    if named.server().is_some() {
        return Err(Failure::mistake(
            "the database is on a server: use the server's own backups",
        ));
    }
    if named.path == Path::new(MEMORY) {
        return Err(Failure::mistake(
            "an in-memory database ends with its program: name a file",
        ));
    }
    Ok(named.path)
}

/// A failure: of damage an exit code of its own, and what to do about files that exist.
pub(crate) fn failed(error: &BackupError) -> Result<ExitCode, Failure> {
    match error {
        BackupError::Damaged { .. } => {
            // It quotes names that a guest chose.
            say(format_args!("millpond: {}", one_line(&error.to_string())));
            Ok(ExitCode::from(DAMAGED))
        }
        BackupError::Exists { path } => Err(Failure::about(
            path,
            "it exists: choose another name, or replace it with --overwrite",
        )),
        _ => Err(Failure::mistake(error)),
    }
}

/// One line on stderr that is written anew, if that is a terminal. Dropping it removes the line.
pub(crate) struct ProgressLine {
    is_shown: bool,
    last: String,
}

impl ProgressLine {
    pub(crate) fn new() -> ProgressLine {
        ProgressLine {
            is_shown: io::stderr().is_terminal(),
            last: String::new(),
        }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        let line = match progress.phase {
            Phase::Copying => {
                let percent = progress.pages_done * 100 / progress.pages.max(1);
                format!("copying {percent} % of {} pages", progress.pages)
            }
            _ => format!("checking {} pages", progress.pages),
        };
        if self.is_shown && line != self.last {
            overwrite(&line);
            self.last = line;
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if !self.last.is_empty() {
            overwrite("");
        }
    }
}

fn overwrite(line: &str) {
    let mut stderr = io::stderr().lock();
    // Back to the first column, and erase to the end of the line. A closed stderr is not an error.
    let _ = stderr.write_all(format!("\r\x1b[K{line}").as_bytes());
    let _ = stderr.flush();
}
