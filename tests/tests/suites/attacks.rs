//! Runs each attack of `tests/attacks` in a real guest, in its own process, on its own database.
//!
//! In every case the process survives, the guest gets the outcome that the file expects and no data
//! that it may not see, no file is created, the next borrower can work, and the database is intact.
//! `MILLPOND_ATTACK=name` runs only attacks whose name contains it, and prints their outcome.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use millpond_tests::foreach_attacks;
use rusqlite::Connection;
use serde::Deserialize;

use crate::assert_test_exists;

foreach_attacks!(assert_test_exists);

/// A value in every place that a guest with the grant `tables` may not read.
const SECRET: &str = "heron-7f3a";

/// A process that takes longer hangs. This is not the attacks' time limit: statements have 300 ms.
const HANGS: Duration = Duration::from_secs(60);

/// Attacks of one kind, with one outcome.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Group {
    name: String,
    /// The allowed outcomes: `ok`, or kinds of errors.
    expect: Vec<String>,
    #[serde(default = "whole")]
    grant: String,
    #[serde(default = "read_write")]
    access: String,
    #[serde(default = "script")]
    via: String,
    #[serde(default)]
    parameters: Vec<String>,
    /// `«1000×x»` means a thousand times x.
    sql: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attacks {
    group: Vec<Group>,
}

fn whole() -> String {
    "whole".to_owned()
}

fn read_write() -> String {
    "read-write".to_owned()
}

fn script() -> String {
    "script".to_owned()
}

/// One attack.
#[derive(Debug)]
struct Attack<'a> {
    name: String,
    group: &'a Group,
    sql: String,
}

#[test]
fn attacks_run_what_they_are_given() {
    let groups = groups();
    let attacks: Vec<Attack<'_>> = groups
        .iter()
        .flat_map(|(file, group)| {
            group
                .sql
                .iter()
                .enumerate()
                .map(move |(number, sql)| Attack {
                    name: format!("{file}/{}/{}", group.name, number + 1),
                    group,
                    sql: expand(sql),
                })
        })
        .collect();
    assert!(
        attacks.len() >= 300,
        "only {} attacks are left",
        attacks.len()
    );

    let only = std::env::var("MILLPOND_ATTACK").ok();
    let wanted = |attack: &Attack<'_>| {
        only.as_deref()
            .is_none_or(|only| attack.name.contains(only))
    };
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !wanted(attack) {
                        continue;
                    }
                    let outcome = run(attack);
                    if only.is_some() {
                        println!("{}: {outcome:?}", attack.name);
                    }
                    if let Err(failure) = outcome {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        let sql: String = attack.sql.chars().take(200).collect();
                        writeln!(failures, "{}: {failure}\n    {sql}", attack.name).expect("text");
                    }
                }
            });
        }
    });
    println!("{} attacks", attacks.len());
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "\n{failures}");
}

fn groups() -> Vec<(String, Group)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the attacks")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    let mut groups = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a file of attacks");
        let attacks: Attacks =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().expect("a name").to_string_lossy();
        groups.extend(
            attacks
                .group
                .into_iter()
                .map(|group| (name.to_string(), group)),
        );
    }
    groups
}

/// Expand repetitions.
fn expand(text: &str) -> String {
    let mut parts = text.split('«');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (repeated, rest) = part.split_once('»').expect("an end of «");
        let (count, what) = repeated.split_once('×').expect("a count before ×");
        whole.push_str(&what.repeat(count.parse().expect("a number before ×")));
        whole.push_str(rest);
    }
    whole
}

