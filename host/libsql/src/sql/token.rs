//! Words, quotes and marks, as SQLite divides a text into them
//! (<https://sqlite.org/lang_expr.html>, and `sqlite3GetToken` in its source).

use std::borrow::Cow;

/// What a part of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, or a name in no quotes.
    Word,
    /// A name in `"`, `` ` `` or `[]`.
    Name,
    /// A text in `'`, which SQLite takes for a name in some places.
    Text,
    /// `?`, `?1`, `:name`, `@name`, `$name`.
    Parameter,
    Semicolon,
    /// A number, a blob, or any other mark.
    Other,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

impl<'a> Token<'a> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is this mark.
    pub(super) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Other && self.text == mark
    }

    /// What it names, if it may be a name: without its quotes.
    pub(super) fn name(&self) -> Option<Cow<'a, str>> {
        let quote = match self.kind {
            Kind::Word => return Some(Cow::Borrowed(self.text)),
            Kind::Name | Kind::Text => self.text.chars().next()?,
            _ => return None,
        };
        let close = if quote == '[' { ']' } else { quote };
        let inner = &self.text[1..];
        let inner = inner.strip_suffix(close).unwrap_or(inner);
        let doubled: String = [close, close].iter().collect();
        Some(match inner.contains(&doubled) {
            true => Cow::Owned(inner.replace(&doubled, &close.to_string())),
            false => Cow::Borrowed(inner),
        })
    }
}

/// The tokens of a text, without spaces and comments.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(sql: &'a str, at: usize) -> Tokens<'a> {
        Tokens { sql, at }
    }

    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = [' ', '\t', '\n', '\x0b', '\x0c', '\r', '\u{feff}'];
            self.at += rest.len() - rest.trim_start_matches(blank).len();
            let rest = self.rest();
            let comment = if rest.starts_with("--") {
                rest.find('\n')
            } else if let Some(text) = rest.strip_prefix("/*") {
                text.find("*/").map(|end| end + 4)
            } else {
                return;
            };
            // One that never ends goes to the end of the text.
            self.at += comment.unwrap_or(rest.len());
        }
    }
}

fn is_word(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// How long what begins with a quote is, with its quotes: all there is, where it never ends.
fn quoted(text: &str, close: char) -> usize {
    let mut end = 1;
    while let Some(at) = text[end..].find(close) {
        end += at + 1;
        // Two of them stand for one, but for `]`.
        if close == ']' || !text[end..].starts_with(close) {
            return end;
        }
        end += 1;
    }
    text.len()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let words = |from: usize| {
            let more = rest[from..].find(|c| !is_word(c));
            more.map_or(rest.len(), |more| from + more)
        };
        let (kind, length) = match first {
            ';' => (Kind::Semicolon, 1),
            '\'' => (Kind::Text, quoted(rest, '\'')),
            '"' | '`' => (Kind::Name, quoted(rest, first)),
            '[' => (Kind::Name, quoted(rest, ']')),
            'x' | 'X' if rest[1..].starts_with('\'') => (Kind::Other, 1 + quoted(&rest[1..], '\'')),
            '?' => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit());
                (Kind::Parameter, digits.map_or(rest.len(), |end| end + 1))
            }
            ':' | '@' | '$' | '#' if rest[1..].starts_with(is_word) => {
                (Kind::Parameter, parameter(rest))
            }
            c if c.is_ascii_digit() => (Kind::Other, words(1)),
            c if is_word(c) && c != '$' => (Kind::Word, words(first.len_utf8())),
            c => (Kind::Other, c.len_utf8()),
        };
        let token = Token {
            kind,
            text: &rest[..length],
            start: self.at,
        };
        self.at += length;
        Some(token)
    }
}

/// How long a named parameter is: `$name` may have `::` in it, and end in parentheses.
fn parameter(text: &str) -> usize {
    let mut end = 1;
    loop {
        let rest = &text[end..];
        if let Some(next) = rest.chars().next().filter(|c| is_word(*c)) {
            end += next.len_utf8();
        } else if text.starts_with('$') && rest.starts_with("::") {
            end += 2;
        } else if text.starts_with('$') && rest.starts_with('(') {
            return rest.find(')').map_or(end, |close| end + close + 1);
        } else {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sql: &str) -> Vec<(Kind, &str)> {
        Tokens::new(sql, 0)
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn comments_and_quotes_hide_what_is_in_them() {
        let sql = "-- a;\nSELECT/* ; */'it''s;' , \"a\"\"b;\", [c];d]; x'00'x";
        let expected = [
            (Kind::Word, "SELECT"),
            (Kind::Text, "'it''s;'"),
            (Kind::Other, ","),
            (Kind::Name, "\"a\"\"b;\""),
            (Kind::Other, ","),
            (Kind::Name, "[c]"),
            (Kind::Semicolon, ";"),
            (Kind::Word, "d"),
            (Kind::Other, "]"),
            (Kind::Semicolon, ";"),
            (Kind::Other, "x'00'"),
            (Kind::Word, "x"),
        ];
        assert_eq!(tokens(sql), expected);
    }

    #[test]
    fn what_never_ends_goes_to_the_end() {
        for sql in ["'a;", "\"a;", "[a;", "`a;", "'a'';"] {
            assert_eq!(tokens(sql).len(), 1, "{sql}");
        }
        assert_eq!(tokens("/* a").len(), 0);
        assert_eq!(tokens("--").len(), 0);
    }

    #[test]
    fn parameters_are_told_from_marks() {
        let sql = "?,?12,:a,@b,$c::d(e f),?x, a:b, :é";
        let parameters: Vec<_> = tokens(sql)
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::Parameter)
            .map(|(_, text)| text)
            .collect();
        assert_eq!(
            parameters,
            ["?", "?12", ":a", "@b", "$c::d(e f)", "?", ":b", ":é"]
        );
    }

    #[test]
    fn names_come_without_quotes() {
        for (sql, name) in [
            ("a", "a"),
            ("\"a\"\"b\"", "a\"b"),
            ("[a b]", "a b"),
            ("`a``b`", "a`b"),
            ("'a'", "a"),
        ] {
            let token = Tokens::new(sql, 0).next().expect("one");
            assert_eq!(token.name().as_deref(), Some(name));
        }
    }
}
