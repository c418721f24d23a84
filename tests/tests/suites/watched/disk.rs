//! A disk that fills up is reported before it is full.

use std::process::Command;

use serde_json::json;

use super::{OPEN_METRICS, query};
use crate::open_metrics::Scrape;
use crate::process::{Server, millpond, text, until};
use crate::site;

/// More than any disk has.
const NEVER_ENOUGH: &str = "min-free-disk = \"16384GiB\"";

/// Begins a server whose database is on a disk of 32 MiB, where the system lets a test mount one.
/// The folder must outlive it.
fn on_small_disk(settings: &str) -> Option<(tempfile::TempDir, Server)> {
    let (folder, file) = site::write("hostile_serves", settings, "");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let config = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, config.replace("\"app.db\"", "\"data/app.db\"")).expect("a file");
    let mount = "mount -t tmpfs -o size=32m none \"$1\" && shift && exec \"$@\"";
    let unshared = |command: &Command| {
        let mut unshared = Command::new("unshare");
        unshared.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            mount,
            "sh",
        ]);
        unshared
            .arg(&data)
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => unshared.env(name, value),
                None => unshared.env_remove(name),
            };
        }
        unshared
    };
    let test = unshared(&Command::new("true")).output();
    if !test.is_ok_and(|test| test.status.success()) {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "no disk can be mounted: a test does not run"
        );
        return None;
    }
    Some((folder, Server::start(unshared(&site::command(&file)))))
}

fn is_low(server: &Server) -> bool {
    let ready = server.ask_admin("/readyz", "").is(200).json();
    assert_eq!(ready["ready"], true);
    ready["databases"]["default"]["disk"] == "low"
}

fn free(server: &Server) -> f64 {
    let answer = server.ask_admin("/metrics", OPEN_METRICS).is(200);
    let scrape = Scrape::parse(text(&answer.body));
    scrape.get("millpond_disk_free_bytes{database=\"default\",of=\"database\"}")
}

#[test]
fn a_disk_that_fills_is_reported_once_before_it_is_full() {
    let settings = "log-format = \"json\"\nmin-free-disk = \"29MiB\"\naccess-log = false";
    let Some((_folder, server)) = on_small_disk(settings) else {
        return;
    };
    assert!(!is_low(&server));
    let before = free(&server);
    assert!((3.1e7..3.4e7).contains(&before), "{before}");
    assert_eq!(query(&server, "CREATE TABLE t (a)"), "answered");
    let fill = "INSERT INTO t VALUES (zeroblob(900000))";
    for _ in 0..4 {
        assert_eq!(query(&server, fill), "answered");
    }
    until("the disk is low", || is_low(&server));
    let line: serde_json::Value =
        serde_json::from_str(&server.line_with("disk-low")).expect("JSON");
    assert_eq!(
        (&line["event"], &line["level"]),
        (&json!("disk-low"), &json!("warn"))
    );
    assert_eq!(line["min"], 29 << 20);
    assert!(free(&server) < before);
    // On a full disk the guest gets an error, and can still read.
    until("the disk is full", || query(&server, fill) != "answered");
    assert_eq!(query(&server, "SELECT count(*) FROM t"), "answered");
    let address = server.counters_address();
    let ready = millpond()
        .args(["ready", &address])
        .output()
        .expect("it runs");
    assert_eq!(ready.status.code(), Some(0));
    assert_ne!(text(&ready.stdout), "");
    server.terminate();
    let mut left = Vec::new();
    while let Some(line) = server.next_line() {
        left.push(line);
    }
    assert!(
        !left.iter().any(|line| line.contains("disk-low")),
        "{left:#?}"
    );
    assert!(server.wait().success());
}

