//! A guest and SQLite itself run the same statements, with the same rows, types, changes and
//! errors.
//!
//! The statements are generated from a seed; set `MILLPOND_SEEDS` to run more of them. They only
//! use what a guest may run.

use std::fmt::Write;

use millpond_tests::{Lab, foreach_differential};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

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
    let mut maker = Maker {
        state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        stable,
    };
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

/// Functions that are the same in every version of SQLite that a server has.
const STABLE: &[&str] = &[
    "coalesce", "hex", "ifnull", "instr", "length", "lower", "max", "min", "nullif", "typeof",
    "upper",
];

/// Generates statements.
struct Maker {
    state: u64,
    /// Only with [`STABLE`] functions, and nothing else that differs between versions.
    stable: bool,
}

impl Maker {
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn function<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let is_wanted = |name: &&str| !self.stable || STABLE.contains(name);
        let wanted: Vec<_> = of.iter().copied().filter(is_wanted).collect();
        self.one(&wanted)
    }

    fn statement(&mut self) -> String {
        match self.below(20) {
            0..=5 => format!("SELECT {}", self.list()),
            6..=9 => self.select(),
            10..=12 => self.insert(),
            13 => format!(
                "UPDATE {}a SET {} = {} WHERE {}",
                self.conflict(),
                self.column(),
                self.expression(2),
                self.expression(2)
            ),
            14 => format!(
                "DELETE FROM {} WHERE {}",
                self.one(&["a", "c", "log"]),
                self.one(&["id % 3 = 0", "id > 20", "0", "id = (SELECT max(id) FROM a)"])
            ),
            15 => self
                .one(&[
                    "BEGIN",
                    "COMMIT",
                    "ROLLBACK",
                    "BEGIN IMMEDIATE",
                    "SAVEPOINT p",
                    "RELEASE p",
                    "ROLLBACK TO p",
                ])
                .to_owned(),
            16 => self.define(),
            17 | 19 if self.stable => self.insert(),
            17 => format!(
                "SELECT text, rank < 0 FROM words WHERE words MATCH '{}' ORDER BY rowid",
                self.one(&[
                    "water",
                    "still OR lent",
                    "wat*",
                    "\"lent out\"",
                    "NEAR(lent water)",
                    "(",
                    "nothing"
                ])
            ),
            18 => format!(
                "SELECT {} FROM a GROUP BY {} ORDER BY 1",
                self.aggregate(),
                self.column()
            ),
            _ => format!("SELECT id, {} FROM a ORDER BY id", self.window()),
        }
    }

    fn list(&mut self) -> String {
        let list: Vec<_> = (0..=self.below(4)).map(|_| self.expression(3)).collect();
        list.join(", ")
    }

    fn select(&mut self) -> String {
        let from = self.one(&[
            "a",
            "both",
            "a JOIN c ON c.a = a.id",
            "w",
            "s",
            "c",
            "a LEFT JOIN log ON log.id = a.id",
        ]);
        let columns = if self.below(2) == 0 || matches!(from, "w" | "s" | "c") {
            "*".to_owned()
        } else {
            format!("{}, {}", self.expression_of(2, "a.id"), self.expression(1))
        };
        let filter = match from {
            "a" => self.expression_of(2, "n"),
            _ => self.expression(2),
        };
        let rest = match self.below(4) {
            0 => " LIMIT 3",
            1 => " LIMIT 2 OFFSET 1",
            2 => " ORDER BY 1 DESC",
            _ => "",
        };
        format!("SELECT {columns} FROM {from} WHERE {filter}{rest}")
    }

    fn insert(&mut self) -> String {
        let conflict = self.conflict();
        // An insert into the table without rowids tells an older rowid on a server.
        let of = if self.stable { 5 } else { 6 };
        match self.below(of) {
            0 | 1 => {
                let rest = self.one(&[
                    "",
                    "",
                    " RETURNING id, n, typeof(n)",
                    " ON CONFLICT(id) DO UPDATE SET n = excluded.n + 1",
                    " ON CONFLICT DO NOTHING",
                ]);
                format!(
                    "INSERT INTO a(id, n, t, x) VALUES ({}, {}, {}, {}){rest}",
                    self.one(&["NULL", "1", "7", "30"]),
                    self.expression(1),
                    self.expression(1),
                    self.expression(2)
                )
            }
            2 => format!(
                "INSERT {conflict}INTO c(a, u, k) VALUES ({}, {}, {})",
                self.one(&["1", "2", "NULL", "99"]),
                self.one(&["'u1'", "'u9'", "NULL", "hex(5)"]),
                self.one(&["1", "0", "NULL", "'x'", "3"])
            ),
            3 => format!(
                "INSERT {conflict}INTO s VALUES ({}, {})",
                self.expression(1),
                self.expression(1)
            ),
            5 => format!(
                "INSERT {conflict}INTO w VALUES ({}, {}) RETURNING *",
                self.one(&["'key'", "'KEY'", "'new'", "NULL"]),
                self.expression(2)
            ),
            _ => "INSERT INTO log SELECT 'copy', id FROM a WHERE id < 3".to_owned(),
        }
    }

    fn define(&mut self) -> String {
        const DEFINITIONS: &[&str] = &[
            "CREATE TABLE IF NOT EXISTS made(a, b DEFAULT 5)",
            "DROP TABLE IF EXISTS made",
            "CREATE INDEX IF NOT EXISTS made_i ON a(x)",
            "DROP INDEX IF EXISTS made_i",
            "ALTER TABLE made ADD COLUMN c DEFAULT 'c'",
            "INSERT INTO made(a) VALUES (1), (2)",
            "SELECT * FROM made",
            "CREATE TABLE a(again)",
            "DROP TABLE nosuch",
            "PRAGMA table_info(a)",
            "PRAGMA foreign_key_list(c)",
            "ANALYZE",
            "EXPLAIN QUERY PLAN SELECT * FROM a WHERE n = 1",
        ];
        let plans = if self.stable { 2 } else { 0 };
        let of = &DEFINITIONS[..DEFINITIONS.len() - plans];
        self.one(of).to_owned()
    }

    fn conflict(&mut self) -> &'static str {
        self.one(&["", "", "OR IGNORE ", "OR REPLACE ", "OR FAIL ", "OR ABORT "])
    }

    fn column(&mut self) -> &'static str {
        self.one(&["n", "r", "t", "b", "x"])
    }

    fn aggregate(&mut self) -> String {
        let of = self.column();
        let function = self.one(&[
            "count(*)",
            "count",
            "sum",
            "total",
            "avg",
            "min",
            "max",
            "group_concat",
            "json_group_array",
            "count(DISTINCT n), sum",
        ]);
        match (function, of) {
            ("count(*)", _) => function.to_owned(),
            ("json_group_array", _) => "json_group_array(n)".to_owned(),
            (function, of) => format!("{function}({of})"),
        }
    }

    fn window(&mut self) -> String {
        let function = self.one(&[
            "row_number()",
            "rank()",
            "dense_rank()",
            "ntile(2)",
            "lag(n)",
            "lead(t, 2, 'none')",
            "first_value(t)",
            "nth_value(n, 2)",
            "sum(n)",
            "count(*)",
            "group_concat(t)",
            "percent_rank()",
            "cume_dist()",
        ]);
        let over = self.one(&[
            "()",
            "(ORDER BY id)",
            "(PARTITION BY n > 1 ORDER BY id DESC)",
            "(ORDER BY t COLLATE NOCASE, id)",
            "(ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        ]);
        format!("{function} OVER {over}")
    }

    fn literal(&mut self) -> &'static str {
        const LITERALS: &[&str] = &[
            "NULL",
            "0",
            "1",
            "-1",
            "2",
            "7",
            "1.5",
            "-2.5e-3",
            "''",
            "'a'",
            "'abc'",
            "'ABC'",
            "'aXbXc'",
            "'%b%'",
            "'a_c'",
            "'12'",
            "'1.5e1'",
            "' 7 '",
            "'ünïcödé'",
            "'日本語'",
            "x''",
            "x'616263'",
            "'2024-02-29'",
            "'6a6B'",
            "'\\'",
            "9223372036854775807",
            "-9223372036854775808",
            "0.0",
            "-0.0",
            "1e300",
            "9e999",
            "'[a-c]*'",
            "x'00'",
            "x'ff'",
            "x'f09f98'",
            "'a' || char(0) || 'b'",
            "CAST(x'ff61' AS TEXT)",
            "'{\"a\":[1,2,{\"b\":null}]}'",
            "'[1,2.5,\"x\"]'",
            "'$.a[1]'",
        ];
        // Not numbers at the limits, and no text that is not UTF-8.
        let stable = if self.stable { 25 } else { LITERALS.len() };
        self.one(&LITERALS[..stable])
    }

    fn expression(&mut self, depth: usize) -> String {
        let literal = self.literal();
        self.expression_of(depth, literal)
    }

    /// An expression of a given depth, which contains `leaf` in places.
    fn expression_of(&mut self, depth: usize, leaf: &str) -> String {
        if depth == 0 || self.below(6) == 0 {
            return match self.below(3) {
                0 => leaf.to_owned(),
                _ => self.literal().to_owned(),
            };
        }
        let mut part = || self.expression_of(depth - 1, leaf);
        let (x, y, z) = (part(), part(), part());
        match self.below(9) {
            0 | 1 => {
                const OPERATORS: &[&str] = &[
                    "+", "-", "*", "||", "<", "<=", "=", "<>", "IS", "IS NOT", "AND", "OR", "&",
                    "|", "<<", ">>", "LIKE", "GLOB", "%", "/", "->", "->>",
                ];
                let unstable = if self.stable { 4 } else { 0 };
                let operator = self.one(&OPERATORS[..OPERATORS.len() - unstable]);
                format!("({x} {operator} {y})")
            }
            2 => {
                let operator = self.one(&["-", "+", "~", "NOT "]);
                format!("({operator}{x})")
            }
            3 => match self.below(6) {
                0 => format!("CASE WHEN {x} THEN {y} ELSE {z} END"),
                1 => format!("({x} BETWEEN {y} AND {z})"),
                2 => format!("({x} IN ({y}, {z}))"),
                3 => format!(
                    "CAST({x} AS {})",
                    self.one(&["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC"])
                ),
                4 => format!("({x} COLLATE NOCASE = {y})"),
                _ => format!("(SELECT {x} WHERE {y})"),
            },
            4 | 5 => {
                let function = self.function(&[
                    "abs",
                    "hex",
                    "length",
                    "lower",
                    "upper",
                    "typeof",
                    "quote",
                    "unicode",
                    "sign",
                    "round",
                    "trim",
                    "ltrim",
                    "rtrim",
                    "octet_length",
                    "unhex",
                    "json_valid",
                    "json_type",
                    "json_quote",
                    "json_array_length",
                    "date",
                    "julianday",
                    "char",
                ]);
                format!("{function}({x})")
            }
            6 | 7 => {
                let function = self.function(&[
                    "instr",
                    "ifnull",
                    "nullif",
                    "max",
                    "min",
                    "substr",
                    "trim",
                    "ltrim",
                    "rtrim",
                    "round",
                    "glob",
                    "like",
                    "unhex",
                    "coalesce",
                    "concat",
                    "json_extract",
                    "json_array",
                    "printf",
                    "format",
                    "datetime",
                    "json_remove",
                ]);
                format!("{function}({x}, {y})")
            }
            _ => {
                let function = self.function(&[
                    "replace",
                    "substr",
                    "iif",
                    "concat_ws",
                    "json_set",
                    "json_insert",
                    "json_object",
                    "like",
                    "coalesce",
                    "char",
                    "strftime",
                ]);
                match function {
                    "json_object" => format!("json_object('k', {y})"),
                    function => format!("{function}({x}, {y}, {z})"),
                }
            }
        }
    }
}
