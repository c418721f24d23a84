//! Writes what was answered into test files. Only the values change: comments, order and spacing
//! stay.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::file::File;
use super::form::FileForm;
use crate::error::Mistake;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// Of a part of the test file, in bytes.
    Text(Range<usize>, String),
    /// Of another file.
    File(PathBuf, Vec<u8>),
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

    pub(super) fn file(path: &Path, bytes: &[u8]) -> Edit {
        Edit::File(path.to_owned(), bytes.to_vec())
    }
}

/// Text as a value in TOML: in one line, or in several if it has several.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The changes to all files, checked before the first is written.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<PathBuf, Vec<u8>>);

impl Changes {
    /// Add the changes that a test file's steps make.
    ///
    /// # Errors
    ///
    /// Two steps write different contents to one file. The test file has changed since it was
    /// read. A step is written in a way that lines cannot be added to it.
    pub(super) fn add(&mut self, file: &File, edits: Vec<Edit>) -> Result<(), Mistake> {
        let mut parts = Vec::new();
        for edit in edits {
            match edit {
                Edit::Text(at, value) => parts.push((at, value)),
                Edit::File(path, bytes) => match self.0.get(&path) {
                    Some(other) if *other != bytes => {
                        let message = "two steps write different contents: name a file for each";
                        return Err(Mistake::about(&path, message));
                    }
                    _ => _ = self.0.insert(path, bytes),
                },
            }
        }
        if parts.is_empty() {
            return Ok(());
        }
        let path = &file.path;
        let now = fs::read_to_string(path).map_err(|error| Mistake::about(path, error))?;
        if now != file.text {
            let message = "the file has changed meanwhile: run the tests again";
            return Err(Mistake::about(path, message));
        }
        let text = edited(&file.text, parts);
        if toml::from_str::<FileForm>(&text).is_err() {
            let message = "what was answered cannot be written into a step in { }: write each step \
                           with a header [[test.step]]";
            return Err(Mistake::about(path, message));
        }
        self.0.insert(path.clone(), text.into_bytes());
        Ok(())
    }

    /// Write the files. Returns those that changed.
    pub(super) fn write(mut self) -> Result<Vec<PathBuf>, Mistake> {
        let is_new = |path: &PathBuf, bytes: &mut Vec<u8>| {
            !fs::read(path).is_ok_and(|known| known == *bytes)
        };
        self.0.retain(is_new);
        for (path, bytes) in &self.0 {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            replace(path, folder, bytes).map_err(|error| Mistake::about(path, error))?;
        }
        Ok(self.0.into_keys().collect())
    }
}

/// Replace a file as a whole, or not at all.
fn replace(path: &Path, folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    // A link stays a link.
    let Ok(path) = fs::canonicalize(path) else {
        return fs::write(path, bytes);
    };
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(folder))?;
    file.write_all(bytes)?;
    file.as_file()
        .set_permissions(fs::metadata(&path)?.permissions())?;
    file.persist(&path)?;
    Ok(())
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
