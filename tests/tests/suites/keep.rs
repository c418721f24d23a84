//! The command keeps data: `backup`, `restore` and `verify`, beside a server that writes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::process::{MIGRATIONS, MISTAKE, Server, here, millpond, text};

const DAMAGED: i32 = 1;

fn command(name: &str, database: &Path) -> Command {
    let mut command = millpond();
    command.args([name, "--db"]).arg(database);
    command
}

fn run(command: &mut Command, code: i32) -> Output {
    let output = command.output().expect("the command runs");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    // No progress, where stderr is not a terminal.
    let lines = text(&output.stderr).lines().count();
    assert_eq!(lines, usize::from(code == MISTAKE), "{output:?}");
    output
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn notes(database: &Path) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(database, flags).expect("a database");
    let count = database.query_row("SELECT count(*) FROM notes", [], |row| row.get(0));
    count.expect("a count")
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

#[test]
fn a_server_is_backed_up_checked_and_restored() {
    let (folder, database) = here();
    let server = Server::notes(&database, &[]);
    let over = AtomicBool::new(false);
    let write = |title: &str| {
        let note = json!({ "title": title });
        server.ask("POST", "/api/notes", Some(&note)).is(201);
    };
    write("first");
    let out = file(&folder, "copy.db");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                write("more");
            }
        });
        let made = run(command("backup", &database).arg("--json").arg(&out), 0);
        let verify = ["--migrations", MIGRATIONS, "--json"];
        let found = run(command("verify", &database).args(verify), 0);
        over.store(true, Ordering::Relaxed);
        let bytes = std::fs::metadata(&out).expect("a file").len();
        assert_eq!(json_of(&made)["bytes"], json!(bytes));
        let found = json_of(&found);
        assert_eq!(found["sound"], json!(true), "{found}");
        assert!(
            found["applied"]
                .as_array()
                .is_some_and(|applied| !applied.is_empty())
        );
    });
    let (then, now) = (notes(&out), notes(&database));
    assert!((1..=now).contains(&then), "{then} of {now}");
    run(
        command("verify", &out).args(["--migrations", MIGRATIONS]),
        0,
    );

    // Not twice, not over the copy, and not under the server.
    run(command("backup", &database).arg(&out), MISTAKE);
    run(command("restore", &database).arg(&out), MISTAKE);
    run(
        command("restore", &database).arg("--overwrite").arg(&out),
        MISTAKE,
    );
    write("last");
    server.ends_with_nothing_in_use();
    let now = notes(&database);
    let restored = run(
        command("restore", &database)
            .args(["--overwrite", "--json"])
            .arg(&out),
        0,
    );
    let old = json_of(&restored)["old"].as_str().map(PathBuf::from);
    assert_eq!(notes(&database), then);
    assert_eq!(notes(&old.expect("it is kept")), now);
    let server = Server::notes(&database, &[]);
    server.ask("GET", "/api/notes", None).is(200);
}

#[test]
fn damage_has_an_exit_code_of_its_own() {
    let (folder, database) = here();
    let migrations = ["--migrations", MIGRATIONS];
    run(command("migrate", &database).args(migrations), 0);
    run(
        command("backup", &database).arg(file(&folder, "copy.db")),
        0,
    );
    let mut bytes = std::fs::read(&database).expect("a file");
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 64].fill(0x55);
    std::fs::write(file(&folder, "damaged.db"), bytes).expect("a file");

    let damaged = file(&folder, "damaged.db");
    let found = run(command("verify", &damaged).arg("--json"), DAMAGED);
    let found = json_of(&found);
    assert_eq!(found["sound"], json!(false));
    assert_eq!(found["problems"][0]["kind"], json!("integrity"));
    let report = run(&mut command("verify", &damaged), DAMAGED);
    assert!(text(&report.stdout).lines().count() > 1, "{report:?}");
    for (name, out) in [
        ("backup", file(&folder, "no.db")),
        ("restore", damaged.clone()),
    ] {
        let (from, to) = match name {
            "backup" => (&damaged, &out),
            _ => (&database, &damaged),
        };
        let output = command(name, from).arg("--overwrite").arg(to).output();
        let output = output.expect("the command runs");
        assert_eq!(output.status.code(), Some(DAMAGED), "{output:?}");
    }
    assert!(!file(&folder, "no.db").exists());

    let other = tempfile::tempdir().expect("a folder");
    let found = run(
        command("verify", &database)
            .arg("--migrations")
            .arg(other.path()),
        DAMAGED,
    );
    assert!(text(&found.stdout).contains("missing"), "{found:?}");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let (folder, database) = here();
    let missing = file(&folder, "copy.db");
    for name in ["backup", "verify"] {
        let mut command = command(name, &database);
        if name == "backup" {
            command.arg(&missing);
        }
        run(&mut command, MISTAKE);
    }
    run(command("restore", &database).arg(&missing), MISTAKE);
    for url in [":memory:", "http://127.0.0.1:1"] {
        run(&mut command("verify", Path::new(url)), MISTAKE);
    }
    run(millpond().arg("backup").arg(&missing), MISTAKE);
    assert!(!database.exists() && !missing.exists());

    // The environment names the database, as for other commands.
    run(
        command("migrate", &database).args(["--migrations", MIGRATIONS]),
        0,
    );
    run(millpond().arg("verify").env("DATABASE_PATH", &database), 0);
}
