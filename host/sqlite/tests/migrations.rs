//! Migrations of real folders into real databases, by one process and by several.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use millpond_pool::{Access, ErrorKind, block_on};
use millpond_sqlite::PoolBuilder;
use millpond_sqlite::migrations::{MAX_MIGRATION_BYTES, MigrationError, Migrations, Report};
use rusqlite::Connection;

/// An empty folder of migrations, and a database that does not exist yet.
struct Scene {
    here: tempfile::TempDir,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Scene {
        let scene = Scene {
            here: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(scene.folder()).unwrap();
        for (file, sql) in files {
            scene.write(file, sql);
        }
        scene
    }

    fn folder(&self) -> PathBuf {
        self.here.path().join("migrations")
    }

    fn database(&self) -> PathBuf {
        self.here.path().join("app.db")
    }

    fn write(&self, file: &str, sql: impl AsRef<[u8]>) {
        std::fs::write(self.folder().join(file), sql).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder().join(file)).unwrap();
    }

    fn run(&self) -> Result<Report, MigrationError> {
        Migrations::open(self.folder())?.run(self.database())
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let conn = Connection::open(self.database()).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

const NOTE: (&str, &str) = (
    "001-note.sql",
    "CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT);",
);
const FIRST: (&str, &str) = ("002-first.sql", "INSERT INTO note(body) VALUES ('first');");
const SECOND: (&str, &str) = (
    "010-second.sql",
    "INSERT INTO note(body) VALUES ('second');",
);

#[test]
fn migrations_run_in_the_order_of_their_numbers_and_are_recorded() {
    let scene = Scene::new(&[SECOND, FIRST, NOTE]);
    let report = scene.run().unwrap();
    assert_eq!(report.applied, [NOTE.0, FIRST.0, SECOND.0]);
    assert_eq!(report.already_applied, [""; 0]);
    assert_eq!(
        scene.one::<String>("SELECT group_concat(body) FROM note"),
        "first,second"
    );
    assert_eq!(
        scene.one::<i64>("SELECT sum(number) FROM millpond_migrations"),
        13
    );
    assert_eq!(scene.one::<String>("PRAGMA journal_mode"), "wal");
}

#[test]
fn a_guest_cannot_take_the_name_of_the_record() {
    let scene = Scene::new(&[NOTE]);
    let pool = PoolBuilder::new().open(scene.database()).unwrap();
    let connection = pool.get_blocking(Access::ReadWrite).unwrap();
    let run = |sql: &str| block_on(connection.execute_script(sql));
    run("CREATE TABLE t(a)").unwrap();
    for sql in [
        "CREATE TABLE millpond_migrations(a)",
        "CREATE VIEW Millpond_Migrations AS SELECT 1",
        "CREATE VIRTUAL TABLE millpond_migrations USING fts5(a)",
        "CREATE INDEX millpond_migrations ON t(a)",
        "ALTER TABLE t RENAME TO millpond_migrations",
        "ALTER TABLE t RENAME TO \"MILLPOND_migrations\"",
        "BEGIN; ALTER TABLE t RENAME TO [millpond_migrations]; COMMIT",
    ] {
        assert_eq!(
            run(sql).unwrap_err().kind(),
            ErrorKind::NotAuthorized,
            "{sql}"
        );
        let _ = run("ROLLBACK");
    }
    run("ALTER TABLE t RENAME TO u").unwrap();
    assert_eq!(scene.run().unwrap().applied, [NOTE.0]);
}

#[test]
fn running_again_does_nothing() {
    let scene = Scene::new(&[NOTE, FIRST]);
    scene.run().unwrap();
    let report = scene.run().unwrap();
    assert_eq!(report.applied, [""; 0]);
    assert_eq!(report.already_applied, [NOTE.0, FIRST.0]);
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 1);
}

#[test]
fn without_new_migrations_a_writer_is_not_waited_for() {
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    let writer = Connection::open(scene.database()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(scene.run().unwrap().already_applied, [NOTE.0]);
}

#[test]
fn a_migration_added_later_runs_alone() {
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    scene.write(SECOND.0, SECOND.1);
    let report = scene.run().unwrap();
    assert_eq!(
        (report.applied, report.already_applied),
        (vec![SECOND.0.into()], vec![NOTE.0.into()])
    );
}

#[test]
fn an_empty_folder_leaves_an_empty_database() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.run().unwrap(), Report::default());
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM sqlite_schema"), 0);
}

