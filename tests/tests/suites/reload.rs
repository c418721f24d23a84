//! `reload = "on-change"`: a server reloads when its configuration or its components change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use millpond_tests::component;

use crate::process::Server;
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
    copy("hostile_serves", &new);
    server.reload();
    assert_eq!(failures_until_reloaded(&server), 0);
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
