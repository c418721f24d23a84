//! Why the command or a guest failed: a line for the user, a guest's backtrace, and the exit code.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::backtrace::backtrace;
use crate::printable::one_line;

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

/// How a guest ended, in few words.
pub(crate) fn guest_ended(error: &wasmtime::Error) -> &'static str {
    match error.downcast_ref::<Trap>() {
        Some(_) => "the guest trapped",
        None => "the guest failed",
    }
}

/// A guest's error: a line with its cause and the limit that it reached, then its backtrace.
pub(crate) fn guest_failure(error: &wasmtime::Error) -> Vec<String> {
    let what = guest_ended(error);
    let limit = match limit(error) {
        Some(reached) => format!(" (it {reached})"),
        None => String::new(),
    };
    let cause = error.root_cause();
    let mut lines = vec![one_line(&format!("{what}: {cause}{limit}"))];
    lines.extend(backtrace(error));
    lines
}

/// The flag of a limit that an instance reached. Context of its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached(pub(crate) &'static str);

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reached the limit {}", self.0)
    }
}

/// The limit that a guest reached, if one may be the reason.
fn limit(error: &wasmtime::Error) -> Option<Reached> {
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return Some(Reached("--max-stack-size"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(Reached("--max-handles"));
    }
    if let Some(reached) = error.downcast_ref::<Reached>() {
        return Some(*reached);
    }
    /// Of errors that have no type, a part of the text.
    const LIMITS: [(&str, &str); 5] = [
        ("fuel allocated for hostcalls", "--max-call-size"),
        ("handle limit exceeded", "--max-handles"),
        ("instance count", "--max-instances"),
        ("memory count", "--max-memories"),
        ("table count", "--max-tables"),
    ];
    let cause = error.root_cause().to_string();
    let limit = LIMITS.iter().find(|(text, _)| cause.contains(text));
    limit.map(|(_, flag)| Reached(flag))
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
