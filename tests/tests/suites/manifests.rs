//! Checks the crates' metadata and dependencies, without a network, and without tools other than
//! cargo. `deny.toml` has the lists; cargo-deny and cargo-machete use the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What is built here: everything for this machine, and the guests as components. Only their
/// packages have been downloaded; cargo-deny checks all others.
const BUILT: [&[&str]; 2] = [
    &["--workspace"],
    &[
        "--target=wasm32-wasip2",
        "--package=millpond-bench-guests",
        "--package=millpond-guest",
        "--package=millpond-notes",
        "--package=millpond-test-programs",
        "--package=millpond-test-wasi03",
    ],
];

#[test]
fn a_published_crate_has_what_a_registry_shows() {
    let mut published = Vec::new();
    for package in members() {
        let name = package["name"].as_str().expect("a name");
        // An empty list of registries is `publish = false`.
        if package["publish"].is_array() {
            continue;
        }
        published.push(name.to_owned());
        let length = |key: &str| package[key].as_array().map_or(0, Vec::len);
        assert!(package["description"].is_string(), "{name}");
        assert!((1..=5).contains(&length("keywords")), "{name}: keywords");
        assert!(
            (1..=5).contains(&length("categories")),
            "{name}: categories"
        );
        assert_eq!(package["rust_version"], "1.95", "{name}");
        assert_eq!(package["readme"], "README.md", "{name}");
        let folder = folder(&package);
        assert!(folder.join("README.md").exists(), "{name}: README.md");
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            assert_eq!(
                fs::read_to_string(folder.join(license)).expect(name),
                fs::read_to_string(Path::new(WORKSPACE).join(license)).expect("a license"),
                "{name}: copy {license} to its folder"
            );
        }
        for dependency in package["dependencies"].as_array().expect("a list") {
            let of_a_path = dependency["path"].is_string();
            let of_tests = dependency["kind"] == "dev";
            assert!(
                of_tests || !of_a_path || dependency["req"] != "*",
                "{name}: {} needs a version to be published with",
                dependency["name"]
            );
        }
    }
    for expected in [
        "millpond",
        "millpond-compat",
        "millpond-guest",
        "millpond-libsql",
        "millpond-pool",
        "millpond-sqlite",
        "millpond-test",
        "millpond-test-macros",
        "millpond-wasmtime",
    ] {
        assert!(published.iter().any(|name| name == expected), "{expected}");
    }
}

#[test]
fn the_oldest_rust_is_the_one_that_builds_here() {
    let toolchain = toml_of("rust-toolchain.toml");
    let channel = toolchain["toolchain"]["channel"]
        .as_str()
        .expect("a channel");
    let manifest = toml_of("Cargo.toml");
    let oldest = manifest["workspace"]["package"]["rust-version"].as_str();
    assert_eq!(channel.strip_suffix(".0"), oldest);
}

#[test]
fn every_license_is_on_the_list() {
    let deny = toml_of("deny.toml");
    let allowed: Vec<&str> = strings(&deny["licenses"]["allow"]).collect();
    for built in BUILT {
        for line in tree(built, "normal,build,dev", "{p}\t{l}\t") {
            let mut fields = line.split('\t');
            let package = fields.next().expect("a package");
            let license = fields.next().expect("a license");
            assert!(
                is_allowed(license, &allowed),
                "{package}: {license:?} is not in deny.toml"
            );
        }
    }
}

#[test]
fn everything_comes_from_one_registry() {
    let lock = toml_of("Cargo.lock");
    let sources: BTreeSet<&str> = lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package.get("source")?.as_str())
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")));
}

#[test]
fn no_dependency_is_there_in_two_versions() {
    let deny = toml_of("deny.toml");
    let skipped: BTreeSet<&str> = deny["bans"]["skip"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["crate"].as_str().expect("a crate"))
        .collect();
    let is_skipped = |name: &str, version: &str| {
        let parts: Vec<&str> = version.split('.').collect();
        (1..=parts.len()).any(|n| skipped.contains(&*format!("{name}@{}", parts[..n].join("."))))
    };
    let mut versions = BTreeMap::<String, BTreeSet<String>>::new();
    for built in BUILT {
        for line in tree(built, "normal,build", "{p}") {
            let mut words = line.split_whitespace();
            let (name, version) = (
                words.next().expect("a name"),
                words.next().expect("a version"),
            );
            let version = version.trim_start_matches('v');
            if !is_skipped(name, version) {
                versions
                    .entry(name.to_owned())
                    .or_default()
                    .insert(version.to_owned());
            }
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(
        versions.is_empty(),
        "have one version of each, or skip the others in deny.toml: {versions:#?}"
    );
}

#[test]
fn every_dependency_is_used() {
    for package in members() {
        let name = package["name"].as_str().expect("a name");
        let ignored = &package["metadata"]["cargo-machete"]["ignored"];
        let mut code = String::new();
        read_rust(&folder(&package), &mut code);
        let words: BTreeSet<&str> = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        for dependency in package["dependencies"].as_array().expect("a list") {
            let dependency = dependency["name"].as_str().expect("a name");
            let is_ignored = ignored
                .as_array()
                .is_some_and(|ignored| ignored.iter().any(|ignored| ignored == dependency));
            assert!(
                is_ignored || words.contains(&*dependency.replace('-', "_")),
                "{name} does not use {dependency}"
            );
        }
    }
}

/// Whether the allowed licences satisfy an SPDX expression. A `/` is an old way to write `OR`.
fn is_allowed(license: &str, allowed: &[&str]) -> bool {
    let spaced = license
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut fulfilled = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        fulfilled |= all_of(words, allowed);
    }
    fulfilled
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut fulfilled = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        fulfilled &= one(words, allowed);
    }
    fulfilled
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let fulfilled = any_of(words, allowed);
        return words.next() == Some(")") && fulfilled;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().unwrap_or_default();
        return allowed.contains(&&*format!("{word} WITH {exception}"));
    }
    allowed.contains(&word)
}

#[test]
fn a_license_is_read_as_spdx_means_it() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];
    for license in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT",
        "(GPL-3.0 OR Apache-2.0) AND MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(license, &allowed), "{license}");
    }
    for license in [
        "",
        "GPL-3.0",
        "GPL-3.0 AND MIT",
        "MIT AND (GPL-3.0 OR BSL-1.0)",
        "MIT WITH X",
    ] {
        assert!(!is_allowed(license, &allowed), "{license}");
    }
}

/// The packages of the workspace, as `cargo metadata` describes them.
fn members() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    assert!(packages.len() > 5);
    packages
}

fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}

/// The lines of `cargo tree` for what is built.
fn tree(built: &[&str], edges: &str, format: &str) -> Vec<String> {
    let edges = format!("--edges={edges}");
    let format = format!("--format={format}");
    let mut args = vec!["tree", "--prefix=none", &edges, &format];
    args.extend(built);
    let output = cargo(&args);
    output
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(WORKSPACE)
        .args(args)
        .args(["--offline", "--locked"])
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn toml_of(file: &str) -> toml::Table {
    let text = fs::read_to_string(Path::new(WORKSPACE).join(file)).expect(file);
    text.parse().expect(file)
}

fn strings(list: &toml::Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|value| value.as_str().expect("a text"))
}

/// Append all Rust in a folder.
fn read_rust(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        // A folder with a manifest is another package.
        if path.is_dir()
            && !path.join("Cargo.toml").exists()
            && !path.is_symlink()
            && !path.ends_with("target")
        {
            read_rust(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&fs::read_to_string(&path).expect("Rust"));
            code.push('\n');
        }
    }
}
