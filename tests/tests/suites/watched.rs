//! What an operator sees of a running server: its metrics, its health, and `millpond top`.

mod disk;
mod log;
mod page;

use std::collections::BTreeSet;
use std::path::Path;

use millpond_tests::component;
use serde_json::{Value, json};

use crate::open_metrics::Scrape;
use crate::process::{Request, Server, here, millpond, text, until};
use crate::sqld::Sqld;

const OPEN_METRICS: &str = "accept: application/openmetrics-text; version=1.0.0\r\n";
const DASHBOARD: &str = include_str!("../../../host/server/grafana.json");

/// A server with this configuration besides: the component `app`, which runs the statement that it
/// is sent, on the database `app`.
fn configured(folder: &Path, server: &str, admin: &str) -> Server {
    let guest = component("hostile_serves").to_str().expect("a path");
    let text = format!(
        "listeners = [{{ address = \"127.0.0.1:0\" }}]
        admin = {{ address = \"{admin}\" }}
        server = {{ {server} }}
        [components.app]
        file = {guest:?}
        grants.default = {{ database = \"app\" }}
        [databases.app]
        file = \"app.db\"
        upkeep-after = \"5ms\"
        pool-size = 2\n"
    );
    let file = folder.join("millpond.toml");
    std::fs::write(&file, text).expect("a file");
    let mut command = millpond();
    command.args(["serve", "--config"]).arg(file);
    Server::start(command)
}

fn query(server: &Server, sql: &str) -> String {
    let answer = server.ask_raw("POST", "/query", "", sql.as_bytes()).is(200);
    text(&answer.body).to_owned()
}

/// Some of everything. Each request's line is in the log when this returns.
fn load(server: &Server) {
    for path in ["/quick", "/panic", "/grow", "/quick"] {
        let status = if path == "/quick" { 200 } else { 500 };
        server.ask("GET", path, None).is(status);
        server.line_with(&format!("GET {path} {status}"));
    }
    for (sql, answer) in [
        ("CREATE TABLE IF NOT EXISTS t (a)", "answered"),
        ("INSERT INTO t VALUES (1), (2)", "answered"),
        ("SELECT a FROM t WHERE a > 1", "answered"),
        ("SELECT nothing", "ErrorKind::Sql"),
    ] {
        assert_eq!(query(server, sql), answer, "{sql}");
        server.line_with("POST /query 200");
    }
}

#[test]
fn metrics_are_valid_and_count_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "slow-statement-time = \"0s\"", "127.0.0.1:0");
    load(&server);
    server.ask_raw("GET", "/", "transfer-encoding: what\r\n", b"");
    server.line_with("- - ");

    let scrape = || {
        let answer = server.ask_admin("/metrics", OPEN_METRICS).is(200);
        assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
        Scrape::parse(text(&answer.body))
    };
    until("the last guest has ended", || {
        scrape().get("millpond_instances{component=\"app\"}") == 0.0
    });
    let scrape = scrape();
    for (series, value) in [
        (
            "millpond_http_requests_total{component=\"app\",status=\"2xx\"}",
            6.0,
        ),
        (
            "millpond_http_requests_total{component=\"app\",status=\"5xx\"}",
            2.0,
        ),
        (
            "millpond_http_request_seconds_count{component=\"app\"}",
            8.0,
        ),
        (
            "millpond_guest_failures_total{cause=\"unreachable\",component=\"app\"}",
            1.0,
        ),
        (
            "millpond_guest_failures_total{cause=\"max-memory-size\",component=\"app\"}",
            1.0,
        ),
        ("millpond_places{}", 128.0),
        ("millpond_places_in_use{}", 0.0),
        ("millpond_pool_max_size{database=\"app\"}", 2.0),
        (
            "millpond_statements_total{database=\"app\",guest=\"app\",result=\"ok\"}",
            5.0,
        ),
        (
            "millpond_statements_total{database=\"app\",guest=\"app\",result=\"sql\"}",
            1.0,
        ),
        (
            "millpond_changed_rows_total{database=\"app\",guest=\"app\"}",
            0.0,
        ),
        ("millpond_slow_statements_total{database=\"app\"}", 6.0),
    ] {
        assert_eq!(scrape.get(series), value, "{series}");
    }

    // The older format has the same samples, and says of each metric what it is.
    let older = server.ask_admin("/metrics", "").is(200);
    assert!(older.headers["content-type"].starts_with("text/plain; version=0.0.4"));
    let older = text(&older.body);
    let samples = older.lines().filter(|line| !line.starts_with('#')).count();
    // Meanwhile, the plan of a slow statement may have opened a connection, and with it a series.
    assert!(samples >= scrape.series().count(), "{older}");
    let of = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let base = ends.iter().find_map(|end| name.strip_suffix(end));
        let is_known = |name: &str| older.contains(&format!("# TYPE {name} "));
        is_known(name) || base.is_some_and(is_known)
    };
    for line in older.lines().filter(|line| !line.starts_with('#')) {
        assert!(of(line.split(['{', ' ']).next().expect("a name")), "{line}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "slow-statement-time = \"0s\"", "127.0.0.1:0");
    load(&server);
    // So much that upkeep is due.
    let fill = "INSERT INTO t SELECT zeroblob(4000) FROM generate_series(1, 1500)";
    assert_eq!(query(&server, fill), "answered");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().map_or(&[][..], Vec::as_slice) {
            let query = target["expr"].as_str().expect("a query");
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            asked.extend(words.filter(|word| word.starts_with("millpond_")));
        }
    }
    assert!(asked.len() >= 15, "{asked:?}");
    // The metrics of an upkeep come one after another, when it is over.
    let mut missing = asked;
    until("each metric is there", || {
        let answer = server.ask_admin("/metrics", OPEN_METRICS).is(200);
        let scrape = Scrape::parse(text(&answer.body));
        for series in scrape.series() {
            missing.remove(series.split('{').next().expect("a name"));
        }
        missing.is_empty()
    });
}

#[test]
fn a_server_is_not_ready_while_a_pool_cannot_lend_and_while_it_shuts_down() {
    let (_folder, database) = here();
    let flags = ["--pool-size", "1", "--request-timeout", "3s"];
    let server = Server::notes(&database, &flags);
    let ready = server.ask_admin("/readyz", "").is(200).json();
    assert_eq!(
        ready,
        json!({
            "ready": true, "state": "serving", "databases": { "default": { "ready": true } },
        })
    );
    server.ask_admin("/healthz", "").is(200);

    let (_other, database) = here();
    let busy = Server::of("hostile_serves", &database, &flags);
    let address = busy.address;
    let holder = std::thread::spawn(move || crate::process::ask(address, "GET", "/hold", "", b""));
    while busy.counters()["in_use"] == 0 {}
    let answer = busy.ask_admin("/readyz", "").is(503).json();
    assert_eq!(
        answer["databases"]["default"],
        json!({ "ready": false, "reason": "pool-timeout" })
    );
    busy.ask_admin("/healthz", "").is(200);
    assert_eq!(
        holder.join().expect("no panic").expect("an answer").status,
        504
    );
    while busy.ask_admin("/readyz", "").status == 503 {}

    let note = json!({"title": "last"}).to_string();
    let mut held =
        Request::hold(server.address, "POST", "/api/notes", note.len()).expect("a guest");
    server.terminate();
    while server.ask_admin("/readyz", "").status == 200 {}
    let answer = server.ask_admin("/readyz", "").is(503).json();
    assert_eq!(
        (&answer["ready"], &answer["state"]),
        (&json!(false), &json!("shutting-down"))
    );
    server.ask_admin("/healthz", "").is(200);
    held.send(note.as_bytes()).expect("it reads");
    assert_eq!(held.answer().expect("an answer").status, 201);
    assert!(server.wait().success());
}

#[test]
fn a_page_of_another_site_cannot_ask() {
    let (_folder, database) = here();
    let server = Server::of("hostile_serves", &database, &[]);
    let address = server.counters_address();
    for (host, status) in [("localhost", 200), (&*address, 200), ("evil.example", 421)] {
        for path in ["/", "/metrics", "/snapshot", "/stats", "/readyz"] {
            let output = raw(
                &address,
                &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
            );
            assert!(
                output.starts_with(&format!("HTTP/1.1 {status} ")),
                "{host}{path}: {output}"
            );
        }
    }
    let output = raw(
        &address,
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    assert!(output.starts_with("HTTP/1.1 405 "), "{output}");
}

fn raw(address: &str, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn top_prints_once_if_its_output_is_no_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "slow-statement-time = \"0s\"", "127.0.0.1:0");
    load(&server);
    let mut shown = String::new();
    // The last slow statement is logged soon.
    while !shown.contains("SELECT nothing") {
        let output = millpond()
            .args(["top", &server.counters_address()])
            .output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout).clone_into(&mut shown);
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let mut rows = shown.lines().filter(|line| line.starts_with("app "));
    let component: Vec<_> = rows
        .next()
        .expect("a component")
        .split_whitespace()
        .collect();
    assert_eq!(component[2..6], ["6", "0", "2", "0"], "{shown}");
    assert!(
        rows.next().expect("a database").contains("0 of 2"),
        "{shown}"
    );

    let nothing = millpond()
        .args(["top", &server.address.to_string()])
        .output();
    assert_eq!(nothing.expect("the command runs").status.code(), Some(2));
}

#[test]
fn top_shows_disks_and_upkeep() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "min-free-disk = \"16384GiB\"";
    let server = configured(folder.path(), settings, "127.0.0.1:0");
    assert_eq!(query(&server, "CREATE TABLE t (a)"), "answered");
    // So much that upkeep is due.
    let fill = "INSERT INTO t SELECT zeroblob(4000) FROM generate_series(1, 1500)";
    assert_eq!(query(&server, fill), "answered");
    until("the upkeep and the disk are shown", || {
        let output = millpond()
            .args(["top", "--once", &server.counters_address()])
            .output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut lines = text(&output.stdout)
            .lines()
            .skip_while(|line| !line.contains("DISK FREE"));
        // At the start, no disk has been looked at.
        let row = lines.nth(1).unwrap_or_default();
        assert!(row.is_empty() || row.starts_with("app "), "{row}");
        row.contains(" LOW ") && row.contains(" ago ")
    });
    let snapshot = server.ask_admin("/snapshot", "").is(200).json();
    let upkeep = &snapshot["databases"]["app"]["upkeep"];
    assert!(upkeep["total"].as_u64() >= Some(1), "{upkeep}");
    assert!(upkeep["last"]["complete"].is_boolean(), "{upkeep}");
}

#[test]
fn a_server_is_not_ready_while_its_database_server_is_gone() {
    let Some(mut sqld) = Sqld::start() else {
        return;
    };
    let server = Server::of("hostile_serves", Path::new(&sqld.url()), &[]);
    server.ask_admin("/readyz", "").is(200);
    sqld.kill();
    while server.ask_admin("/readyz", "").status == 200 {}
    let answer = server.ask_admin("/readyz", "").is(503).json();
    assert_eq!(
        answer["databases"]["default"],
        json!({ "ready": false, "reason": "unavailable" })
    );
    sqld.run();
    while server.ask_admin("/readyz", "").status == 503 {}
}
