//! A guest and SQLite itself run the same statements, with the same rows, types, changes and
//! errors.
//!
//! The statements are generated from a seed; set `MILLPOND_SEEDS` to run more of them.

mod maker;

use std::fmt::Write;

use millpond_tests::{Lab, foreach_differential};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use self::maker::Maker;
use crate::assert_test_exists;
use crate::libsql::Server;

foreach_differential!(assert_test_exists);

/// The number of statements per seed.
const STATEMENTS: usize = 300;

const SCHEMA: &str = "
    CREATE TABLE a(id INTEGER PRIMARY KEY, n INTEGER, r REAL, t TEXT, b BLOB, x);
    CREATE TABLE c(id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id), u TEXT UNIQUE, k INT CHECK (k > 0) NOT NULL);
    CREATE TABLE s(i INT, t TEXT) STRICT;
    CREATE TABLE w(k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID;
    CREATE INDEX a_n ON a(n, t);
    CREATE INDEX a_t ON a(t COLLATE NOCASE);
    CREATE TABLE log(what, id);
    CREATE TRIGGER a_log AFTER UPDATE OF n ON a BEGIN INSERT INTO log VALUES ('n', new.id); END;
    CREATE VIEW both AS SELECT a.id, a.n, a.t, c.u FROM a LEFT JOIN c ON c.a = a.id;
    CREATE VIRTUAL TABLE words USING fts5(text);
    INSERT INTO a(n, r, t, b, x) VALUES (1, 1.5, 'one', x'01', NULL), (2, -0.0, 'Zwei', x'', 'x'),
        (NULL, 9e300, '', NULL, 3), (9223372036854775807, 1e-300, 'ünï%_', x'ff00ff', -1.5);
    INSERT INTO c VALUES (1, 1, 'u1', 1), (2, 2, 'u2', 2);
    INSERT INTO w VALUES ('Key', 1), ('other', 'two');
    INSERT INTO words VALUES ('still water'), ('lent out water')";

/// `SQLITE_CONSTRAINT_DATATYPE`.
const WRONG_TYPE: &str = "error 3091";

#[tokio::test]
async fn differential_answers() {
    let seeds = seeds(40);
    let (mut rows, mut errors) = (0, 0);
    for seed in 1..=seeds {
        let statements = statements(seed, false);
        let lab = Lab::new();
        let answers = answers(&lab, &statements).await;
        let native = Native::new();
        let mut before = Vec::new();
        for (sql, answer) in statements.iter().zip(&answers) {
            let expected = native.answer(sql, answer);
            let last = &before[before.len().saturating_sub(9)..];
            assert_eq!(*answer, expected, "{seed}: {sql}, after {last:#?}");
            before.push(format!("{sql} -- {answer}"));
            rows += expected.matches(';').count();
            errors += usize::from(expected.starts_with("error"));
        }
    }
    let all = seeds as usize * STATEMENTS;
    println!("{all} statements, {rows} rows, {errors} errors: the same");
    // Most of them do something.
    assert!(
        errors * 2 < all && rows > all / 4,
        "{rows} rows and {errors} errors of {all}"
    );
}

/// The same on a libSQL server. Its SQLite is older: so without the functions that differ.
#[tokio::test]
async fn differential_answers_on_a_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let seeds = seeds(20);
    for seed in 1..=seeds {
        let statements = statements(seed, true);
        let lab = server.lab().await;
        let answers = answers(&lab, &statements).await;
        let native = Native::new();
        for (sql, answer) in statements.iter().zip(&answers) {
            let expected = native.answer(sql, answer);
            let (answer, expected) = (on_server(sql, answer), on_server(sql, &expected));
            assert_eq!(answer, expected, "{seed}: {sql}");
            // That ends a transaction on a server, and a write has been committed.
            if answer == "not UTF-8" {
                break;
            }
        }
    }
    println!("{} statements: the same", seeds as usize * STATEMENTS);
}

/// What a server tells of an answer: the primary code of an error; and the last rowid after an
/// insert, but not after one that failed.
fn on_server(sql: &str, answer: &str) -> String {
    let inserts = sql.starts_with("INSERT") && !sql.contains("ON CONFLICT");
    let number = |text: &str| text.parse::<i64>();
    match answer.split(' ').collect::<Vec<_>>()[..] {
        ["error", code, ref rest @ ..] => {
            let code = number(code).expect("a code") & 0xff;
            format!("error {code} {rest:?}")
        }
        [changes, rowid]
            if number(changes).is_ok() && number(rowid).is_ok() && (!inserts || changes == "0") =>
        {
            changes.to_owned()
        }
        _ => answer.to_owned(),
    }
}

