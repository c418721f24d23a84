//! The command with databases on a libSQL server: what it refuses at its start, and, where the
//! variable `MILLPOND_SQLD` names the server's program, notes and migrations on a real one.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc::channel;

use millpond_pool::{Access, Parameters, Value};
use millpond_tests::component;
use rusqlite::Connection;
use serde_json::json;

use crate::process::{MIGRATIONS, Server, ask, millpond};
use crate::sqld::Sqld;

const MISTAKE: i32 = 2;
/// That of a server that does not start for a reason that may pass.
const NOT_NOW: i32 = 1;

/// The public key of a server that asks for tokens, and a token that is signed with its private
/// key.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAs7pPoI23s0ec6FN6u4VnY35Bbfjbi8QNvYh1GjJI5A4=
-----END PUBLIC KEY-----
";
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJhIjoicncifQ.\
                     ygCHuqCfFjzg5ftaaCf3jm27T3kTV6QpNH2YkI3wBUMDBLkRVkn-3QSnpRJybmd6vI9-p_tBu3-hduVits_xDQ";

fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = millpond();
    command
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command.output().expect("the command runs")
}

/// Asserts that the command refuses, in one line, and returns that.
#[track_caller]
fn refused(args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(args, variables);
    let line = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(MISTAKE), "{args:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{args:?}: {line}");
    line
}

/// Arguments of a guest that would use the database, with these flags.
fn speaks<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let guest = component("cli_speaks").to_str().expect("a path");
    [&["run"][..], flags, &[guest]].concat()
}

/// The URL of a port that nothing listens on.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    format!("http://{}", listener.expect("a port"))
}

#[test]
fn a_limit_that_a_server_cannot_enforce_is_refused_by_its_flag() {
    let url = closed();
    let db = format!("app={url}");
    for (flag, value) in [
        ("--max-database-size", "1GiB"),
        ("--max-transaction-size", "1MiB"),
        ("--max-connection-memory", "64MiB"),
        ("--max-statement-steps", "1000000"),
        ("--max-value-size", "1GiB"),
        ("--max-result-size", "1GiB"),
        // Without a database in a file, they have no effect.
        ("--max-sqlite-memory", "1GiB"),
        ("--busy-timeout", "1s"),
        ("--cache-size", "4MiB"),
        ("--mmap-size", "1MiB"),
        ("--statement-cache", "16"),
        ("--synchronous", "normal"),
        ("--upkeep-after", "1s"),
    ] {
        let line = refused(&speaks(&["--db", &db, flag, value]), &[]);
        assert!(line.contains(flag), "{line}");
    }
    // Refused for the server, though there is a file too.
    let flags = [
        "--db",
        &db,
        "--db",
        ":memory:",
        "--max-database-size",
        "1GiB",
    ];
    let line = refused(&speaks(&flags), &[]);
    assert!(
        line.contains("--max-database-size") && line.contains("`app`"),
        "{line}"
    );
}

#[test]
fn a_server_that_is_not_there_is_named_by_its_database() {
    let db = format!("app={}", closed());
    let line = refused(&speaks(&["--db", &db]), &[]);
    assert!(line.contains("`app`"), "{line}");
    // A service manager must try again.
    let guest = component("hostile_serves").to_str().expect("a path");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--db", &db, guest];
    assert_eq!(run(&serve, &[]).status.code(), Some(NOT_NOW));
    let migrations = format!("app={MIGRATIONS}");
    let line = refused(&["migrate", "--db", &db, "--migrations", &migrations], &[]);
    assert!(line.contains("`app`"), "{line}");
}

