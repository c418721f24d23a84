//! Migrations as an operator runs them: `migrate`, and `--migrations` of `run` and `serve`.

use std::path::PathBuf;
use std::process::Output;

use millpond_tests::component;
use rusqlite::Connection;

use crate::process::{MISTAKE, Server, millpond, text};

/// A folder with a database and migrations.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Fixture {
        let f = Fixture {
            folder: tempfile::tempdir().expect("a folder"),
        };
        std::fs::create_dir(f.migrations()).expect("a folder");
        for (file, sql) in files {
            f.write(file, sql);
        }
        f
    }

    fn write(&self, file: &str, sql: &str) {
        std::fs::write(self.migrations().join(file), sql).expect("a file");
    }

    fn migrations(&self) -> PathBuf {
        self.folder.path().join("migrations")
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn migrate(&self) -> Output {
        let mut command = millpond();
        command.arg("migrate").arg("--db").arg(self.database());
        command.arg("--migrations").arg(self.migrations());
        command.output().expect("the command runs")
    }

    fn migrates(&self) {
        let output = self.migrate();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// What a guest gets for a statement.
    fn query(&self, sql: &str) -> String {
        let mut command = millpond();
        command.args(["run", "--db"]).arg(self.database());
        command.arg(component("hostile_does_as_told"));
        let output = command.args(["query", sql]).output();
        let output = output.expect("the command runs");
        let first = text(&output.stdout).lines().next();
        first.unwrap_or(text(&output.stderr)).to_owned()
    }
}

#[test]
fn migrations_are_applied_once_and_mistakes_reported() {
    let f = Fixture::new(&[("001-t.sql", "CREATE TABLE t(a);")]);
    for what in [": applied 001-t.sql\n", ": already applied 001-t.sql\n"] {
        let output = f.migrate();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).ends_with(what), "{output:?}");
    }
    f.write("002-u.sql", "\nCREATE TABEL u(a);");
    let output = f.migrate();
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    assert!(
        text(&output.stderr).contains("002-u.sql fails in line 2"),
        "{output:?}"
    );
}

/// The limits on a guest's SQL do not apply to migrations.
#[test]
fn a_migration_may_define_more_than_a_guest() {
    let terms: Vec<_> = (0..1_500).map(|at| format!("a = {at}")).collect();
    let columns: Vec<_> = (0..1_500).map(|at| format!("c{at}")).collect();
    let sql = format!(
        "CREATE TABLE t(a); CREATE VIEW v AS SELECT * FROM t WHERE {};
         CREATE TABLE wide({}); CREATE TABLE checked(a CHECK ({}));",
        terms[..300].join(" OR "),
        columns.join(", "),
        terms[..900].join(" OR ")
    );
    let f = Fixture::new(&[("001-large.sql", &sql)]);
    f.migrates();
    for sql in [
        "SELECT * FROM v",
        "INSERT INTO wide(c1499) VALUES (1)",
        "INSERT INTO checked VALUES (899)",
    ] {
        assert_eq!(f.query(sql), "answered", "{sql}");
    }
    // A view too deep for any guest's connection is refused and undone.
    let deep = format!("CREATE VIEW deep AS SELECT 1{}", "+1".repeat(1_500));
    f.write("002-deep.sql", &format!("CREATE TABLE u(a);\n{deep};"));
    let output = f.migrate();
    assert_eq!(output.status.code(), Some(MISTAKE), "{output:?}");
    assert!(text(&output.stderr).contains("002-deep.sql"), "{output:?}");
    assert_eq!(f.query("SELECT * FROM u"), "ErrorKind::Sql");
    assert_eq!(f.query("SELECT * FROM v"), "answered");
}

