//! Where a guest failed: its innermost frames, with the names of its functions, and the source
//! lines if the engine reads them.

use std::fmt::Write;

use rustc_demangle::try_demangle;
use wasmtime::{FrameInfo, WasmBacktrace};

use crate::printable::one_line;

const MAX_LINES: usize = 20;
/// Generic functions have long names, and a guest chooses its names.
const MAX_NAME_CHARS: usize = 160;
const MAX_PATH_CHARS: usize = 160;

/// One line for each function, the innermost first.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>();
    let frames = frames.map(WasmBacktrace::frames).unwrap_or_default();
    numbered(frames.iter().flat_map(functions))
}

/// Numbers the lines, and merges equal consecutive ones, such as those of a recursion.
fn numbered(functions: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<(usize, String, usize)> = Vec::new();
    for (number, function) in functions.enumerate() {
        match lines.last_mut() {
            Some((_, last, times)) if *last == function => *times += 1,
            _ => lines.push((number, function, 1)),
        }
    }
    let lines = lines.into_iter().take(MAX_LINES);
    let lines = lines.map(|(number, function, times)| match times {
        1 => format!("{number:>4}: {function}"),
        _ => format!("{number:>4}: {function} ({times} times)"),
    });
    lines.collect()
}

/// The function of a frame, after those that the guest's compiler inlined into it.
fn functions(frame: &FrameInfo) -> Vec<String> {
    let own = name(frame.func_name());
    if frame.symbols().is_empty() {
        return vec![own];
    }
    let symbols = frame.symbols().iter().map(|symbol| {
        let mut function = match symbol.name() {
            Some(symbol) => name(Some(symbol)),
            None => own.clone(),
        };
        if let Some(file) = symbol.file() {
            // Writing to a string cannot fail.
            _ = write!(function, " at {}", path(file));
            for number in [symbol.line(), symbol.column()].into_iter().flatten() {
                _ = write!(function, ":{number}");
            }
        }
        function
    });
    symbols.collect()
}

/// A function's name in its source, without the hash that Rust appends.
fn name(name: Option<&str>) -> String {
    let Some(name) = name else {
        return "(a function without a name)".to_string();
    };
    let name = match try_demangle(name) {
        Ok(name) => format!("{name:#}"),
        Err(_) => name.to_string(),
    };
    one_line(&name).chars().take(MAX_NAME_CHARS).collect()
}

/// A path as the guest's compiler wrote it, without the folder that stands for Rust's own source.
fn path(file: &str) -> String {
    let short = file.strip_prefix("/rustc/");
    let short = short.and_then(|rest| rest.split_once('/'));
    let file = short.map_or(file, |(_, path)| path);
    one_line(file).chars().take(MAX_PATH_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let mangled = "_ZN4core9panicking9panic_fmt17h0123456789abcdefE";
        assert_eq!(name(Some(mangled)), "core::panicking::panic_fmt");
        assert_eq!(name(Some("sqlite3_step")), "sqlite3_step");
        assert_eq!(
            path("/rustc/0f1e/library/std/src/rt.rs"),
            "library/std/src/rt.rs"
        );
        assert_eq!(path("/home/ada/app.c"), "/home/ada/app.c");
    }

    #[test]
    fn a_recursion_is_one_line() {
        let functions = ["a", "b", "b", "b", "c"].map(str::to_string);
        let lines = ["   0: a", "   1: b (3 times)", "   4: c"];
        assert_eq!(numbered(functions.into_iter()), lines);
        let many = (0..99).map(|number| number.to_string());
        assert_eq!(numbered(many).len(), MAX_LINES);
    }

    #[test]
    fn a_guest_cannot_write_more_than_a_line() {
        assert_eq!(name(Some("a\n\u{1b}[2Jb")), "a \u{fffd}[2Jb");
        assert_eq!(name(Some(&"x".repeat(9999))).len(), MAX_NAME_CHARS);
        assert_eq!(path(&"x".repeat(9999)).len(), MAX_PATH_CHARS);
    }
}
