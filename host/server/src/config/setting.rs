//! What every setting can do: be read from a file, be written to one, be checked, and be described.
//!
//! `settings!` implements [`Setting`] for a struct from its fields, `values` for the types of
//! fields.

use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::report::Report;

/// A value in a file, with its place.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// A setting, or a table of settings.
pub(crate) trait Setting: Sized {
    /// What to write for it in a file.
    fn kind() -> Kind;

    /// Read it. Paths are relative to `folder`. Reports what is wrong with its type; `None` if
    /// there is no value then. Bounds are not checked.
    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Self>;

    /// What to write; `None` if it is unset.
    fn write(&self) -> Option<Written>;

    /// Report what is not within its bounds, here and below.
    fn check(&self, _bounds: Option<&Bounds>, _report: &mut Report) {}

    /// The value that a default or a bound in `settings!` means.
    fn literal(_literal: &Literal) -> Option<Self> {
        None
    }
}

/// What to write in a file.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Flag,
    Count,
    /// A text of this form.
    Text(Form),
    /// One of these, each with its meaning.
    Choice(&'static [(&'static str, &'static str)]),
    List(Box<Kind>),
    /// A table with names that the operator chooses, if `true` each a [`Name`](super::Name).
    Map(bool, Box<Kind>),
    Table(Table),
}

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Any,
    Secret,
    Path,
    Size,
    Duration,
    Address,
    Endpoint,
}

/// A table of settings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) about: String,
    pub(crate) keys: Vec<Described>,
}

/// A setting, described.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    pub(crate) bounds: Option<Bounds>,
    pub(crate) example: Option<Literal>,
}

/// What holds if a setting is not in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must be there. Has an example.
    Required(Literal),
    /// This value.
    Default(Literal),
    /// What this says.
    Unset(Literal),
}

/// A value in `settings!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Flag(bool),
    Count(u64),
    Text(&'static str),
}

/// The smallest and the largest value. A smallest text that begins with `>` is not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: Literal,
    pub(crate) to: Literal,
}

/// What is written to a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written {
    Value(toml::Value),
    List(Vec<Written>),
    Table(Vec<(String, Written)>),
}

impl From<bool> for Literal {
    fn from(flag: bool) -> Literal {
        Literal::Flag(flag)
    }
}

impl From<u64> for Literal {
    fn from(count: u64) -> Literal {
        Literal::Count(count)
    }
}

impl From<&'static str> for Literal {
    fn from(text: &'static str) -> Literal {
        Literal::Text(text)
    }
}

impl std::fmt::Display for Literal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Literal::Flag(flag) => flag.fmt(f),
            Literal::Count(count) => count.fmt(f),
            Literal::Text(text) => text.fmt(f),
        }
    }
}

impl Kind {
    /// Whether it is written as a text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Kind::Text(_) | Kind::Choice(_))
    }

    /// The tables in it.
    pub(crate) fn table(&self) -> Option<&Table> {
        match self {
            Kind::Table(table) => Some(table),
            Kind::List(kind) | Kind::Map(_, kind) => kind.table(),
            _ => None,
        }
    }
}

impl Described {
    /// The value that it has if it is not in the file, where that is one value.
    pub(crate) fn default(&self) -> Option<Literal> {
        match self.presence {
            Presence::Default(value) => Some(value),
            // Its meaning is a value, unless there is an example.
            Presence::Unset(value) if self.example.is_none() => Some(value),
            _ => None,
        }
    }

    /// A value as it is written in a file: the default, or else an example.
    pub(crate) fn sample(&self) -> String {
        let value = match self.presence {
            Presence::Required(example) => example,
            Presence::Default(value) => value,
            Presence::Unset(meaning) => self.example.unwrap_or(meaning),
        };
        match self.kind.is_text() {
            true => format!("\"{value}\""),
            false => value.to_string(),
        }
    }
}

impl Bounds {
    /// As a sentence says it.
    pub(crate) fn shown(&self) -> String {
        const NO_END: Literal = Literal::Count(i64::MAX as u64);
        let from = self.from.to_string();
        match (from.strip_prefix('>'), self.to == NO_END) {
            (Some(from), _) => format!("more than {from}, up to {}", self.to),
            (None, true) => format!("{from} or more"),
            (None, false) => format!("from {from} to {}", self.to),
        }
    }
}

/// The lines of a doc comment, as paragraphs.
pub(crate) fn paragraphs(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines.iter().map(|line| line.trim()) {
        let gap = match (line.is_empty(), text.is_empty() || text.ends_with('\n')) {
            (true, _) => "\n\n",
            (false, true) => "",
            (false, false) => " ",
        };
        text.push_str(gap);
        text.push_str(line);
    }
    text.trim().to_owned()
}

/// The key of a field.
pub(crate) fn key(field: &str) -> String {
    field.replace('_', "-")
}
