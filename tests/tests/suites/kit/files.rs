//! `millpond test`: tests in files.

use std::path::{Path, PathBuf};

use millpond_test::suite::{self, Options, TestResult};
use millpond_tests::component;

use super::NOTES;
use crate::process::millpond;

/// The test files for a guest, in `tests/kit`.
fn files(of: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kit")).join(of)
}

/// Run `millpond test`. Returns its exit code, what it writes to stdout, and to stderr.
fn test(guest: &str, tests: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = millpond();
    command
        .arg("test")
        .arg(component(guest))
        .arg(tests)
        .args(args);
    let output = command.output().expect("the command runs");
    let of = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), of(output.stdout), of(output.stderr))
}

/// `MILLPOND_BLESS=1` rewrites the files `expected.tap`: review the changes before committing them.
#[test]
fn the_command_finds_the_same_mistakes() {
    for (guest, code) in [
        ("millpond_notes", 0),
        ("kit_speaks", 0),
        ("kit_leaks", 1),
        ("kit_asks_often", 1),
        ("kit_renames", 1),
    ] {
        let folder = files(guest.strip_prefix("millpond_").unwrap_or(guest));
        let golden = folder.join("expected.tap");
        let (ended, tap, stderr) = test(guest, &folder, &[]);
        assert_eq!((ended, &*stderr), (Some(code), ""), "{guest}: {tap}");
        if std::env::var_os("MILLPOND_BLESS").is_some() {
            std::fs::write(&golden, &tap).expect("it is written");
        }
        let expected = std::fs::read_to_string(&golden).expect("expected.tap");
        assert_eq!(tap, expected, "{guest}: run again with MILLPOND_BLESS=1");
    }
}

/// A folder with the test file of `guest`, and what lies beside it.
fn copied(guest: &str, toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = folder.path().join("seed.sql");
    std::fs::copy(files(guest).join("seed.sql"), seed).expect("the seed");
    std::fs::write(folder.path().join("t.toml"), toml).expect("the file");
    folder
}

