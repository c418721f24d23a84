//! Full-text search returns what SQLite's own returns, and respects the deadline.

use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, TransactionMode, Value,
    block_on,
};
use millpond_sqlite::PoolBuilder;
use rusqlite::types::ValueRef;

/// Long enough that nothing else in a test takes as long.
const HOUR: Duration = Duration::from_secs(3600);

/// Short enough that a test can wait for it to pass.
const SHORT: Duration = Duration::from_millis(100);

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
    /// SQLite itself, on the same file.
    native: rusqlite::Connection,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new()
        .busy_timeout(HOUR)
        .open(&path)
        .expect("a pool");
    Fixture {
        _folder: folder,
        pool,
        native: rusqlite::Connection::open(&path).expect("a connection"),
    }
}

impl Fixture {
    fn get(&self, time: Duration) -> Connection {
        let grant = Grant::new(&self.pool, Access::ReadWrite).max_statement_time(time);
        block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection")
    }
}

/// Rows, or an error's code and message.
type Outcome = Result<Vec<Vec<Value>>, (i32, String)>;

fn ours(connection: &Connection, sql: &str, parameters: &[&str]) -> Outcome {
    let values = parameters.iter().map(|text| Value::Text((*text).into()));
    let table = block_on(connection.query(sql, &Parameters::positional(values)));
    match table {
        Ok(table) => Ok(table.rows.to_vec()),
        Err(error) => Err((error.code(), error.to_string())),
    }
}

fn theirs(native: &rusqlite::Connection, sql: &str, parameters: &[&str]) -> Outcome {
    let rows = || {
        let mut statement = native.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| {
            let value = |column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(value) => Value::Integer(value),
                    ValueRef::Real(value) => Value::Real(value),
                    ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into()),
                    ValueRef::Blob(blob) => Value::Blob(blob.into()),
                })
            };
            (0..columns).map(value).collect::<rusqlite::Result<_>>()
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    rows().map_err(|error| match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            (failure.extended_code, message.unwrap_or_default())
        }
        error => panic!("{sql}: {error}"),
    })
}

/// Compare the results of both. The pool has its own messages for some errors.
fn compare(f: &Fixture, connection: &Connection, sql: &str, parameters: &[&str]) -> Outcome {
    let (ours, theirs) = (
        ours(connection, sql, parameters),
        theirs(&f.native, sql, parameters),
    );
    match (&ours, &theirs) {
        (Err((code, said)), Err((their_code, they_said))) => {
            assert_eq!(code, their_code, "{sql} {parameters:?}: {said}");
            if *code == rusqlite::ffi::SQLITE_ERROR {
                assert!(said.contains(they_said), "{sql}: {said}");
            }
        }
        _ => assert_eq!(ours, theirs, "{sql} {parameters:?}"),
    }
    ours
}

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // https://en.wikipedia.org/wiki/Xorshift
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Few words, so that they often occur together.
    fn word(&mut self) -> &'static str {
        self.of(&["a", "b", "c", "ab", "abc", "bca", "é", "A", "running", "x1"])
    }

    fn text(&mut self) -> String {
        let words = match self.below(8) {
            0 => 0,
            1 => 1,
            2 => 80 + self.below(200),
            _ => self.below(40),
        };
        let mut text = String::new();
        for _ in 0..words {
            text += self.word();
            text += self.of(&[
                " ", " ", " ", " ", " ", ". ", ": ", ".", ".\n", "  ", " -- ", ".\t\r\n", "\u{0}",
            ]);
        }
        text
    }

    fn phrase(&mut self) -> String {
        let words: Vec<_> = (0..1 + self.below(3)).map(|_| self.word()).collect();
        match self.below(6) {
            0 => format!("\"{}\"", words.join(" ")),
            1 => format!("\"{}\" *", words.join(" ")),
            2 => words.join(" + "),
            3 => format!("{}*", self.word()),
            4 => format!("^{}", self.word()),
            _ => self.word().into(),
        }
    }

    fn query(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.phrase();
        }
        let (one, two) = (self.query(depth - 1), self.query(depth - 1));
        match self.below(7) {
            0 => format!("({one}) AND ({two})"),
            1 => format!("({one}) NOT ({two})"),
            2 => format!(
                "NEAR({} {}, {})",
                self.phrase(),
                self.phrase(),
                self.below(9)
            ),
            3 => format!("{} : ({one})", self.of(&["x", "y", "{x y}", "- x"])),
            4 => format!("{} {}", self.phrase(), self.phrase()),
            _ => format!("({one}) OR ({two})"),
        }
    }

    fn call(&mut self, table: &str) -> String {
        let column = self.of(&[
            "0",
            "0",
            "1",
            "-1",
            "-1",
            "2",
            "-7",
            "99",
            "NULL",
            "4294967296",
        ]);
        let mut mark = || {
            self.of(&[
                "'['",
                "']'",
                "''",
                "NULL",
                "7",
                "'<b>'",
                "x'3c00'",
                "'é' || char(0) || 'x'",
            ])
        };
        let (open, close, ellipsis) = (mark(), mark(), mark());
        let tokens = self.of(&[
            "0", "1", "2", "3", "5", "5", "10", "10", "20", "63", "64", "65", "1000", "-3", "NULL",
            "'4'", "1e10",
        ]);
        match self.below(20) {
            0 => format!("highlight({table}, {column}, {open})"),
            1 => format!("snippet({table}, {column}, {open}, {close}, {ellipsis})"),
            2 => format!(
                "bm25({table}, {}, '0.25', 3)",
                self.of(&["2.5", "NULL", "-1"])
            ),
            3 => format!("bm25({table})"),
            4 => "rank".to_owned(),
            5..10 => format!("highlight({table}, {column}, {open}, {close})"),
            _ => format!("snippet({table}, {column}, {open}, {close}, {ellipsis}, {tokens})"),
        }
    }
}

