//! `millpond ready`: asks a running server whether it is ready, for scripts and health checks.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{print, say};

/// The exit code if the server is not ready.
const NOT_READY: u8 = 1;

/// Ask a running server whether it is ready
///
/// Asks the admin server for /readyz, for health checks without curl. Prints nothing if the server
/// is ready, unless a disk has less space than `min-free-disk`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond ready 127.0.0.1:9090
  HEALTHCHECK CMD [\"millpond\", \"ready\", \"127.0.0.1:9090\"]   (in a Containerfile)

Exit status: 0 the server is ready; 1 it is not, and stderr says why; 2 no server answers there.")]
pub(crate) struct Ready {
    /// The address given to `serve --stats`, or of `[admin]` in its configuration, with or without
    /// `http://`.
    #[arg(value_name = "ADDR")]
    address: String,
}

impl Ready {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let server = Operator::new(&self.address)?;
        let answer = server.get("/readyz")?;
        let answer = answer.filter(|answer| answer["ready"].is_boolean());
        let answer = answer.ok_or_else(|| server.is_another())?;
        if answer["ready"] == true {
            let databases = answer["databases"].as_object().into_iter().flatten();
            for (name, _) in databases.filter(|(_, database)| database["disk"] == "low") {
                print(&format!("{name}: the disk has too little space\n"));
            }
            return Ok(ExitCode::SUCCESS);
        }
        say(format_args!("millpond: not ready: {answer}"));
        Ok(ExitCode::from(NOT_READY))
    }
}
