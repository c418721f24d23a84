//! `cargo demo`: builds the demo guest and serves it.
//!
//! Arguments are passed on to `millpond serve`: `cargo demo --listen 127.0.0.1:0 --db my.db`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use millpond_build::Guests;

fn main() -> ExitCode {
    demo().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::from(2)
    })
}

fn demo() -> Result<ExitCode> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace
        .canonicalize()
        .context("the sources have moved: build again")?;
    let target = workspace.join("target");

    eprintln!(
        "Building the notes guest (guest/notes) for {}",
        millpond_build::TARGET
    );
    let guests = Guests::new(&workspace, &target)
        .package("millpond-notes")
        .build()?;
    let component = guests
        .get("millpond_notes")
        .context("cargo built no millpond_notes")?;

    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut args: Vec<OsString> = vec!["millpond".into(), "serve".into()];
    let named = std::env::var_os("DATABASE_PATH").is_some_and(|path| !path.is_empty());
    if !named && !has(&given, "--db") && !has(&given, "--db-read-only") {
        let database = target.join("notes.db");
        eprintln!("Keeping the notes in {}", database.display());
        args.extend(["--db".into(), database.into()]);
    }
    if !has(&given, "--migrations") {
        args.extend([
            "--migrations".into(),
            workspace.join("guest/notes/migrations").into(),
        ]);
    }
    args.extend(given);
    args.push(component.into());
    eprintln!("Press Ctrl-C to stop");
    Ok(millpond::main_from(args))
}

fn has(args: &[OsString], flag: &str) -> bool {
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    args.any(|arg| {
        arg.strip_prefix(flag)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}