/// Tables of each kind: their declarations.
const TABLES: &[&str] = &[
    "x, y",
    "x, y, tokenize = 'unicode61'",
    "x, y, tokenize = 'unicode61 remove_diacritics 2 tokenchars ''-'''",
    "x, y, tokenize = 'porter'",
    "x, y, tokenize = 'porter ascii', prefix = '1 2'",
    "x, y, tokenize = 'ascii'",
    "x, y, tokenize = 'trigram'",
    "x, y, tokenize = 'trigram case_sensitive 1'",
    "x, y, tokenize = 'porter trigram'",
    "x, y, detail = none",
    "x, y, detail = column, tokenize = 'trigram'",
    "x, y, detail = column, columnsize = 0",
    "x, y, content = ''",
    "x, y, content = '', columnsize = 0",
    "x, y, content = '', contentless_delete = 1",
    "x, y, content = 'other'",
    "x, y, content = 'other', columnsize = 0",
    "x, y, content = 'other', detail = none",
    "x, y UNINDEXED",
    "x, y, locale = 1",
    "x, y, tokenize = 'porter', locale = 1",
];

#[test]
fn functions_return_what_sqlite_returns() {
    let f = fixture();
    let connection = f.get(HOUR);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let run = |sql: &str, parameters: &[&str]| {
        ours(&connection, sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    };
    run("CREATE TABLE other(rowid INTEGER PRIMARY KEY, x, y)", &[]);
    let (mut rows, mut errors, mut compared) = (0, 0, 0);
    for (number, declared) in TABLES.iter().enumerate() {
        run(
            &format!("CREATE VIRTUAL TABLE t{number} USING fts5({declared})"),
            &[],
        );
        // The content of another table does not always match the index.
        run("DELETE FROM other", &[]);
        for rowid in 1..=12 {
            let (x, y) = (random.text(), random.text());
            let values = match declared.contains("locale") {
                true => "fts5_locale('de', ?1), fts5_locale('', ?2)",
                false => "?1, ?2",
            };
            let into = format!("t{number}(rowid, x, y) VALUES ({rowid}, {values})");
            run(&format!("INSERT INTO {into}"), &[&x, &y]);
            let other = match random.below(3) {
                0 => random.text(),
                _ => x,
            };
            run("INSERT INTO other(x, y) VALUES (?1, ?2)", &[&other, &y]);
        }
        for _ in 0..250 {
            let table = format!("t{number}");
            let query = random.query(2);
            let call = random.call(&table);
            let order = random.of(&["rowid", "rowid", "rowid DESC", "rank, rowid"]);
            let mut sql = format!(
                "SELECT rowid, typeof({call}), {call}, hex({call}) FROM {table}
                 WHERE {table} MATCH ?1 ORDER BY {order}"
            );
            let mut parameters = vec![query.as_str()];
            if random.below(12) == 0 {
                sql = format!("SELECT rowid, {call} FROM {table} ORDER BY rowid");
                parameters.clear();
            }
            compared += 1;
            match compare(&f, &connection, &sql, &parameters) {
                Ok(found) => rows += found.len(),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(
        compared > 5_000 && rows > 5_000 && errors > 200,
        "{compared} statements, {rows} rows, {errors} errors"
    );
}

#[test]
fn an_index_is_what_sqlite_would_write() {
    let f = fixture();
    let connection = f.get(HOUR);
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for (number, declared) in TABLES.iter().enumerate() {
        if declared.contains("content") {
            continue;
        }
        for table in [format!("ours{number}"), format!("theirs{number}")] {
            let sql = format!("CREATE VIRTUAL TABLE {table} USING fts5({declared})");
            ours(&connection, &sql, &[]).expect("a table");
        }
        for _ in 0..20 {
            let texts = [random.text(), random.text()];
            let texts = [texts[0].as_str(), texts[1].as_str()];
            let sql = format!("INSERT INTO ours{number} VALUES (?1, ?2)");
            ours(&connection, &sql, &texts).expect("inserted");
            let sql = format!("INSERT INTO theirs{number} VALUES (?1, ?2)");
            theirs(&f.native, &sql, &texts).expect("inserted");
        }
        let check = format!("INSERT INTO ours{number}(ours{number}) VALUES ('integrity-check')");
        assert_eq!(theirs(&f.native, &check, &[]), Ok(vec![]));
        let words = |table: &str| {
            let sql = format!(
                "CREATE VIRTUAL TABLE temp.v_{table} USING fts5vocab('main', '{table}', 'instance')"
            );
            f.native.execute_batch(&sql).expect("a table");
            theirs(&f.native, &format!("SELECT * FROM temp.v_{table}"), &[]).expect("words")
        };
        let found = words(&format!("ours{number}"));
        assert!(!found.is_empty());
        assert_eq!(found, words(&format!("theirs{number}")));
    }
}

/// SQLite says that it was aborted, which elsewhere means a transaction that was rolled back.
#[test]
fn changing_an_index_while_reading_its_words_is_a_mistake_not_damage() {
    let f = fixture();
    let connection = f.get(HOUR);
    let script = "CREATE VIRTUAL TABLE f USING fts5(x);
         INSERT INTO f VALUES ('one two three'), ('two three');
         INSERT INTO f VALUES ('three four');
         CREATE VIRTUAL TABLE v USING fts5vocab(f, row)";
    block_on(connection.execute_script(script)).expect("tables");
    let mistake = "INSERT INTO f(f) SELECT 'optimize' FROM v";
    let error = block_on(connection.execute(mistake, &Parameters::NONE)).expect_err("a mistake");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Sql, 4), "{error}");
    // And by a cursor that another statement interferes with.
    let words = block_on(connection.prepare("SELECT term FROM v")).expect("a statement");
    let page = block_on(words.query(&Parameters::NONE, 1, false)).expect("a word");
    let insert = "INSERT INTO f VALUES ('five six')";
    block_on(connection.execute(insert, &Parameters::NONE)).expect("a row");
    let rest = block_on(page.rest.expect("more words").next(0));
    let error = rest.map(drop).expect_err("its words have changed");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Sql, 4), "{error}");
    drop(words);
    let check = "INSERT INTO f(f) VALUES ('integrity-check')";
    block_on(connection.execute(check, &Parameters::NONE)).expect("no damage");
    drop(connection);
    assert_eq!(f.pool.stats().discarded, 0);
}

