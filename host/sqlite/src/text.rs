//! SQL text, before SQLite parses it.

use std::ffi::CString;
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a statement, in bytes (`SQLITE_LIMIT_SQL_LENGTH`).
pub(crate) const MAX_SQL_BYTES: usize = 100_000;

/// The statistics of tables, by `ANALYZE`.
pub(crate) const STATISTICS: &str = "sqlite_stat1";

/// SQL text in SQLite's form: with a NUL at the end, and none before it.
#[derive(Debug)]
pub(crate) struct SqlText<'a> {
    text: &'a str,
    terminated: CString,
    mentions_statistics: OnceLock<bool>,
}

impl<'a> SqlText<'a> {
    /// Refuses a NUL: SQLite reads up to the first one, and would silently not run the rest.
    pub(crate) fn new(text: &'a str) -> Result<SqlText<'a>> {
        match CString::new(text) {
            Ok(terminated) => Ok(SqlText {
                text,
                terminated,
                mentions_statistics: OnceLock::new(),
            }),
            Err(error) => Err(
                Error::new(ErrorKind::Sql, "the SQL text holds a NUL character")
                    .at(error.nul_position()),
            ),
        }
    }

    /// The length in bytes, without the final NUL.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text from the byte `start`, including the final NUL.
    pub(crate) fn from(&self, start: usize) -> &[u8] {
        &self.terminated.as_bytes_with_nul()[start.min(self.len())..]
    }

    /// The text from the byte `start`.
    pub(crate) fn rest(&self, start: usize) -> &'a str {
        self.text.get(start..).unwrap_or(self.text)
    }

    /// Whether the whole text mentions [`STATISTICS`]. Searched once, however many statements it has.
    pub(crate) fn mentions_statistics(&self) -> bool {
        *self
            .mentions_statistics
            .get_or_init(|| mentions(self.text, STATISTICS))
    }

    /// The statement between two bytes, at boundaries that SQLite found.
    pub(crate) fn statement(&self, start: usize, end: usize) -> &'a str {
        // A check of the whole text is at least as strict as one of the statement.
        self.text.get(start..end).unwrap_or(self.text)
    }
}

/// The length in bytes of the insignificant start of `sql`: space, comments, and the ends of empty
/// statements.
pub(crate) fn blank(sql: &str) -> usize {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r', ';', '\u{feff}']);
        let comment = if rest.starts_with("--") {
            rest.find('\n')
        } else if let Some(text) = rest.strip_prefix("/*") {
            text.find("*/").map(|end| end + 4)
        } else {
            return sql.len() - rest.len();
        };
        // An unterminated comment extends to the end of the text.
        rest = &rest[comment.unwrap_or(rest.len())..];
    }
}

/// Whether a statement creates or drops a table, an index, a view or a trigger.
pub(crate) fn is_definition(sql: &str) -> bool {
    begins_with(sql, &["CREATE", "DROP", "ALTER"])
}

/// Whether a statement writes the statistics of tables, which SQLite does before it asks whether it
/// may analyze.
pub(crate) fn analyzes(sql: &str) -> bool {
    begins_with(sql, &["ANALYZE"])
}

/// Whether SQLite may run a statement without checking that the schema it was compiled against is
/// current. All other statements check that as they begin (`OP_Transaction`).
pub(crate) fn trusts_schema(sql: &str) -> bool {
    begins_with(sql, &["EXPLAIN", "PRAGMA", "ANALYZE", "REINDEX"])
}

/// Whether a statement begins with one of these keywords.
pub(crate) fn begins_with(sql: &str, verbs: &[&str]) -> bool {
    let sql = &sql.as_bytes()[blank(sql)..];
    verbs.iter().any(|verb| {
        sql.get(..verb.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(verb.as_bytes()))
    })
}

/// Whether the text has more than `most` tokens: names, numbers and other characters, also those in
/// quotes and comments.
pub(crate) fn has_more_tokens(sql: &str, most: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let mut in_word = false;
    let mut count = 0;
    // Each takes at least one byte.
    sql.len() > most
        && sql.bytes().any(|byte| {
            let continues = is_word(byte) && in_word;
            in_word = is_word(byte);
            count += usize::from(!continues && !byte.is_ascii_whitespace());
            count > most
        })
}

/// Whether the text contains `name` (case-insensitive).
pub(crate) fn mentions(sql: &str, name: &str) -> bool {
    sql.as_bytes()
        .windows(name.len())
        .any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
}

/// The comments that begin with `--`, each up to the end of its line.
pub(crate) fn comments(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(['-', '/', '\'', '"', '`', '['])?;
            let (first, begun) = (rest.as_bytes()[at], &rest[at..]);
            let length = match first {
                b'-' if begun.starts_with("--") => {
                    let (comment, after) = begun.split_at(begun.find('\n').unwrap_or(begun.len()));
                    rest = after;
                    return Some(comment);
                }
                b'/' if begun.starts_with("/*") => begun[2..].find("*/").map(|end| end + 4),
                b'-' | b'/' => Some(1),
                b'[' => begun.find(']').map(|end| end + 1),
                quote => begun[1..].find(char::from(quote)).map(|end| end + 2),
            };
            rest = &begun[length?..];
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted() {
        for (sql, count) in [
            ("", 0),
            (" \n", 0),
            ("SELECT a_1 FROM t", 4),
            ("SELECT é+1,'x y'", 9),
            ("x<=y", 4),
        ] {
            assert!(!has_more_tokens(sql, count), "{sql}");
            assert!(count == 0 || has_more_tokens(sql, count - 1), "{sql}");
        }
    }

    #[test]
    fn a_statement_begins_after_space_and_comments() {
        for (sql, begin) in [
            ("SELECT 1", 0),
            ("\n -- a\n-- b\n  SELECT 1", 14),
            ("/* a\n*/ /**/SELECT 1", 12),
            ("-- never ends", 13),
            ("/* never ends", 13),
            ("/*/", 3),
            (" ;; SELECT 1", 4),
            ("\u{feff}SELECT 1", 3),
            ("", 0),
        ] {
            assert_eq!(blank(sql), begin, "{sql}");
        }
    }

    #[test]
    fn a_definition_is_recognised_by_its_verb() {
        for sql in ["create table t(a)", "/**/ DROP TRIGGER x", ";ALTER TABLE t"] {
            assert!(is_definition(sql), "{sql}");
        }
        for sql in [
            "SELECT 'create'",
            "CRE",
            "-- create",
            "EXPLAIN CREATE TABLE t(a)",
        ] {
            assert!(!is_definition(sql), "{sql}");
        }
    }
}
