//! A check finds what is wrong with a file, and nothing in a sound one that is in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millpond_pool::{Access, ErrorKind, Parameters, TransactionMode, block_on};
use millpond_sqlite::PoolBuilder;
use millpond_sqlite::backup::{BackupError, Cancel, Problem, Verification, Verify};
use millpond_sqlite::migrations::{MigrationError, Migrations};
use rusqlite::Connection;

const FILES: [(&str, &str); 2] = [
    (
        "1-author.sql",
        "CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT CHECK (name <> ''))",
    ),
    (
        "2-book.sql",
        "CREATE TABLE book(title TEXT, author INTEGER REFERENCES author);
         CREATE VIRTUAL TABLE words USING fts5(title);",
    ),
];

fn migrations(files: &[(&str, &str)]) -> Migrations {
    Migrations::from_texts(files.iter().map(|(name, text)| (*name, *text))).expect("migrations")
}

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        migrations(&FILES).run(&path).expect("migrated");
        let f = Fixture {
            _folder: folder,
            path,
        };
        f.run("INSERT INTO author VALUES (1, 'Ada'); INSERT INTO book VALUES ('Notes', 1)");
        f
    }

    fn run(&self, sql: &str) {
        let conn = Connection::open(&self.path).expect("a database");
        conn.execute_batch(sql).expect(sql);
    }

    fn verify(&self) -> Verification {
        Verify::of(&self.path).run().expect("a check")
    }
}

fn against(path: &Path, files: &[(&str, &str)]) -> Verification {
    let migrations = migrations(files);
    Verify::of(path)
        .migrations(&migrations)
        .run()
        .expect("a check")
}

#[test]
fn a_sound_database_in_use_has_no_problems() {
    let f = Fixture::new();
    let pool = PoolBuilder::new().open(&f.path).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    // With functions that SQLite lacks, unless it is built with them, and that guests have.
    let shape = "CREATE TABLE shape(side REAL CHECK (floor(side) > 0));
        CREATE INDEX by_root ON shape(sqrt(side)); INSERT INTO shape VALUES (2.5)";
    block_on(connection.execute_script(shape)).expect("a table");
    let open = block_on(connection.begin(TransactionMode::Immediate)).expect("a turn");
    let sql = "INSERT INTO book VALUES ('Uncommitted', NULL)";
    block_on(connection.execute(sql, &Parameters::NONE)).expect("a row");
    let found = against(&f.path, &FILES);
    assert!(found.is_sound(), "{:?}", found.problems);
    assert!(found.pages > 2);
    assert_eq!(found.applied, ["1-author.sql", "2-book.sql"]);
    assert!(found.pending.is_empty());
    block_on(open.commit()).expect("not held up");
}

