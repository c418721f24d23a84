//! Why the command failed: one line for the user, and an exit code.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use wasmtime::Trap;

/// The exit code of a mistake in the command line, a file or a setting.
pub(crate) const MISTAKE: u8 = 2;
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

    pub(crate) fn trapped(error: &wasmtime::Error) -> Failure {
        Failure::new(guest_failure(error), TRAPPED)
    }

    /// The same failure, with more text at the end.
    pub(crate) fn with(mut self, more: &str) -> Failure {
        self.message.push_str(more);
        self
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A guest's error, without wasmtime's backtrace.
pub(crate) fn guest_failure(error: &wasmtime::Error) -> String {
    let what = match error.downcast_ref::<Trap>() {
        Some(_) => "the guest trapped",
        None => "the guest failed",
    };
    one_line(&format!("{what}: {}", error.root_cause()))
}

/// The outermost explanation and the innermost cause; those in between rarely help.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    let (outer, cause) = (error.to_string(), error.root_cause().to_string());
    if outer == cause {
        one_line(&outer)
    } else {
        one_line(&format!("{outer}: {cause}"))
    }
}

/// The text that an error quotes may contain line breaks or terminal controls.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty());
    printable(&words.collect::<Vec<_>>().join(" "))
}

/// Replaces control characters, so that a guest's text cannot control the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    let printable = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_controls() {
        assert_eq!(one_line("a\n\n  b\u{1b}[2J\r\n"), "a b\u{fffd}[2J");
    }
}
