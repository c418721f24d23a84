//! The text of a file: where each setting is in it, and which parts of a line can be shown.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::Config;
use crate::config::problem::{Key, Place, Problem, ProblemKind, Quote, Step};
use crate::config::secret::without_secrets;
use crate::config::setting::{Kind, Setting, Value};

/// A file, parsed.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    root: Value<'a>,
}

/// The longest line that is shown, in characters.
const MAX_QUOTED: usize = 160;

impl<'a> Source<'a> {
    /// Parse a file, as far as it can be, and return its mistakes.
    pub(crate) fn parse(text: &'a str) -> (Source<'a>, Vec<Problem>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        let span = root.span();
        let root = Spanned::new(span, DeValue::Table(root.into_inner()));
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        let source = Source { text, lines, root };
        let mut problems: Vec<Problem> = Vec::new();
        for error in errors {
            let span = source.within(error.span().unwrap_or(0..0));
            let place = source.place(span.start);
            // Further mistakes of a line follow from its first.
            let is_new = |other: &Problem| other.place.is_some_and(|at| at.line != place.line);
            if problems.iter().all(is_new) {
                problems.push(Problem {
                    kind: ProblemKind::Syntax,
                    key: Key::default(),
                    message: source.syntax(error.message(), place.line),
                    place: Some(place),
                    quote: source.quote_of_syntax(span.start),
                    about_key: false,
                });
            }
        }
        (source, problems)
    }

    /// What is wrong in a line that is not TOML.
    fn syntax(&self, message: &str, line: usize) -> String {
        let line = self.text.lines().nth(line.saturating_sub(1));
        let value = line.and_then(|line| Some(line.split_once('=')?.1.trim_start()));
        let is_bare = value.is_some_and(|value| !value.starts_with(['"', '\'', '[', '{']));
        // The parser takes what begins with a digit for a number: an address, for example.
        let hint = match is_bare && message.starts_with("invalid ") {
            true => ": write text in quotes",
            false => "",
        };
        format!("not TOML: {}{hint}", message.trim())
    }

    /// All of its settings.
    pub(crate) fn root(&self) -> &Value<'a> {
        &self.root
    }

    /// Add their places to the problems, and sort them by these. Problems in a line that is not
    /// TOML follow from that.
    pub(crate) fn locate(&self, problems: &mut Vec<Problem>) {
        let lines: Vec<_> = problems
            .iter()
            .filter(|problem| problem.kind == ProblemKind::Syntax)
            .filter_map(|problem| Some(problem.place?.line))
            .collect();
        problems.retain_mut(|problem| {
            if problem.place.is_some() {
                return true;
            }
            let (span, is_value) = self.span(&problem.key, problem.about_key);
            let place = self.place(span.start);
            problem.place = Some(place);
            let is_hidden = match is_value {
                true => is_secret(&problem.key),
                // A variable with its value, in the wrong place.
                false => self.text[span.clone()].contains('='),
            };
            problem.quote = Some(self.quote(span, is_hidden));
            !lines.contains(&place.line)
        });
        problems.sort_by_key(|problem| problem.place);
    }

    /// Where the setting is, or else the nearest table around it; and whether that is a value.
    fn span(&self, key: &Key, about_key: bool) -> (Range<usize>, bool) {
        let mut value = &self.root;
        let mut found = (0..0, false);
        for (number, step) in key.steps().iter().enumerate() {
            let is_last = number + 1 == key.steps().len();
            let next = match (step, value.get_ref()) {
                (Step::Name(name), DeValue::Table(table)) => {
                    let entry = table.get_key_value(name.as_str());
                    entry.map(|(key, next)| {
                        // The value of a table can be all of its lines.
                        let is_value = is_last && !about_key && !next.get_ref().is_table();
                        let span = if is_value { next.span() } else { key.span() };
                        (span, is_value, next)
                    })
                }
                (Step::Index(index), DeValue::Array(values)) => values
                    .get(*index)
                    .map(|next| (next.span(), !next.get_ref().is_table(), next)),
                _ => None,
            };
            let Some((span, is_value, next)) = next else {
                break;
            };
            found = (self.within(span), is_value);
            value = next;
        }
        found
    }

    /// The range, on the boundaries of characters and within the text.
    fn within(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end);
        start..end.max(start)
    }

    fn place(&self, offset: usize) -> Place {
        // The first line begins at 0.
        let line = self.lines.partition_point(|start| *start <= offset);
        Place {
            line,
            column: self.text[self.lines[line - 1]..offset].chars().count() + 1,
        }
    }

    /// The line around a place, without its end.
    fn line(&self, offset: usize) -> Range<usize> {
        let start = self.lines[self.place(offset).line - 1];
        let end = self.text[offset..].find(['\n', '\r']);
        start..end.map_or(self.text.len(), |end| offset + end)
    }

    /// The line of a place, without what may be secret: of values, it shows only the marked one,
    /// and that not if it `is_hidden`.
    fn quote(&self, span: Range<usize>, is_hidden: bool) -> Quote {
        let line = self.line(span.start);
        let end = span.end.min(line.end);
        let before = &self.text[line.start..span.start];
        // A text before the place is of another setting.
        let is_shown = !before.contains(['"', '\'']) && before.len() <= MAX_QUOTED;
        let before = if is_shown { before } else { "… " };
        let marked = match is_hidden {
            true => "…".to_owned(),
            false => without_secrets(&self.text[span.start..end]),
        };
        let rest = self.text[end..line.end].trim_end();
        let is_of_header = |c: char| c.is_ascii_alphanumeric() || ".-_]".contains(c);
        let rest = match rest.trim_start() {
            "" => "",
            _ if before.trim_start().starts_with('[') && rest.chars().all(is_of_header) => rest,
            equals if equals.starts_with('=') => " = …",
            _ => " …",
        };
        let marked = marked.chars().take(MAX_QUOTED).map(plain);
        let marked: String = marked.collect();
        let before: String = before.chars().map(plain).collect();
        Quote {
            from: before.chars().count(),
            length: marked.chars().count(),
            text: format!("{before}{marked}{rest}"),
        }
    }

    /// The line of a mistake in the syntax, if it sets something that is known. Its value is not
    /// shown: it may be a secret that lacks its quotes. Other lines may belong to one.
    fn quote_of_syntax(&self, offset: usize) -> Option<Quote> {
        let line = self.line(offset);
        let (key, _) = self.text[line].split_once('=')?;
        let name = key.trim().rsplit('.').next()?;
        is_known(&Config::kind(), name).then(|| Quote {
            text: format!("{}= …", key.trim_start()),
            from: 0,
            length: key.trim().chars().count(),
        })
    }
}

/// Control characters would change what a terminal shows.
fn plain(c: char) -> char {
    match c.is_control() {
        true => ' ',
        false => c,
    }
}

/// Whether the setting's value is never shown, because it can be secret.
fn is_secret(key: &Key) -> bool {
    let is_secret = |step: &Step| {
        let Step::Name(name) = step else {
            return false;
        };
        ["env", "inherit-env", "keys", "url", "token-file"].contains(&name.as_str())
    };
    key.steps().iter().any(is_secret)
}

/// Whether a setting has this name, anywhere.
fn is_known(kind: &Kind, name: &str) -> bool {
    kind.table().is_some_and(|table| {
        let mut keys = table.keys.iter();
        keys.any(|key| key.name == name || is_known(&key.kind, name))
    })
}