#[test]
fn an_index_of_trigrams_serves_patterns() {
    let f = fixture();
    let connection = f.get(HOUR);
    let script = "CREATE VIRTUAL TABLE folded USING fts5(x, tokenize = 'trigram');
         CREATE VIRTUAL TABLE exact USING fts5(x, tokenize = 'trigram case_sensitive 1');
         INSERT INTO folded VALUES ('still water'), ('Stilled'), ('deep');
         INSERT INTO exact SELECT x FROM folded";
    block_on(connection.execute_script(script)).expect("tables");
    for (sql, count) in [
        ("SELECT x FROM folded WHERE x LIKE '%still%'", 2),
        ("SELECT x FROM exact WHERE x GLOB '*still*'", 1),
        (
            "SELECT highlight(folded, 0, '[', ']') FROM folded WHERE x LIKE '%till%'",
            2,
        ),
    ] {
        let rows = compare(&f, &connection, sql, &[]).expect(sql);
        assert_eq!(rows.len(), count, "{sql}");
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let plan = format!(
            "{:?}",
            compare(&f, &connection, &plan, &[]).expect("a plan")
        );
        assert!(
            plan.contains("INDEX 0:L0") || plan.contains("INDEX 0:G0"),
            "{plan}"
        );
    }
}

#[test]
fn a_snippet_is_the_first_of_the_best_parts() {
    let f = fixture();
    let connection = f.get(HOUR);
    let script = "CREATE VIRTUAL TABLE t USING fts5(x, y);
         INSERT INTO t VALUES
             ('one two three four five six seven eight. Nine ten two eleven', 'two'),
             ('x x x x x x x x two x x three x x x x x x', 'three three three')";
    block_on(connection.execute_script(script)).expect("a table");
    let snippet = |query: &str, column: i64, tokens: i64| {
        let sql =
            format!("SELECT snippet(t, {column}, '[', ']', '…', {tokens}) FROM t WHERE t MATCH ?1");
        let rows = compare(&f, &connection, &sql, &[query]).expect("rows");
        rows.into_iter()
            .map(|row| match &row[0] {
                Value::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        snippet("two AND three", 0, 5),
        ["one [two] [three] four five…", "…[two] x x [three] x…"]
    );
    assert_eq!(snippet("two AND nine", 0, 3), ["…[Nine] ten [two]…"]);
    assert_eq!(snippet("two", -1, 2), ["one [two]…", "…[two] x…"]);
}

/// A text of nearly a megabyte, the largest that a row may have.
fn long(word: &str) -> String {
    word.repeat(((1 << 20) - 100) / word.len())
}

/// Whether the statement fails because its time is over. Otherwise it ends in time, with a value,
/// or because of another limit.
fn is_overdue(connection: &Connection, sql: &str, parameters: &[&str]) -> bool {
    let values = parameters.iter().map(|text| Value::Text((*text).into()));
    let values = Parameters::positional(values);
    let since = Instant::now();
    let result = block_on(connection.query(sql, &values));
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2), "{sql}: {took:?}");
    let kind = result.err().map(|error| error.kind());
    use ErrorKind::{DeadlineExceeded, QuotaExceeded, TooLarge};
    let expected = [
        None,
        Some(DeadlineExceeded),
        Some(QuotaExceeded),
        Some(TooLarge),
    ];
    assert!(expected.contains(&kind), "{sql}: {kind:?}");
    kind == Some(ErrorKind::DeadlineExceeded)
}