#[test]
fn files_of_other_kinds_are_ignored() {
    let scene = Scene::new(&[
        NOTE,
        ("README.md", "not SQL"),
        (".gitkeep", ""),
        ("._001-note.sql", "not SQL"),
    ]);
    std::fs::create_dir(scene.folder().join("old.sql")).unwrap();
    assert_eq!(scene.run().unwrap().applied, [NOTE.0]);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let here = tempfile::tempdir().unwrap();
    let opened = Migrations::open(here.path().join("nowhere"));
    assert!(matches!(opened, Err(MigrationError::Folder { .. })));
}

#[test]
fn a_name_without_a_number_is_an_error() {
    let scene = Scene::new(&[("note.sql", "")]);
    assert!(matches!(scene.run(), Err(MigrationError::Name { file }) if file == "note.sql"));
}

#[test]
fn two_files_with_one_number_are_an_error() {
    let scene = Scene::new(&[NOTE, ("1-other.sql", "")]);
    let Err(MigrationError::Duplicate { number, files }) = scene.run() else {
        panic!()
    };
    assert_eq!(
        (number, files),
        (1, [NOTE.0.to_owned(), "1-other.sql".to_owned()])
    );
}

#[test]
fn a_file_that_is_too_large_is_an_error_and_one_that_just_fits_is_not() {
    let scene = Scene::new(&[NOTE]);
    let limit = usize::try_from(MAX_MIGRATION_BYTES).unwrap();
    scene.write("002-large.sql", vec![b' '; limit]);
    assert_eq!(scene.run().unwrap().applied.len(), 2);
    scene.write("003-larger.sql", vec![b' '; limit + 1]);
    assert!(
        matches!(scene.run(), Err(MigrationError::TooLarge { file }) if file == "003-larger.sql")
    );
}

#[test]
fn a_file_that_is_not_utf8_is_an_error_with_its_line() {
    let scene = Scene::new(&[]);
    scene.write("1-latin.sql", b"-- one\n-- caf\xe9\n");
    assert!(matches!(
        scene.run(),
        Err(MigrationError::NotUtf8 { line: 2, .. })
    ));
    assert!(
        !scene.database().exists(),
        "files are read before the database is touched"
    );
}

#[test]
fn a_changed_file_is_an_error_and_nothing_runs() {
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    scene.write(NOTE.0, "CREATE TABLE other(id);");
    scene.write(SECOND.0, SECOND.1);
    let Err(MigrationError::Changed { file, applied_as }) = scene.run() else {
        panic!()
    };
    assert_eq!((file.as_str(), applied_as.as_str()), (NOTE.0, NOTE.0));
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 0);
}

#[test]
fn another_file_under_an_applied_number_is_an_error_that_names_both() {
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    scene.remove(NOTE.0);
    scene.write("001-other.sql", "CREATE TABLE other(id);");
    let Err(MigrationError::Changed { file, applied_as }) = scene.run() else {
        panic!()
    };
    assert_eq!(
        (file.as_str(), applied_as.as_str()),
        ("001-other.sql", NOTE.0)
    );
}

#[test]
fn a_file_may_be_renamed_and_have_its_line_endings_converted() {
    let scene = Scene::new(&[("001-a.sql", "CREATE TABLE a(x);\nCREATE TABLE b(x);\n")]);
    scene.run().unwrap();
    scene.remove("001-a.sql");
    scene.write("1-b.sql", "CREATE TABLE a(x);\r\nCREATE TABLE b(x);\r\n");
    assert_eq!(scene.run().unwrap().already_applied, ["1-b.sql"]);
}

