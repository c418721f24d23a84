//! A log for people.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::{Event, Log};

/// Writes each event as a line for people: its `Display`.
pub struct TextLog<W> {
    to: Mutex<W>,
}

impl<W: Write + Send> TextLog<W> {
    /// A log that writes to `to`, one write for each event. What it cannot write is lost.
    pub fn new(to: W) -> TextLog<W> {
        TextLog { to: Mutex::new(to) }
    }
}

impl<W> fmt::Debug for TextLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLog").finish_non_exhaustive()
    }
}

impl<W: Write + Send> Log for TextLog<W> {
    fn event(&self, event: &Event<'_>) {
        write(&self.to, &format!("{event}\n"));
    }

    fn flush(&self) {
        write(&self.to, "");
    }
}

/// Write all at once, so that lines of several threads do not mix.
pub(super) fn write(to: &Mutex<impl Write>, text: &str) {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