#[test]
fn what_would_tell_a_secret_is_refused_and_not_repeated() {
    for db in [
        "https://me:secret@db.example.com",
        "app=libsql://db.example.com?authToken=secret",
        "http://127.0.0.1:1?secret",
    ] {
        let line = refused(&speaks(&["--db", db]), &[]);
        assert!(!line.contains("secret"), "{line}");
        let line = refused(&["migrate", "--db", db, "--migrations", MIGRATIONS], &[]);
        assert!(!line.contains("secret"), "{line}");
    }
    let url = [("DATABASE_PATH", "https://me:secret@db.example.com")];
    let line = refused(&speaks(&[]), &url);
    assert!(!line.contains("secret"), "{line}");

    // Of a network that others read, before anything is sent.
    let line = refused(&speaks(&["--db", "http://192.0.2.1"]), &[]);
    assert!(line.contains("--allow-plain-http"), "{line}");

    // Names that the environment cannot tell apart.
    let url = closed();
    let (one, two) = (format!("a-b={url}"), format!("A_B={url}"));
    let token = [("MILLPOND_DB_TOKEN_A_B", "secret")];
    let line = refused(&speaks(&["--db", &one, "--db", &two]), &token);
    assert!(line.contains("MILLPOND_DB_TOKEN_A_B"), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_file_of_a_token_is_for_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let path = path.to_str().expect("a path");
    std::fs::write(path, "secret").expect("a file");
    let url = closed();
    let named = format!("app={path}");
    for flags in [
        &["--db", ":memory:", "--db-token-file", path][..],
        &["--db", &url, "--db-token-file", &named],
        &[
            "--db",
            &url,
            "--db-token-file",
            path,
            "--db-token-file",
            path,
        ],
    ] {
        let line = refused(&speaks(flags), &[]);
        assert!(line.contains("--db-token-file"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    std::fs::write(path, "sec\u{7}ret").expect("a file");
    let line = refused(&speaks(&["--db", &url, "--db-token-file", path]), &[]);
    assert!(!line.contains("sec"), "{line}");
}

#[test]
fn a_server_that_asks_for_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, file) = (folder.path().join("key.pem"), folder.path().join("token"));
    std::fs::write(&key, KEY).expect("a file");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    let key = key.to_str().expect("a path");
    let Some(sqld) = Sqld::start_with(&["--auth-jwt-key-file", key]) else {
        return;
    };
    let url = sqld.url();
    let file = file.to_str().expect("a path");
    let migrate = ["migrate", "--db", &url, "--migrations", MIGRATIONS];
    let with_file = [&migrate[..], &["--db-token-file", file]].concat();
    for (args, variables) in [
        (&with_file, &[][..]),
        (&with_file, &[("MILLPOND_DB_TOKEN", "another")]),
        (&migrate.to_vec(), &[("MILLPOND_DB_TOKEN", TOKEN)]),
    ] {
        let output = run(args, variables);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    // Another's token, and none.
    let altered = TOKEN.replace("J9", "J8");
    for variables in [&[][..], &[("MILLPOND_DB_TOKEN", &*altered)]] {
        let line = refused(&migrate, variables);
        assert!(!line.contains(&altered), "{line}");
        let guest = speaks(&["--db", &url]);
        let line = refused(&guest, variables);
        assert!(!line.contains(&altered), "{line}");
    }
}

#[test]
fn two_hosts_serve_notes_from_one_database() {
    let Some(sqld) = Sqld::start() else { return };
    let url = sqld.url();
    let hosts = [(); 2].map(|()| Server::notes(Path::new(&url), &[]));
    let note = json!({"title": "Milk", "body": "Two bottles"});
    let made = hosts[0].ask("POST", "/api/notes", Some(&note)).is(201);
    let path = made.headers["location"].clone();
    assert_eq!(hosts[1].ask("GET", &path, None).is(200).json(), made.json());
    let found = hosts[1].ask("GET", "/api/notes?search=bott", None).is(200);
    assert_eq!(found.json()["total"], 1);
    hosts[1].ask("DELETE", &path, None).is(204);
    hosts[0].ask("GET", &path, None).is(404);
    for host in hosts {
        host.ends_with_nothing_in_use();
    }
}

#[test]
fn a_host_that_is_killed_loses_no_acknowledged_note() {
    const WRITERS: usize = 3;
    const NOTES: usize = 60;
    let Some(sqld) = Sqld::start() else { return };
    let url = sqld.url();
    let [killed, other] = [(); 2].map(|()| Server::notes(Path::new(&url), &["--no-access-log"]));
    let (acknowledge, acknowledged) = channel();
    let mut told = BTreeMap::new();
    std::thread::scope(|scope| {
        for (writer, address) in [killed.address, other.address]
            .into_iter()
            .cycle()
            .take(2 * WRITERS)
            .enumerate()
        {
            let acknowledge = acknowledge.clone();
            scope.spawn(move || {
                let mut number = 0;
                while number < NOTES {
                    let title = format!("writer {writer}, note {number}");
                    let note = json!({"title": title}).to_string();
                    let headers = "content-type: application/json\r\n";
                    let answer = ask(address, "POST", "/api/notes", headers, note.as_bytes());
                    // A truncated response acknowledges nothing.
                    let Ok(answer) = answer else { break };
                    // The server waits 5 s before it takes the lock from the killed host. Meanwhile
                    // others may be told that it is busy, and to try again.
                    if answer.status == 503 {
                        assert_eq!(answer.json()["error"]["kind"], "busy");
                        continue;
                    }
                    let id = answer.is(201).json()["id"].as_i64().expect("an id");
                    let _ = acknowledge.send((id, title));
                    number += 1;
                }
            });
        }
        drop(acknowledge);
        told.extend(acknowledged.iter().take(2 * WRITERS));
        killed.kill();
        told.extend(acknowledged.iter());
    });
    // Of the one that was killed, perhaps none was acknowledged.
    assert!(told.len() >= NOTES * WRITERS, "the other host went on");
    for (id, title) in &told {
        let kept = other.ask("GET", &format!("/api/notes/{id}"), None).is(200);
        assert_eq!(kept.json()["title"], **title);
    }
    other.ends_with_nothing_in_use();
}

/// A folder of migrations.
fn migrations(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

/// The arguments that apply the migrations of a folder to a database.
fn migrate<'a>(database: &'a str, folder: &'a tempfile::TempDir) -> [&'a str; 5] {
    let folder = folder.path().to_str().expect("a path");
    ["migrate", "--db", database, "--migrations", folder]
}

/// The rows of the table of applied migrations, but for the times.
fn recorded(sqld: &Sqld) -> Vec<Vec<String>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let pool = sqld.pool().await;
        let connection = pool.get(Access::ReadOnly).await;
        let sql = "SELECT number || '', name, sha256 FROM millpond_migrations ORDER BY number";
        let connection = connection.expect("a connection");
        let rows = connection.query_rows(sql, &Parameters::NONE).await;
        let rows = rows.expect("rows");
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        let rows = rows.to_vec();
        rows.iter()
            .map(|row| row.iter().map(text).collect())
            .collect()
    })
}

