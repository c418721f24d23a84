//! Output on the command's own streams.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use millpond_server::{Event, Log};

use crate::granted::how_to_grant;

/// Print one line on stderr. A closed stderr is not an error.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(format!("{line}\n").as_bytes());
}

/// A log on stderr.
pub(crate) fn terminal() -> Arc<dyn Log> {
    Arc::new(Stderr)
}

#[derive(Debug)]
struct Stderr;

impl Log for Stderr {
    fn event(&self, event: &Event<'_>) {
        match event {
            // Only a user who waits wants to know.
            Event::Compiling { .. } if !io::stderr().is_terminal() => {}
            Event::UnknownDatabase { request, name } => {
                say(format_args!("[{request}] {}", how_to_grant(name)));
            }
            _ => say(format_args!("{event}")),
        }
    }
}

/// Print the warnings of the pools, but not the log messages of other crates.
pub(crate) fn print_warnings() {
    // If the embedding program has a logger, that gets the warnings.
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

/// Print text on stdout. If it is closed, its reader has read enough.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