/// Run one attack. Returns how it ended, or what is wrong with that.
fn run(attack: &Attack<'_>) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    prepare(&path);
    let (ended, output, errors) = process(attack, &path)?;
    if !ended {
        return Err(format!("the host died: {output}{errors}"));
    }
    let last = output.lines().find_map(|line| line.strip_prefix("ended "));
    let kind = last
        .and_then(|last| last.split(' ').next())
        .unwrap_or("nothing");
    let message = output
        .lines()
        .find_map(|line| line.strip_prefix("message "));
    let told = kebab(kind);
    if !attack.group.expect.contains(&told) {
        return Err(format!("{told}, {message:?}"));
    }
    if !output.ends_with("whole\n") {
        return Err(format!("the next borrower: {output}{errors}"));
    }
    if attack.group.grant == "tables" && output.contains(SECRET) {
        return Err(format!("it saw what it may not see: {output}"));
    }
    if output.contains(&*folder.path().to_string_lossy()) || output.contains("millpond:") {
        return Err(format!("it was told where the database is: {output}"));
    }
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    if files != ["app.db"] {
        return Err(format!("there are {files:?}"));
    }
    let database = Connection::open(&path).expect("the database");
    let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0));
    let check = one("SELECT group_concat(integrity_check) FROM pragma_integrity_check");
    if check.as_deref() != Ok("ok") {
        return Err(format!("the database: {check:?}"));
    }
    if attack.group.grant == "tables" || attack.group.access == "read-only" {
        let vault = one("SELECT group_concat(owner || secret) FROM vault");
        let expected = format!("Ada{SECRET}");
        if vault.as_ref() != Ok(&expected) {
            return Err(format!("the vault: {vault:?}"));
        }
    }
    let took = output.lines().find_map(|line| line.strip_prefix("took "));
    Ok(format!(
        "{told}, {message:?}, {} ms",
        took.unwrap_or_default()
    ))
}

/// Run one in a process. Returns whether it ended well, and its output.
fn process(attack: &Attack<'_>, path: &Path) -> Result<(bool, String, String), String> {
    let group = attack.group;
    let mut child = Command::new(env!("CARGO_BIN_EXE_attacked"))
        .arg(path)
        .args([&group.grant, &group.access, &group.via])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut input = child.stdin.take().expect("its input");
    for text in [&attack.sql].into_iter().chain(&group.parameters) {
        input.write_all(text.as_bytes()).expect("it reads");
        input.write_all(&[0xFF]).expect("it reads");
    }
    drop(input);
    let (told, ended) = std::sync::mpsc::channel();
    let id = child.id();
    std::thread::spawn(move || told.send(child.wait_with_output()));
    let since = Instant::now();
    let Ok(output) = ended.recv_timeout(HANGS) else {
        let id = rustix::process::Pid::from_raw(id as i32).expect("a process");
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        return Err(format!("it hangs, after {:?}", since.elapsed()));
    };
    let output = output.expect("its output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    ))
}

/// The name of a kind of error in the contract.
fn kebab(kind: &str) -> String {
    let kind = kind.strip_prefix("ErrorKind::").unwrap_or(kind);
    let mut name = String::new();
    for (at, letter) in kind.char_indices() {
        if letter.is_uppercase() && at > 0 {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// A database with something to steal.
fn prepare(path: &Path) {
    let database = Connection::open(path).expect("a database");
    let script = format!(
        "PRAGMA synchronous = OFF;
         CREATE TABLE vault(id INTEGER PRIMARY KEY, owner TEXT, secret TEXT);
         INSERT INTO vault VALUES (1, 'Ada', '{SECRET}');
         CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, secret TEXT);
         INSERT INTO person VALUES (1, 'Ada', '{SECRET}'), (2, 'Bob', '{SECRET}');
         CREATE INDEX person_secret ON person(secret);
         CREATE TABLE note(id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, body);
         INSERT INTO note(title, body) VALUES ('one', 'still water'), ('two', 'lent out');
         CREATE TABLE outbox(body);
         INSERT INTO outbox VALUES ('{SECRET}');
         CREATE TABLE millpond_migrations(number INTEGER PRIMARY KEY, name TEXT);
         INSERT INTO millpond_migrations VALUES (1, '001-start.sql');
         CREATE VIEW open_vault AS SELECT owner, secret FROM vault;
         CREATE TRIGGER note_audit AFTER UPDATE ON note
             BEGIN INSERT INTO note(title, body) SELECT owner, secret FROM vault; END;
         CREATE VIRTUAL TABLE words USING fts5(text);
         INSERT INTO words VALUES ('still water'), ('lent out');
         CREATE VIRTUAL TABLE secret_words USING fts5(text);
         INSERT INTO secret_words VALUES ('{SECRET}');
         CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1);
         INSERT INTO boxes VALUES (1, 0, 1, 0, 1);
         ANALYZE;
         PRAGMA journal_mode = WAL;"
    );
    database.execute_batch(&script).expect("a schema");
}
