//! Whether a component that cargo has built is older than its source. A test of the old one would
//! say nothing about the new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A source file that was changed after the component was built, if cargo has written next to it
/// what it was built of
/// (<https://doc.rust-lang.org/cargo/reference/build-cache.html#dep-info-files>).
pub(crate) fn newer_source(component: &Path) -> Option<PathBuf> {
    let written = |path: &Path| fs::metadata(path)?.modified();
    let built = written(component).ok()?;
    let sources = fs::read_to_string(component.with_extension("d")).ok()?;
    // One that is gone says nothing: it may have been renamed.
    let is_newer = |path: &PathBuf| written(path).is_ok_and(|time: SystemTime| time > built);
    sources_in(&sources).find(is_newer)
}

/// The files after the colon. A space in a name has a backslash before it.
fn sources_in(rule: &str) -> impl Iterator<Item = PathBuf> {
    const SPACE: &str = "\0";
    let (_, files) = rule.split_once(": ").unwrap_or_default();
    let files = files.lines().next().unwrap_or_default();
    let files = files.replace("\\ ", SPACE);
    let files: Vec<_> = files
        .split_whitespace()
        .map(|file| PathBuf::from(file.replace(SPACE, " ")))
        .collect();
    files.into_iter()
}
