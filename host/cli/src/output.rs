//! What goes to the command's own streams.

use std::fmt;
use std::io::{self, Write};

/// One line on stderr. A closed stderr is no reason to stop serving.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(format!("{line}\n").as_bytes());
}

/// Print what the pools warn of, and nothing of what other crates log.
pub(crate) fn print_warnings() {
    // Where a program that embeds the command has a logger, that one is told.
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("millpond")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(format_args!("warning: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Text on stdout. Whoever closed the other end has read enough.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