#[test]
fn migrations_are_recorded_as_on_a_file() {
    let Some(sqld) = Sqld::start() else { return };
    let url = sqld.url();
    let long = format!("INSERT INTO note(body) VALUES ('{}');", "x".repeat(200_000));
    let folder = migrations(&[
        (
            "001-note.sql",
            "\u{feff}CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT);\r\n\
             CREATE TRIGGER t AFTER INSERT ON note BEGIN SELECT 1; SELECT 2; END;",
        ),
        ("002-long.sql", &long),
        (
            "010-rebuild.sql",
            "CREATE TABLE child(note REFERENCES note(id)); INSERT INTO child VALUES (1);
             CREATE TABLE new(id INTEGER PRIMARY KEY, body TEXT NOT NULL);
             INSERT INTO new SELECT id, body FROM note; DROP TABLE note;
             ALTER TABLE new RENAME TO note; -- the end",
        ),
    ]);
    let here = tempfile::tempdir().expect("a folder");
    let file = here.path().join("app.db");
    let file = file.to_str().expect("a path");
    for word in ["applied", "already"] {
        for database in [file, &url] {
            let output = run(&migrate(database, &folder), &[]);
            let printed = String::from_utf8(output.stdout).expect("text");
            assert_eq!(output.status.code(), Some(0), "{printed}");
            let lines: Vec<_> = printed.lines().collect();
            assert_eq!(lines.len(), 3, "{printed}");
            let second = |line: &str| line.split(' ').nth(1) == Some(word);
            assert!(lines.iter().all(|line| second(line)), "{printed}");
        }
    }
    let connection = Connection::open(file).expect("the file");
    let sql = "SELECT number || '', name, sha256 FROM millpond_migrations ORDER BY number";
    let mut statement = connection.prepare(sql).expect("the table");
    let on_file = statement
        .query_map([], |row| Ok(vec![row.get(0)?, row.get(1)?, row.get(2)?]))
        .and_then(Iterator::collect::<Result<Vec<Vec<String>>, _>>);
    assert_eq!(recorded(&sqld), on_file.expect("rows"));
}

