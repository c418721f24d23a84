//! The log for programs, and the log of slow statements.

use serde_json::{Value, json};

use super::{configured, query};
use crate::process::{MIGRATIONS, Server, millpond};

fn line(server: &Server, part: &str) -> Value {
    let line = server.line_with(part);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn each_line_of_a_log_for_programs_is_an_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "log-format = \"json\", slow-statement-time = \"0s\"";
    let server = configured(folder.path(), settings, "127.0.0.1:0");
    server.ask("GET", "/a\"b", None).is(500);
    let failed = line(&server, "\"guest-failed\"");
    for (key, value) in [
        ("component", "app"),
        ("cause", "unreachable"),
        ("level", "error"),
    ] {
        assert_eq!(failed[key], value, "{failed}");
    }
    assert!(
        failed["lines"]
            .as_array()
            .is_some_and(|lines| lines.len() > 1),
        "{failed}"
    );
    let request = line(&server, "\"request\":1");
    let expected = json!({
        "event": "request", "level": "info", "request": 1, "component": "app", "method": "GET",
        "path": "/a\"b", "status": 500, "bytes": 17, "whole": true, "hint": "the guest trapped",
        "ms": request["ms"], "time": request["time"],
    });
    assert_eq!(request, expected);
    assert!(
        request["ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{request}"
    );
    // RFC 3339, to milliseconds.
    let time = request["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");

    query(&server, "SELECT name\nFROM sqlite_schema WHERE name = 'x'");
    let slow = line(&server, "\"slow-statement\"");
    let plan = slow["plan"][0].as_str().expect("a plan");
    assert!(plan.contains("SCAN sqlite_schema"), "{slow}");
    let expected = json!({
        "event": "slow-statement", "level": "warn", "request": 2, "component": "app",
        "database": "app", "sql": "SELECT name FROM sqlite_schema WHERE name = 'x'", "whole": true,
        "rows": 0, "bytes": 0, "changes": 0, "result": "ok", "turn_wait_ms": 0.0,
        "plan": slow["plan"], "ms": slow["ms"], "time": slow["time"],
    });
    assert_eq!(slow, expected);
    server.terminate();
    line(&server, "Shutting down");
    line(&server, "Stopped");
}

#[test]
fn a_flood_of_slow_statements_is_counted_and_not_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(
        folder.path(),
        "access-log = false, slow-statement-time = \"0s\"",
        "127.0.0.1:0",
    );
    // Cut short, so without a plan; and a script's second statement must not run.
    let long = format!("SELECT '{}'", "x".repeat(5000));
    let script = "SELECT 1; CREATE TABLE evil (a)";
    for sql in [&*long, script].into_iter().cycle().take(100) {
        query(&server, sql);
    }
    let note = server.line_with("are not logged");
    let number = note
        .trim_start_matches('(')
        .split(' ')
        .next()
        .expect("a number");
    assert_ne!(number.parse::<u32>().expect("a number"), 0, "{note}");
    let line = server.line_with("xxx");
    assert!(line.chars().count() < 2200, "{line}");
    let tables = "SELECT 1 / (count(*) = 0) IS NULL FROM sqlite_schema";
    assert_eq!(query(&server, tables), "answered");
    let snapshot = server.ask_admin("/snapshot", "").is(200).json();
    assert_eq!(snapshot["slow"]["total"], 101);
    let database = rusqlite::Connection::open(folder.path().join("app.db"));
    let evil = database.and_then(|db| db.table_exists(None, "evil"));
    assert_eq!(evil, Ok(false));
}

#[test]
fn parameters_are_not_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = millpond_tests::component("millpond_notes")
        .to_str()
        .expect("a path");
    let file = folder.path().join("millpond.toml");
    let config = format!(
        "listeners = [{{ address = \"127.0.0.1:0\" }}]
        admin = {{ address = \"127.0.0.1:0\" }}
        server = {{ slow-statement-time = \"0s\" }}
        [components.notes]
        file = {guest:?}
        grants.default = {{ database = \"notes\" }}
        [databases.notes]
        file = \"notes.db\"
        migrations = {MIGRATIONS:?}\n"
    );
    std::fs::write(&file, config).expect("a file");
    let mut command = millpond();
    command.args(["serve", "--config"]).arg(&file);
    let server = Server::start(command);
    server
        .ask(
            "POST",
            "/api/notes",
            Some(&json!({"title": "confidential"})),
        )
        .is(201);
    let slow = server.line_with("INSERT INTO");
    assert!(!slow.contains("confidential"), "{slow}");
    let snapshot = server.ask_admin("/snapshot", "").is(200).json().to_string();
    assert!(
        snapshot.contains("INSERT INTO") && !snapshot.contains("confidential"),
        "{snapshot}"
    );
}
