//! Builds guest components with cargo, from a build script or at run time.
//!
//! If the guests' target is missing, it is installed with rustup: naming it in
//! `rust-toolchain.toml` does not add it to a toolchain that is already installed.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
//! let components = millpond_build::Guests::new(&workspace, workspace.join("target"))
//!     .package("millpond-notes")
//!     .build()?;
//! println!("built {}", components["millpond_notes"].display());
//! # Ok(())
//! # }
//! ```

mod target;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The target of guests: its output is already a component.
pub const TARGET: &str = "wasm32-wasip2";

/// Variables that an outer cargo, or its caller, sets for the host's crates and not for guests:
/// flags for the host's linker, coverage, clippy, and directories that the outer cargo has locked.
const NOT_FOR_GUESTS: [&str; 8] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
];

/// Packages of one workspace, built into components by one cargo run.
#[derive(Clone, Debug)]
pub struct Guests {
    workspace: PathBuf,
    target_dir: PathBuf,
    packages: Vec<String>,
    profile: Option<String>,
    notify: fn(&str),
}

impl Guests {
    /// Prepares to build guests of the workspace in the folder `workspace` into `target_dir`.
    ///
    /// In a build script, `target_dir` must not be the target directory of the cargo that runs the
    /// script, which has it locked and waits for the script: use a folder in `OUT_DIR`, or
    /// [`in_build_script`](Guests::in_build_script).
    pub fn new(workspace: impl Into<PathBuf>, target_dir: impl Into<PathBuf>) -> Guests {
        Guests {
            workspace: workspace.into(),
            target_dir: target_dir.into(),
            packages: Vec::new(),
            profile: None,
            notify: |line| eprintln!("{line}"),
        }
    }

    /// Prepares to build guests of the workspace in the folder `workspace` from a build script, in
    /// its own `OUT_DIR`. Messages become cargo warnings.
    ///
    /// The script itself must tell cargo when to run it again (`cargo:rerun-if-changed`).
    ///
    /// # Errors
    ///
    /// `OUT_DIR` is not set: no build script is running.
    pub fn in_build_script(workspace: impl Into<PathBuf>) -> Result<Guests> {
        let out = std::env::var_os("OUT_DIR")
            .context("OUT_DIR is not set: only a build script can build guests here")?;
        Ok(Guests {
            notify: |line| println!("cargo:warning={line}"),
            ..Guests::new(workspace, Path::new(&out).join("guests"))
        })
    }

    /// Adds a package: each of its binaries becomes a component, and so does its library if it is a
    /// `cdylib`.
    pub fn package(mut self, name: impl Into<String>) -> Guests {
        self.packages.push(name.into());
        self
    }

    /// Builds with this profile of the workspace: `release`, or a custom one, such as one with
    /// link-time optimization (<https://doc.rust-lang.org/cargo/reference/profiles.html>). Defaults
    /// to the dev profile.
    pub fn profile(mut self, name: impl Into<String>) -> Guests {
        self.profile = Some(name.into());
        self
    }

    /// Builds everything with one cargo run, and returns the path of each component by the name of
    /// its binary or library (a library's has `_` where its package has `-`).
    ///
    /// Blocks until cargo is done. If the target is missing, adds it to the toolchain with rustup,
    /// and says so.
    ///
    /// # Errors
    ///
    /// If the target is missing and rustup cannot add it, the error says what to type. If a guest
    /// does not compile, cargo has printed why on standard error. Also an error if two components
    /// have the same name, or a package has none.
    pub fn build(self) -> Result<BTreeMap<String, PathBuf>> {
        if self.packages.is_empty() {
            bail!("no guest package to build was named");
        }
        target::ensure(&self.workspace, self.notify)?;

        // Absolute, because cargo would resolve it relative to the workspace, and the caller
        // relative to the working directory.
        let target_dir = std::path::absolute(&self.target_dir)?;
        let mut cargo = Command::new(tool("CARGO", "cargo"));
        cargo
            .current_dir(&self.workspace)
            .arg("build")
            .args(["--target", TARGET]);
        // A nested cargo must not rewrite the lock file under the outer one.
        cargo.args(["--locked", "--message-format=json-render-diagnostics"]);
        cargo.arg("--target-dir").arg(&target_dir);
        for package in &self.packages {
            cargo.args(["--package", package]);
        }
        if let Some(profile) = &self.profile {
            cargo.args(["--profile", profile]);
        }
        for name in NOT_FOR_GUESTS {
            cargo.env_remove(name);
        }
        // The user's configuration may move all intermediate files to one place, which the outer
        // cargo has locked.
        cargo.env("CARGO_BUILD_BUILD_DIR", &target_dir);

        let output = cargo
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {:?}", cargo.get_program()))?;
        if !output.status.success() {
            bail!(
                "cargo could not build {} for {TARGET} ({})",
                self.packages.join(", "),
                output.status
            );
        }
        components(&String::from_utf8_lossy(&output.stdout), &self.packages)
    }
}

/// The components that cargo's messages report.
fn components(messages: &str, packages: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let mut components = BTreeMap::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue; // What a build script or a macro printed.
        };
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let Some(name) = message["target"]["name"].as_str() else {
            continue;
        };
        let files = message["filenames"].as_array().into_iter().flatten();
        for file in files
            .filter_map(|file| file.as_str())
            .filter(|file| file.ends_with(".wasm"))
        {
            if components
                .insert(name.to_owned(), PathBuf::from(file))
                .is_some()
            {
                bail!("two components are named {name}: rename one");
            }
        }
    }
    if components.is_empty() {
        bail!(
            "{} has neither a binary nor a cdylib library to build",
            packages.join(", ")
        );
    }
    Ok(components)
}

/// A tool as the outer cargo names it, or by its plain name.
fn tool(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}
