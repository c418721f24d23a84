//! Components that do what no honest one does, each under `millpond run`, in its own process: the
//! host responds or traps, ends in time, and the database is intact.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use millpond_tests::{component, foreach_hostile};
use rusqlite::Connection;

use crate::assert_test_exists;
use crate::process::{MISTAKE, Server, millpond};
#[cfg(target_os = "linux")]
use crate::process::{text, until};

foreach_hostile!(assert_test_exists);

const TRAPPED: i32 = 134;

/// Run a component, and check what it left.
fn run(component: &Path, args: &[&str], time: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let database = Connection::open(&path).expect("a database");
    database
        .execute_batch("CREATE TABLE t(a); PRAGMA journal_mode = WAL")
        .expect("a table");
    drop(database);
    let output = millpond()
        .args([
            "run",
            "--max-memory-size",
            "128MiB",
            "--max-run-time",
            time,
            "--db",
        ])
        .arg(&path)
        .arg(component)
        .args(args)
        .output()
        .expect("a process");

    let files: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(files, ["app.db"], "{args:?}");
    let database = Connection::open(&path).expect("the database");
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.as_deref(), Ok("ok"), "{args:?}");
    output
}

/// The exit code of a guest, and whether it got to the end.
fn ended(args: &[&str], time: &str) -> (Option<i32>, bool) {
    let output = run(component("hostile_does_as_told"), args, time);
    let survived = output.stdout.ends_with(b"survived\n");
    if !survived {
        let errors = String::from_utf8_lossy(&output.stderr);
        println!("{args:?}: {}", errors.lines().last().unwrap_or_default());
    }
    (output.status.code(), survived)
}

#[test]
fn hostile_does_as_told() {
    const ENOUGH: &str = "60s";
    let answered: &[&[&str]] = &[
        &["hoard", "0", "connections"],
        &["hoard", "0", "statements"],
        &["hoard", "0", "cursors"],
        &["hoard", "0", "transactions"],
        &["huge", "0", "list"],
        &["huge", "0", "names"],
        &["huge", "0", "same name"],
        &["huge", "0", "database"],
        &["rows"],
        &["names"],
        &["pages"],
        &["outside"],
    ];
    for args in answered {
        assert_eq!(ended(args, ENOUGH), (Some(0), true), "{args:?}");
    }
    let trapped: &[&[&str]] = &[
        &["confuse", "0", "statement as connection"],
        &["confuse", "0", "cursor as statement"],
        &["confuse", "0", "connection as cursor"],
        &["confuse", "0", "cursor as transaction"],
        &["reuse", "0", "connection"],
        &["reuse", "0", "return twice"],
        &["reuse", "0", "drop twice"],
        &["reuse", "0", "statement"],
        &["reuse", "0", "cursor"],
        &["reuse", "0", "commit twice"],
        &["huge", "0", "sql"],
        &["huge", "0", "text"],
        &["recurse"],
        &["grow"],
    ];
    for args in trapped {
        assert_eq!(ended(args, ENOUGH), (Some(TRAPPED), false), "{args:?}");
    }
    for kind in [
        "connection",
        "statement",
        "cursor",
        "transaction",
        "return",
        "close",
        "drop",
    ] {
        for handle in ["1", "2", "4095", "65536", "4294967294"] {
            let args = ["forge", handle, kind];
            assert_eq!(ended(&args, ENOUGH), (Some(TRAPPED), false), "{args:?}");
        }
    }
    // The host stops them, whatever call they are in.
    for args in [
        ["compute", "0", ""],
        ["sleep", "0", ""],
        ["call without end", "0", "stats"],
        ["call without end", "0", "prepare"],
        ["call without end", "0", "query"],
        ["call without end", "0", "fail"],
        ["call without end", "0", "write"],
        ["call without end", "0", "begin"],
        ["call without end", "0", "page"],
        ["call without end", "0", "get"],
        ["flood", "0", ""],
    ] {
        assert_eq!(ended(&args, "300ms"), (Some(TRAPPED), false), "{args:?}");
    }
}

#[test]
fn handles_are_dropped_in_every_order() {
    for order in 0..24_u32 {
        let order = order.to_string();
        assert_eq!(ended(&["order", &order], "60s"), (Some(0), true), "{order}");
    }
}

/// Set `MILLPOND_SEEDS` to run more of them.
#[test]
fn calls_in_no_order_are_answered() {
    let seeds = std::env::var("MILLPOND_SEEDS").ok();
    let seeds: u32 = seeds.map_or(25, |seeds| {
        seeds.parse().expect("MILLPOND_SEEDS is a number")
    });
    for seed in 1..=seeds {
        let seed = seed.to_string();
        assert_eq!(ended(&["random", &seed], "60s"), (Some(0), true), "{seed}");
    }
}

/// A command component, with `module` in its core module and `beside` next to it.
fn command(module: &str, beside: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m {module} (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            {beside}
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $e (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $e)))"#
    );
    wat::parse_str(text).expect("a component")
}

fn run_bytes(bytes: &[u8], time: &str) -> Option<i32> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bomb.wasm");
    std::fs::write(&path, bytes).expect("a file");
    let output = run(&path, &[], time);
    println!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    output.status.code()
}

