//! What `run` promises to a guest and its user: arguments, environment, exit code, streams, limits.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use millpond_tests::component;
use rusqlite::Connection;

use crate::process::{Server, millpond};

const TRAPPED: i32 = 134;
const MISTAKE: i32 = 2;
/// 128 and the number of SIGPIPE.
const BROKEN_PIPE: i32 = 141;

fn here() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    (folder, database)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn run(flags: &[&str], guest: &Path, args: &[&str]) -> Output {
    let mut command = millpond();
    command.arg("run").args(flags).arg(guest).args(args);
    command
        .stdin(Stdio::null())
        .output()
        .expect("the command runs")
}

/// A component with this text, in its own file.
fn assembled(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("guest.wasm");
    std::fs::write(&path, wat::parse_str(text).expect("a component")).expect("a file");
    (folder, path)
}

/// A command that has further exports, and does this when it runs.
fn command(body: &str, more: &str) -> String {
    format!(
        r#"(component
            (import "wasi:cli/exit@0.2.12" (instance $exit
                (export "exit" (func (param "status" (result))))
                (export "exit-with-code" (func (param "status-code" u8)))))
            (core func $exit (canon lower (func $exit "exit")))
            (core func $code (canon lower (func $exit "exit-with-code")))
            (core module $m
                (import "" "exit" (func $exit (param i32)))
                (import "" "code" (func $code (param i32)))
                (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m (with "" (instance
                (export "exit" (func $exit))
                (export "code" (func $code))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $e (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $e))
            {more})"#
    )
}

#[test]
fn arguments_after_the_component_are_the_guests() {
    let args = [
        "--help",
        "--",
        "--db",
        "x",
        "--env=A=1",
        "-h",
        "--version",
        "",
        "serve",
    ];
    let output = run(&["--env", "A=2"], component("cli_speaks"), &args);
    let expected: String = args.map(|arg| format!("argument {arg}\n")).concat();
    assert_eq!(
        text(&output.stdout),
        expected + "environment A=2\n",
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1));
    // `--` may also precede the component.
    let output = run(&["--"], component("cli_speaks"), &["--help"]);
    assert_eq!(text(&output.stdout), "argument --help\n", "{output:?}");
    // Before it, flags are the command's.
    for (flags, code) in [
        (&["--help"][..], 0),
        (&["--env"], MISTAKE),
        (&["--no-such"], MISTAKE),
    ] {
        let mut command = millpond();
        let output = command.arg("run").args(flags).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[test]
fn an_argument_that_is_not_text_is_a_mistake() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = millpond();
    command.arg("run").arg(component("cli_speaks"));
    let output = command.arg(std::ffi::OsStr::from_bytes(b"\xff")).output();
    assert_eq!(output.expect("it runs").status.code(), Some(MISTAKE));
}

#[test]
fn of_two_values_the_guest_gets_the_last() {
    let flags = [
        "--env", "A=1", "--env", "B=b", "--env", "A=2", "--env", "A=3",
    ];
    let output = run(&flags, component("cli_speaks"), &[]);
    assert_eq!(text(&output.stdout), "environment A=3\nenvironment B=b\n");
}

#[test]
fn an_exit_code_is_what_the_interface_carries() {
    for (body, expected) in [
        ("i32.const 0", 0),
        ("i32.const 1", 1),
        ("(call $exit (i32.const 0)) i32.const 1", 0),
        ("(call $exit (i32.const 1)) i32.const 0", 1),
        ("(call $code (i32.const 0)) i32.const 1", 0),
        ("(call $code (i32.const 7)) i32.const 0", 7),
        ("(call $code (i32.const 255)) i32.const 0", 255),
        ("unreachable", TRAPPED),
    ] {
        let (_folder, guest) = assembled(&command(body, ""));
        let output = run(&[], &guest, &[]);
        assert_eq!(output.status.code(), Some(expected), "{body}: {output:?}");
    }
}

#[test]
fn a_guest_ends_quietly_when_its_reader_closes_the_pipe() {
    let (_folder, database) = here();
    for (guest, args) in [
        (component("hostile_does_as_told"), &["flood"][..]),
        (component("cli_speaks"), &["an argument"]),
        (component("wasi03_visits"), &[]),
    ] {
        let mut child = millpond()
            .args(["run", "--db"])
            .arg(&database)
            .arg(guest)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        if args == ["flood"] {
            stdout.read_line(&mut String::new()).expect("a line");
        }
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(text(&output.stderr), "", "{guest:?}");
        assert_eq!(output.status.code(), Some(BROKEN_PIPE), "{guest:?}");
    }
    // And its errors.
    let mut child = millpond()
        .arg("run")
        .arg(component("cli_speaks"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(BROKEN_PIPE));
}

#[test]
fn a_trapping_command_that_is_also_a_handler_suggests_serve() {
    let handler = r#"(instance $h) (export "wasi:http/incoming-handler@0.2.0" (instance $h))"#;
    for (more, told) in [(handler, true), ("", false)] {
        let (_folder, guest) = assembled(&command("unreachable", more));
        let output = run(&[], &guest, &[]);
        assert_eq!(output.status.code(), Some(TRAPPED), "{output:?}");
        let line = text(&output.stderr);
        assert_eq!(line.contains("millpond serve"), told, "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_guest_without_its_database_is_told_the_flag() {
    let (_folder, database) = here();
    let output = run(&[], component("cli_counts_visits"), &[]);
    assert!(text(&output.stderr).contains("--db PATH"), "{output:?}");
    let path = database.to_str().expect("text");
    let output = run(&["--db", path], component("cli_two_names"), &[]);
    assert!(
        text(&output.stderr).contains("--db other=PATH"),
        "{output:?}"
    );
    let output = run(&["--db", path], component("cli_counts_visits"), &[]);
    assert_eq!(text(&output.stderr), "", "{output:?}");

    let mut command = millpond();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"])
        .arg(component("hostile_serves"));
    let server = Server::start(command);
    server.ask("GET", "/quick", None).is(500);
    server.line_with("--db PATH");
}

/// More than a transaction of `serve` may write.
#[test]
fn an_import_of_more_than_a_request_may_write() {
    const IMPORT: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 25000)
        INSERT INTO t SELECT zeroblob(4000) FROM n";
    let (_folder, database) = here();
    let setup = Connection::open(&database).expect("a database");
    setup
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a)")
        .expect("a table");
    drop(setup);
    let path = database.to_str().expect("text");
    let import = |flags: &[&str]| {
        let flags = [&["--db", path], flags].concat();
        let output = run(
            &flags,
            component("hostile_does_as_told"),
            &["query", IMPORT],
        );
        text(&output.stdout).lines().next().map(str::to_owned)
    };
    assert_eq!(import(&[]).as_deref(), Some("answered"));
    let limited = import(&["--max-transaction-size", "64MiB"]);
    assert_eq!(limited.as_deref(), Some("ErrorKind::QuotaExceeded"));
    let server = Server::of("hostile_serves", &database, &[]);
    let answer = server
        .ask_raw("POST", "/query", "", IMPORT.as_bytes())
        .is(200);
    assert_eq!(text(&answer.body), "ErrorKind::QuotaExceeded");
}

/// Waiting for it would take the whole minute.
#[test]
fn a_statement_of_a_run_has_a_minute() {
    let output = millpond().args(["run", "--help"]).output();
    let output = output.expect("the command runs");
    let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>();
    let help = help.join(" ");
    let (_, flag) = help.split_once("--max-statement-time").expect("the flag");
    let (flag, _) = flag.split_once(']').expect("its default");
    assert!(
        flag.ends_with("[default: 1m for `run`; for `serve`, as --request-timeout"),
        "{flag}"
    );
}

#[test]
fn every_limit_has_a_flag() {
    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let (_folder, database) = here();
    let path = database.to_str().expect("text");
    let guest = component("hostile_does_as_told");
    let two = "SELECT zeroblob(50000) UNION ALL SELECT zeroblob(50001)";
    let sort = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)
        SELECT max(a) FROM (SELECT randomblob(100) a FROM n ORDER BY a)";
    for (flag, value, sql, expected) in [
        (
            "--max-statement-time",
            "50ms",
            ENDLESS,
            "ErrorKind::DeadlineExceeded",
        ),
        (
            "--max-statement-steps",
            "1000",
            ENDLESS,
            "ErrorKind::DeadlineExceeded",
        ),
        (
            "--max-value-size",
            "64KiB",
            "SELECT zeroblob(65537)",
            "ErrorKind::TooLarge",
        ),
        (
            "--max-value-size",
            "2MiB",
            "SELECT length(zeroblob(2000000))",
            "answered",
        ),
        ("--max-result-size", "64KiB", two, "ErrorKind::TooLarge"),
        (
            "--max-connection-memory",
            "4MiB",
            sort,
            "ErrorKind::QuotaExceeded",
        ),
        (
            "--max-sqlite-memory",
            "4MiB",
            sort,
            "ErrorKind::QuotaExceeded",
        ),
    ] {
        let output = run(&["--db", path, flag, value], guest, &["query", sql]);
        let said = text(&output.stdout).lines().next();
        assert_eq!(said, Some(expected), "{flag}: {output:?}");
    }
    let long = format!("SELECT 1{}", " ".repeat(90_000));
    // Each of these denies the guest something that it needs from the start.
    for (flag, value, args) in [
        ("--max-connections", "0", &["query", "SELECT 1"][..]),
        ("--max-statements", "0", &["pages"]),
        ("--max-cursors", "0", &["pages"]),
        ("--max-transactions", "0", &["order", "0"]),
        ("--max-handles", "1", &["query", "SELECT 1"]),
        ("--max-call-size", "64KiB", &["query", &long]),
        ("--max-tables", "1", &["query", "SELECT 1"]),
        ("--max-table-entries", "1", &["query", "SELECT 1"]),
        ("--max-instances", "1", &["query", "SELECT 1"]),
    ] {
        let output = run(&["--db", path, flag, value], guest, args);
        assert_ne!(output.status.code(), Some(0), "{flag}: {output:?}");
        assert_ne!(output.status.code(), Some(MISTAKE), "{flag}: {output:?}");
    }
    let bounds: &[(&str, &[&str], &[&str])] = &[
        ("--pool-size", &["1", "1024"], &["0", "1025"]),
        ("--timeout", &["0", "1h"], &["61m"]),
        ("--max-idle", &["0", "5"], &["6"]),
        ("--busy-timeout", &["0", "1h"], &["61m"]),
        ("--cache-size", &["64KiB", "32MiB"], &["63KiB", "2GiB"]),
        ("--mmap-size", &["0", "64GiB"], &["65GiB"]),
        ("--statement-cache", &["0", "10000"], &["10001"]),
        (
            "--max-connection-memory",
            &["4MiB", "64GiB"],
            &["3MiB", "65GiB"],
        ),
        ("--max-sqlite-memory", &["64MiB"], &["3MiB", "16385GiB"]),
        (
            "--max-database-size",
            &["1MiB", "16384GiB"],
            &["1023KiB", "16385GiB"],
        ),
        (
            "--max-transaction-size",
            &["1MiB", "16384GiB"],
            &["1023KiB", "16385GiB"],
        ),
        (
            "--max-value-size",
            &["64KiB", "1023MiB"],
            &["63KiB", "1GiB"],
        ),
        ("--max-result-size", &["64KiB", "1GiB"], &["63KiB", "2GiB"]),
        ("--max-page-size", &["1KiB", "64MiB"], &["1023", "65MiB"]),
        ("--max-connections", &["1", "1024"], &["1025"]),
        ("--max-statements", &["1", "1000000"], &["1000001"]),
        ("--max-cursors", &["1", "1000000"], &["1000001"]),
        ("--max-transactions", &["1", "1000000"], &["1000001"]),
        ("--max-statement-time", &["10s", "10000h"], &["0", "10001h"]),
        ("--max-statement-steps", &["1000000"], &["0"]),
        ("--max-transaction-time", &["10s", "10000h"], &["10001h"]),
        ("--max-hold-time", &["1s", "10000h"], &["10001h"]),
        ("--max-memory-size", &["16MiB", "4GiB"], &["63KiB", "5GiB"]),
        ("--max-memories", &["1", "16"], &["0", "17"]),
        ("--max-tables", &["8", "64"], &["0", "65"]),
        (
            "--max-table-entries",
            &["1000", "1000000"],
            &["0", "1000001"],
        ),
        ("--max-instances", &["32", "256"], &["0", "257"]),
        ("--max-handles", &["100", "1000000"], &["0", "1000001"]),
        ("--max-stack-size", &["64KiB", "16MiB"], &["63KiB", "17MiB"]),
        ("--max-call-size", &["64KiB", "1GiB"], &["63KiB", "2GiB"]),
        ("--max-random-size", &["64", "1MiB"], &["63", "2MiB"]),
    ];
    for (flag, good, bad) in bounds {
        for (values, expected) in [(good, 0), (bad, MISTAKE)] {
            for value in *values {
                let flags = ["--db", path, flag, value];
                let output = run(&flags, component("cli_counts_visits"), &[]);
                assert_eq!(
                    output.status.code(),
                    Some(expected),
                    "{flag} {value}: {output:?}"
                );
            }
        }
    }
    for (flag, good, bad) in [
        ("--head-timeout", "1h", "2h"),
        ("--max-output-size", "0", "2GiB"),
        ("--max-requests", "4096", "4097"),
    ] {
        let mut command = millpond();
        let listen = ["serve", "--listen", "127.0.0.1:0", flag, bad];
        let output = command
            .args(listen)
            .arg(component("hostile_serves"))
            .output();
        assert_eq!(
            output.expect("it runs").status.code(),
            Some(MISTAKE),
            "{flag}"
        );
        if flag != "--max-requests" {
            let server = Server::of("hostile_serves", &database, &[flag, good]);
            server.ask("GET", "/quick", None).is(200);
        }
    }
    let tested = [include_str!("run.rs"), include_str!("deadlines.rs")].concat();
    for command in ["run", "serve"] {
        let output = millpond().args([command, "--help"]).output();
        let output = output.expect("the command runs");
        let flags = text(&output.stdout).split(|c: char| c != '-' && !c.is_ascii_lowercase());
        for flag in flags.filter(|flag| flag.starts_with("--max-")) {
            assert!(
                tested.contains(&format!("\"{flag}\"")),
                "{flag} is not tested"
            );
        }
    }
}

#[test]
fn a_head_that_does_not_come_in_time_ends_its_connection() {
    use std::io::{Read, Write};
    let (_folder, database) = here();
    let server = Server::of("hostile_serves", &database, &["--head-timeout", "100ms"]);
    let mut client = std::net::TcpStream::connect(server.address).expect("a connection");
    client.write_all(b"GET /quick HT").expect("it reads");
    client
        .set_read_timeout(Some(crate::process::PATIENCE))
        .expect("a timeout");
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn a_guests_output_has_a_limit() {
    let (_folder, database) = here();
    let flags = ["--max-output-size", "20000", "--request-timeout", "500ms"];
    let server = Server::of("hostile_serves", &database, &flags);
    server.ask("GET", "/flood", None).is(504);
    server.line_with("more than 20000 bytes");
}

#[test]
fn a_url_is_no_path() {
    let (folder, _) = here();
    let mut runs: Vec<(Vec<&str>, Option<&str>)> = Vec::new();
    for url in [
        "file:app.db",
        "sqlite:///app.db",
        "SQLITE:app.db?mode=ro",
        "postgres://x/app",
    ] {
        runs.push((vec!["run", "--db", url, "x.wasm"], None));
        runs.push((vec!["run", "--db-read-only", url, "x.wasm"], None));
        runs.push((vec!["serve", "--db", url, "x.wasm"], None));
        runs.push((vec!["migrate", "--migrations", ".", "--db", url], None));
        runs.push((vec!["migrate", "--migrations", "."], Some(url)));
    }
    for (args, variable) in runs {
        let mut command = millpond();
        command.args(&args).current_dir(folder.path());
        if let Some(url) = variable {
            command.env("DATABASE_PATH", url);
        }
        let output = command.output().expect("the command runs");
        assert_eq!(output.status.code(), Some(MISTAKE), "{args:?}: {output:?}");
        let line = text(&output.stderr);
        assert!(line.contains("URL") && line.lines().count() == 1, "{line}");
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "{args:?}");
    }
}
