//! The README's transcript, replayed: its commands are run, and what they print is compared with
//! what it says.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::process::Server;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Marks the block to replay.
const MARK: &str = "<!-- transcript -->\n```console\n";

/// Where the README's server listens.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_transcript_is_what_happens() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("MILLPOND_REQUIRE_CURL").is_none(),
            "MILLPOND_REQUIRE_CURL is set, and there is no curl"
        );
        // Not by a macro: the harness would keep what a passing test says to itself.
        let _ = writeln!(
            std::io::stderr(),
            "the README's transcript needs curl: not replayed"
        );
        return;
    }
    let readme = std::fs::read_to_string(README).expect("the README");
    let (_, rest) = readme.split_once(MARK).expect("a transcript in the README");
    let (transcript, _) = rest.split_once("```").expect("its end");

    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::notes(&folder.path().join("notes.db"), &[]);
    for (command, expected) in steps(transcript) {
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

/// The commands of a transcript, each with what it prints.
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

/// Whether `text` is `pattern`, in which `…` stands for anything. The end of the last line does
/// not count.
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