#[test]
fn components_that_are_too_much_are_refused() {
    assert_eq!(
        run_bytes(&command("", ""), "60s"),
        Some(0),
        "the rest of each"
    );
    let many = |what: &str, count: usize| what.repeat(count);
    for (what, bytes) in [
        (
            "instances",
            command("", &many("(core instance (instantiate $m))", 1000)),
        ),
        ("memories", command(&many("(memory 1)", 90), "")),
        ("a memory", command("(memory 65536)", "")),
        ("a table", command("(table 4000000000 funcref)", "")),
        ("tables", command(&many("(table 10000 funcref)", 90), "")),
    ] {
        let code = run_bytes(&bytes, "60s");
        assert!(matches!(code, Some(MISTAKE | TRAPPED)), "{what}: {code:?}");
    }
    // Before any call.
    let start = command("(func $f (loop (br 0))) (start $f)", "");
    assert_eq!(run_bytes(&start, "300ms"), Some(TRAPPED));
    let start = command("(func $f unreachable) (start $f)", "");
    assert_eq!(run_bytes(&start, "60s"), Some(TRAPPED));
}

#[test]
fn a_guest_that_calls_the_host_while_it_is_called_traps() {
    // The host calls the guest to allocate memory for a list; the guest calls the host for the
    // list.
    let text = r#"(component
        (import "millpond:sqlite/pool@0.1.0" (instance $pool
            (export "databases" (func (result (list string))))))
        (core module $memory
            (type $databases (func (param i32)))
            (memory (export "memory") 1)
            (table (export "table") 1 funcref)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (call_indirect (type $databases) (i32.const 64) (i32.const 0))
                (i32.const 1024)))
        (core instance $memory (instantiate $memory))
        (core func $databases (canon lower (func $pool "databases")
            (memory (core memory $memory "memory"))
            (realloc (core func $memory "realloc"))))
        (core module $main
            (import "" "table" (table 1 funcref))
            (import "" "databases" (func $databases (param i32)))
            (elem (i32.const 0) func $databases)
            (func (export "run") (result i32)
                (call $databases (i32.const 0))
                (i32.const 0)))
        (core instance $main (instantiate $main (with "" (instance
            (export "table" (table $memory "table"))
            (export "databases" (func $databases))))))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (instance $e (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $e)))"#;
    let bytes = wat::parse_str(text).expect("a component");
    assert_eq!(run_bytes(&bytes, "60s"), Some(TRAPPED));
}

#[test]
fn hostile_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    // Requests that do not end by themselves get little time, others as much as they need.
    for (time, status, requests) in [
        ("500ms", 504, &["/loop", "/flood", "/sql", "/hold"][..]),
        ("60s", 500, &["/trap", "/grow"]),
    ] {
        let server = Server::of("hostile_serves", &path, &["--request-timeout", time]);
        for request in requests {
            server.ask("GET", request, None).is(status);
            server.ask("GET", "/quick", None).is(200);
        }
        assert_eq!(server.counters()["in_use"], 0);
    }
}

#[test]
fn hostile_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::of("hostile_error", &folder.path().join("app.db"), &[]);
    server.ask("GET", "/", None).is(500);
    // Why the guest ended, not what it said before.
    server.line_with("trapped) ");
}

#[test]
fn a_disconnecting_client_ends_its_statement() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let server = Server::of("hostile_serves", &path, &["--request-timeout", "1h"]);
    let mut client = TcpStream::connect(server.address).expect("a connection");
    // One statement, which ends at the request's deadline and not before.
    client
        .write_all(b"GET /sql HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("a request");
    while server.counters()["in_use"] != 1 {
        std::thread::yield_now();
    }
    drop(client);
    while server.counters()["in_use"] != 0 {
        std::thread::yield_now();
    }
}

/// The usual priority of a server's threads, and that of guests that compute. 19 is the lowest.
#[cfg(target_os = "linux")]
fn priorities(server: &Server) -> (i32, i32) {
    let workers = server.nice("tokio-rt-worker");
    let usual = workers.into_iter().max().expect("a worker");
    (usual, 19.min(usual + 10))
}

#[cfg(target_os = "linux")]
#[test]
fn guests_that_compute_leave_the_workers_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let processors = std::thread::available_parallelism()
        .expect("a number")
        .get();
    let guests = processors + 4;
    let server = Server::of("hostile_serves", &path, &["--request-timeout", "1h"]);
    let running = || {
        let snapshot = server.ask_admin("/snapshot", "").is(200).json();
        snapshot["places"]["in_use"].as_u64().expect("a number") as usize
    };
    let clients: Vec<_> = (0..guests)
        .map(|_| {
            let mut client = TcpStream::connect(server.address).expect("a connection");
            client
                .write_all(b"GET /loop HTTP/1.1\r\nhost: x\r\n\r\n")
                .expect("a request");
            client
        })
        .collect();
    until("all run", || running() == guests);
    assert_eq!(
        server.nice("millpond-guest"),
        vec![priorities(&server).1; processors]
    );
    drop(clients);
    until("they end", || running() == 0);
    // However many guests they have run.
    assert_eq!(server.nice("millpond-guest").len(), processors);
}

/// On Linux a thread inherits the priority of the one that starts it.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_a_guest_in_the_background_starts_have_their_own_priority() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let server = Server::of("hostile_serves", &path, &["--request-timeout", "1h"]);
    let ask = |path: &str, sql: &str| {
        let answer = server.ask_raw("POST", path, "", sql.as_bytes()).is(200);
        assert_eq!(text(&answer.body), "answered", "{sql}");
    };
    let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)";
    // It hands its worker over, to a thread that is started for that.
    ask("/compute/query", &format!("{count} SELECT max(i) FROM n"));
    let (usual, low) = priorities(&server);
    let background = server.nice("millpond-guest");
    assert!(background.iter().all(|nice| *nice == low), "{background:?}");

    // This runs on a thread that the connection keeps, for other requests too.
    ask("/compute/query", "PRAGMA table_list");
    let aside = server.nice("millpond-aside");
    assert_eq!(aside, vec![usual; aside.len()]);
    assert_ne!(aside.len(), 0);
}
