//! Instances that handle several requests, one after another: `--max-instance-reuse`.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Instant;

use millpond_tests::component;
use rusqlite::Connection;

use crate::process::{PATIENCE, Server, here, text, until};
use crate::site::{self, head, http2, talk};

const MOST: u32 = 4;

fn serve(component: &str, database: &Path, flags: &[&str]) -> Server {
    let most = MOST.to_string();
    let all = [&["--max-instance-reuse", &most][..], flags].concat();
    Server::of(component, database, &all)
}

/// Which instance has answered, and how many requests it has counted.
fn count(server: &Server, path: &str) -> (u64, u32) {
    let answer = server.ask("GET", path, None).is(200);
    let (instance, count) = text(&answer.body).split_once(' ').expect("two numbers");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    (number(instance), number(count) as u32)
}

#[test]
fn an_instance_handles_as_many_requests_as_the_flag_says() {
    let (_folder, database) = here();
    let server = serve(
        "hostile_serves",
        &database,
        &["--idle-instance-timeout", "1h"],
    );
    let mut counts = BTreeMap::new();
    for _ in 0..40 {
        let (instance, count) = count(&server, "/count");
        assert!(count <= MOST);
        let before = counts.insert(instance, count);
        assert_eq!(before.unwrap_or(0) + 1, count, "one after another");
    }
    assert!(counts.values().any(|count| *count == MOST), "{counts:?}");
    server.ends_with_nothing_in_use();
}

#[test]
fn each_request_gets_a_new_instance_by_default() {
    let (_folder, database) = here();
    let server = Server::of("hostile_serves", &database, &[]);
    for _ in 0..10 {
        assert_eq!(count(&server, "/count").1, 1);
    }
}

/// Waits until no request runs: each instance waits for another, or has been dropped.
fn settled(server: &Server) {
    until("no request runs", || {
        let snapshot = server.ask_admin("/snapshot", "").is(200).json();
        snapshot["places"]["in_use"] == 0
    });
}

#[test]
fn an_instance_that_traps_grows_or_does_not_read_handles_no_other_request() {
    let (_folder, database) = here();
    let flags = [
        "--max-instance-reuse",
        "100",
        "--idle-instance-timeout",
        "1h",
    ];
    let flags = [&flags[..], &["--max-handles", "64"]].concat();
    let server = Server::of("hostile_serves", &database, &flags);
    for end in ["trap", "grow", "limit", "keep", "upload", "http2"] {
        // The same instance handles one request after another, until this.
        let (instance, before) = count(&server, "/count");
        settled(&server);
        match end {
            "trap" => {
                server.ask("GET", "/count/trap", None).is(500);
                let line = server.line_with("trapping");
                assert!(line.contains(&format!("trapping {instance} ")), "{line}");
            }
            "upload" => {
                let answer = server.ask_raw("POST", "/count", "", b"unread").is(200);
                let counted = format!("{instance} {}", before + 1);
                assert_eq!(text(&answer.body), counted);
            }
            "http2" => {
                let counted = format!("{instance} {}", before + 1);
                assert_eq!(leave_unread(&server), counted);
            }
            _ => {
                let counted = count(&server, &format!("/count/{end}"));
                assert_eq!(counted, (instance, before + 1), "{end}");
            }
        }
        settled(&server);
        assert_eq!(count(&server, "/count").1, 1, "{end}");
        settled(&server);
    }
}

/// The answer to a request over HTTP/2 whose body the guest does not read.
fn leave_unread(server: &Server) -> String {
    talk(async {
        let (mut requests, _connection) = http2(server.address).await;
        let (answer, mut upload) = requests
            .send_request(head(server.address, "POST", "/count"), false)
            .expect("a request");
        upload.send_data("unread".into(), true).expect("a body");
        let mut answer = answer.await.expect("an answer").into_body();
        let counted = answer.data().await.expect("a body").expect("a part");
        String::from_utf8(counted.into()).expect("two numbers")
    })
}

/// The table that `/count/begin` writes.
fn create_table(database: &Path) {
    let setup = Connection::open(database).expect("a database");
    setup
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE mark(n)")
        .expect("a table");
}

#[test]
fn an_instance_that_waits_holds_no_connection() {
    let (_folder, database) = here();
    create_table(&database);
    let server = serve(
        "hostile_serves",
        &database,
        &["--idle-instance-timeout", "1h"],
    );
    let (instance, _) = count(&server, "/count/begin");
    settled(&server);
    assert_eq!(server.counters()["in_use"], 0);
    // Nor the turn to write, which another process wants too.
    let other = Connection::open(&database).expect("a database");
    let written = other.execute("INSERT INTO mark VALUES (2)", ());
    assert_eq!(written, Ok(1));
    assert_eq!(count(&server, "/count"), (instance, 2));
    server.ends_with_nothing_in_use();
}

