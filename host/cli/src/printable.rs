//! Makes text from guests and errors safe for a terminal or a log.

/// The text that an error quotes may contain line breaks or terminal controls.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty());
    printable(&words.collect::<Vec<_>>().join(" "))
}

/// Replaces control characters, so that a guest's text cannot control the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
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
}
