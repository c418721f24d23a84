//! Where a guest failed: its innermost frames, with the names of its functions, and the source
//! lines if the engine reads them.

use std::fmt::{self, Write};

use rustc_demangle::try_demangle;
use wasmtime::{FrameInfo, WasmBacktrace};

use crate::printable::start_of;

const MAX_LINES: usize = 20;
/// Generic functions have long names, and a guest chooses its names.
const MAX_NAME_CHARS: usize = 160;
/// Longer names are shown as they are: to find where a part of a name ends takes as long as it is.
const MAX_MANGLED_BYTES: usize = 8 << 10;
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
    match try_demangle(name) {
        Ok(in_source) if name.len() <= MAX_MANGLED_BYTES => without_hash(in_source),
        _ => start_of(name, MAX_NAME_CHARS),
    }
}

fn without_hash(name: impl fmt::Display) -> String {
    start_of(format_args!("{name:#}"), MAX_NAME_CHARS)
}

/// A path as the guest's compiler wrote it, without the folder that stands for Rust's own source.
fn path(file: &str) -> String {
    let short = file.strip_prefix("/rustc/");
    let short = short.and_then(|rest| rest.split_once('/'));
    let file = short.map_or(file, |(_, path)| path);
    start_of(file, MAX_PATH_CHARS)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustc_demangle::Demangle;

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

    /// The name of a function that is generic over a tuple, a tuple of two of these, and so on:
    /// each is two references to the one before.
    fn nested(depth: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        // References count from behind this.
        let mut name = String::from("INvC1a1f");
        let mut last = name.len();
        name.push_str("TmmE");
        for _ in 0..depth {
            let mut place = String::new();
            let mut rest = last - 1;
            loop {
                place.insert(0, char::from(DIGITS[rest % DIGITS.len()]));
                rest /= DIGITS.len();
                if rest == 0 {
                    break;
                }
                rest -= 1;
            }
            last = name.len();
            name.push_str(&format!("TB{place}_B{place}_E"));
        }
        format!("_R{name}E")
    }

    /// A name that counts how often its text is written to.
    struct Counted<'a> {
        name: Demangle<'a>,
        writes: Cell<usize>,
    }

    impl fmt::Display for Counted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            struct Counter<'a, 'f>(&'a Cell<usize>, &'a mut fmt::Formatter<'f>);
            impl Write for Counter<'_, '_> {
                fn write_str(&mut self, text: &str) -> fmt::Result {
                    self.0.set(self.0.get() + 1);
                    self.1.write_str(text)
                }
            }
            write!(Counter(&self.writes, f), "{:#}", self.name)
        }
    }

    #[test]
    fn a_name_that_would_be_endless_in_the_source_is_not_written_to_its_end() {
        let shown = name(Some(&nested(1)));
        assert_eq!(shown, "a::f::<(u32, u32), ((u32, u32), (u32, u32))>");
        let endless = nested(40);
        assert_eq!(name(Some(&endless)).chars().count(), MAX_NAME_CHARS);
        let counted = Counted {
            name: try_demangle(&endless).expect("a name"),
            writes: Cell::new(0),
        };
        without_hash(&counted);
        assert!(counted.writes.get() <= 2 * MAX_NAME_CHARS);
    }

    #[test]
    fn a_guest_cannot_write_more_than_a_line() {
        assert_eq!(name(Some("a\n\u{1b}[2Jb")), "a \u{fffd}[2Jb");
        assert_eq!(name(Some(&"x".repeat(9999))).len(), MAX_NAME_CHARS);
        assert_eq!(path(&"x".repeat(9999)).len(), MAX_PATH_CHARS);
    }
}
