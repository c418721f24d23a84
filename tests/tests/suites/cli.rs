//! The command as a process: `run`, `serve`, `migrate`, `inspect` and `stats`.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use millpond_tests::{component, foreach_cli};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::assert_test_exists;
use crate::process::{MIGRATIONS, MISTAKE, NOT_NOW, Request, Server, ask, here, millpond, text};

foreach_cli!(assert_test_exists);

fn output(args: &[&str], rest: &[&Path]) -> Output {
    millpond()
        .args(args)
        .args(rest)
        .output()
        .expect("the command runs")
}

#[test]
fn cli_speaks() {
    let mut child = millpond()
        .args(["run", "--env", "GREETING=hello there"])
        .arg(component("cli_speaks"))
        .args(["one", "--two", ""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut input = child.stdin.take().expect("its stdin");
    input.write_all(b"a line\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        text(&output.stdout),
        "argument one\nargument --two\nargument \nenvironment GREETING=hello there\ninput a line\n"
    );
    assert!(text(&output.stderr).lines().any(|line| line == "error"));
    // Whatever code a guest passes, the exit of WASI 0.2 only distinguishes success and failure.
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn cli_counts_visits() {
    let (_folder, database) = here();
    for visits in 1..=3 {
        let output = millpond()
            .arg("run")
            .arg("--db")
            .arg(&database)
            .arg(component("cli_counts_visits"))
            .output()
            .expect("the command runs");
        assert_eq!(text(&output.stdout), format!("{visits} visits\n"));
        assert_eq!(output.status.code(), Some(0));
    }
    assert!(!log_of(&database).exists(), "the pool was closed");
}

#[test]
fn the_environment_is_used_where_no_flag_is_given() {
    let (folder, database) = here();
    let run = |variables: &[(&str, &str)], args: &[&str]| {
        let output = millpond()
            .args(["run"])
            .args(args)
            .arg(component("cli_counts_visits"))
            .current_dir(folder.path())
            .envs(variables.iter().copied())
            .output()
            .expect("the command runs");
        let errors = text(&output.stderr).to_owned();
        (output.status.code(), errors)
    };
    let path = ("DATABASE_PATH", "app.db");
    assert_eq!(run(&[path], &[]).0, Some(0));
    assert!(database.exists());
    // A flag takes precedence.
    assert_eq!(
        run(&[("DATABASE_PATH", "no/app.db")], &["--db", "app.db"]).0,
        Some(0)
    );
    // An empty value is ignored.
    for name in ["DB_POOL_SIZE", "DB_TIMEOUT"] {
        assert_eq!(run(&[path, (name, "")], &[]).0, Some(0), "{name}");
    }
    assert_eq!(
        run(&[("DATABASE_PATH", "")], &[]).0,
        Some(1),
        "no database is granted"
    );
    for (name, value, flag) in [
        ("DB_POOL_SIZE", "abc", ["--pool-size", "2"]),
        ("DB_POOL_SIZE", "0", ["--pool-size", "2"]),
        ("DB_TIMEOUT", "xx", ["--timeout", "2s"]),
        ("DB_TIMEOUT", "2h", ["--timeout", "2s"]),
    ] {
        let (code, line) = run(&[path, (name, value)], &[]);
        assert_eq!(code, Some(2), "{name}");
        assert!(line.contains(name) && line.lines().count() == 1, "{line}");
        assert_eq!(run(&[path, (name, value)], &flag).0, Some(0), "{name}");
    }
    let mut serve = millpond();
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"])
        .args(["--migrations", MIGRATIONS])
        .env("DATABASE_PATH", folder.path().join("notes.db"))
        .env("DB_POOL_SIZE", "3")
        .env("DB_TIMEOUT", "1s")
        .arg(component("millpond_notes"));
    let server = Server::start(serve);
    assert_eq!(server.counters()["max_size"], 3);
}

#[test]
fn cli_two_names() {
    let (folder, database) = here();
    let link = folder.path().join("link.db");
    std::fs::write(&database, "").expect("a file");
    std::os::unix::fs::symlink(&database, &link).expect("a link");
    let output = millpond()
        .args(["run", "--db", "app.db", "--db", "other=link.db"])
        .args(["--db-read-only", "third=./app.db"])
        .arg(component("cli_two_names"))
        .current_dir(folder.path())
        .output()
        .expect("the command runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "busy\n");
}

const RUN: &[&str] = &["run"];
/// On any port: the default one may be taken.
const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];

#[test]
fn a_component_that_needs_more_memory_than_it_may_have() {
    let (_folder, database) = here();
    for (command, name) in [(RUN, "cli_counts_visits"), (SERVE, "millpond_notes")] {
        let output = millpond()
            .args(command)
            .args(["--max-memory-size", "64KiB", "--db"])
            .arg(&database)
            .arg(component(name))
            .output()
            .expect("the command runs");
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains("max-memory-size"), "{line}");
        assert!(!database.exists());
    }
}

#[test]
fn a_guest_without_a_database_fails_by_itself() {
    let output = output(&["run"], &[component("cli_counts_visits")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("NoSuchDatabase"),
        "{output:?}"
    );
}

#[test]
fn cli_panics() {
    let (_folder, database) = here();
    let output = output(&["run", "--db"], &[&database, component("cli_panics")]);
    assert_eq!(output.status.code(), Some(134), "{output:?}");
    let rows = Connection::open(&database)
        .and_then(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)));
    assert_eq!(rows, Ok(0));
}

#[test]
fn cli_fails() {
    let (_folder, database) = here();
    let run = |flags: &[&str], how: &str| {
        let mut command = millpond();
        command.arg("run").args(flags).arg("--db").arg(&database);
        let output = command.arg(component("cli_fails")).arg(how).output();
        let output = output.expect("the command runs");
        (output.status.code(), text(&output.stderr).to_owned())
    };
    for (how, code, function, limit) in [
        ("panic", 134, "cli_fails::panic_on_purpose", None),
        ("recurse", 134, "cli_fails::recurse", None),
        ("grow", 134, "cli_fails::grow", Some("max-memory-size")),
    ] {
        let (ended, errors) = run(&[], how);
        assert_eq!(ended, Some(code), "{errors}");
        let (_, told) = errors.split_once("millpond: ").expect("a failure");
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() <= 22, "{told}");
        assert!(
            lines[1..].iter().any(|line| line.contains(function)),
            "{told}"
        );
        assert!(!told.contains("cli_fails.rs:"), "{told}");
        if let Some(flag) = limit {
            assert!(lines[0].contains(flag), "{told}");
        }
    }
    let (code, errors) = run(&["--source-lines"], "panic");
    assert_eq!(code, Some(134), "{errors}");
    let is_its =
        |line: &str| line.contains("panic_on_purpose at") && line.contains("cli_fails.rs:");
    assert!(errors.lines().any(is_its), "{errors}");

    // An error is the guest's own, and the command says so; an exit speaks for itself.
    let (code, errors) = run(&[], "error");
    assert_eq!(code, Some(1), "{errors}");
    for told in ["Sql", "nowhere", "millpond: "] {
        assert!(errors.contains(told), "{errors}");
    }
    assert_eq!(run(&[], "exit"), (Some(1), String::new()));
    let (code, errors) = run(&[], "reserve");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("max-memory-size"), "{errors}");
}