#[test]
fn a_transaction_left_open_is_rolled_back_before_the_next_request() {
    let (_folder, database) = here();
    create_table(&database);
    let server = serve("hostile_serves", &database, &[]);
    let since = Instant::now();
    let mut instances = Vec::new();
    while instances.len() < 2 {
        let (instance, count) = count(&server, "/count/begin");
        // The turn to write is free.
        let answer = server.ask_raw("POST", "/query", "", b"INSERT INTO mark VALUES (2)");
        assert_eq!(text(&answer.is(200).body), "answered");
        if count > 1 {
            instances.push(instance);
        }
        assert!(since.elapsed() < PATIENCE, "no instance is used again");
    }
    server.ends_with_nothing_in_use();
    let left = Connection::open(&database).expect("a database");
    let ones = left.query_row("SELECT count(*) FROM mark WHERE n = 1", (), |row| {
        row.get(0)
    });
    assert_eq!(ones, Ok(0));
}

#[test]
fn an_instance_that_waits_for_too_long_is_dropped() {
    let (_folder, database) = here();
    let server = serve(
        "hostile_serves",
        &database,
        &["--idle-instance-timeout", "1ms"],
    );
    let since = Instant::now();
    let mut last = count(&server, "/count").0;
    let mut dropped = 0;
    while dropped < 3 {
        let (instance, count) = count(&server, "/count");
        dropped += u32::from(instance != last && count == 1);
        last = instance;
        assert!(since.elapsed() < PATIENCE, "all are used again");
    }
}

/// Serves the same component as two, each for a path of its own.
fn serve_two(max_requests: u32) -> (tempfile::TempDir, Server) {
    let settings = format!(
        "max-instance-reuse = 100\nidle-instance-timeout = \"1h\"\nmax-requests = {max_requests}"
    );
    let (folder, file) = site::write("hostile_serves", &settings, "");
    let mut config = std::fs::read_to_string(&file).expect("the configuration");
    let component = component("hostile_serves").display();
    config += &format!("[components.other]\nfile = \"{component}\"\n");
    for (path, name) in [("/count", "app"), ("/count/print", "other")] {
        config += &format!("[[routes]]\npath = \"{path}\"\ncomponent = \"{name}\"\n");
    }
    std::fs::write(&file, config).expect("the configuration");
    (folder, Server::start(site::command(&file)))
}

#[test]
fn an_instance_that_waits_leaves_its_room_to_another_components() {
    let (_folder, server) = serve_two(1);
    let counts = ["/count", "/count", "/count/print", "/count/print", "/count"].map(|path| {
        settled(&server);
        count(&server, path).1
    });
    assert_eq!(counts, [1, 2, 1, 2, 1]);
}

#[test]
fn requests_at_the_same_time_find_room() {
    const AT_ONCE: u32 = 4;
    let (_folder, server) = serve_two(AT_ONCE);
    for round in 0..40 {
        settled(&server);
        let path = ["/count", "/count/print"][round % 2];
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| server.ask("GET", path, None).is(200));
            }
        });
    }
}

#[test]
fn each_line_of_output_has_the_number_of_its_request() {
    let (_folder, database) = here();
    let server = serve("hostile_serves", &database, &[]);
    let since = Instant::now();
    for number in 1.. {
        let (_, count) = count(&server, "/count/print");
        server.line_with(&format!("[{number}] guest: printed"));
        if count > 1 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "no instance is used again");
    }
}

#[test]
fn a_component_for_wasi_03_handles_several_requests_too() {
    let (_folder, database) = here();
    let server = serve("wasi03_visits", &database, &["--no-access-log"]);
    let since = Instant::now();
    let get = |path| {
        let answer = server.ask("GET", path, None).is(200);
        text(&answer.body).parse::<u32>().expect("a number")
    };
    let (mut visits, mut most) = (0, 0);
    while most < 2 {
        visits += 1;
        assert_eq!(
            get("/visits"),
            visits,
            "with the connection of its own request"
        );
        most = get("/count").max(most);
        assert!(since.elapsed() < PATIENCE, "no instance is used again");
    }
    // One that traps is not used again.
    server.ask("GET", "/trap", None).is(500);
    assert_eq!(get("/visits"), visits + 1);
    server.ends_with_nothing_in_use();
}