#[test]
fn functions_of_a_long_document_end_in_time() {
    let f = fixture();
    let patient = f.get(HOUR);
    for (table, tokenizer, text) in [
        ("words", "unicode61", long("a ")),
        ("sentences", "ascii", long("a. ")),
        ("letters", "trigram", long("a")),
        ("spaces", "trigram", long(" ")),
    ] {
        let sql = format!("CREATE VIRTUAL TABLE {table} USING fts5(x, tokenize = '{tokenizer}')");
        ours(&patient, &sql, &[]).expect("a table");
        ours(
            &patient,
            &format!("INSERT INTO {table} VALUES (?1)"),
            &[&text],
        )
        .expect("inserted");
    }
    drop(patient);
    let hasty = f.get(SHORT);
    let many = ["a"; 200].join(" OR ");
    for (table, query) in [
        ("words", "a"),
        ("words", "\"a a a\" OR a"),
        ("words", many.as_str()),
        ("sentences", "a"),
        ("letters", "aaa"),
        ("spaces", "\"   \""),
    ] {
        for call in [
            format!("highlight({table}, 0, '', '')"),
            format!("highlight({table}, 0, '<', '>')"),
            format!("snippet({table}, 0, '[', ']', '...', 64)"),
            format!("bm25({table})"),
        ] {
            let sql = format!("SELECT length({call}) FROM {table} WHERE {table} MATCH ?1");
            is_overdue(&hasty, &sql, &[query]);
        }
    }
}