#[test]
fn a_missing_file_is_an_error() {
    let scene = Scene::new(&[NOTE, FIRST]);
    scene.run().unwrap();
    scene.remove(NOTE.0);
    assert!(matches!(scene.run(), Err(MigrationError::Missing { file }) if file == NOTE.0));
}

#[test]
fn a_new_file_before_an_applied_one_is_an_error() {
    let scene = Scene::new(&[NOTE, SECOND]);
    scene.run().unwrap();
    scene.write(FIRST.0, FIRST.1);
    let Err(MigrationError::OutOfOrder { file, last_applied }) = scene.run() else {
        panic!()
    };
    assert_eq!((file.as_str(), last_applied.as_str()), (FIRST.0, SECOND.0));
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 1);
}

#[test]
fn a_failing_migration_undoes_itself_and_keeps_the_earlier_ones() {
    let sql =
        "INSERT INTO note(body) VALUES ('half');\n\n-- why\n  INSERT INTO\n  nowhere VALUES (1);\n";
    let scene = Scene::new(&[NOTE, ("002-fails.sql", sql), SECOND]);
    let Err(MigrationError::Failed { file, line, error }) = scene.run() else {
        panic!()
    };
    assert_eq!(
        (file.as_str(), error.kind()),
        ("002-fails.sql", ErrorKind::Sql)
    );
    // SQLite does not say where a missing table is named: the line is the statement's.
    assert_eq!(line, 4);
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 0);
    assert_eq!(
        scene.one::<i64>("SELECT count(*) FROM millpond_migrations"),
        1
    );

    // It was not applied, so it may be changed.
    scene.write("002-fails.sql", "INSERT INTO note(body) VALUES ('whole');");
    assert_eq!(scene.run().unwrap().applied, ["002-fails.sql", SECOND.0]);
}

#[test]
fn an_error_is_placed_on_its_own_line_where_sqlite_knows_it() {
    let scene = Scene::new(&[("1-a.sql", "SELECT 1;\nSELECT\n  1,\n  nothing;\n")]);
    assert!(matches!(
        scene.run(),
        Err(MigrationError::Failed { line: 4, .. })
    ));
    scene.write("1-a.sql", "SELECT 1;\nSELECT 'never ends\n");
    assert!(matches!(
        scene.run(),
        Err(MigrationError::Failed { line: 2, .. })
    ));
}

#[test]
fn an_error_while_a_statement_runs_has_the_line_where_it_begins() {
    let sql =
        "INSERT INTO note VALUES (1, 'a');\n/* and\nagain */ INSERT INTO note\nVALUES (1, 'b');";
    let scene = Scene::new(&[NOTE, ("2-twice.sql", sql)]);
    let Err(MigrationError::Failed { line, error, .. }) = scene.run() else {
        panic!()
    };
    assert_eq!((line, error.kind()), (3, ErrorKind::ConstraintPrimaryKey));
}

#[test]
fn a_migration_that_rolls_back_by_a_conflict_clause_is_undone() {
    let sql = "INSERT INTO note VALUES (1, 'a');\nINSERT OR ROLLBACK INTO note VALUES (1, 'b');";
    let scene = Scene::new(&[NOTE, ("2-rolls-back.sql", sql)]);
    assert!(matches!(
        scene.run(),
        Err(MigrationError::Failed { line: 2, .. })
    ));
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 0);
    assert_eq!(
        scene.one::<i64>("SELECT count(*) FROM millpond_migrations"),
        1
    );
}

