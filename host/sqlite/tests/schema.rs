//! A connection that has read the schema uses the current one, whichever connection or process has
//! changed it since.

use std::path::Path;

use millpond_pool::{
    Access, Connection, Error, ErrorKind, Grant, Parameters, Pool, Request, TableGrant, Value,
    block_on,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

const BEFORE: &str = "
    CREATE TABLE t(a); INSERT INTO t VALUES (1);
    CREATE TABLE u(a PRIMARY KEY, b); INSERT INTO u VALUES (1, 1);
    CREATE TABLE w(a); CREATE INDEX i ON w(a);
    CREATE VIEW v AS SELECT a FROM t;
    
    CREATE TRIGGER r AFTER INSERT ON w BEGIN SELECT 1; END;
    CREATE TABLE wide(a, b, c); INSERT INTO wide VALUES (1, 2, 3);
    CREATE TABLE plain(a, b);
    CREATE TABLE rowless(a PRIMARY KEY) WITHOUT ROWID;
    CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('one');
";

type Row = (&'static str, &'static str, &'static [&'static str]);

/// What a connection with the schema above refuses to compile, until another connection changes the
/// schema: the change, the statement, and its result.
const CURED: &[Row] = &[
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "INSERT INTO t VALUES (1, 2)",
        &[],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT b FROM t",
        &["5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT a, b FROM t UNION SELECT * FROM t",
        &["1|5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT (SELECT a FROM t) = (1), (a, b) = (1, 5) FROM t",
        &["1|1"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT (1, 5) IN (SELECT * FROM t)",
        &["1"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "UPDATE t SET (a, b) = (SELECT * FROM t)",
        &[],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "CREATE INDEX tb ON t(b)",
        &[],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "CREATE VIEW vt(x, y) AS SELECT * FROM t; SELECT y FROM vt",
        &["5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "WITH x(a, b) AS (SELECT * FROM t) SELECT b FROM x",
        &["5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "CREATE TRIGGER rt AFTER UPDATE OF b ON t BEGIN SELECT 1; END",
        &[],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "ALTER TABLE t RENAME COLUMN b TO c; SELECT c FROM t",
        &["5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "ALTER TABLE t DROP COLUMN b",
        &[],
    ),
    (
        "ALTER TABLE wide DROP COLUMN c",
        "INSERT INTO wide VALUES (1, 2)",
        &[],
    ),
    (
        "ALTER TABLE wide DROP COLUMN c",
        "ALTER TABLE wide ADD COLUMN c; SELECT c FROM wide",
        &[""],
    ),
    (
        "ALTER TABLE wide DROP COLUMN c",
        "SELECT * FROM wide UNION SELECT 1, 2",
        &["1|2"],
    ),
    (
        "ALTER TABLE wide RENAME COLUMN c TO d",
        "ALTER TABLE wide RENAME COLUMN b TO c; SELECT c FROM wide",
        &["2"],
    ),
    ("DROP INDEX i", "CREATE INDEX i ON t(a)", &[]),
    (
        "CREATE INDEX j ON w(a)",
        "SELECT a FROM w INDEXED BY j",
        &[],
    ),
    ("CREATE INDEX j ON w(a)", "DROP INDEX j", &[]),
    ("CREATE INDEX j ON w(a)", "REINDEX j", &[]),
    ("CREATE INDEX j ON w(a)", "ANALYZE j", &[]),
    (
        "CREATE UNIQUE INDEX j ON t(a)",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO NOTHING",
        &[],
    ),
    (
        "CREATE UNIQUE INDEX j ON t(a)",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 7 RETURNING a",
        &["7"],
    ),
    (
        "DROP TABLE w",
        "CREATE TABLE w(a, b); SELECT count(*) FROM w",
        &["0"],
    ),
    (
        "DROP TABLE w",
        "CREATE VIEW w AS SELECT 4; SELECT * FROM w",
        &["4"],
    ),
    (
        "DROP TABLE w",
        "ALTER TABLE t RENAME TO w; SELECT * FROM w",
        &["1"],
    ),
    ("DROP TABLE w", "CREATE INDEX i ON t(a)", &[]),
    ("DROP TABLE w", "CREATE TABLE i(a)", &[]),
    (
        "DROP TABLE w",
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
        &[],
    ),
    (
        "DROP TABLE w",
        "CREATE VIRTUAL TABLE w USING fts5(x); SELECT count(*) FROM w",
        &["0"],
    ),
    (
        "DROP TRIGGER r",
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
        &[],
    ),
    (
        "CREATE TRIGGER s AFTER INSERT ON w BEGIN SELECT 1; END",
        "DROP TRIGGER s",
        &[],
    ),
    (
        "CREATE TABLE n(a); INSERT INTO n VALUES (3)",
        "SELECT * FROM n",
        &["3"],
    ),
    ("CREATE TABLE n(a)", "DROP TABLE n", &[]),
    ("CREATE TABLE n(a)", "ANALYZE n", &[]),
    ("CREATE TABLE n(a)", "REINDEX n", &[]),
    ("CREATE TABLE n(a)", "CREATE INDEX na ON n(a)", &[]),
    (
        "CREATE TABLE n(a)",
        "CREATE TRIGGER nr AFTER INSERT ON n BEGIN SELECT 1; END",
        &[],
    ),
    (
        "CREATE TABLE n(a)",
        "ALTER TABLE n RENAME TO m; SELECT count(*) FROM m",
        &["0"],
    ),
    (
        "DROP VIEW v",
        "CREATE VIEW v AS SELECT 2 AS a; SELECT a FROM v",
        &["2"],
    ),
    (
        "DROP VIEW v",
        "CREATE TABLE v(a); INSERT INTO v VALUES (8); SELECT a FROM v",
        &["8"],
    ),
    (
        "DROP VIEW v; CREATE TABLE v(a)",
        "INSERT INTO v VALUES (1)",
        &[],
    ),
    ("DROP VIEW v; CREATE TABLE v(a)", "DROP TABLE v", &[]),
    (
        "DROP VIEW v; CREATE TABLE v(a)",
        "CREATE INDEX va ON v(a)",
        &[],
    ),
    (
        "DROP VIEW v; CREATE TABLE v(a)",
        "ALTER TABLE v ADD COLUMN b; SELECT count(b) FROM v",
        &["0"],
    ),
    (
        "DROP TABLE w; CREATE VIEW w AS SELECT 5",
        "DROP VIEW w",
        &[],
    ),
    (
        "DROP TABLE w; CREATE VIEW w AS SELECT 5 AS a",
        "CREATE TRIGGER ri INSTEAD OF INSERT ON w BEGIN SELECT 1; END",
        &[],
    ),
    (
        "CREATE TRIGGER iv INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (NEW.a); END",
        "INSERT INTO v VALUES (9)",
        &[],
    ),
    (
        "CREATE TRIGGER iu INSTEAD OF UPDATE ON v BEGIN SELECT 1; END",
        "UPDATE v SET a = 2",
        &[],
    ),
    (
        "CREATE TRIGGER id INSTEAD OF DELETE ON v BEGIN SELECT 1; END",
        "DELETE FROM v",
        &[],
    ),
    (
        "DROP VIEW v; CREATE VIEW v(x, y) AS SELECT a, a + 1 FROM t",
        "SELECT y FROM v",
        &["2"],
    ),
    (
        "DROP TABLE rowless; CREATE TABLE rowless(a PRIMARY KEY); INSERT INTO rowless VALUES ('k')",
        "SELECT rowid FROM rowless",
        &["1"],
    ),
    (
        "DROP TABLE plain; CREATE TABLE plain(a, b AS (a + 1)); INSERT INTO plain VALUES (1)",
        "INSERT INTO plain VALUES (2); SELECT max(b) FROM plain",
        &["3"],
    ),
    (
        "DROP TABLE f; CREATE VIRTUAL TABLE f USING fts5(x, y); INSERT INTO f VALUES ('p', 'q')",
        "SELECT y FROM f WHERE f MATCH 'p'",
        &["q"],
    ),
    (
        "DROP TABLE f; CREATE TABLE f(x)",
        "CREATE INDEX fx ON f(x)",
        &[],
    ),
    (
        "DROP TABLE f; CREATE TABLE f(x)",
        "ALTER TABLE f ADD COLUMN y",
        &[],
    ),
];

/// What compiles against the old schema too, but must use the new one.
const SILENT: &[Row] = &[
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT * FROM t",
        &["1|5"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "SELECT count(*) FROM pragma_table_info('t')",
        &["2"],
    ),
    (
        "ALTER TABLE t ADD COLUMN b DEFAULT 5",
        "PRAGMA table_info(t)",
        &["0|a||0||0", "1|b||0|5|0"],
    ),
    ("CREATE TABLE n(a)", "PRAGMA table_info(n)", &["0|a||0||0"]),
    (
        "CREATE INDEX na ON t(a)",
        "PRAGMA index_list(t)",
        &["0|na|0|c|0"],
    ),
    (
        "CREATE INDEX na ON t(a)",
        "PRAGMA index_info(na)",
        &["0|0|a"],
    ),
    ("DROP TABLE w", "DROP TABLE IF EXISTS w", &[]),
    (
        "DROP TABLE w",
        "CREATE TABLE IF NOT EXISTS w(z); INSERT INTO w(z) VALUES (6); SELECT z FROM w",
        &["6"],
    ),
    (
        "CREATE TABLE n(a)",
        "DROP TABLE IF EXISTS n; SELECT count(*) FROM sqlite_schema WHERE name = 'n'",
        &["0"],
    ),
    (
        "CREATE TABLE n(a)",
        "CREATE TABLE IF NOT EXISTS n(b); SELECT count(a) FROM n",
        &["0"],
    ),
    (
        "DROP INDEX i",
        "CREATE INDEX IF NOT EXISTS i ON w(a); SELECT count(*) FROM sqlite_schema WHERE name = 'i'",
        &["1"],
    ),
    (
        "CREATE INDEX j ON w(a)",
        "DROP INDEX IF EXISTS j; SELECT count(*) FROM sqlite_schema WHERE name = 'j'",
        &["0"],
    ),
    (
        "DROP VIEW v",
        "CREATE VIEW IF NOT EXISTS v AS SELECT 3 AS a; SELECT a FROM v",
        &["3"],
    ),
    (
        "DROP TRIGGER r",
        "CREATE TRIGGER IF NOT EXISTS r AFTER INSERT ON w BEGIN SELECT 1; END; SELECT count(*) FROM sqlite_schema WHERE name = 'r'",
        &["1"],
    ),
    (
        "CREATE TRIGGER c AFTER INSERT ON t BEGIN INSERT INTO u VALUES (NEW.a, 0); END",
        "INSERT INTO t VALUES (40); SELECT count(*) FROM u WHERE a = 40",
        &["1"],
    ),
    (
        "CREATE UNIQUE INDEX tu ON t(a)",
        "INSERT OR IGNORE INTO t VALUES (1); SELECT count(*) FROM t",
        &["1"],
    ),
    (
        "DROP VIEW v; CREATE VIEW v AS SELECT 11 AS a",
        "SELECT a FROM v",
        &["11"],
    ),
    (
        "DROP TABLE t; CREATE TABLE t(a DEFAULT 12)",
        "INSERT INTO t DEFAULT VALUES; SELECT a FROM t",
        &["12"],
    ),
];

/// Run the statements of a text. Returns the rows of all.
fn run(connection: &Connection, sql: &str) -> Result<Vec<String>, Error> {
    let mut rows = Vec::new();
    for statement in statements(sql) {
        let table = block_on(connection.query(statement, &NONE))?;
        rows.extend(table.rows.iter().map(|row| show(&row.to_vec())));
    }
    Ok(rows)
}

/// In these texts, semicolons only separate statements, except in triggers.
fn statements(sql: &str) -> Vec<&str> {
    match sql.split_once(" END; ") {
        Some((trigger, rest)) => {
            let mut all = vec![&sql[..trigger.len() + " END".len()]];
            all.extend(rest.split("; "));
            all
        }
        None if sql.contains(" BEGIN ") => vec![sql],
        None => sql.split("; ").collect(),
    }
}

fn show(row: &[Value]) -> String {
    let values: Vec<_> = row
        .iter()
        .map(|value| match value {
            Value::Null => String::new(),
            Value::Integer(value) => value.to_string(),
            Value::Text(value) => value.clone(),
            value => format!("{value:?}"),
        })
        .collect();
    values.join("|")
}

/// A connection that has read the schema, and compiled each of these.
fn reader(pool: &Pool, sql: &str) -> Connection {
    let reader = pool.get_blocking(Access::ReadWrite).expect("a connection");
    for table in ["t", "u", "w", "wide", "f"] {
        let all = format!("SELECT * FROM {table}");
        block_on(reader.query(&all, &NONE)).expect("rows");
    }
    // Compiled and cached, if it compiles at all.
    for statement in statements(sql) {
        drop(block_on(reader.prepare(statement)));
    }
    reader
}

/// For each row: run `change` on another connection, and the statement on one that has read the
/// schema. Returns the rows with a different result.
fn failures(rows: &[Row], change: impl Fn(&Path, &Connection, &str)) -> Vec<String> {
    let mut failures = Vec::new();
    for (what, sql, expected) in rows {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        let pool = PoolBuilder::new().open(&path).expect("a pool");
        let other = pool.get_blocking(Access::ReadWrite).expect("a connection");
        block_on(other.execute_script(BEFORE)).expect("tables");
        let reader = reader(&pool, sql);
        change(&path, &other, what);
        let rows = run(&reader, sql);
        if !rows.as_ref().is_ok_and(|rows| rows == expected) {
            failures.push(format!("{what}; then {sql}: {rows:?}"));
        }
    }
    failures
}

fn by_the_pool(_: &Path, other: &Connection, sql: &str) {
    block_on(other.execute_script(sql)).expect(sql);
}

/// Like another process.
fn by_another(path: &Path, _: &Connection, sql: &str) {
    let other = rusqlite::Connection::open(path).expect("the file");
    other.execute_batch(sql).expect(sql);
}

#[test]
fn a_statement_that_needs_another_connections_change_compiles() {
    assert_eq!(failures(CURED, by_the_pool), [""; 0]);
}

#[test]
fn a_statement_that_needs_another_processs_change_compiles() {
    assert_eq!(failures(CURED, by_another), [""; 0]);
}

#[test]
fn a_statement_valid_in_both_schemas_uses_the_new_one() {
    assert_eq!(failures(SILENT, by_the_pool), [""; 0]);
    assert_eq!(failures(SILENT, by_another), [""; 0]);
}

struct Two {
    _folder: tempfile::TempDir,
    pool: Pool,
    other: Connection,
    reader: Connection,
}

fn two() -> Two {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let other = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(other.execute_script(BEFORE)).expect("tables");
    let reader = reader(&pool, "SELECT * FROM t");
    Two {
        _folder: folder,
        pool,
        other,
        reader,
    }
}

#[test]
fn describe_returns_the_columns_of_the_current_schema() {
    let two = two();
    let names = |statement: &millpond_pool::Statement| {
        let columns = block_on(statement.describe())
            .expect("a statement")
            .columns
            .into_iter();
        columns.map(|column| column.name).collect::<Vec<_>>()
    };
    let held = block_on(two.reader.prepare("SELECT * FROM t")).expect("a statement");
    block_on(
        two.other
            .execute_script("ALTER TABLE t ADD COLUMN b DEFAULT 5"),
    )
    .expect("a column");
    assert_eq!(names(&held), ["a", "b"]);
    block_on(held.query(&NONE, 0, false)).expect("rows");
    assert_eq!(names(&held), ["a", "b"]);
    drop(held);

    let kept = block_on(two.reader.prepare("SELECT * FROM t")).expect("a statement");
    drop(kept);
    block_on(two.other.execute_script("ALTER TABLE t ADD COLUMN c")).expect("a column");
    let kept = block_on(two.reader.prepare("SELECT * FROM t")).expect("a statement");
    assert_eq!(names(&kept), ["a", "b", "c"]);

    // Its last columns, until it is run again.
    block_on(kept.query(&NONE, 0, false)).expect("rows");
    block_on(two.other.execute_script("DROP TABLE t")).expect("dropped");
    assert_eq!(names(&kept), ["a", "b", "c"]);
    assert!(block_on(kept.query(&NONE, 0, false)).is_err());
}

#[test]
fn statements_about_the_schema_are_compiled_for_each_run() {
    let two = two();
    let plan = "EXPLAIN QUERY PLAN SELECT a FROM t WHERE a = 1";
    let texts = [plan, "PRAGMA index_info(na)", "PRAGMA index_list(t)"];
    let held = texts.map(|sql| block_on(two.reader.prepare(sql)).expect(sql));
    let look = || {
        held.iter()
            .map(|held| {
                let page = block_on(held.query(&NONE, 0, false)).expect("rows");
                page.rows
            })
            .collect::<Vec<_>>()
    };
    let first = block_on(two.reader.prepare(plan)).expect("a statement");
    let before = look();
    block_on(two.other.execute_script("CREATE INDEX na ON t(a)")).expect("an index");
    let page = block_on(first.query(&NONE, 0, false)).expect("rows");
    assert_ne!(before[0], page.rows);
    for (before, after) in before.iter().zip(look()) {
        assert_ne!(*before, after);
    }
}

#[test]
fn a_transaction_keeps_the_schema_of_its_snapshot() {
    let two = two();
    let insert = "INSERT INTO t VALUES (1, 2)";
    run(&two.reader, "BEGIN; SELECT * FROM t").expect("a snapshot");
    block_on(
        two.other
            .execute_script("ALTER TABLE t ADD COLUMN b DEFAULT 5"),
    )
    .expect("a column");
    for _ in 0..2 {
        let error = run(&two.reader, insert).expect_err("one column");
        assert_eq!(error.kind(), ErrorKind::Sql);
    }
    assert_eq!(run(&two.reader, "SELECT * FROM t").expect("rows"), ["1"]);
    run(&two.reader, "COMMIT").expect("an end");
    run(&two.reader, insert).expect("two columns");
}

#[test]
fn a_compilation_error_does_not_change_the_transaction() {
    let two = two();
    run(&two.reader, "BEGIN; INSERT INTO t VALUES (2)").expect("a row");
    for sql in [
        "INSERT INTO t VALUES (1, 2)",
        "SELECT missing",
        "SELEC",
        "CREATE TABLE t(a)",
    ] {
        run(&two.reader, sql).expect_err(sql);
        assert!(two.reader.in_transaction());
    }
    run(&two.reader, "COMMIT").expect("an end");
    assert_eq!(
        run(&two.other, "SELECT a FROM t").expect("rows"),
        ["1", "2"]
    );
}

#[test]
fn a_view_that_was_made_harmless_may_be_read() {
    let two = two();
    block_on(
        two.other
            .execute_script("DROP VIEW v; CREATE VIEW v AS SELECT a FROM u"),
    )
    .expect("a view");
    let grant = Grant::new(&two.pool, Access::ReadWrite)
        .table("v", TableGrant::new().read())
        .table("t", TableGrant::new().read().insert());
    let guest = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    let error = run(&guest, "SELECT a FROM v").expect_err("a secret");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    block_on(
        two.other
            .execute_script("DROP VIEW v; CREATE VIEW v AS SELECT a FROM t"),
    )
    .expect("a view");
    assert_eq!(run(&guest, "SELECT a FROM v").expect("rows"), ["1"]);
}

/// Large enough to be read on the connection's own thread.
#[test]
fn a_schema_that_has_grown_large_is_read_again() {
    let two = two();
    let columns: Vec<_> = (0..900).map(|at| format!("column_{at}")).collect();
    for at in 0..30 {
        let table = format!("CREATE TABLE large_{at}({})", columns.join(","));
        block_on(two.other.execute_script(&table)).expect("a table");
    }
    block_on(two.other.execute_script("ALTER TABLE t ADD COLUMN b")).expect("a column");
    run(&two.reader, "INSERT INTO t VALUES (1, 2)").expect("two columns");
    block_on(two.other.execute_script("DROP INDEX i")).expect("no index");
    run(&two.reader, "CREATE INDEX i ON t(a)").expect("an index");
    assert_eq!(two.pool.stats().abandoned, 0);
}