#[test]
fn tokenizing_ends_in_time() {
    let f = fixture();
    let patient = f.get(HOUR);
    let columns: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    // The default tokenizer, one by its name, and one that wraps another.
    for (table, tokenizer) in [
        ("implied", ""),
        ("named", ", tokenize = 'unicode61'"),
        ("plain", ", tokenize = 'ascii'"),
        ("stems", ", tokenize = 'porter'"),
        ("letters", ", tokenize = 'trigram'"),
    ] {
        let sql =
            format!("CREATE VIRTUAL TABLE {table} USING fts5({columns}, content = ''{tokenizer})");
        ours(&patient, &sql, &[]).expect("a table");
        let sql = format!("INSERT INTO {table}(c0) VALUES ('a word')");
        ours(&patient, &sql, &[]).expect("inserted");
    }
    drop(patient);
    let hasty = f.get(SHORT);
    let text = long("a ");
    let words: String = (0..100_000).map(|n| format!("w{n} ")).collect();
    let values = vec!["?1"; 100].join(", ");
    for table in ["implied", "named", "plain", "stems", "letters"] {
        // Too much for the time and for a row: a hundred megabytes.
        let sql = format!("INSERT INTO {table} VALUES ({values})");
        let parameters = Parameters::from([Value::Text(text.clone())]);
        let error = block_on(hasty.query(&sql, &parameters)).expect_err("too much");
        let kinds = [ErrorKind::DeadlineExceeded, ErrorKind::TooLarge];
        assert!(kinds.contains(&error.kind()), "{table}: {error}");
        let count = format!("SELECT count(*) FROM {table} WHERE {table} MATCH 'word'");
        assert_eq!(ours(&hasty, &count, &[]), Ok(vec![vec![Value::Integer(1)]]));
        let sql = format!("SELECT count(*) FROM {table} WHERE {table} MATCH ?1");
        // Too many words fail at once, whatever the time, and the maximum does not.
        let parameters = Parameters::from([Value::Text(words.clone())]);
        let error = block_on(hasty.query(&sql, &parameters)).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{table}");
        let few = vec!["word"; 120].join(" ");
        for _ in 0..3 {
            assert_eq!(
                ours(&hasty, &sql, &[&few]),
                ours(&hasty, &sql, &["word"]),
                "{table}"
            );
        }
    }
}

#[test]
fn an_insert_that_runs_out_of_time_leaves_nothing() {
    let f = fixture();
    let patient = f.get(HOUR);
    ours(&patient, "CREATE VIRTUAL TABLE t USING fts5(x)", &[]).expect("a table");
    ours(&patient, "CREATE TABLE other(x)", &[]).expect("a table");
    ours(
        &patient,
        "INSERT INTO other VALUES (?1)",
        &[&"a ".repeat(400_000)],
    )
    .expect("inserted");
    drop(patient);
    let hasty = f.get(SHORT);
    let transaction = block_on(hasty.begin(TransactionMode::Immediate)).expect("begun");
    ours(&hasty, "INSERT INTO t(x) VALUES ('first')", &[]).expect("inserted");
    // Like the progress handler's stop of a statement that writes, this ends the transaction.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         INSERT INTO t(x) SELECT x FROM n, other";
    let error = block_on(hasty.query(sql, &Parameters::NONE)).expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.rolled_back());
    drop(transaction);
    let count = "SELECT count(*) FROM t WHERE t MATCH 'first OR a'";
    assert_eq!(ours(&hasty, count, &[]), Ok(vec![vec![Value::Integer(0)]]));
    ours(&hasty, "INSERT INTO t(x) VALUES ('first')", &[]).expect("inserted");
    assert_eq!(ours(&hasty, count, &[]), Ok(vec![vec![Value::Integer(1)]]));
    let check = "INSERT INTO t(t) VALUES ('integrity-check')";
    assert_eq!(theirs(&f.native, check, &[]), Ok(vec![]));
}
