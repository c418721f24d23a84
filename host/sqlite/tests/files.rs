//! Untrusted files: malicious schemas, and damaged pages. They are refused, or read as far as
//! possible, and do no harm.

use std::path::{Path, PathBuf};

use bolero::check;
use millpond_pool::{Access, ErrorKind, Grant, Parameters, Request, Result, block_on};
use millpond_sqlite::{PoolBuilder, Synchronous};

static NONE: Parameters = Parameters::NONE;

/// Statements of a user who does not know what is in the file.
const HONEST: &[&str] = &[
    "SELECT * FROM note",
    "SELECT count(*) FROM note WHERE title > 'a'",
    "INSERT INTO note(title) VALUES ('x')",
    "UPDATE note SET title = 'y' WHERE id = 1",
    "DELETE FROM note WHERE id = 2",
    "SELECT * FROM words WHERE words MATCH 'water'",
    "INSERT INTO words VALUES ('more water')",
    "SELECT * FROM boxes WHERE x0 > 0",
    "SELECT * FROM plain",
    "INSERT INTO plain VALUES (1)",
    "PRAGMA integrity_check",
];

/// A file with tables of every kind, and `more`.
fn file(folder: &Path, more: &str) -> PathBuf {
    let path = folder.join("app.db");
    let database = rusqlite::Connection::open(&path).expect("a database");
    let script = format!(
        "PRAGMA page_size = 512; PRAGMA synchronous = OFF;
         CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, body);
         CREATE INDEX note_title ON note(title);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 30)
         INSERT INTO note SELECT i, 'title ' || i, zeroblob(i * 20) FROM n;
         CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('still water');
         CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 1, 2);
         {more}"
    );
    database.execute_batch(&script).expect(more);
    path
}

/// Run every honest statement, and return the results.
fn use_it(path: &Path) -> Result<Vec<Result<usize>>> {
    let pool = PoolBuilder::new()
        .max_size(1)
        .synchronous(Synchronous::Normal)
        .open(path)?;
    let grant = Grant::new(&pool, Access::ReadWrite).max_statement_steps(100_000);
    let outcomes = HONEST.iter().map(|sql| {
        let connection = block_on(grant.get(Access::ReadWrite, &Request::new()))?;
        let table = block_on(connection.query(sql, &NONE))?;
        Ok(table.rows.len())
    });
    let outcomes = outcomes.collect();
    assert_eq!(pool.stats().in_use, 0);
    Ok(outcomes)
}

#[test]
fn a_malicious_schema_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = folder.path().join("outside.db");
    for waiting in [
        // Run by a user who reads, writes, or looks.
        "CREATE VIEW plain AS SELECT load_extension('x')",
        "CREATE VIEW plain AS SELECT * FROM pragma_database_list",
        "CREATE VIEW plain AS SELECT sqlite_log(1, 'x')",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(a, b DEFAULT (sqlite_log(1, ''x'')))' WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(a CHECK (load_extension(a)))' WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(a, b AS (sqlite_version()))' WHERE name = 'plain'",
        "CREATE TABLE plain(a); CREATE INDEX p ON plain(a) WHERE a > 1",
        "CREATE TABLE plain(a); CREATE TRIGGER t AFTER INSERT ON plain BEGIN SELECT load_extension('x'); END",
        "CREATE TABLE plain(a); CREATE TRIGGER t BEFORE UPDATE ON note BEGIN SELECT sqlite_log(1, 'x'); END",
        "CREATE TABLE plain(a); CREATE TRIGGER t AFTER DELETE ON note BEGIN INSERT INTO note SELECT * FROM pragma_database_list; END",
        // Endless, or larger than memory.
        "CREATE VIEW plain AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "CREATE VIEW plain AS SELECT zeroblob(900000000)",
        "CREATE TABLE plain(a); CREATE TRIGGER t AFTER INSERT ON note BEGIN INSERT INTO plain SELECT a.id FROM note a, note b, note c, note d, note e; END",
        // Claims one thing and contains another.
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(a, b, c' WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE plain USING csv(filename=''/etc/passwd'')' WHERE name = 'plain'",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('trigger', 't', 'note', 0, 'CREATE TRIGGER t AFTER INSERT ON note BEGIN SELECT load_extension(1); END')",
        "CREATE TABLE plain(a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = 'sqlite_stat1', tbl_name = 'sqlite_stat1' WHERE name = 'plain'",
        "CREATE TABLE plain(a); UPDATE words_data SET block = randomblob(100)",
        "CREATE TABLE plain(a); DELETE FROM words_idx; UPDATE words_docsize SET sz = x'ff'",
        "CREATE TABLE plain(a); UPDATE boxes_node SET data = x'ffffffffffffffffffff'",
        "CREATE TABLE plain(a); ANALYZE; UPDATE sqlite_stat1 SET stat = '99999999999999999999 0 0'",
    ] {
        let path = file(folder.path(), waiting);
        match use_it(&path) {
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::Corrupt | ErrorKind::CannotOpen),
                    "{error:?}: {waiting}"
                );
            }
            Ok(outcomes) => {
                for (outcome, sql) in outcomes.iter().zip(HONEST) {
                    if let Err(error) = outcome {
                        assert_ne!(error.kind(), ErrorKind::Io, "{error:?}: {sql}: {waiting}");
                    }
                }
            }
        }
        assert!(!outside.exists());
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(folder.path().join(format!("app.db{suffix}")));
        }
    }
}

