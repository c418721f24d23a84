//! Cargo compiles shared dependencies only once: the commands of the README and of everyday work
//! select different packages, and must enable the same features of the dependencies that they
//! share.

use std::collections::BTreeSet;
use std::process::Command;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What `cargo test --workspace` and `cargo build --workspace --all-targets` select.
const ALL: &[&str] = &["--workspace", "--edges", "normal,build,dev"];

/// The other commands, and what each selects.
const COMMANDS: [(&str, &[&str]); 2] = [
    (
        "cargo demo",
        &["--package", "millpond", "--edges", "normal,build,dev"],
    ),
    (
        "cargo build, cargo run --bin millpond",
        &["--edges", "normal,build"],
    ),
];

#[test]
fn every_command_enables_the_same_features_of_a_dependency() {
    // The features of procedural macros are separate, and could hide differences.
    for exclude in ["", ",no-proc-macro"] {
        let all = dependencies(ALL, exclude);
        for (command, selection) in COMMANDS {
            let differ: Vec<String> = dependencies(selection, exclude)
                .difference(&all)
                .cloned()
                .collect();
            assert!(
                differ.is_empty(),
                "{command} compiles these again, and all that depends on them; make \
                 host/features/Cargo.toml ask for the features that `cargo tree --workspace -f \
                 '{{p}} {{f}}'` shows: {differ:#?}"
            );
        }
    }
}

/// The dependencies outside the workspace, each with its features.
fn dependencies(selection: &[&str], exclude: &str) -> BTreeSet<String> {
    let (edges, selection) = selection.split_last().expect("edges");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo
        .current_dir(WORKSPACE)
        .args(["tree", "--offline", "--locked", "--no-dedupe"])
        .args(["--prefix", "none", "--format", "{p} {f}"])
        .args(selection)
        .arg(format!("{edges}{exclude}"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).expect("text");
    let dependencies: BTreeSet<String> = tree
        .lines()
        // A member's path is in parentheses.
        .filter(|line| !line.is_empty() && !line.contains("(/"))
        .map(str::to_owned)
        .collect();
    assert!(
        dependencies
            .iter()
            .any(|line| line.starts_with("wasmtime v")),
        "{dependencies:?}"
    );
    dependencies
}
