//! Replays the README's transcript: runs its commands, and compares their output with the README.

use std::path::Path;
use std::process::Command;

use millpond_tests::foreach_readme;

use crate::assert_test_exists;
use crate::process::{Server, has};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Where the README's server listens.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_transcript_is_what_happens() {
    if !has("curl") {
        return;
    }
    let blocks = blocks("<!-- transcript -->\n```console\n");

    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::notes(&folder.path().join("notes.db"), &[]);
    for (command, expected) in steps(&blocks[0]) {
        assert!(
            command.contains(ADDRESS),
            "{command} does not ask the server"
        );
        let command = command.replace(ADDRESS, &server.address.to_string());
        let printed = run(&command, folder.path());
        assert!(
            matches(&printed, &expected),
            "{command}\nprints\n{printed}\nand the README says\n{expected}"
        );
    }
}

foreach_readme!(assert_test_exists);

#[test]
fn readme_serves() {
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/programs/src/bin/readme_serves.rs"
    );
    let program = std::fs::read_to_string(program).expect("the program");
    let (_, code) = program.split_once("\n\n").expect("its head");
    assert_eq!(blocks("<!-- guest -->\n```rust,no_run\n"), [code]);

    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::of("readme_serves", &folder.path().join("app.db"), &[]);
    for (path, expected) in [
        ("/", "1 visits\n"),
        ("/", "2 visits\n"),
        ("/a", "1 visits\n"),
    ] {
        let answer = server.ask("GET", path, None).is(200);
        assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    }
}

#[test]
fn the_dependencies_are_those_that_are_tested() {
    let workspace = Path::new(README).parent().expect("the workspace");
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let ours = &manifest["workspace"]["dependencies"];
    let blocks = blocks("<!-- dependencies -->\n```toml\n");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let block: toml::Table = block.parse().expect("TOML");
        for (name, told) in block["dependencies"].as_table().expect("a table") {
            match told.get("path").and_then(toml::Value::as_str) {
                Some(path) => assert_eq!(
                    path.strip_prefix("../millpond/"),
                    ours[name]["path"].as_str(),
                    "{name}"
                ),
                None => assert_eq!(
                    told.get("version").unwrap_or(told),
                    &ours[name]["version"],
                    "{name}"
                ),
            }
        }
    }
}

/// The README's blocks that begin with `begin`.
fn blocks(begin: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(README).expect("the README");
    let blocks: Vec<String> = readme
        .split(begin)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("its end").0.to_owned())
        .collect();
    assert!(!blocks.is_empty(), "the README has no {begin}");
    blocks
}

/// The commands of a transcript, each with its output.
fn steps(transcript: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push((command.to_owned(), String::new()));
        } else {
            let (_, expected) = steps.last_mut().expect("a command before its output");
            expected.push_str(line);
            expected.push('\n');
        }
    }
    assert!(!steps.is_empty());
    steps
}

fn run(command: &str, folder: &Path) -> String {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether `text` matches `pattern`, in which `…` stands for anything. Ignores a final line end.
fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.trim_end().split('…');
    let Some(mut rest) = text
        .trim_end()
        .strip_prefix(parts.next().unwrap_or_default())
    else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (text, pattern) in [
        ("a\n", "a"),
        ("", "…"),
        ("abcd", "a…"),
        ("abcabd", "…b…d"),
        ("ad", "a…d"),
    ] {
        assert!(matches(text, pattern), "{text} {pattern}");
    }
    for (text, pattern) in [
        ("ab", "a"),
        ("b", "a…"),
        ("abc", "a…b"),
        ("acb", "a…b…c"),
        ("", "a"),
    ] {
        assert!(!matches(text, pattern), "{text} {pattern}");
    }
}