/// To run it for longer, set `BOLERO_RANDOM_TEST_TIME_MS`, as in `fuzz.rs`.
#[test]
fn damage_anywhere_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "CREATE TABLE plain(a)");
    let whole = std::fs::read(&path).expect("the file");
    check!()
        .with_type::<(u8, Vec<(u16, u8)>)>()
        .for_each(|(cut, damage)| {
            let mut bytes = whole.clone();
            if cut % 4 == 0 {
                bytes.truncate(bytes.len() * usize::from(*cut) / 256);
            }
            for (at, value) in damage {
                let end = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(usize::from(*at) % end) {
                    *byte = *value;
                }
            }
            let path = folder.path().join("damaged.db");
            std::fs::write(&path, bytes).expect("a file");
            // It opens or does not, each statement runs or fails: nothing panics, hangs or is kept.
            let _ = use_it(&path);
            for suffix in ["-wal", "-shm", "-journal"] {
                let _ = std::fs::remove_file(folder.path().join(format!("damaged.db{suffix}")));
            }
        });
}

/// A damaged file is reported as damaged, and a sound file is not.
#[test]
fn a_damaged_file_is_corrupt() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "CREATE TABLE plain(a)");
    let whole = std::fs::read(&path).expect("the file");
    let open = |name: &str, bytes: &[u8]| {
        let path = folder.path().join("damaged.db");
        std::fs::write(&path, bytes).expect("a file");
        let outcome =
            use_it(&path).and_then(|outcomes| outcomes.into_iter().collect::<Result<Vec<_>>>());
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(folder.path().join(format!("damaged.db{suffix}")));
        }
        let error = outcome.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error:?}");
    };
    for cut in [100, 511, 512, 600, 1024, whole.len() / 2, whole.len() - 512] {
        open(&format!("cut at {cut}"), &whole[..cut]);
    }
    // Offsets of the header: <https://sqlite.org/fileformat.html#the_database_header>.
    for (name, at, value) in [
        ("the encoding", 59, 7),
        ("the schema format", 47, 9),
        ("the page size", 16, 0xFF),
        ("the magic", 0, b'X'),
        ("the read version", 19, 9),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        open(name, &bytes);
    }
}

/// SQLite's own functions and ours use some codes for different errors.
#[test]
fn a_function_called_wrongly_is_an_sql_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "CREATE TABLE plain(a)");
    let pool = PoolBuilder::new().open(&path).expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    for sql in [
        "SELECT bm25(words, 'x') FROM words",
        "SELECT highlight(words, 99, 'a', 'b') FROM words WHERE words MATCH 'water'",
        "SELECT snippet(words, 99, 'a', 'b', 'c', 5) FROM words WHERE words MATCH 'water'",
        "SELECT highlight(words) FROM words WHERE words MATCH 'water'",
    ] {
        if let Err(error) = block_on(connection.query(sql, &NONE)) {
            assert_eq!(error.kind(), ErrorKind::Sql, "{sql}: {error:?}");
        }
    }
}
