//! `reload = "on-change"`: a server reloads when its configuration, its components or its
//! migrations change.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use millpond_tests::component;

use crate::process::{MIGRATIONS, Request, Server, text, until};
use crate::site;

const ON_CHANGE: &str = "reload = \"on-change\"";

fn copy(guest: &str, to: &Path) {
    fs::copy(component(guest), to).expect("a file");
}

/// Replaces the file in one step, as editors and deployments do.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, file).expect("renamed");
}

/// Waits until the server has reloaded. Returns how many reloads failed before.
fn failures_until_reloaded(server: &Server) -> usize {
    let mut failures = 0;
    while server.line_with("eloaded").contains("Not reloaded") {
        failures += 1;
    }
    failures
}

#[test]
fn a_changed_configuration_is_read_and_a_broken_one_is_reported_once() {
    let (folder, file) = site::write("hostile_serves", ON_CHANGE, "");
    let server = Server::start(site::command(&file));
    server.ask("GET", "/quick", None).is(200);
    let text = fs::read_to_string(&file).expect("the file");
    let moved = format!("{text}\n[[routes]]\npath = \"/moved\"\ncomponent = \"app\"\n");

    replace(&file, &moved);
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/quick", None).is(404);

    // The server looks at a broken file each second too.
    fs::write(&file, "components = 1").expect("a file");
    server.line_with("Not reloaded");
    server.ask("GET", "/quick", None).is(404);
    fs::write(&file, &text).expect("a file");
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/quick", None).is(200);

    // A file that the new configuration names, and that comes later.
    let new = folder.path().join("new.wasm");
    let named = text.replace(
        component("hostile_serves").to_str().expect("a path"),
        "new.wasm",
    );
    replace(&file, &named);
    server.line_with("Not reloaded");
    copy("wasi03_visits", &new);
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/visits", None).is(200);

    // The new configuration says to look no more.
    let still = named.replace(ON_CHANGE, "");
    replace(&file, &still);
    assert_eq!(failures_until_reloaded(&server), 0);
    // Another server looks on: when it has seen three changes, this one would have seen the first.
    let other = folder.path().join("other.toml");
    fs::write(&other, &named).expect("a file");
    let other = Server::start(site::command(&other));
    for guest in ["hostile_serves", "wasi03_visits", "hostile_serves"] {
        copy(guest, &new);
        failures_until_reloaded(&other);
    }
    server.ask("GET", "/visits", None).is(200);
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/quick", None).is(200);
    server.terminate();
    let left: Vec<_> = std::iter::from_fn(|| server.next_line()).collect();
    assert!(
        !left.iter().any(|line| line.contains("eloaded")),
        "{left:#?}"
    );
    assert!(server.wait().success());
}

#[test]
fn a_new_migration_is_applied_and_a_broken_one_is_reported_once() {
    let (folder, file) = site::write("millpond_notes", ON_CHANGE, "");
    let migrations = folder.path().join("migrations");
    fs::create_dir(&migrations).expect("a folder");
    for first in fs::read_dir(MIGRATIONS).expect("the migrations") {
        let first = first.expect("a migration");
        fs::copy(first.path(), migrations.join(first.file_name())).expect("a copy");
    }
    let text = fs::read_to_string(&file).expect("the file");
    fs::write(&file, format!("{text}migrations = \"migrations\"\n")).expect("a file");
    let server = Server::start(site::command(&file));
    let database = rusqlite::Connection::open(folder.path().join("app.db")).expect("the file");
    let has_table = |name: &str| -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)";
        let found = database.query_row(sql, [name], |row| row.get(0));
        found.unwrap_or_else(|error| panic!("{error}"))
    };
    let serves = |title: &str| {
        let note = serde_json::json!({ "title": title });
        server.ask("POST", "/api/notes", Some(&note)).is(201);
    };
    serves("Tea");

    replace(&migrations.join("900-one.sql"), "CREATE TABLE one(a TEXT);");
    assert_eq!(failures_until_reloaded(&server), 0);
    assert!(has_table("one"));
    serves("Milk");

    // Rolled back. The line says which it is.
    let broken = "CREATE TABLE two(a TEXT); CREATE TABLE nowhere.three(a TEXT);";
    replace(&migrations.join("901-two.sql"), broken);
    let line = server.line_with("eloaded");
    assert!(
        line.contains("Not reloaded") && line.contains("901-two.sql"),
        "{line}"
    );
    assert!(!has_table("two"));
    serves("Sugar");

    // Nothing else has been reported meanwhile.
    replace(&migrations.join("901-two.sql"), "CREATE TABLE two(a TEXT);");
    assert_eq!(failures_until_reloaded(&server), 0);
    assert!(has_table("two"));
    serves("Lemon");

    // One that has run must not change.
    replace(
        &migrations.join("901-two.sql"),
        "CREATE TABLE three(a TEXT);",
    );
    let line = server.line_with("eloaded");
    assert!(
        line.contains("Not reloaded") && line.contains("901-two.sql"),
        "{line}"
    );
    serves("Honey");
    server.terminate();
    assert!(server.wait().success());
}

