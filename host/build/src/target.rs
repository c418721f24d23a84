//! Checks whether the toolchain can build for the guests' target, and if not, adds it with rustup.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{TARGET, tool};

/// Makes sure that the toolchain that builds in the folder `workspace` has the target.
pub(crate) fn ensure(workspace: &Path, notify: fn(&str)) -> Result<()> {
    let folder = library_folder(workspace)?;
    // If two rustups add a target at once, they fail or hang, and a third process may find the
    // target incomplete. The lock is on the toolchain's own folder of targets, so that it works for
    // every process and leaves no file behind. If that folder cannot be locked, there is no rustup
    // either.
    let targets = folder
        .ancestors()
        .nth(2)
        .and_then(|targets| File::open(targets).ok());
    if let Some(targets) = &targets {
        let _ = targets.lock();
    }
    if holds_something(&folder) {
        return Ok(());
    }
    notify(&format!(
        "the target {TARGET} is missing: installing it with rustup"
    ));
    let reason = match rustup(workspace) {
        Ok(()) if holds_something(&folder) => return Ok(()),
        // Rust may come from elsewhere, with an unrelated rustup installed next to it.
        Ok(()) => "rustup added it to a different toolchain".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    bail!(
        "the target {TARGET} is missing: run `rustup target add {TARGET}`, or install Rust's \
         standard library for {TARGET} the way you installed Rust ({reason})"
    )
}

/// The path of the standard library for the target, even if missing: `…/rustlib/<target>/lib`.
fn library_folder(workspace: &Path) -> Result<PathBuf> {
    let rustc = tool("RUSTC", "rustc");
    let output = Command::new(&rustc)
        .current_dir(workspace)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {rustc:?}: install Rust from https://rustup.rs"))?;
    if !output.status.success() {
        bail!("{rustc:?} does not know the target {TARGET}: Rust 1.82 is the first that does");
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// Whether the standard library is there: removing it may leave an empty folder.
fn holds_something(folder: &Path) -> bool {
    folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
}

/// Make rustup add the target to the toolchain that is active in the folder `workspace`.
fn rustup(workspace: &Path) -> Result<()> {
    let output = Command::new("rustup")
        .current_dir(workspace)
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .output()
        .context("cannot run rustup")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    bail!("rustup failed: {}", last.trim())
}
