//! The contract's errors, for interfaces whose errors are texts.

use millpond_wasmtime::bindings::connections::{Error, ErrorKind};

/// The kind as the contract writes it, and the message.
pub(crate) fn summary(error: &Error) -> String {
    format!("{}: {}", name(error.kind), error.message)
}

fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NoSuchDatabase => "no-such-database",
        ErrorKind::NotAuthorized => "not-authorized",
        ErrorKind::TooManyHandles => "too-many-handles",
        ErrorKind::PoolTimeout => "pool-timeout",
        ErrorKind::PoolClosed => "pool-closed",
        ErrorKind::Busy => "busy",
        ErrorKind::BusySnapshot => "busy-snapshot",
        ErrorKind::DeadlineExceeded => "deadline-exceeded",
        ErrorKind::TooLarge => "too-large",
        ErrorKind::QuotaExceeded => "quota-exceeded",
        ErrorKind::ConstraintUnique => "constraint-unique",
        ErrorKind::ConstraintPrimaryKey => "constraint-primary-key",
        ErrorKind::ConstraintForeignKey => "constraint-foreign-key",
        ErrorKind::ConstraintNotNull => "constraint-not-null",
        ErrorKind::ConstraintCheck => "constraint-check",
        ErrorKind::ConstraintOther => "constraint-other",
        ErrorKind::Sql => "sql",
        ErrorKind::Parameters => "parameters",
        ErrorKind::NotUtf8 => "not-utf8",
        ErrorKind::StaleHandle => "stale-handle",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Io => "io",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::OutcomeUnknown => "outcome-unknown",
        ErrorKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_in_the_contract() {
        assert_eq!(name(ErrorKind::OutcomeUnknown), "outcome-unknown");
        assert_eq!(name(ErrorKind::Sql), "sql");
        assert_eq!(name(ErrorKind::NotUtf8), "not-utf8");
    }
}