/// Kubernetes mounts a `ConfigMap` as a link to a folder, and replaces the link.
#[test]
fn a_replaced_link_is_a_change() {
    let (folder, file) = site::write("hostile_serves", ON_CHANGE, "");
    let here = folder.path();
    let text = fs::read_to_string(&file).expect("the file");
    let text = text.replace(
        component("hostile_serves").to_str().expect("a path"),
        "app.wasm",
    );
    for (version, guest) in [("1", "hostile_serves"), ("2", "wasi03_visits")] {
        fs::create_dir(here.join(version)).expect("a folder");
        fs::write(here.join(version).join("millpond.toml"), &text).expect("a file");
        copy(guest, &here.join(version).join("app.wasm"));
    }
    fs::remove_file(&file).expect("removed");
    symlink("1", here.join("..data")).expect("a link");
    symlink("..data/millpond.toml", &file).expect("a link");
    symlink("..data/app.wasm", here.join("app.wasm")).expect("a link");
    let server = Server::start(site::command(&file));
    server.ask("GET", "/quick", None).is(200);

    symlink("2", here.join("..data_tmp")).expect("a link");
    fs::rename(here.join("..data_tmp"), here.join("..data")).expect("renamed");
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/visits", None).is(200);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_signal_during_a_reload_means_another_one() {
    let (folder, file) = site::write("hostile_serves", "", "");
    let server = Server::start(site::command(&file));
    let text = fs::read_to_string(&file).expect("the file");
    let hostile = component("hostile_serves");
    // A reload waits for the component.
    let pipe = folder.path().join("pipe.wasm");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("it runs").success());
    let piped = text.replace(hostile.to_str().expect("a path"), "pipe.wasm");
    replace(&file, &piped);
    server.reload();
    // Opening waits for the reader, which has read the configuration then.
    let mut writer = fs::File::options().write(true).open(&pipe).expect("a pipe");
    let moved = format!("{text}\n[[routes]]\npath = \"/moved\"\ncomponent = \"app\"\n");
    replace(&file, &moved);
    server.reload();
    let mut bytes = &*fs::read(hostile).expect("the component");
    std::io::copy(&mut bytes, &mut writer).expect("a reader");
    drop(writer);
    for _ in 0..2 {
        assert_eq!(failures_until_reloaded(&server), 0);
    }
    server.ask("GET", "/quick", None).is(404);
    server.terminate();
    assert!(server.wait().success());
}

/// How many engines a server has whose address space with one was `one`.
#[cfg(target_os = "linux")]
fn engines(server: &Server, one: u64) -> u64 {
    (server.address_space() + one / 2) / one
}

