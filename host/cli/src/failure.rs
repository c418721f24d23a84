//! Why the command failed: a line for the user, and the exit code.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use millpond_server::config::Problems;
use millpond_server::guest_failure;
use millpond_server::printable::one_line;

/// The exit code of a mistake in the command line, a file or a setting.
pub(crate) const MISTAKE: u8 = 2;
/// The exit code of a server that cannot start now, though nothing may be wrong with its
/// configuration.
const NOT_NOW: u8 = 1;
/// The exit code of a guest that trapped, as in the wasmtime command.
pub(crate) const TRAPPED: u8 = 134;

#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    pub(crate) fn mistake(message: impl fmt::Display) -> Failure {
        Failure::new(message, MISTAKE)
    }

    /// A mistake about the file at `path`.
    pub(crate) fn about(path: &Path, message: impl fmt::Display) -> Failure {
        Failure::mistake(format_args!("{}: {message}", path.display()))
    }

    /// What may pass by itself, such as an address in use.
    pub(crate) fn not_now(message: impl fmt::Display) -> Failure {
        Failure::new(message, NOT_NOW)
    }

    /// Why a server does not start. A service manager must start it again only if that may help.
    pub(crate) fn of_start(error: &millpond_server::Error, message: impl fmt::Display) -> Failure {
        match error.may_pass() {
            true => Failure::not_now(message),
            false => Failure::mistake(message),
        }
    }

    /// A guest's failure, as [`guest_failure`] tells it. `more` is appended to its first line.
    pub(crate) fn trapped(error: &wasmtime::Error, more: &str) -> Failure {
        let mut lines = guest_failure(error);
        lines[0].push_str(more);
        if lines.len() > 1 && !lines.iter().any(|line| line.contains(" at ")) {
            lines.push(
                "      (--source-lines adds source lines, if the component has DWARF)".into(),
            );
        }
        Failure {
            message: lines.join("\n"),
            code: TRAPPED,
        }
    }

    /// Everything that is wrong with a configuration, on several lines.
    pub(crate) fn problems(problems: Problems) -> Failure {
        Failure {
            message: problems.to_string(),
            code: MISTAKE,
        }
    }

    fn new(message: impl fmt::Display, code: u8) -> Failure {
        Failure {
            message: one_line(&message.to_string()),
            code,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<millpond_server::Error> for Failure {
    fn from(error: millpond_server::Error) -> Failure {
        Failure::mistake(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