fn seeds(default: u64) -> u64 {
    let seeds = std::env::var("MILLPOND_SEEDS").ok();
    seeds.map_or(default, |seeds| {
        seeds.parse().expect("MILLPOND_SEEDS is a number")
    })
}

fn statements(seed: u64, stable: bool) -> Vec<String> {
    let mut maker = Maker::new(seed, stable);
    (0..STATEMENTS).map(|_| maker.statement()).collect()
}

/// A guest's answers to the statements, on a new database.
async fn answers(lab: &Lab, statements: &[String]) -> Vec<String> {
    let setup = lab.pool().get(millpond_pool::Access::ReadWrite).await;
    let setup = setup.expect("a connection");
    setup.execute_script(SCHEMA).await.expect("a schema");
    drop(setup);
    let arg = statements.join("\u{1e}");
    let run = lab.run("differential_answers").arg(&arg).await;
    let answers: Vec<_> = run.succeeds().output.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), statements.len(), "an answer for each");
    answers
}

/// SQLite itself, with the same schema.
struct Native {
    _folder: tempfile::TempDir,
    connection: Connection,
}

impl Native {
    fn new() -> Native {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Connection::open(folder.path().join("native.db")).expect("a database");
        let script = format!("PRAGMA journal_mode = WAL; {SCHEMA}");
        open().execute_batch(&script).expect("a schema");
        let connection = open();
        connection
            .execute_batch("PRAGMA synchronous = OFF")
            .expect("a setting");
        Native {
            _folder: folder,
            connection,
        }
    }

    /// The answer to compare with that of a guest.
    fn answer(&self, sql: &str, guests: &str) -> String {
        let mut expected = native_answer(&self.connection, sql);
        // In a `STRICT` table, SQLite would keep the rows before the one that failed.
        if expected == WRONG_TYPE && guests.ends_with("rolled back") {
            let native = &self.connection;
            native.execute_batch("ROLLBACK").expect("it was open");
            expected += " rolled back";
        }
        expected
    }
}

fn native_answer(native: &Connection, sql: &str) -> String {
    let answer = || -> rusqlite::Result<String> {
        let mut statement = native.prepare(sql)?;
        if statement.column_count() == 0 {
            let before = native.total_changes();
            let changes = statement.execute([])?;
            // Its own changes: if it made none, the counter still has the previous value.
            let changes = if native.total_changes() == before {
                0
            } else {
                changes
            };
            return Ok(format!("{changes} {}", native.last_insert_rowid()));
        }
        if statement.readonly() {
            return rows(&mut statement);
        }
        // If a guest cannot get the result, nothing that was written for it is kept.
        native.execute_batch("SAVEPOINT whole")?;
        let line = rows(&mut statement);
        drop(statement);
        if matches!(line.as_deref(), Ok("not UTF-8") | Err(_)) {
            native.execute_batch("ROLLBACK TO whole")?;
        }
        native.execute_batch("RELEASE whole")?;
        line
    };
    match answer() {
        Ok(line) => line,
        Err(rusqlite::Error::SqliteFailure(error, _)) => format!("error {}", error.extended_code),
        Err(rusqlite::Error::SqlInputError { error, .. }) => {
            format!("error {}", error.extended_code)
        }
        Err(other) => format!("{other:?}"),
    }
}

fn rows(statement: &mut Statement<'_>) -> rusqlite::Result<String> {
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let (mut line, mut is_text) = (String::new(), true);
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            match row.get_ref(column)? {
                ValueRef::Null => line.push_str("null"),
                ValueRef::Integer(value) => write!(line, "i{value}").expect("text"),
                ValueRef::Real(value) => write!(line, "r{:016x}", value.to_bits()).expect("text"),
                ValueRef::Text(value) => {
                    is_text &= str::from_utf8(value).is_ok();
                    write!(line, "t{value:02x?}").expect("text");
                }
                ValueRef::Blob(value) => write!(line, "b{value:02x?}").expect("text"),
            }
            line.push(',');
        }
        line.push(';');
    }
    match is_text {
        true => Ok(line),
        false => Ok("not UTF-8".to_owned()),
    }
}