#[test]
fn a_migration_that_begins_or_ends_a_transaction_is_refused_before_it_does() {
    for word in [
        "BEGIN",
        "begin immediate",
        "COMMIT",
        "END TRANSACTION",
        "ROLLBACK",
    ] {
        let sql = format!("INSERT INTO note(body) VALUES ('a');\n{word};\nSELECT 1;");
        let scene = Scene::new(&[NOTE, ("2-transaction.sql", &sql)]);
        let Err(MigrationError::Transaction { file, line }) = scene.run() else {
            panic!("{word}")
        };
        assert_eq!((file.as_str(), line), ("2-transaction.sql", 2));
        assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 0);
    }
}

#[test]
fn savepoints_triggers_and_comments_are_not_transactions() {
    let sql = "-- COMMIT;\nSAVEPOINT a; INSERT INTO note(body) VALUES ('COMMIT;'); RELEASE a;\n\
               CREATE TRIGGER t AFTER INSERT ON note BEGIN DELETE FROM note WHERE id = 9; END;\n/* END";
    let scene = Scene::new(&[NOTE, ("2-fine.sql", sql)]);
    assert_eq!(scene.run().unwrap().applied.len(), 2);
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM note"), 1);
}

#[test]
fn parameters_are_refused() {
    let scene = Scene::new(&[NOTE, ("2-p.sql", "INSERT INTO note(body) VALUES (?1);")]);
    let Err(MigrationError::Failed { error, .. }) = scene.run() else {
        panic!()
    };
    assert_eq!(error.kind(), ErrorKind::Parameters);
}

const FAMILY: (&str, &str) = (
    "1-family.sql",
    "CREATE TABLE parent(id INTEGER PRIMARY KEY);
     CREATE TABLE child(parent REFERENCES parent ON DELETE CASCADE);
     INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);",
);

#[test]
fn a_table_that_others_refer_to_can_be_rebuilt() {
    let rebuild = "CREATE TABLE new(id INTEGER PRIMARY KEY, name TEXT);
                   INSERT INTO new(id) SELECT id FROM parent;
                   DROP TABLE parent; ALTER TABLE new RENAME TO parent;";
    let scene = Scene::new(&[FAMILY, ("2-rebuild.sql", rebuild)]);
    scene.run().unwrap();
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM child"), 1);
}

#[test]
fn a_row_left_without_its_parent_is_an_error() {
    let scene = Scene::new(&[FAMILY, ("2-orphan.sql", "DELETE FROM parent;")]);
    let Err(MigrationError::ForeignKey {
        table,
        rowid,
        parent,
        ..
    }) = scene.run()
    else {
        panic!()
    };
    assert_eq!(
        (table.as_str(), rowid, parent.as_str()),
        ("child", Some(1), "parent")
    );
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM parent"), 1);
}

