//! What `run` promises to a guest and its user: arguments, environment, exit code, streams, limits.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use millpond_tests::component;
use rusqlite::Connection;

use crate::process::{MISTAKE, Server, here, millpond, output_of_run, text};

const TRAPPED: i32 = 134;
/// 128 and the number of SIGPIPE.
const BROKEN_PIPE: i32 = 141;

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
    let output = output_of_run(&["--env", "A=2"], component("cli_speaks"), &args);
    let expected: String = args.map(|arg| format!("argument {arg}\n")).concat();
    assert_eq!(
        text(&output.stdout),
        expected + "environment A=2\n",
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1));
    // `--` may also precede the component.
    let output = output_of_run(&["--"], component("cli_speaks"), &["--help"]);
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
    let output = output_of_run(&flags, component("cli_speaks"), &[]);
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
        let output = output_of_run(&[], &guest, &[]);
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
        let output = output_of_run(&[], &guest, &[]);
        assert_eq!(output.status.code(), Some(TRAPPED), "{output:?}");
        let stderr = text(&output.stderr);
        // The backtrace follows.
        let line = stderr.lines().next().expect("a line");
        assert_eq!(line.contains("millpond serve"), told, "{stderr}");
    }
}

#[test]
fn a_guest_without_its_database_is_told_the_flag() {
    let (_folder, database) = here();
    let output = output_of_run(&[], component("cli_counts_visits"), &[]);
    assert!(text(&output.stderr).contains("--db PATH"), "{output:?}");
    let path = database.to_str().expect("text");
    let output = output_of_run(&["--db", path], component("cli_two_names"), &[]);
    assert!(
        text(&output.stderr).contains("--db other=PATH"),
        "{output:?}"
    );
    let output = output_of_run(&["--db", path], component("cli_counts_visits"), &[]);
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
        let output = output_of_run(
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
    // What the log has of each line counts, too.
    for path in ["/flood", "/flood/lines"] {
        server.ask("GET", path, None).is(504);
        let lines = server.lines_until("more than 20000 bytes");
        let lines = lines.iter().filter(|line| line.contains("guest: "));
        let size: usize = lines.map(|line| line.len() + 1).sum();
        assert!(size < 20_200, "{size}");
    }
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
