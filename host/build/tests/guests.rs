//! Builds real guests with the real cargo.
//!
//! Tests that depend on the environment run in a child process: this binary again, with one test's
//! name and the environment that it needs.

use std::path::Path;
use std::process::{Command, Output};

use millpond_build::Guests;

#[test]
fn every_guest_is_built_by_one_cargo_and_found_by_name() {
    let workspace = workspace();
    let components = Guests::new(workspace.path(), workspace.path().join("out"))
        .package("one")
        .package("two-parts")
        .build()
        .unwrap();
    let names: Vec<&str> = components.keys().map(String::as_str).collect();
    assert_eq!(names, ["one", "two_parts"]);
    for path in components.values() {
        // "\0asm", and layer 1: a component, not a core module.
        assert_eq!(std::fs::read(path).unwrap()[..8], *b"\0asm\x0d\0\x01\0");
        assert!(path.starts_with(workspace.path().canonicalize().unwrap()));
    }
    // Built again: nothing is compiled, and the result is the same.
    let again = Guests::new(workspace.path(), workspace.path().join("out"))
        .package("two-parts")
        .package("one")
        .build()
        .unwrap();
    assert_eq!(components, again);
}

#[test]
fn flags_meant_for_the_host_do_not_reach_guests() {
    let output = child("child_builds_one", |child| {
        child
            .env("RUSTFLAGS", "--cfg meant_for_the_host")
            .env("CARGO_ENCODED_RUSTFLAGS", "--cfg\x1fmeant_for_the_host")
            .env("CARGO_BUILD_TARGET", "no-such-target")
            .env("RUSTC_WORKSPACE_WRAPPER", "no-such-wrapper");
    });
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_guest_that_does_not_compile_is_an_error() {
    let workspace = workspace();
    std::fs::write(
        workspace.path().join("one/src/main.rs"),
        "fn main() { nonsense }",
    )
    .unwrap();
    let built = Guests::new(workspace.path(), workspace.path().join("out"))
        .package("one")
        .build();
    assert!(
        built
            .unwrap_err()
            .to_string()
            .contains("could not build one")
    );
}

/// A rustc that reports an empty folder for the target, and no rustup.
#[cfg(unix)]
#[test]
fn a_missing_target_without_rustup_is_an_error_that_says_what_to_type() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let rustc = folder.path().join("rustc");
    let script = format!(
        "#!/bin/sh\necho {}\n",
        folder.path().join("nothing").display()
    );
    std::fs::write(&rustc, script).unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();

    let output = child("child_builds_one", |child| {
        child.env("RUSTC", &rustc).env("PATH", folder.path());
    });
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("run `rustup target add wasm32-wasip2`"),
        "{said}"
    );
}

#[test]
fn naming_no_package_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Guests::new(folder.path(), folder.path()).build().is_err());
}

/// Only runs as the child of the tests above.
#[test]
fn child_builds_one() {
    if std::env::var_os("MILLPOND_BUILD_CHILD").is_none() {
        return;
    }
    let workspace = workspace();
    let built = Guests::new(workspace.path(), workspace.path().join("out"))
        .package("one")
        .build();
    assert!(built.unwrap().contains_key("one"));
}

fn child(test: &str, environment: impl FnOnce(&mut Command)) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture"])
        .env("MILLPOND_BUILD_CHILD", "1");
    environment(&mut child);
    child.output().unwrap()
}

/// A workspace of two guests without dependencies: a binary, and a library.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let package = |name: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [lints.rust]\nunexpected_cfgs = \"allow\"\n"
        )
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"one\", \"two-parts\"]\n",
    );
    write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.0.0\"\n\n\
         [[package]]\nname = \"two-parts\"\nversion = \"0.0.0\"\n",
    );
    write("one/Cargo.toml", &package("one"));
    write(
        "one/src/main.rs",
        "fn main() {\n    #[cfg(meant_for_the_host)]\n    compile_error!(\"leaked\");\n}\n",
    );
    write(
        "two-parts/Cargo.toml",
        &format!("{}[lib]\ncrate-type = [\"cdylib\"]\n", package("two-parts")),
    );
    write("two-parts/src/lib.rs", "");
    folder
}
