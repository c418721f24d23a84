//! Requests taken apart, and answers put together.

use crate::server::Part;
use crate::wire::{Fields, Writer};

pub(crate) fn error(message: &str, code: &str) -> Vec<u8> {
    let mut error = Writer::default();
    error.bytes(1, message.as_bytes());
    error.bytes(2, code.as_bytes());
    error.into_bytes()
}

pub(crate) fn statement_result(result: &mut Writer) {
    result.message(1, |column| column.bytes(1, b"a"));
    result.message(2, |row| row.message(1, |value| value.signed(2, 7)));
    result.varint(3, 1);
    result.signed(4, 9);
    result.varint(5, 33);
}

pub(crate) fn batch_result(batch: &mut Writer, steps: u64, part: &Part) {
    for step in 0..steps {
        let failed = matches!(part, Part::Error(..)) && step + 1 == steps;
        batch.message(if failed { 2 } else { 1 }, |entry| {
            entry.varint(1, step);
            match part {
                Part::Error(code, message) if failed => entry.bytes(2, &error(message, code)),
                _ => entry.message(2, statement_result),
            }
        });
    }
}

/// The first field of a message.
pub(crate) fn first(message: &[u8]) -> (u64, &[u8]) {
    match Fields::new(message).next() {
        Some(Ok((kind, field))) => (kind, field.bytes().unwrap_or_default()),
        _ => (0, &[]),
    }
}

/// The statements of a request: of an execution, a description, or a batch.
pub(crate) fn statements(request: &[u8]) -> Vec<&[u8]> {
    let (kind, inner) = first(request);
    match kind {
        2 => vec![first(inner).1],
        3 => Fields::new(first(inner).1)
            .filter_map(|step| match step {
                Ok((1, step)) => Fields::new(step.bytes().ok()?)
                    .filter_map(|field| match field {
                        Ok((2, statement)) => statement.bytes().ok(),
                        _ => None,
                    })
                    .next(),
                _ => None,
            })
            .collect(),
        5 => vec![inner],
        _ => Vec::new(),
    }
}

pub(crate) fn texts(request: &[u8]) -> Vec<String> {
    let text = |statement: &&[u8]| match Fields::new(statement).next() {
        Some(Ok((1, text))) => text.text().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    statements(request).iter().map(text).collect()
}

pub(crate) fn indexes(request: &[u8]) -> Vec<u64> {
    let index = |statement: &&[u8]| {
        Fields::new(statement).find_map(|field| match field {
            Ok((6, index)) => index.varint().ok(),
            _ => None,
        })
    };
    statements(request).iter().filter_map(index).collect()
}