/// The server's connections have the old schema in memory and statements compiled for it.
#[test]
fn a_server_uses_what_another_process_migrates() {
    let f = Fixture::new(&[("001-t.sql", "CREATE TABLE t(a); CREATE INDEX i ON t(a);")]);
    f.migrates();
    let server = Server::of("hostile_serves", &f.database(), &["--pool-size", "3"]);
    // With enough concurrent requests that all of the pool's connections usually answer.
    let answers = |sql: &str| {
        let ask = || server.ask_raw("POST", "/query", "", sql.as_bytes()).is(200);
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
            let bodies = asked.into_iter().map(|one| {
                let answer = one.join().expect("an answer");
                text(&answer.body).to_owned()
            });
            let mut bodies: Vec<_> = bodies.collect();
            bodies.dedup();
            bodies
        })
    };
    assert_eq!(answers("SELECT * FROM t"), ["answered"]);
    assert_eq!(answers("INSERT INTO t VALUES (1, 2)"), ["ErrorKind::Sql"]);
    f.write(
        "002-more.sql",
        "ALTER TABLE t ADD b DEFAULT 5; DROP INDEX i; CREATE UNIQUE INDEX u ON t(a, b);",
    );
    f.migrates();
    for sql in [
        "INSERT INTO t VALUES (random(), 2)",
        "INSERT INTO t VALUES (3, 4) ON CONFLICT(a, b) DO NOTHING",
        "SELECT b FROM t",
    ] {
        assert_eq!(answers(sql), ["answered"], "{sql}");
    }
    let index = server.ask_raw("POST", "/query", "", b"CREATE INDEX i ON t(b)");
    assert_eq!(text(&index.is(200).body), "answered");
}

#[test]
fn an_empty_folder_is_a_mistake_everywhere() {
    let f = Fixture::new(&[]);
    for (command, guest) in [
        (&["migrate"][..], None),
        (&["run"], Some("cli_counts_visits")),
        (
            &["serve", "--listen", "127.0.0.1:0"],
            Some("hostile_serves"),
        ),
    ] {
        let mut line = millpond();
        line.args(command).arg("--db").arg(f.database());
        line.arg("--migrations").arg(f.migrations());
        if let Some(guest) = guest {
            line.arg(component(guest));
        }
        let output = line.output().expect("the command runs");
        assert_eq!(
            output.status.code(),
            Some(MISTAKE),
            "{command:?}: {output:?}"
        );
        let folder = f.migrations();
        let folder = folder.to_str().expect("text");
        assert!(
            text(&output.stderr).contains(folder),
            "{command:?}: {output:?}"
        );
    }
}

#[test]
fn warnings_name_the_file_and_what_they_are_about() {
    let unusable = "CREATE TABLE fine(a);\nCREATE TABLE d(a DEFAULT (sqlite_version()));";
    let f = Fixture::new(&[("001-d.sql", unusable)]);
    let output = f.migrate();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("001-d.sql, line 2") && said.contains("sqlite_version"),
        "{said}"
    );
    // Rows that already violated a foreign key only cause a warning.
    let other = Connection::open(f.database()).expect("the database");
    let orphan = "PRAGMA foreign_keys = OFF; CREATE TABLE parent(id INTEGER PRIMARY KEY);
         CREATE TABLE child(id REFERENCES parent); INSERT INTO child VALUES (7)";
    other.execute_batch(orphan).expect("an orphan");
    drop(other);
    f.write("002-u.sql", "CREATE TABLE u(a);");
    let output = f.migrate();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("002-u.sql") && said.contains("child"),
        "{said}"
    );
}

#[test]
fn a_database_for_reading_is_left_as_it_is() {
    let f = Fixture::new(&[("001-t.sql", "CREATE TABLE t(a); INSERT INTO t VALUES (1);")]);
    f.migrates();
    let before = std::fs::read(f.database()).expect("the file");
    for (sql, expected) in [
        ("SELECT * FROM t", "answered"),
        ("INSERT INTO t VALUES (2)", "ErrorKind::NotAuthorized"),
    ] {
        let mut command = millpond();
        command.args(["run", "--db-read-only"]).arg(f.database());
        command.arg(component("hostile_does_as_told"));
        let output = command.args(["query", sql, "reading"]).output();
        let output = output.expect("the command runs");
        let first = text(&output.stdout).lines().next();
        assert_eq!(first, Some(expected), "{sql}: {output:?}");
    }
    assert_eq!(std::fs::read(f.database()).expect("the file"), before);
}
