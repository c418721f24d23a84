//! Writes what was answered into test files. Only the values change: comments, order and spacing
//! stay.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Mistake;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// Of a part of the test file, in bytes.
    Text(Range<usize>, String),
    /// Of another file.
    File(PathBuf, String),
}

impl Edit {
    /// Write `value` in place of another.
    pub(super) fn replace(at: Range<usize>, value: String) -> Edit {
        Edit::Text(at, value)
    }

    /// Write lines before the byte `at`.
    pub(super) fn insert(at: usize, lines: String) -> Edit {
        Edit::Text(at..at, lines)
    }

    pub(super) fn file(path: &Path, text: &str) -> Edit {
        Edit::File(path.to_owned(), text.to_owned())
    }
}

/// Text as a value in TOML: in one line, or in several if it has several.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Make the changes. Returns the files that changed.
pub(super) fn apply(path: &Path, text: &str, edits: Vec<Edit>) -> Result<Vec<PathBuf>, Mistake> {
    let mut changed = Vec::new();
    let mut parts = Vec::new();
    for edit in edits {
        match edit {
            Edit::Text(at, value) => parts.push((at, value)),
            Edit::File(path, text) => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|error| Mistake::about(folder, error))?;
                }
                fs::write(&path, text).map_err(|error| Mistake::about(&path, error))?;
                changed.push(path);
            }
        }
    }
    if !parts.is_empty() {
        let text = edited(text, parts);
        fs::write(path, text).map_err(|error| Mistake::about(path, error))?;
        changed.push(path.to_owned());
    }
    Ok(changed)
}

fn edited(text: &str, mut parts: Vec<(Range<usize>, String)>) -> String {
    // From the end, so that the places before stay the same.
    parts.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
    let mut text = text.to_owned();
    for (at, value) in parts {
        let ends_line = at.start == 0 || text[..at.start].ends_with('\n');
        let value = match at.is_empty() && !ends_line {
            // The file has no line end.
            true => format!("\n{value}"),
            false => value,
        };
        text.replace_range(at, &value);
    }
    text
}
