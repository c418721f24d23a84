//! Why a guest failed: its cause, the limit that it reached, and its backtrace.

use std::fmt;

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::backtrace::backtrace;
use crate::printable::{one_line, start_of};

/// A guest can write a part of its error, such as the reason in its response.
const MAX_CAUSE_CHARS: usize = 1000;

/// How a guest ended, in few words.
pub(crate) fn guest_ended(error: &wasmtime::Error) -> &'static str {
    match error.downcast_ref::<Trap>() {
        Some(_) => "the guest trapped",
        None => "the guest failed",
    }
}

/// Describes a guest's error, for an operator: a line with its cause and the limit that it reached,
/// then up to 20 lines of backtrace. A guest can choose parts of the text: each line is bounded in
/// length, and has no control characters.
pub fn guest_failure(error: &wasmtime::Error) -> Vec<String> {
    let what = guest_ended(error);
    let limit = match limit(error) {
        Some(reached) => format!(" (it {reached})"),
        None => String::new(),
    };
    let cause = cause(error);
    let mut lines = vec![one_line(&format!("{what}: {cause}{limit}"))];
    lines.extend(backtrace(error));
    lines
}

/// The name of a limit that an instance reached, such as `max-memory-size`: its key in a
/// configuration file, and its flag. An error may have it as [context](wasmtime::Error::context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached(pub &'static str);

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reached the limit {}", self.0)
    }
}

/// The limit that a guest reached, if one may be the reason.
fn limit(error: &wasmtime::Error) -> Option<Reached> {
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return Some(Reached("max-stack-size"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(Reached("max-handles"));
    }
    if let Some(reached) = error.downcast_ref::<Reached>() {
        return Some(*reached);
    }
    /// Of errors that have no type, a part of the text.
    const LIMITS: [(&str, &str); 5] = [
        ("fuel allocated for hostcalls", "max-call-size"),
        ("handle limit exceeded", "max-handles"),
        ("instance count", "max-instances"),
        ("memory count", "max-memories"),
        ("table count", "max-tables"),
    ];
    let cause = cause(error);
    let limit = LIMITS.iter().find(|(text, _)| cause.contains(text));
    limit.map(|(_, flag)| Reached(flag))
}

/// The kind of a failure, for logs and metrics: the limit that the guest reached, the trap's name,
/// or `error`.
pub(crate) fn kind(error: &wasmtime::Error) -> &'static str {
    if error.is::<PoolConcurrencyLimitError>() {
        return "out-of-instances";
    }
    if let Some(Reached(limit)) = limit(error) {
        return limit;
    }
    match error.downcast_ref::<Trap>() {
        None => "error",
        Some(Trap::UnreachableCodeReached) => "unreachable",
        Some(Trap::MemoryOutOfBounds | Trap::HeapMisaligned) => "memory-out-of-bounds",
        Some(Trap::TableOutOfBounds) => "table-out-of-bounds",
        Some(Trap::IndirectCallToNull | Trap::BadSignature) => "bad-indirect-call",
        Some(
            Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger,
        ) => "arithmetic",
        Some(_) => "other-trap",
    }
}

/// The start of the innermost cause.
fn cause(error: &wasmtime::Error) -> String {
    start_of(error.root_cause(), MAX_CAUSE_CHARS)
}

/// The outermost explanation and the innermost cause; those in between rarely help.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    let (outer, cause) = (start_of(error, MAX_CAUSE_CHARS), cause(error));
    if outer == cause {
        outer
    } else {
        format!("{outer}: {cause}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_make_its_failure_long() {
        let error = wasmtime::Error::msg("a\n".repeat(1 << 20)).context(Reached("max-handles"));
        let lines = guest_failure(&error);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() < 2 * MAX_CAUSE_CHARS);
        // What the host adds is not cut off.
        assert!(lines[0].contains("max-handles"));
        assert_eq!(kind(&error), "max-handles");
    }
}
