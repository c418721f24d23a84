//! `millpond tenants`, as an operator and a script use it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn millpond(here: &Path, args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond"))
        .arg("tenants")
        .args(args.split(' '))
        .current_dir(here)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

/// The lines on stdout, after checking the exit code.
fn lines(here: &Path, args: &str, code: i32) -> Vec<String> {
    let output = millpond(here, args);
    assert_eq!(output.status.code(), Some(code), "{args}: {output:?}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    stdout.lines().map(str::to_owned).collect()
}

/// Checks that it is refused, in one line.
fn refused(here: &Path, args: &str) -> String {
    let output = millpond(here, args);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{args}: {stderr}");
    assert!(
        stderr.starts_with("millpond: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    stderr
}

fn folder() -> TempDir {
    let here = tempfile::tempdir().expect("a folder");
    fs::create_dir(here.path().join("all")).expect("a folder");
    fs::create_dir(here.path().join("sql")).expect("a folder");
    fs::write(here.path().join("sql/1-note.sql"), "CREATE TABLE note(n);").expect("a file");
    here
}

#[test]
fn a_tenant_is_created_suspended_resumed_and_deleted() {
    let here = folder();
    let here = here.path();
    let created = lines(here, "create --folder all --migrations sql b a", 0);
    assert_eq!(created, ["b: created", "a: created"]);
    assert!(refused(here, "create --folder all a").contains("`a`"));
    assert_eq!(lines(here, "suspend --folder all a", 0), ["a: suspended"]);
    assert_eq!(
        lines(here, "suspend --folder all a", 0),
        ["a: was suspended already"]
    );
    let listed = lines(here, "list --folder all", 0);
    assert!(
        listed[1].ends_with("a (suspended)") && listed[2].ends_with(" b"),
        "{listed:?}"
    );
    let listed = lines(here, "list --folder all --json", 0);
    let expected = [
        r#""suspended":true,"tenant":"a"}"#,
        r#""suspended":false,"tenant":"b"}"#,
    ];
    assert!(
        listed
            .iter()
            .zip(expected)
            .all(|(line, end)| line.ends_with(end)),
        "{listed:?}"
    );
    assert!(listed[0].starts_with(r#"{"changed_unix":"#), "{listed:?}");
    let resumed = lines(here, "resume --folder all --json a", 0);
    assert_eq!(resumed, [r#"{"resumed":true,"tenant":"a"}"#]);
    // Without a terminal, and without --yes.
    assert!(refused(here, "delete --folder all a").contains("--yes"));
    assert_eq!(
        lines(here, "delete --folder all --yes a", 0),
        ["a: deleted"]
    );
    assert!(refused(here, "delete --folder all --yes a").contains("`a`"));
    assert!(here.join("all/b.db").exists() && !here.join("all/a.db").exists());
}

#[test]
fn one_tenant_is_backed_up() {
    let here = folder();
    let here = here.path();
    lines(here, "create --folder all --migrations sql a b", 0);
    lines(here, "suspend --folder all a", 0);
    let made = lines(here, "backup --folder all a --to a-copy.db", 0);
    assert!(
        made[0].starts_with("a-copy.db: ") && made.len() == 1,
        "{made:?}"
    );
    let copy = fs::read(here.join("a-copy.db")).expect("a file");
    assert!(copy.starts_with(b"SQLite format 3\0"));
    let text = String::from_utf8_lossy(&copy);
    assert!(text.contains("CREATE TABLE note(n)"), "its table");
    // As `millpond backup`: nothing is overwritten, and the result can be JSON.
    assert!(refused(here, "backup --folder all b --to a-copy.db").contains("--overwrite"));
    let made = lines(
        here,
        "backup --folder all b --to a-copy.db --overwrite --json",
        0,
    );
    assert!(
        made[0].starts_with(r#"{"backup":"a-copy.db","bytes":"#)
            && made[0].contains(r#""database":"b""#),
        "{made:?}"
    );
    refused(here, "backup --folder all missing --to c.db");
    refused(here, "backup --folder all b");
    assert!(!here.join("c.db").exists());
    // One that is damaged.
    fs::write(here.join("all/b.db"), [b'x'; 4096]).expect("a file");
    refused(here, "backup --folder all b --to b.db");
    assert!(!here.join("b.db").exists());
}

#[test]
fn a_migration_that_fails_is_told_and_the_others_are_applied() {
    let here = folder();
    let here = here.path();
    lines(here, "create --folder all --migrations sql a b c", 0);
    fs::write(here.join("sql/2-more.sql"), "CREATE TABLE more(n);").expect("a file");
    fs::write(here.join("all/b.db"), [b'x'; 4096]).expect("a file");
    let output = millpond(here, "migrate --folder all --migrations sql --threads 1");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(
        stderr.starts_with("millpond: b: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.contains("a: applied 2-more.sql\n"), "{stdout}");
    assert!(
        stdout.ends_with("2 migrated, 0 were current, 1 failed, 0 skipped\n"),
        "{stdout}"
    );
    lines(here, "delete --folder all --yes b", 0);
    let again = lines(here, "migrate --folder all --migrations sql --json", 0);
    assert_eq!(
        again,
        [r#"{"current":2,"failed":0,"migrated":0,"skipped":0}"#]
    );
}

#[test]
fn mistakes_are_one_line() {
    let here = folder();
    let here = here.path();
    fs::create_dir(here.join("empty")).expect("a folder");
    for args in [
        "list",
        "list --folder missing",
        "create --folder all ../x",
        "create --folder all Acme",
        "suspend --folder all",
        "suspend --folder all missing",
        "migrate --folder all",
        "migrate --folder all --migrations empty",
        "migrate --folder all --migrations missing",
        "migrate --folder all --migrations sql --threads 65",
    ] {
        refused(here, args);
    }
    assert_eq!(fs::read_dir(here.join("all")).expect("a folder").count(), 0);
}
