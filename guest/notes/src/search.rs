//! Converts a user's search to a full-text query (<https://sqlite.org/fts5.html>).

/// The FTS5 query for notes that contain every word of `text`, the last of which may be incomplete;
/// `None` if there is no word.
///
/// Every word is quoted, so that no input is a syntax error or an operator. Control characters
/// separate words like spaces, because FTS5 reads its queries up to a NUL.
pub(crate) fn full_text_query(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect();
    match words.is_empty() {
        true => None,
        false => Some(words.join(" ") + "*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_quoted_and_the_last_is_a_prefix() {
        let query = |text| full_text_query(text).unwrap();
        assert_eq!(query("milk"), r#""milk"*"#);
        assert_eq!(query("  fresh \t milk "), r#""fresh" "milk"*"#);
        assert_eq!(query(r#"say "hi"#), r#""say" """hi"*"#);
        assert_eq!(
            query("NOT (a OR b) title:c*"),
            r#""NOT" "(a" "OR" "b)" "title:c*"*"#
        );
        assert_eq!(query("a\0b"), r#""a" "b"*"#);
    }

    #[test]
    fn no_word_is_no_query() {
        for text in ["", "  ", "\0\n"] {
            assert_eq!(full_text_query(text), None);
        }
    }
}