#[test]
fn what_was_answered_is_written_and_comments_stay() {
    let before = "\
# The first.
[[test]]
name = 'one'
[[test.step]]
request = 'GET /' # as it is
[[test.step]]
request = 'GET /'
expect.status = 404 # what it was
expect.json = '[{\"id\": 1, \"title\": \"…\", \"comments\": 7}]'
expect.journal = 'j/list.txt'
";
    let folder = copied("kit_asks_often", before);
    let file = folder.path().join("t.toml");
    assert_eq!(test("kit_asks_often", folder.path(), &[]).0, Some(1));
    let (code, _, stderr) = test("kit_asks_often", folder.path(), &["--update"]);
    assert_eq!(code, Some(0), "{stderr}");
    let after = std::fs::read_to_string(&file).expect("the file");
    assert!(after.starts_with(
        "# The first.\n[[test]]\nname = 'one'\n[[test.step]]\nrequest = 'GET /' # as it is\n\
         expect.status = 200\nexpect.json = "
    ));
    assert!(
        after.contains("\nexpect.status = 200 # what it was\n"),
        "{after}"
    );
    assert!(after.contains("\"title\": \"…\""), "{after}");
    let journal = std::fs::read_to_string(folder.path().join("j/list.txt")).expect("a journal");
    assert_eq!(journal.lines().count(), 10, "{journal}");
    // Now it passes as it is, and a second update changes nothing.
    for args in [&[][..], &["--update"]] {
        let (code, tap, stderr) = test("kit_asks_often", &file, args);
        assert_eq!((code, &*stderr), (Some(0), ""), "{tap}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), after);
}

#[test]
fn results_can_be_chosen_and_written_as_junit() {
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let args = [
        "--jobs",
        "1",
        "--filter",
        "client goes",
        "--junit",
        junit.to_str().expect("a path"),
    ];
    let (code, tap, _) = test("kit_renames", &files("kit_renames"), &args);
    assert_eq!((code, tap.lines().count()), (Some(0), 3), "{tap}");
    let xml = std::fs::read_to_string(&junit).expect("the report");
    assert!(
        xml.contains("<testsuites tests=\"1\" failures=\"0\">"),
        "{xml}"
    );
    let (code, ..) = test("kit_leaks", &files("kit_leaks"), &args[4..]);
    let xml = std::fs::read_to_string(&junit).expect("the report");
    assert_eq!(code, Some(1));
    assert!(
        xml.contains("<testsuites tests=\"3\" failures=\"3\">"),
        "{xml}"
    );
}

#[test]
fn a_mistake_in_a_file_names_its_place() {
    let step = "[[test]]\nname = 'x'\n[[test.step]]\n";
    for (toml, place, words) in [
        (
            "request = 'GET /'\nexpect.stauts = 2",
            "t.toml:5:8: ",
            "did you mean `status`",
        ),
        ("request = '/'", "t.toml:4:11: ", "GET /path"),
        (
            "request = 'GET /'\nexpect.json = '{'",
            "t.toml:5:15: ",
            "JSON",
        ),
        (
            "request = 'GET /'\nexpect.matches = '('",
            "t.toml:5:18: ",
            "",
        ),
        (
            "request = 'GET /'\nexpect.exit_code = 1",
            "t.toml:4:11: ",
            "status",
        ),
        (
            "request = 'GET /'\nfault = [{ error = 'bussy' }]",
            "t.toml:5:20: ",
            "`busy`",
        ),
        (
            "request = 'GET /'\nfault = [{ call = 1 }]",
            "t.toml:5:10: ",
            "delay_ms",
        ),
        ("request = 'GET /'\nrun = []", "t.toml:5:7: ", "not both"),
        ("expect.status = 200", "t.toml:2:8: ", "request"),
        ("request = 'GET /", "t.toml:4:", ""),
        (
            "request = 'GET /'\n[[test]]\nname = 'y'",
            "t.toml:6:8: ",
            "[[test.step]]",
        ),
        (
            "request = 'GET /'\n[[test]]\nname = 'x'",
            "t.toml:6:8: ",
            "another",
        ),
    ] {
        let folder = copied("kit_leaks", &format!("{step}{toml}"));
        let (code, tap, stderr) = test("kit_leaks", folder.path(), &[]);
        assert_eq!((code, &*tap), (Some(2), ""), "{toml}: {stderr}");
        assert!(
            stderr.starts_with("millpond: ") && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert!(
            stderr.contains(place) && stderr.contains(words),
            "{toml}: {stderr}"
        );
    }
    for tests in ["missing", "src"] {
        let (code, tap, stderr) = test("kit_leaks", Path::new(tests), &[]);
        assert_eq!(
            (code, &*tap, stderr.lines().count()),
            (Some(2), "", 1),
            "{stderr}"
        );
    }
    // Nothing to do is a mistake too.
    let (code, tap, stderr) = test("kit_leaks", &files("kit_leaks"), &["--filter", "leeks"]);
    assert_eq!((code, &*tap), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("\"leeks\""), "{stderr}");
    // A seed that fails is found only when its test runs.
    let folder = copied(
        "kit_leaks",
        &format!("{step}request = 'GET /'\nexpect.status = 200"),
    );
    std::fs::write(folder.path().join("seed.sql"), "CREATE TABLE t(x);\nSELEKT").expect("a seed");
    let (code, tap, _) = test("kit_leaks", folder.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(tap.contains("seed.sql: line 2"), "{tap}");
}

#[test]
fn the_readme_is_a_test_file() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/test/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let mut blocks = readme.split("```toml\n").skip(1);
    let block = blocks.find(|block| block.starts_with("[[test]]"));
    let toml = block
        .and_then(|block| block.split("```").next())
        .expect("a test file");
    let toml = format!("databases.default.migrations = {NOTES:?}\n{toml}");
    let folder = copied("kit_leaks", &toml);
    let (code, tap, stderr) = test("millpond_notes", folder.path(), &["--update"]);
    assert_eq!(code, Some(0), "{tap}");
    // Only the journal was missing.
    assert!(
        stderr.ends_with("list.txt\n") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

/// Run one file. Returns the exit code, and TAP.
fn one(guest: &str, toml: &str, args: &[&str]) -> (Option<i32>, String) {
    let folder = copied("kit_leaks", &format!("[[test]]\nname = 'x'\n{toml}"));
    let (code, tap, _) = test(guest, folder.path(), args);
    (code, tap)
}

#[test]
fn what_a_test_did_not_ask_for_fails_it() {
    let step = "[[test.step]]\n";
    for (guest, toml, problem) in [
        (
            "kit_renames",
            "request = 'GET /'\nfault = [{ sql = 'UPDATE notes', error = 'io' }]\nexpect.status = 200",
            "io on `UPDATE notes`",
        ),
        (
            "kit_answers",
            "request = 'GET /late'\nexpect.status = 200",
            "after its response",
        ),
        (
            "kit_answers",
            "request = 'GET /exit'\nexpect.leaves_nothing = true",
            "exit(1)",
        ),
        (
            "kit_speaks",
            "run = ['panic']\nexpect.leaves_nothing = true",
            "as told",
        ),
    ] {
        let (code, tap) = one(guest, &format!("{step}{toml}"), &[]);
        assert_eq!(code, Some(1), "{tap}");
        assert!(tap.contains(problem), "{tap}");
        // Nor can it be written.
        let (code, tap) = one(guest, &format!("{step}{toml}"), &["--update"]);
        assert_eq!(code, Some(1), "{tap}");
    }
    let expected = format!("{step}run = ['panic']\nexpect.exit_code = 134");
    assert_eq!(one("kit_speaks", &expected, &[]).0, Some(0));
}

#[test]
fn files_are_compared_and_written_as_bytes() {
    let toml = "[[test]]\nname = 'x'\n[[test.step]]\nrequest = 'GET /binary'\n\
                expect.body_file = 'b'\n";
    let folder = copied("kit_leaks", toml);
    let body = folder.path().join("b");
    let run = |args: &[&str]| test("kit_answers", folder.path(), args).0;
    assert_eq!(run(&["--update"]), Some(0));
    assert_eq!(std::fs::read(&body).expect("a body"), [0, 0xff, 0xfe, 10]);
    assert_eq!(run(&[]), Some(0));
    // The same, read as text.
    std::fs::write(&body, [0, 0xfd, 0xfe, 10]).expect("it is written");
    assert_eq!(run(&[]), Some(1));
}

#[test]
fn what_cannot_be_updated_stays_as_it_is() {
    let step = "[[test.step]]\nrequest = 'GET /'\nexpect.journal = 'j.txt'\n";
    let other = step.replace("'GET /'", "'GET /statement'");
    for (tests, word) in [
        (
            "step = [{ request = 'GET /' }]\n".to_owned(),
            "[[test.step]]",
        ),
        (
            "step = [\n  { request = 'GET /' },\n  { request = 'GET /' },\n]\n".to_owned(),
            "[[test.step]]",
        ),
        (format!("{step}{other}"), "j.txt"),
    ] {
        let toml = format!("[[test]]\nname = 'x'\n{tests}");
        let folder = copied("kit_leaks", &toml);
        let (code, _, stderr) = test("kit_leaks", folder.path(), &["--update"]);
        assert_eq!(code, Some(2), "{tests}: {stderr}");
        assert!(stderr.contains(word), "{stderr}");
        let file = std::fs::read_to_string(folder.path().join("t.toml"));
        assert_eq!(file.expect("the file"), toml);
        assert!(!folder.path().join("j.txt").exists());
    }
    // Also if the first of them is in the file already.
    let folder = copied("kit_leaks", &format!("[[test]]\nname = 'x'\n{step}"));
    let update = || test("kit_leaks", folder.path(), &["--update"]);
    assert_eq!(update().0, Some(0));
    let both = format!("[[test]]\nname = 'x'\n{step}{other}");
    std::fs::write(folder.path().join("t.toml"), both).expect("the file");
    let (code, _, stderr) = update();
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_meanwhile_is_not_written() {
    let toml = "[[test]]\nname = 'x'\n[[test.step]]\nrequest = 'GET /'\n";
    let folder = copied("kit_leaks", toml);
    let file = folder.path().join("t.toml");
    let mut options = Options::new(component("kit_leaks"), folder.path());
    options.update = true;
    let edit = |_, _: &TestResult| std::fs::write(&file, "# other\n").expect("it is written");
    suite::run(&options, |_| (), edit)
        .await
        .expect_err("a mistake");
    let after = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(after, "# other\n");
}

#[test]
fn results_are_valid_whatever_names_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("it's #1.toml");
    let toml = "[[test]]\nname = \"a\\r\\u001b[31m\\ufffe\"\n[[test.step]]\nrequest = 'GET /'\n\
                expect.status = 201\n";
    std::fs::write(&file, toml).expect("the file");
    let junit = folder.path().join("junit.xml");
    let args = ["--junit", junit.to_str().expect("a path")];
    let (code, tap, _) = test("kit_answers", &file, &args);
    assert_eq!(code, Some(1), "{tap}");
    assert!(!tap.contains(['\r', '\u{1b}']), "{tap}");
    assert!(tap.contains("\n  at: 'it''s #1.toml:2'\n"), "{tap}");
    let xml = std::fs::read_to_string(&junit).expect("the report");
    assert!(!xml.contains(['\r', '\u{1b}', '\u{fffe}']), "{xml}");
}

#[test]
fn the_readme_in_rust_is_tested() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/test/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let (_, code) = readme.split_once("```rust,no_run\n").expect("its code");
    let (code, _) = code.split_once("# fn main() {}").expect("its end");
    let code = code
        .replace(
            "\"target/wasm32-wasip2/debug/notes.wasm\"",
            "component(\"millpond_notes\")",
        )
        .replace("\"migrations\"", "NOTES");
    let tested = include_str!("../../../kit/readme.rs");
    let words = |text: &str| text.split_whitespace().collect::<String>();
    assert!(words(tested).ends_with(&words(&code)), "{code}");
}