#[test]
fn a_migration_that_fails_on_a_server_is_undone() {
    let Some(sqld) = Sqld::start() else { return };
    let url = sqld.url();
    let first = ("001-a.sql", "CREATE TABLE a(id INTEGER PRIMARY KEY);");
    let second = ("002-b.sql", "CREATE TABLE b(a REFERENCES a(id));");
    let good = migrations(&[first, second]);
    for (name, text, line) in [
        (
            "002-bad.sql",
            "CREATE TABLE b(x);\n\nCREATE TABEL c(x);",
            "line 3",
        ),
        (
            "002-bad.sql",
            "CREATE TABLE b(x);\nINSERT INTO missing VALUES (1);",
            "line 2",
        ),
        ("002-bad.sql", "CREATE TABLE b(x);\nCOMMIT;", "line 2"),
        ("002-bad.sql", "BEGIN; CREATE TABLE b(x)", "line 1"),
        (
            "002-bad.sql",
            "CREATE TABLE b(x); INSERT INTO b VALUES (?1)",
            "line 1",
        ),
        (
            "002-bad.sql",
            "CREATE TABLE b(a REFERENCES a(id)); INSERT INTO b VALUES (7)",
            "table b",
        ),
        // What does not fit what was applied.
        ("000-early.sql", "CREATE TABLE early(x)", "000-early.sql"),
    ] {
        let folder = migrations(&[first, (name, text)]);
        let line_of = refused(&migrate(&url, &folder), &[]);
        assert!(
            line_of.contains(name) && line_of.contains(line),
            "{line_of}"
        );
    }
    let changed = migrations(&[("001-a.sql", "CREATE TABLE a(other);")]);
    assert!(refused(&migrate(&url, &changed), &[]).contains("001-a.sql"));
    // Nothing of the failed ones is left: their table's name is free.
    let output = run(&migrate(&url, &good), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(recorded(&sqld).len(), 2);
}

#[test]
fn ten_hosts_that_migrate_at_once_apply_each_migration_once() {
    const HOSTS: usize = 10;
    let Some(sqld) = Sqld::start() else { return };
    let url = sqld.url();
    let files: Vec<_> = (1..=5)
        .map(|number| {
            let text = format!("CREATE TABLE t{number}(a); INSERT INTO t{number} VALUES (1);");
            (format!("{number}-t.sql"), text)
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let folder = migrations(&files);
    let hosts: Vec<_> = (0..HOSTS)
        .map(|_| {
            let mut command = millpond();
            command.args(migrate(&url, &folder));
            let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped());
            pipes.stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    let mut applied = 0;
    for host in hosts {
        let output = host.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(printed.lines().count(), files.len(), "{printed}");
        applied += printed.matches(": applied ").count();
    }
    assert_eq!(applied, files.len());
    assert_eq!(recorded(&sqld).len(), files.len());
}

/// The server takes the database from the one that migrates, for the next that waits.
#[test]
fn hosts_that_run_a_long_migration_at_once_all_end_well() {
    let Some(sqld) = Sqld::start() else { return };
    let long = "CREATE TABLE t(a);
        INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000000)
        SELECT max(i) FROM n;";
    let folder = migrations(&[
        ("001-long.sql", long),
        ("002-brief.sql", "CREATE TABLE u(a);"),
    ]);
    let hosts: Vec<_> = (0..3)
        .map(|_| {
            let mut command = millpond();
            command.args(migrate(&sqld.url(), &folder));
            let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped());
            pipes.stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for host in hosts {
        let output = host.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(recorded(&sqld).len(), 2);
}