#[test]
fn a_database_that_cannot_be_opened_is_an_error() {
    let scene = Scene::new(&[NOTE]);
    let migrations = Migrations::open(scene.folder()).unwrap();
    std::fs::write(
        scene.here.path().join("text"),
        "no database, but long enough to be read",
    )
    .unwrap();
    for (name, kind) in [
        ("nowhere/app.db", ErrorKind::CannotOpen),
        ("migrations", ErrorKind::CannotOpen),
        ("text", ErrorKind::Corrupt),
    ] {
        let Err(MigrationError::Database(error)) = migrations.run(scene.here.path().join(name))
        else {
            panic!("{name}")
        };
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
}

/// Each migration adds one row, so that running one twice is visible.
fn many(count: u32) -> Scene {
    let scene = Scene::new(&[("1-row.sql", "CREATE TABLE row(number);")]);
    for number in 2..=count {
        scene.write(
            &format!("{number}-add.sql"),
            format!("INSERT INTO row VALUES ({number});"),
        );
    }
    scene
}

#[test]
fn threads_that_start_at_once_run_each_migration_once() {
    let scene = many(20);
    let migrations = Migrations::open(scene.folder()).unwrap();
    let barrier = std::sync::Barrier::new(4);
    let applied: usize = std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            let report = migrations.run(scene.database()).unwrap();
            assert_eq!(report.applied.len() + report.already_applied.len(), 20);
            report.applied.len()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(applied, 20);
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM row"), 19);
}

#[test]
fn processes_that_start_at_once_run_each_migration_once() {
    let scene = many(20);
    let children: Vec<Child> = (0..3).map(|_| child(scene.here.path())).collect();
    let outputs = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    let applied: usize = outputs
        .map(|output| {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let said = String::from_utf8(output.stdout).unwrap();
            let line = said
                .lines()
                .find_map(|line| line.split_once("applied="))
                .unwrap();
            line.1.parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(applied, 20);
    assert_eq!(scene.one::<i64>("SELECT count(*) FROM row"), 19);
}

/// This binary again, running nothing but the next test.
fn child(here: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_migrates", "--nocapture"])
        .env("MILLPOND_MIGRATE", here)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does something only in a child process.
#[test]
fn child_migrates() {
    let Some(here) = std::env::var_os("MILLPOND_MIGRATE").map(PathBuf::from) else {
        return;
    };
    let migrations = Migrations::open(here.join("migrations")).unwrap();
    let report = migrations.run(here.join("app.db")).unwrap();
    println!("\napplied={}", report.applied.len());
}

/// The warnings of a report: file and line.
fn warnings(report: &Report) -> Vec<(&str, Option<usize>)> {
    let warnings = report.warnings.iter();
    warnings
        .map(|warning| (warning.file.as_str(), warning.line))
        .collect()
}

#[test]
fn state_of_one_migration_does_not_reach_the_next() {
    for leaves in [
        "CREATE TEMP TABLE note(x);",
        "CREATE TEMP VIEW note AS SELECT 1 AS x;",
        "PRAGMA writable_schema = ON;",
        "PRAGMA recursive_triggers = ON;",
        "PRAGMA case_sensitive_like = ON;",
        "PRAGMA ignore_check_constraints = ON;",
        "PRAGMA defer_foreign_keys = ON;",
        "PRAGMA query_only = ON;",
    ] {
        let next =
            "CREATE TABLE note(x CHECK (x > 0)); INSERT INTO note SELECT 1 WHERE 'A' LIKE 'a';";
        let scene = Scene::new(&[("1-leaves.sql", leaves), ("2-next.sql", next)]);
        // Without 001's changes, so that only the connection's state could matter.
        if scene.run().is_ok() {
            assert_eq!(
                scene.one::<i64>("SELECT count(*) FROM main.note"),
                1,
                "{leaves}"
            );
        } else {
            panic!("{leaves}");
        }
    }
}

#[test]
fn earlier_violations_block_nothing_and_are_reported_once() {
    let scene = Scene::new(&[FAMILY]);
    scene.run().unwrap();
    let conn = Connection::open(scene.database()).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (7), (8)")
        .unwrap();
    scene.write("2-more.sql", "CREATE TABLE more(a);");
    scene.write("3-rename.sql", "ALTER TABLE child RENAME TO kid;");
    scene.write("4-rename.sql", "ALTER TABLE parent RENAME TO elder;");
    let rebuilt = "CREATE TABLE new(parent REFERENCES elder);
        INSERT INTO new SELECT * FROM kid ORDER BY parent DESC;
        DROP TABLE kid; ALTER TABLE new RENAME TO kid;";
    scene.write("5-rebuild.sql", rebuilt);
    let report = scene.run().unwrap();
    assert_eq!(report.applied.len(), 4);
    assert_eq!(warnings(&report), [("2-more.sql", None)]);

    scene.write("6-breaks.sql", "INSERT INTO kid VALUES (9);");
    let Err(MigrationError::ForeignKey { rowid, .. }) = scene.run() else {
        panic!()
    };
    assert_eq!(rowid, Some(4));
    scene.write("6-breaks.sql", "DELETE FROM elder;");
    let Err(MigrationError::ForeignKey { rowid, .. }) = scene.run() else {
        panic!()
    };
    assert_eq!(rowid, Some(3));
    scene.write("6-breaks.sql", "DELETE FROM kid WHERE parent > 1;");
    assert_eq!(scene.run().unwrap().warnings.len(), 1);
}

#[test]
fn rows_without_a_rowid_are_told_apart_by_how_many_they_are() {
    let child = "CREATE TABLE child(id PRIMARY KEY, p REFERENCES parent(id)) WITHOUT ROWID;
        CREATE TABLE parent(id INTEGER PRIMARY KEY);";
    let scene = Scene::new(&[("1-tables.sql", child)]);
    scene.run().unwrap();
    let conn = Connection::open(scene.database()).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO child VALUES ('a', 1)")
        .unwrap();
    scene.write("2-more.sql", "INSERT INTO child VALUES ('b', 2);");
    assert!(matches!(
        scene.run(),
        Err(MigrationError::ForeignKey { rowid: None, .. })
    ));
}

#[test]
fn foreign_keys_that_cannot_be_checked_block_nothing_if_they_could_not_before() {
    let mismatch =
        "CREATE TABLE a(x); CREATE TABLE b(y REFERENCES a(x)); INSERT INTO b VALUES (1);";
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    scene.write("002-mismatch.sql", mismatch);
    assert!(
        matches!(scene.run(), Err(MigrationError::Commit { file, .. }) if file == "002-mismatch.sql")
    );
    scene.remove("002-mismatch.sql");
    let conn = Connection::open(scene.database()).unwrap();
    conn.execute_batch(&format!("PRAGMA foreign_keys = OFF; {mismatch}"))
        .unwrap();
    scene.write("002-other.sql", "CREATE TABLE other(a);");
    assert_eq!(warnings(&scene.run().unwrap()), [("002-other.sql", None)]);
}

#[test]
fn a_comment_that_hides_statements_is_an_error() {
    let mac = "-- tables\rCREATE TABLE note(x);\r";
    let scene = Scene::new(&[("1-mac.sql", mac)]);
    assert!(matches!(
        scene.run(),
        Err(MigrationError::LineEnds { line: 1, .. })
    ));
    scene.write(
        "1-mac.sql",
        "CREATE TABLE a(x);\r\rCREATE TABLE b(x); -- why\rCREATE TABLE c(x);",
    );
    assert!(matches!(
        scene.run(),
        Err(MigrationError::LineEnds { line: 3, .. })
    ));
    // Without a comment in the way, carriage returns do not matter; and quoted text is not a
    // comment.
    let fine = "CREATE TABLE a(x);\rINSERT INTO a VALUES ('-- one\rtwo');\r/* -- \r */\r-- end\r";
    scene.write("1-mac.sql", fine);
    scene.run().unwrap();
    assert_eq!(scene.one::<String>("SELECT x FROM a"), "-- one\rtwo");
}

#[test]
fn a_byte_order_mark_is_not_a_change() {
    let scene = Scene::new(&[NOTE]);
    scene.run().unwrap();
    scene.write(NOTE.0, format!("\u{feff}{}", NOTE.1));
    assert_eq!(scene.run().unwrap().already_applied, [NOTE.0]);
    scene.write(SECOND.0, format!("\u{feff}{}", SECOND.1));
    scene.run().unwrap();
    scene.write(SECOND.0, SECOND.1);
    assert_eq!(scene.run().unwrap().applied, [""; 0]);
}

#[test]
fn what_guests_cannot_use_is_named_with_its_line() {
    for (sql, line) in [
        ("CREATE TABLE t(a, v DEFAULT (sqlite_version()));", Some(1)),
        (
            "CREATE TABLE t(a);\n\nCREATE TRIGGER g AFTER INSERT ON t\nBEGIN SELECT sqlite_source_id(); END;",
            Some(3),
        ),
        (
            "CREATE TABLE t(a);\nCREATE VIEW v AS\n SELECT sqlite_version() AS x;",
            Some(2),
        ),
        (
            "CREATE TABLE t(a);\nCREATE VIEW v AS SELECT nothing_such FROM t;",
            Some(2),
        ),
        (
            "CREATE TABLE t(a, b AS (a + 1), UNIQUE (a)); CREATE INDEX i ON t(b) WHERE a > 1;",
            None,
        ),
        (
            "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('x');",
            None,
        ),
        ("CREATE VIRTUAL TABLE r USING rtree(id, a, b);", None),
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a REFERENCES t(id) ON DELETE CASCADE) STRICT;",
            Some(1),
        ),
        (
            "CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a); END;",
            None,
        ),
        (
            "CREATE TABLE t(\"odd \"\"name\" INT, b GENERATED ALWAYS AS (1) STORED); DROP TABLE t;",
            None,
        ),
    ] {
        let scene = Scene::new(&[("1-a.sql", sql)]);
        match scene.run() {
            Ok(report) => {
                let lines: Vec<_> = report.warnings.iter().map(|warning| warning.line).collect();
                let expected: Vec<_> = line.map(Some).into_iter().collect();
                assert_eq!(lines, expected, "{sql}: {:?}", report.warnings);
            }
            // A strict table requires a type.
            Err(MigrationError::Failed { line: failed, .. }) => assert_eq!(Some(failed), line),
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

#[test]
fn a_schema_that_no_connection_could_read_is_refused_and_undone() {
    let long = "x".repeat(1_048_500);
    let sql = format!("CREATE TABLE t(a);\nCREATE TABLE long(a DEFAULT '{long}');");
    let scene = Scene::new(&[NOTE, ("002-long.sql", &sql)]);
    let result = scene.run();
    let Err(MigrationError::Unusable {
        file, line, name, ..
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!(
        (file.as_str(), line, name.as_str()),
        ("002-long.sql", 2, "long")
    );
    assert_eq!(
        scene.one::<i64>("SELECT count(*) FROM sqlite_schema WHERE name = 't'"),
        0
    );
    PoolBuilder::new().open(scene.database()).unwrap();
}

#[test]
fn migrations_come_from_texts_and_from_opened_folders_too() {
    let scene = Scene::new(&[SECOND]);
    let dir = cap_std::fs::Dir::open_ambient_dir(scene.here.path(), cap_std::ambient_authority())
        .unwrap();
    let texts = Migrations::from_texts([SECOND, NOTE, FIRST]).unwrap();
    let report = texts.run_in(&dir, "app.db").unwrap();
    assert_eq!(report.applied, [NOTE.0, FIRST.0, SECOND.0]);
    assert_eq!(texts.run(scene.database()).unwrap().applied, [""; 0]);
    assert!(matches!(
        texts.run_in(&dir, "../app.db"),
        Err(MigrationError::Database(_))
    ));
    let folder = Migrations::read(&dir.open_dir("migrations").unwrap()).unwrap();
    assert!(matches!(
        folder.run_in(&dir, "app.db"),
        Err(MigrationError::Missing { .. })
    ));
    assert!(matches!(
        Migrations::from_texts([("1-a.sql", ""), ("01-b.sql", "")]),
        Err(MigrationError::Duplicate { number: 1, .. })
    ));
    assert!(matches!(
        Migrations::from_texts([("1-a.sql", vec![0xff])]),
        Err(MigrationError::NotUtf8 { .. })
    ));
}

#[test]
fn an_error_names_its_database_or_its_file() {
    let scene = Scene::new(&[NOTE, ("2-fails.sql", "SELECT nothing;")]);
    assert!(scene.run().unwrap_err().to_string().contains("2-fails.sql"));
    std::fs::write(
        scene.database(),
        "no database, but long enough to be read as one",
    )
    .unwrap();
    std::fs::remove_file(scene.here.path().join("app.db-wal")).ok();
    let error = scene.run().unwrap_err().to_string();
    assert!(error.contains("app.db"), "{error}");
}