#[test]
fn a_disk_near_the_limit_is_not_reported_again_and_again() {
    const LIMIT: f64 = 16.0 * 1024.0 * 1024.0;
    let settings = "log-format = \"json\"\nmin-free-disk = \"16MiB\"\naccess-log = false";
    let Some((folder, server)) = on_small_disk(settings) else {
        return;
    };
    let data = server.view_of(&folder.path().join("data"));
    let filler = data.join("filler");
    std::fs::write(&filler, vec![1; 18 << 20]).expect("there is space");
    until("the disk is low", || is_low(&server));
    // More than the limit is free now, but not an eighth more.
    let file = std::fs::File::options().write(true).open(&filler);
    file.and_then(|file| file.set_len(15 << 20)).expect("cut");
    until("the server has looked", || free(&server) > LIMIT);
    assert!(free(&server) < LIMIT * 1.125);
    assert!(is_low(&server));
    std::fs::remove_file(&filler).expect("removed");
    let events = server.lines_until("disk-recovered");
    let low = events.iter().filter(|line| line.contains("disk-low"));
    assert_eq!(low.count(), 1, "{events:#?}");
    let recovered = events.iter().filter(|line| line.contains("disk-recovered"));
    assert_eq!(recovered.count(), 1, "{events:#?}");
    assert!(!is_low(&server));
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_reload_sets_how_much_must_be_free() {
    let (_folder, file) = site::write("hostile_serves", NEVER_ENOUGH, "");
    let config = std::fs::read_to_string(&file).expect("the file");
    let backup = "backup = { folder = \".\" }";
    std::fs::write(&file, format!("{config}{backup}\n")).expect("a file");
    let server = Server::start(site::command(&file));
    // From the start, and once for all folders of one disk.
    until("the disk is low", || is_low(&server));
    let snapshot = server.ask_admin("/snapshot", "").is(200).json();
    let events = snapshot["events"]["recent"].as_array().expect("events");
    let low = events.iter().filter(|event| event["event"] == "disk-low");
    assert_eq!(low.count(), 1, "{events:#?}");
    let disks = snapshot["databases"]["default"]["disks"]
        .as_array()
        .expect("disks");
    let disks: Vec<_> = disks
        .iter()
        .map(|disk| (&disk["of"], &disk["low"]))
        .collect();
    let low = json!(true);
    assert_eq!(
        disks,
        [(&json!("database"), &low), (&json!("backups"), &low)]
    );

    let renamed = config.replace("default\" }", "other\" }");
    let renamed = renamed.replace("[databases.default]", "[databases.other]");
    let enough = renamed.replace(NEVER_ENOUGH, "min-free-disk = 0");
    std::fs::write(&file, enough).expect("a file");
    let disks_of = |database: &str| {
        let answer = server.ask_admin("/metrics", OPEN_METRICS).is(200);
        let of = format!("millpond_disk_free_bytes{{database=\"{database}\"");
        text(&answer.body).matches(&of).count()
    };
    assert_eq!(disks_of("default"), 2);
    server.reload();
    server.line_with("enough space again");
    assert_eq!((disks_of("default"), disks_of("other")), (0, 1));
}

#[test]
fn ready_says_by_its_status_whether_a_server_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = super::configured(folder.path(), "request-timeout = \"1h\"", "127.0.0.1:0");
    let address = server.counters_address();
    let ready = |address: &str| {
        let output = millpond()
            .args(["ready", address])
            .output()
            .expect("it runs");
        output.status.code()
    };
    assert_eq!(ready(&address), Some(0));
    // What is no admin server.
    assert_eq!(ready(&server.address.to_string()), Some(2));
    let of_guests = server.address;
    let held = std::thread::spawn(move || crate::process::ask(of_guests, "GET", "/hold", "", b""));
    until("both connections are in use", || {
        server.ask_admin("/stats", "").json()["databases"]["app"]["in_use"] == 2
    });
    // An answer is good for half a second.
    let mut code = Some(0);
    until("it is not ready", || {
        code = ready(&address);
        code != Some(0)
    });
    assert_eq!(code, Some(1));
    server.kill();
    assert_eq!(ready(&address), Some(2));
    let _ = held.join();
}