#[test]
fn a_limit_that_a_guest_reached_is_named_by_its_flag() {
    for (flag, value, guest, args) in [
        (
            "--max-call-size",
            "64KiB",
            "hostile_does_as_told",
            &["huge", "", "sql"][..],
        ),
        (
            "--max-handles",
            "20",
            "hostile_does_as_told",
            &["hoard", "", "pollable"],
        ),
        ("--max-instances", "1", "cli_fails", &["exit"]),
        ("--max-tables", "1", "cli_fails", &["exit"]),
        ("--max-table-entries", "1", "cli_fails", &["exit"]),
        ("--max-stack-size", "64KiB", "cli_fails", &["recurse"]),
    ] {
        let mut command = millpond();
        command.args(["run", flag, value, "--db", ":memory:"]);
        let output = command.arg(component(guest)).args(args).output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(134), "{flag}: {output:?}");
        let name = flag.trim_start_matches('-');
        assert!(text(&output.stderr).contains(name), "{flag}: {output:?}");
    }
}

#[test]
fn a_served_guest_that_traps_is_told_to_the_log_alone() {
    let (_folder, database) = here();
    let server = Server::of("hostile_serves", &database, &["--max-memory-size", "32MiB"]);
    let answer = server.ask("GET", "/panic", None).is(500);
    let body = text(&answer.body);
    assert!(!body.is_empty() && !body.contains("trap"), "{body}");
    server.line_with("hostile_serves::answer");
    let line = server.line_with("/panic");
    assert!(line.contains("trapped"), "{line}");
    server.ask("GET", "/grow", None).is(500);
    server.line_with("max-memory-size");
}

