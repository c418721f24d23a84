//! The contract's errors, for interfaces whose errors are texts.

use millpond_wasmtime::bindings::connections::{Error, ErrorKind};

/// The kind as the contract writes it, and the message.
pub(crate) fn summary(error: &Error) -> String {
    format!("{}: {}", name(error.kind), error.message)
}

fn name(kind: ErrorKind) -> String {
    let mut name = String::new();
    let debug = format!("{kind:?}");
    for c in debug.rsplit("::").next().unwrap_or_default().chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
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
