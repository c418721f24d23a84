//! What goes to the command's own streams.

use std::fmt;
use std::io::{self, Write};

/// One line on stderr. A closed stderr is no reason to stop serving.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(format!("{line}\n").as_bytes());
}

/// Text on stdout. Whoever closed the other end has read enough.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
