//! Makes text from guests and errors safe for a terminal or a log.

use std::fmt::{self, Write};

/// The first `most` characters of what `value` writes, as one line.
///
/// A guest can choose text that takes long to write, so the writing stops there.
pub(crate) fn start_of(value: impl fmt::Display, most: usize) -> String {
    let mut start = Start {
        text: String::new(),
        left: most,
    };
    // It fails where it has to stop.
    let _ = write!(start, "{value}");
    one_line(&start.text)
}

/// Takes `left` more characters, and then fails.
struct Start {
    text: String,
    left: usize,
}

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.left = 0;
                Err(fmt::Error)
            }
            None => {
                self.text.push_str(text);
                self.left -= text.chars().count();
                Ok(())
            }
        }
    }
}

/// Returns a text as one line: each line break becomes a space, each control character U+FFFD. The
/// text that an error quotes may contain line breaks or terminal controls.
pub fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty());
    printable(&words.collect::<Vec<_>>().join(" "))
}

/// Replaces control characters with U+FFFD, so that a guest's text cannot control the reader's
/// terminal.
pub fn printable(text: &str) -> String {
    let printable = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_controls() {
        assert_eq!(one_line("a\n\n  b\u{1b}[2J\r\n"), "a b\u{fffd}[2J");
    }

    /// Writes without end, unless it is stopped.
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("äöü")?;
            }
        }
    }

    #[test]
    fn what_writes_without_end_is_stopped() {
        assert_eq!(start_of(Endless, 7), "äöüäöüä");
        assert_eq!(start_of(Endless, 0), "");
        assert_eq!(start_of("a\nb", 7), "a b");
    }
}
