//! Compiles the guest programs and the demo guest to components, and tells the suites where they
//! are.
//!
//! A program's name begins with its suite's. Each suite gets a macro that lists its programs, to
//! assert that it has a test for each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use millpond_build::Guests;

const SUITES: [&str; 18] = [
    "attacks",
    "bundle",
    "clean",
    "cli",
    "contract",
    "differential",
    "endings",
    "guest",
    "handles",
    "hostile",
    "keyvalue",
    "kit",
    "node",
    "platform",
    "readme",
    "spin",
    "transactions",
    "wasi03",
];

fn main() {
    if let Err(error) = build() {
        // One line that says what to do, even if backtraces are on.
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    // As it is when this runs: a target folder may be shared by several clones.
    let this = std::env::var_os("CARGO_MANIFEST_DIR").context("run by cargo")?;
    let workspace = Path::new(&this).join("..");
    for input in [
        "Cargo.toml",
        "Cargo.lock",
        "guest",
        "host/compat/wit",
        "tests/programs",
        "tests/spin-async",
        "tests/wasi03",
        "wit",
    ] {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    let components = Guests::in_build_script(&workspace)?
        .package("millpond-test-programs")
        .package("millpond-test-spin-async")
        .package("millpond-test-wasi03")
        .package("millpond-notes")
        .build()?;

    let mut code = String::from(
        "/// Where the component of this name is.\n\
         fn path_of(name: &str) -> Option<&'static str> {\n    Some(match name {\n",
    );
    let mut suites: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, path) in &components {
        writeln!(
            code,
            "        {name:?} => {:?},",
            path.to_str().context("a path that is no UTF-8")?
        )?;
        if name == "millpond_notes" {
            continue;
        }
        let suite = name.split('_').next().unwrap_or_default();
        if !SUITES.contains(&suite) {
            bail!(
                "the program {name} belongs to no suite: name it <suite>_<behaviour>, with one of \
                 {SUITES:?}, or add a suite to tests/build.rs and tests/tests/suites"
            );
        }
        suites.entry(suite).or_default().push(name);
    }
    code.push_str("        _ => return None,\n    })\n}\n");
    for suite in SUITES {
        writeln!(
            code,
            "/// Calls a macro with the name of each program of the suite `{suite}`.\n\
             #[macro_export]\nmacro_rules! foreach_{suite} {{\n    ($mac:ident) => {{"
        )?;
        for name in suites.remove(suite).unwrap_or_default() {
            writeln!(code, "        $mac!({name});")?;
        }
        code.push_str("    };\n}\n");
    }
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("components.rs"), code)?;
    Ok(())
}