#[test]
fn a_component_is_inspected() {
    let output = output(&["inspect"], &[component("millpond_notes")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for interface in [
        "millpond:sqlite/pool@0.1.0",
        "wasi:http/incoming-handler@0.2",
    ] {
        assert!(text(&output.stdout).contains(interface), "{output:?}");
    }
}

#[test]
fn a_name_in_a_component_cannot_control_the_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.wasm");
    let name = r#""url=<\1b[2J\0d\0aexports\0a  forged>""#;
    let text = format!("(component (import {name} (func)))");
    std::fs::write(&path, wat::parse_str(text).expect("a component")).expect("a file");
    let output = output(&["inspect"], &[&path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let shown = self::text(&output.stdout);
    assert!(shown.contains("forged"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert_eq!(shown.lines().filter(|line| *line == "exports").count(), 1);
}

#[test]
fn a_command_is_not_served_and_a_handler_not_run() {
    let served = output(
        &["serve", "--listen", "127.0.0.1:0"],
        &[component("cli_speaks")],
    );
    let run = output(&["run"], &[component("millpond_notes")]);
    for (output, other) in [(served, "millpond run"), (run, "millpond serve")] {
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(other), "{output:?}");
    }
}

#[test]
fn a_server_says_by_its_status_whether_another_start_may_help() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = output(
        &["serve", "--listen", &address],
        &[component("millpond_notes")],
    );
    assert_eq!(output.status.code(), Some(NOT_NOW), "{output:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let notes = component("millpond_notes");
    let database = folder.path().join("app.db");
    let serve = [SERVE, &["--db"]].concat();
    // `millpond check` finds the first, and runs no migration.
    let missing = folder.path().join("no/app.db");
    let output = self::output(&serve, &[&missing, notes]);
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).expect("a folder");
    std::fs::write(migrations.join("001-t.sql"), "CREATE TABEL t (a)").expect("a file");
    let path = migrations.to_str().expect("a path");
    let migrated = [SERVE, &["--migrations", path, "--db"]].concat();
    let output = self::output(&migrated, &[&database, notes]);
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    let other = folder.path().join("notes.txt");
    std::fs::write(&other, "not a database".repeat(100)).expect("a file");
    let output = self::output(&serve, &[&other, notes]);
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    // A file that may not be opened now.
    let folder_there = folder.path().join("other.db");
    std::fs::create_dir(&folder_there).expect("a folder");
    let output = self::output(&serve, &[&folder_there, notes]);
    assert_eq!(output.status.code(), Some(NOT_NOW), "{output:?}");
}

#[test]
fn fifty_clients_are_served_at_once_and_nothing_stays_in_use() {
    const CLIENTS: u32 = 50;
    const REQUESTS: u32 = 20;
    let (_folder, database) = here();
    let server = Server::notes(&database, &["--no-access-log"]);
    let created = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, created) = (&server, &created);
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    if request % 4 == 0 {
                        let note = json!({"title": format!("{client}, {request}")});
                        server.ask("POST", "/api/notes", Some(&note)).is(201);
                        created.fetch_add(1, Ordering::Relaxed);
                    } else {
                        server.ask("GET", "/api/notes?search=4", None).is(200);
                    }
                }
            });
        }
    });
    let total = server.ask("GET", "/api/notes", None).is(200).json()["total"].clone();
    assert_eq!(total, created.into_inner());
    server.ends_with_nothing_in_use();
}

