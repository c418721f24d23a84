//! Text in lines of limited width.

/// Break the text into lines of up to `width` characters, each after `prefix`.
pub(crate) fn wrapped(text: &str, prefix: &str, width: usize) -> String {
    let mut lines = String::new();
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            lines.push_str(prefix.trim_end());
            lines.push('\n');
        }
        let mut line = prefix.to_owned();
        for word in paragraph.split_whitespace() {
            let is_first = line.len() == prefix.len();
            if !is_first && line.chars().count() + 1 + word.chars().count() > width {
                lines.push_str(&line);
                lines.push('\n');
                line = prefix.to_owned();
            } else if !is_first {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
