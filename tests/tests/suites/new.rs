//! `millpond new`: what it writes is the example and the library of its language. The application
//! in Rust is built and served here, those in other languages by the tests of their libraries, in
//! `guest/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millpond_tests::component;
use serde_json::Value;

use crate::process::{MISTAKE, Server, millpond, text};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn new(folder: &Path, language: &str, name: &str) -> Output {
    let mut command = millpond();
    command.args(["new", "--lang", language, name]);
    command
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn written(folder: &Path, language: &str, name: &str) -> PathBuf {
    let output = new(folder, language, name);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains(&format!("cd {name}")),
        "{output:?}"
    );
    folder.join(name)
}

/// The files in a folder of the workspace, without what Python leaves there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if !entry.file_type().expect("its type").is_dir() {
            files.push(entry.file_name().into());
        } else if entry.file_name() != "__pycache__" {
            let within = self::files(&entry.path()).into_iter();
            files.extend(within.map(|file| Path::new(&entry.file_name()).join(file)));
        }
    }
    files
}

#[test]
fn an_application_has_its_library_and_the_example() {
    let folder = tempfile::tempdir().expect("a folder");
    for (language, from, to) in [
        ("rust", "guest/rust/src", "vendor/millpond-guest/src"),
        ("rust", "guest/rust/wit", "vendor/millpond-guest/wit"),
        ("rust", "guest/rust/example/src", "src"),
        ("python", "guest/python/millpond", "millpond"),
        ("python", "guest/python/example/wit", "wit"),
        ("js", "guest/js/src", "vendor/millpond/src"),
        ("js", "guest/js/wit", "vendor/millpond/wit"),
        ("js", "guest/js/example/src", "src"),
        ("c", "guest/c/gen", "vendor/millpond/gen"),
        ("c", "guest/c/include", "vendor/millpond/include"),
        ("c", "guest/c/example/gen", "gen"),
        ("go", "guest/go/internal", "millpond/internal"),
        ("go", "guest/go/wasihttp", "millpond/wasihttp"),
        ("go", "guest/rust/example/migrations", "migrations"),
        ("go", "guest/rust/example/tests", "tests"),
        ("c", "guest/rust/example/tests", "tests"),
        ("js", "guest/rust/example/tests", "test"),
        ("python", "guest/rust/example/tests", "tests"),
        ("rust", "guest/rust/example/tests", "tests"),
    ] {
        let name = format!("in-{language}");
        let app = folder.path().join(&name);
        if !app.exists() {
            written(folder.path(), language, &name);
        }
        let from = Path::new(WORKSPACE).join(from);
        for file in files(&from) {
            let copy = app.join(to).join(&file);
            let name = copy.display();
            let copied = std::fs::read(&copy);
            let copied = copied
                .unwrap_or_else(|error| panic!("{name}: {error}: link it in host/cli/templates"));
            let original = std::fs::read(from.join(&file)).expect("a file");
            assert!(copied == original, "{name}");
        }
    }
    let script = std::fs::metadata(folder.path().join("in-c/build")).expect("a script");
    assert!(std::os::unix::fs::PermissionsExt::mode(&script.permissions()) & 0o111 != 0);
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    written(folder.path(), "python", "empty");
    std::fs::write(folder.path().join("empty/app.py"), "mine").expect("a file");
    std::fs::write(folder.path().join("file"), "mine").expect("a file");
    for name in ["empty", "file", "../x", "1a", "a b", "build", "go"] {
        let output = new(folder.path(), "python", name);
        assert_eq!(output.status.code(), Some(MISTAKE), "{name}: {output:?}");
        assert_eq!(
            text(&output.stderr).lines().count(),
            1,
            "{name}: {output:?}"
        );
    }
    for mine in ["empty/app.py", "file"] {
        let kept = std::fs::read_to_string(folder.path().join(mine));
        assert_eq!(kept.expect("it is there"), "mine");
    }
    let output = new(folder.path(), "cobol", "app");
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    for language in ["rust", "python", "js", "c"] {
        assert!(text(&output.stderr).contains(language), "{output:?}");
    }
}

#[test]
fn the_application_in_rust_is_built_and_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = written(folder.path(), "rust", "my-links");
    same_dependencies(&app);

    // The folder and the profile of the other guests: what was compiled for them is used again.
    let target = component("cli_speaks")
        .ancestors()
        .nth(3)
        .expect("a folder");
    cargo(
        &app,
        &[
            "build",
            "--target=wasm32-wasip2",
            "--target-dir",
            target.to_str().expect("text"),
            "--config=profile.dev.debug='line-tables-only'",
            "--config=profile.dev.package.'*'.opt-level=1",
            "--config=profile.dev.package.'*'.debug=false",
        ],
    );
    // Cargo has kept every version.
    let lock = |folder: &Path| {
        let lock = std::fs::read_to_string(folder.join("Cargo.lock")).expect("a lock file");
        let lock: toml::Table = lock.parse().expect("TOML");
        let packages = lock["package"].as_array().expect("packages");
        let version = |package: &toml::Value| {
            let name = package["name"].as_str()?.replace("my-links", "links");
            Some((name, package["version"].as_str()?.to_owned()))
        };
        packages.iter().filter_map(version).collect::<BTreeSet<_>>()
    };
    let ours = Path::new(WORKSPACE);
    assert_eq!(lock(&app), lock(&ours.join("guest/rust/example")));
    let all = lock(ours);
    for package in lock(&app) {
        assert!(
            package.0 == "links" || all.contains(&package),
            "{package:?}"
        );
    }

    let component = target.join("wasm32-wasip2/debug/my-links.wasm");
    let mut serve = millpond();
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"])
        .args(["--db", "links.db", "--migrations", "migrations"])
        .arg(&component)
        .current_dir(&app);
    let server = Server::start(serve);
    let answer = server.ask_raw("POST", "/", "", b"https://example.com/a");
    assert_eq!(text(&answer.is(201).body), "1\n");
    let followed = server.ask("GET", "/1", None).is(302);
    assert_eq!(followed.headers["location"], "https://example.com/a");

    let mut test = millpond();
    test.arg("test").arg(&component).arg("tests");
    let tested = test.current_dir(&app).output().expect("the command runs");
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");
}

/// The library's manifest in an application, which inherits nothing, says what ours does.
fn same_dependencies(app: &Path) {
    let described = |folder: &Path| {
        let metadata = cargo(
            folder,
            &["metadata", "--no-deps", "--format-version=1", "--offline"],
        );
        let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
        let packages = metadata["packages"].as_array().expect("packages");
        let package = packages
            .iter()
            .find(|package| package["name"] == "millpond-guest");
        let mut package = package.expect("the library").clone();
        let of_tests = |dependency: &Value| dependency["kind"] == "dev";
        let dependencies = package["dependencies"].as_array_mut().expect("a list");
        dependencies.retain(|dependency| !of_tests(dependency));
        let keys = [
            "version",
            "edition",
            "rust_version",
            "license",
            "features",
            "dependencies",
        ];
        keys.map(|key| package[key].clone())
    };
    let library = app.join("vendor/millpond-guest");
    assert_eq!(
        described(&library),
        described(&Path::new(WORKSPACE).join("guest/rust"))
    );
}

fn cargo(folder: &Path, args: &[&str]) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).args(args);
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(variable);
    }
    let output = cargo.output().expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