#[test]
fn migrations_are_compared() {
    let f = Fixture::new();
    let more = [FILES[0], FILES[1], ("3-more.sql", "CREATE TABLE more(x);")];
    let found = against(&f.path, &more);
    assert!(found.is_sound());
    assert_eq!(found.pending, ["3-more.sql"]);

    let changed = [FILES[0], ("2-book.sql", "CREATE TABLE book(title TEXT);")];
    match &against(&f.path, &changed).problems[..] {
        [Problem::Migrations(MigrationError::Changed { file, .. })] => {
            assert_eq!(file, "2-book.sql")
        }
        other => panic!("{other:?}"),
    }
    match &against(&f.path, &FILES[..1]).problems[..] {
        [Problem::Migrations(MigrationError::Missing { file })] => assert_eq!(file, "2-book.sql"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_violate_constraints_are_found() {
    let f = Fixture::new();
    f.run(
        "PRAGMA foreign_keys = OFF; INSERT INTO book VALUES ('Lost', 7);
         PRAGMA ignore_check_constraints = ON; INSERT INTO author VALUES (2, '');",
    );
    match &f.verify().problems[..] {
        [
            Problem::Integrity(_),
            Problem::ForeignKey {
                table,
                rowid,
                parent,
            },
        ] => assert_eq!(
            (table.as_str(), *rowid, parent.as_str()),
            ("book", Some(2), "author")
        ),
        other => panic!("{other:?}"),
    }
    f.run(
        "PRAGMA foreign_keys = OFF;
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 500)
         INSERT INTO book SELECT 'Lost', 7 FROM r",
    );
    assert_eq!(f.verify().problems.len(), 101);
}

#[test]
fn a_damaged_file_is_a_result_and_not_an_error() {
    for damage in ["header", "page", "end"] {
        let f = Fixture::new();
        let mut bytes = fs::read(&f.path).expect("a file");
        match damage {
            "header" => bytes[..100].fill(0x20),
            "page" => bytes[2 * 4096..2 * 4096 + 40].fill(0x55),
            _ => bytes.truncate(3 * 4096),
        }
        fs::write(&f.path, bytes).expect("a file");
        let found = f.verify();
        assert!(!found.is_sound(), "{damage}");
        assert!(
            matches!(found.problems[0], Problem::Integrity(_)),
            "{found:?}"
        );
    }
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let f = Fixture::new();
    for path in [
        f.path.with_file_name("no.db"),
        f.path.join("no"),
        "/".into(),
    ] {
        match Verify::of(&path).run() {
            Err(BackupError::Database(error)) => {
                assert_eq!(error.kind(), ErrorKind::CannotOpen, "{path:?}");
            }
            other => panic!("{path:?}: {other:?}"),
        }
        assert!(!path.is_file(), "it is not created");
    }
    let cancel = Cancel::new();
    cancel.cancel();
    // As many rows as need some instructions.
    f.run(
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000)
         INSERT INTO book SELECT n, 1 FROM r",
    );
    let result = Verify::of(&f.path).cancel(&cancel).run();
    assert!(matches!(result, Err(BackupError::Cancelled)), "{result:?}");
}

/// Databases that a guest can make with what SQL it is allowed to run.
const HOSTILE: [(&str, &str); 3] = [
    (
        // SQLite's own `instr` takes a day for a row.
        "an index",
        "CREATE TABLE t(a TEXT); CREATE INDEX i ON t(a);
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300)
         INSERT INTO t SELECT hex(zeroblob(50000)) FROM r;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(
             trim(replace(a, ''0'', ''01''), a || ''1''), instr(a || a || a, a || ''x''),
             length(replace(replace(a, ''0'', ''00000000''), ''0'', ''00000000'')))'
             WHERE name = 'i'",
    ),
    (
        "a constraint",
        "CREATE TABLE t(a INTEGER);
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 1000)
         INSERT INTO t SELECT n FROM r;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a INTEGER CHECK (
             length(hex(hex(hex(hex(randomblob(a + 1000000)))))) > 0))' WHERE name = 't'",
    ),
    (
        "rows",
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c CHECK (a * b % 7 <> -1), UNIQUE(b), UNIQUE(c));
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300000)
         INSERT INTO t SELECT n, n, n FROM r",
    ),
];

#[test]
fn a_check_ends_whatever_a_guest_has_written() {
    for (what, sql) in HOSTILE {
        let f = Fixture::new();
        f.run(sql);
        let check = Verify::of(&f.path).max_check_time(Duration::from_millis(20));
        let begun = Instant::now();
        match check.run() {
            Err(BackupError::Database(error)) => {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{what}: {error}");
            }
            other => panic!("{what}: {other:?}"),
        }
        // Without the limit, each takes far longer, or the last one longer than the limit.
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
    }
}

#[test]
fn a_check_takes_no_more_memory_than_it_may() {
    let f = Fixture::new();
    // Each value is a gigabyte.
    f.run(
        "CREATE TABLE t(a INTEGER);
         INSERT INTO t VALUES (450000000);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a INTEGER CHECK (
             length(hex(zeroblob(a))) > 0))' WHERE name = 't'",
    );
    match Verify::of(&f.path).run() {
        Err(BackupError::Database(error)) => {
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
        }
        other => panic!("{other:?}"),
    }
}
