//! `millpond check`: whether a configuration could be served, and what it would run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::configuration;
use crate::failure::{Failure, MISTAKE};
use crate::output::{print, say, terminal};

/// Check a configuration file
///
/// Reads the file and all that it names, compiles the components, and prints what would run and
/// what each component may do. Opens no database, and creates nothing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond check
  millpond check /etc/millpond.toml

Exit status: 0 if the configuration can be served, as far as that shows without opening its
databases; 2 if not: stderr says everything that is wrong.")]
pub(crate) struct Check {
    /// The file.
    #[arg(default_value = "millpond.toml")]
    file: PathBuf,

    /// The file, written as for `serve`.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl Check {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let config = configuration::read(self.config.as_ref().unwrap_or(&self.file))?;
        match millpond_server::check(&config, &terminal()) {
            Ok(description) => {
                print(&description);
                Ok(ExitCode::SUCCESS)
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    say(format_args!("millpond: {mistake}"));
                }
                Ok(ExitCode::from(MISTAKE))
            }
        }
    }
}