/// A request whose guest is running, and waits for the rest of its note.
fn begun(server: &Server) -> (Request, Vec<u8>) {
    let note = json!({"title": "in two parts"}).to_string().into_bytes();
    let request = Request::hold(server.address, "POST", "/api/notes", note.len());
    (request.expect("a guest that waits"), note)
}

#[test]
fn requests_beyond_the_limit_get_retry_after() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &["--max-requests", "1"]);
    let (mut held, note) = begun(&server);
    let refused = server.ask("GET", "/api/notes", None).is(503);
    let seconds: u32 = refused.headers["retry-after"].parse().expect("seconds");
    assert!(seconds > 0);
    held.send(&note).expect("it reads");
    assert_eq!(held.answer().expect("an answer").status, 201);
}

#[test]
fn a_request_that_takes_too_long_is_ended() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &["--request-timeout", "3s"]);
    let (held, _) = begun(&server);
    assert_eq!(held.answer().expect("an answer").status, 504);
}

#[test]
fn a_signal_finishes_running_requests_and_closes_the_pool() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &[]);
    let (mut held, note) = begun(&server);
    assert!(log_of(&database).exists());
    let address = server.address;
    server.terminate();
    server.line_with("Shutting down");
    held.send(&note).expect("it reads");
    assert_eq!(held.answer().expect("an answer").status, 201);
    assert!(server.wait().success());
    assert!(ask(address, "GET", "/", "", b"").is_err());
    assert!(!log_of(&database).exists(), "the log is in the database");
    let notes = Connection::open(&database)
        .and_then(|db| db.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0)));
    assert_eq!(notes, Ok(1));
}

#[test]
fn a_second_signal_stops_the_server_at_once() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &["--grace", "1h", "--request-timeout", "1h"]);
    let (held, _) = begun(&server);
    server.terminate();
    server.line_with("Shutting down");
    server.ends_with_nothing_in_use();
    drop(held);
}

#[test]
fn counters_are_served_and_printed() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &["--pool-size", "3"]);
    server.ask("GET", "/api/notes", None).is(200);
    let counters = server.counters();
    assert_eq!(counters["max_size"], 3);
    assert_ne!(counters["hits"], Value::from(0));
    let output = output(&["stats", &server.counters_address()], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("max_size"), "{output:?}");
}

#[test]
fn each_request_has_a_line_in_the_access_log() {
    let (_folder, database) = here();
    let server = Server::notes(&database, &[]);
    server.ask("GET", "/api/notes?search=secret", None).is(200);
    server.ask("GET", "/nothing", None).is(404);
    let line = server.line_with("/api/notes");
    assert!(line.contains("GET") && line.contains("200"), "{line}");
    let line = server.line_with("/nothing");
    assert!(line.contains("404"), "{line}");
}

#[test]
fn a_database_granted_for_reading_refuses_writes() {
    let (_folder, database) = here();
    let migrated = output(
        &["migrate", "--migrations", MIGRATIONS, "--db"],
        &[&database],
    );
    assert_eq!(migrated.status.code(), Some(0), "{migrated:?}");
    let guest = component("cli_counts_visits");
    let output = output(&["run", "--db-read-only"], &[&database, guest]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("NotAuthorized"), "{output:?}");
}

#[test]
fn an_import_that_this_host_lacks_is_named() {
    const HAS: &[u8] = b"millpond:sqlite/";
    const LACKS: &[u8] = b"millpond:other0/";
    for (command, guest) in [(RUN, "cli_counts_visits"), (SERVE, "millpond_notes")] {
        let (folder, database) = here();
        // Names are replaced by others of the same length, so that the component stays valid.
        let mut renamed = std::fs::read(component(guest)).expect("the component");
        while let Some(at) = renamed.windows(HAS.len()).position(|bytes| bytes == HAS) {
            renamed[at..at + HAS.len()].copy_from_slice(LACKS);
        }
        let path = folder.path().join("renamed.wasm");
        std::fs::write(&path, renamed).expect("the renamed component");

        let output = output(&[command, &["--db"]].concat(), &[&database, &path]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let line = text(&output.stderr);
        assert!(line.contains("millpond:other0/pool@0.1.0"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!database.exists(), "{command:?}");
    }
}

/// The write-ahead log beside a database.
fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
