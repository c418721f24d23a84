//! Output on the command's own streams.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use millpond_server::config::LogFormat;
use millpond_server::printable::one_line;
use millpond_server::{Event, JsonLog, Log, TextLog};

use crate::granted::how_to_grant;

/// Print one line on stderr. A closed stderr is not an error.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(format!("{line}\n").as_bytes());
}

/// A log on stderr, of a component and databases that flags name.
pub(crate) fn terminal() -> Arc<dyn Log> {
    Arc::new(Terminal {
        log: TextLog::new(io::stderr()),
        is_of_flags: true,
    })
}

/// A log on stderr in this form, of what a configuration file names.
pub(crate) fn log(format: LogFormat) -> Arc<dyn Log> {
    match format {
        LogFormat::Json => Arc::new(JsonLog::new(io::stderr())),
        LogFormat::Text => Arc::new(Terminal {
            log: TextLog::new(io::stderr()),
            is_of_flags: false,
        }),
    }
}

/// A log for people, with what only concerns users of the command.
#[derive(Debug)]
struct Terminal {
    log: TextLog<io::Stderr>,
    is_of_flags: bool,
}

impl Log for Terminal {
    fn event(&self, event: &Event<'_>) {
        match event {
            // Only a user who waits wants to know.
            Event::Compiling { .. } if !io::stderr().is_terminal() => {}
            Event::UnknownDatabase { request, name } if self.is_of_flags => {
                say(format_args!("[{request}] {}", how_to_grant(name)));
            }
            _ => self.log.event(event),
        }
    }

    fn flush(&self) {
        self.log.flush();
    }
}

/// Where warnings go, once something is served.
static LOG: OnceLock<Arc<dyn Log>> = OnceLock::new();

/// Print warnings in this log from now on.
pub(crate) fn warn_in(log: &Arc<dyn Log>) {
    let _ = LOG.set(Arc::clone(log));
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
            let message = &one_line(&record.args().to_string());
            let event = Event::Warning { message };
            match LOG.get() {
                Some(log) => log.event(&event),
                None => say(format_args!("{event}")),
            }
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
