//! What is wrong with a configuration: all of it, each with its key, and its place in the file.

use std::fmt;
use std::path::PathBuf;

/// Where a setting is, by the names of its tables: `databases.notes.pool-size`, `routes[0].host`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<Step>);

/// One step of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Into a table.
    Name(String),
    /// Into a list.
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Step {
        Step::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Step {
        Step::Index(index)
    }
}

impl Key {
    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it is the other, or a setting in it.
    pub(crate) fn is_in(&self, other: &Key) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) => {
                    let dot = if number == 0 { "" } else { "." };
                    write!(f, "{dot}{}", shown(name))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name from the file as it is shown: in one line, not long, and without what follows a `=`,
/// which is a variable's value in the wrong place.
fn shown(name: &str) -> String {
    const MAX_CHARS: usize = 64;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_plain) && name.len() <= MAX_CHARS {
        return name.to_owned();
    }
    let (name, more) = match name.split_once('=') {
        Some((name, _)) => (name, "=…"),
        None => (name, ""),
    };
    let name: String = name.chars().take(MAX_CHARS).collect();
    format!("{:?}", name + more)
}

/// What kind of mistake a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file is not TOML.
    Syntax,
    /// There is no setting of this name here.
    UnknownKey,
    /// A setting that must be there is not.
    MissingKey,
    /// The value has another type.
    WrongType,
    /// The value is less, more or longer than what is allowed.
    OutOfBounds,
    /// The value is of the right type, but not one that the setting can have.
    InvalidValue,
    /// The value names a component or a database that does not exist.
    UnknownName,
    /// Two settings say the same thing, which only one may.
    Duplicate,
    /// Settings exclude one another, or one would have no effect.
    Contradiction,
}

/// A place in a file. Both numbers begin at 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The line that a problem is in, as far as it is shown: without values that could be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) text: String,
    /// Which characters the problem is about.
    pub(crate) from: usize,
    pub(crate) length: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) key: Key,
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    pub(crate) quote: Option<Quote>,
    /// Whether it is about the key, and not its value.
    pub(crate) about_key: bool,
}

impl Problem {
    /// What kind of mistake it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The setting.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Its place in the file; `None` if the configuration is not from a file.
    pub fn place(&self) -> Option<Place> {
        self.place
    }
}

/// Everything that is wrong with a configuration: at least one problem, in the order of the file.
///
/// `Display` has a paragraph for each problem: file, line, column, key, message, and the line
/// itself. It shows no environment variable's value, no URL's password and no unknown key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub(crate) file: Option<PathBuf>,
    pub(crate) all: Vec<Problem>,
}

impl Problems {
    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.all.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.all.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
            }
            if let Some(Place { line, column }) = problem.place {
                write!(f, "{line}:{column}:")?;
            }
            if self.file.is_some() || problem.place.is_some() {
                f.write_str(" ")?;
            }
            if !problem.key.steps().is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
            if let (Some(Place { line, .. }), Some(quote)) = (problem.place, &problem.quote) {
                let margin = " ".repeat(line.to_string().len());
                let (indent, marks) = (" ".repeat(quote.from), "^".repeat(quote.length.max(1)));
                write!(
                    f,
                    "\n  {line} | {}\n  {margin} | {indent}{marks}",
                    quote.text
                )?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