/// Each compiled component has an engine, with a pool of instances.
#[cfg(target_os = "linux")]
#[test]
fn a_component_that_did_not_change_is_not_compiled_again() {
    let (folder, file) = site::write("millpond_notes", "", "");
    let text = fs::read_to_string(&file).expect("the file");
    let notes = component("millpond_notes").to_str().expect("a path");
    let migrations = crate::process::MIGRATIONS;
    let text = format!(
        "{}migrations = {migrations:?}\n",
        text.replace(notes, "app.wasm")
    );
    let app = folder.path().join("app.wasm");
    copy("millpond_notes", &app);
    fs::write(&file, &text).expect("a file");
    let server = Server::start(site::command(&file));
    let one = server.address_space();
    let engines = || engines(&server, one);
    let note = serde_json::json!({ "title": "Tea" });
    server.ask("POST", "/api/notes", Some(&note)).is(201);
    // A request keeps what it began with.
    let mut held = Request::hold(server.address, "POST", "/api/notes", 15).expect("a guest");
    for _ in 0..3 {
        server.reload();
        assert_eq!(failures_until_reloaded(&server), 0);
        assert_eq!(engines(), 1);
    }
    // Its grants are those of the new configuration.
    let read = text.replace(
        "{ database = \"default\" }",
        "{ database = \"default\", access = \"read-only\" }",
    );
    assert_ne!(read, text);
    replace(&file, &read);
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    assert_eq!(engines(), 1);
    assert_ne!(server.ask("POST", "/api/notes", Some(&note)).status, 201);

    // Another limit, and another file.
    replace(
        &file,
        &text.replace("\"app.wasm\"", "\"app.wasm\"\nmax-memory-size = \"64MiB\""),
    );
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    assert_eq!(engines(), 2);
    copy("hostile_serves", &app);
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/quick", None).is(200);
    held.send(br#"{"title":"Tea"}"#).expect("the rest");
    held.answer().expect("an answer").is(201);
    until("the former engines end", || engines() == 1);
    server.terminate();
    assert!(server.wait().success());
}

/// One that is running, and one that waits for another request.
#[cfg(target_os = "linux")]
#[test]
fn instances_of_a_replaced_component_are_dropped() {
    let settings = "max-instance-reuse = 1000\nidle-instance-timeout = \"1h\"";
    let (_folder, file) = site::write("hostile_serves", settings, "");
    let server = Server::start(site::command(&file));
    let one = server.address_space();
    let engines = || engines(&server, one);
    let sql = b"SELECT 1";
    let mut held = Request::hold(server.address, "POST", "/query", sql.len()).expect("a guest");
    until("an instance waits for another request", || {
        let answer = server.ask("GET", "/count", None).is(200);
        !text(&answer.body).ends_with(" 1")
    });
    let config = fs::read_to_string(&file).expect("the file");
    let limited = "[components.app]\nmax-memory-size = \"64MiB\"\n";
    replace(&file, &config.replace("[components.app]\n", limited));
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    assert_eq!(engines(), 2);
    held.send(sql).expect("the rest");
    held.answer().expect("an answer").is(200);
    until("the former engine ends", || engines() == 1);
    server.terminate();
    assert!(server.wait().success());
}

/// Those of the component before, too.
#[test]
fn guests_of_a_new_component_are_interrupted() {
    let (_folder, file) = site::write("hostile_serves", "request-timeout = \"2s\"", "");
    let server = Server::start(site::command(&file));
    let mut before = TcpStream::connect(server.address).expect("a connection");
    let request = "GET /loop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    before.write_all(request.as_bytes()).expect("a request");
    let config = fs::read_to_string(&file).expect("the file");
    let limited = "[components.app]\nmax-memory-size = \"64MiB\"\n";
    replace(&file, &config.replace("[components.app]\n", limited));
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
    server.ask("GET", "/loop", None).is(504);
    let mut answer = String::new();
    before.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_refused_configuration_does_not_even_apply_to_the_stop() {
    let (folder, file) = site::write("hostile_serves", "grace = \"1h\"", "");
    let server = Server::start(site::command(&file));
    let sql = b"SELECT 1";
    let mut held = Request::hold(server.address, "POST", "/query", sql.len()).expect("a guest");
    // It opens only when everything else of the new configuration has been accepted.
    let text = fs::read_to_string(&file).expect("the file");
    fs::write(folder.path().join("text.db"), "no database".repeat(100)).expect("a file");
    let text = text.replace("1h", "0s").replace("app.db", "text.db");
    replace(&file, &text);
    server.reload();
    assert!(server.line_with("eloaded").contains("Not reloaded"));
    server.terminate();
    server.line_with("Shutting down");
    held.send(sql).expect("the rest");
    held.answer().expect("an answer").is(200);
    assert!(server.wait().success());
}
