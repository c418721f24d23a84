//! The limits of statements and schemas: what honest applications send and operators bring works,
//! on a stack as small as a guest's.

use std::path::Path;

use millpond_pool::{Access, ErrorKind, Parameters, Pool, ResultSet, Value, block_on};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

/// The host's part of a guest's stack, with wasmtime's defaults.
const STACK: usize = 1_500 << 10;

fn on_a_guests_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    thread.expect("a thread").join().expect("an end");
}

fn times(count: usize, by: &str, term: impl Fn(usize) -> String) -> String {
    (0..count).map(term).collect::<Vec<_>>().join(by)
}

fn query(pool: &Pool, sql: &str) -> Result<ResultSet, millpond_pool::Error> {
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.query(sql, &NONE))
}

/// Each as large as allowed.
fn deep(more: usize) -> Vec<String> {
    let deep = 990 + more;
    vec![
        format!(
            "SELECT 1 FROM t WHERE {}",
            times(deep, " OR ", |at| format!("a = b + {at}"))
        ),
        format!(
            "SELECT 1 FROM t WHERE {}",
            times(deep, " AND ", |at| format!("a <> {at}"))
        ),
        format!("SELECT {} FROM t", times(deep, " + ", |_| "a".into())),
        format!("SELECT {} a FROM t", "NOT ".repeat(deep)),
        times(495 + more, " UNION ", |at| format!("SELECT {at}")),
        times(495 + more, " EXCEPT ", |at| {
            format!("SELECT a + {at} FROM t")
        }),
        format!(
            "SELECT json_object({})",
            times(498 + more, ",", |at| format!("'k{at}', {at}"))
        ),
        format!(
            "SELECT max({})",
            times(998 + more, ",", |at| at.to_string())
        ),
        format!("SELECT {}", times(1_998 + more, ",", |at| at.to_string())),
        {
            let cte = |at| format!("c{} AS (SELECT a FROM c{at} LIMIT 9)", at + 1);
            format!(
                "WITH c0 AS (SELECT a FROM t), {} SELECT * FROM c{deep}",
                times(deep, ",", cte)
            )
        },
    ]
}

#[test]
fn statements_may_be_as_deep_as_sqlite_allows() {
    on_a_guests_stack(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = PoolBuilder::new()
            .open(folder.path().join("app.db"))
            .expect("a pool");
        query(&pool, "CREATE TABLE t(a, b)").expect("a table");
        for sql in deep(0) {
            // The second time it is cached; the third, it is compiled again as it runs.
            for _ in 0..2 {
                query(&pool, &sql).unwrap_or_else(|error| panic!("{error}: {}", &sql[..60]));
            }
            query(&pool, "CREATE TABLE IF NOT EXISTS u(a)").expect("a table");
            query(&pool, "DROP TABLE u").expect("no table");
            query(&pool, &sql).unwrap_or_else(|error| panic!("{error}: {}", &sql[..60]));
        }
        for sql in deep(30) {
            let error = query(&pool, &sql).expect_err(&sql[..60]);
            assert_eq!(error.kind(), ErrorKind::Sql, "{}", &sql[..60]);
        }
        assert_eq!(pool.stats().abandoned, 0);
    });
}

/// A sound schema of another program, with constructs that guests may not send.
fn bring(path: &Path) {
    let other = rusqlite::Connection::open(path).expect("a file");
    let or = times(990, " OR ", |at| format!("a = {at}"));
    let new = times(990, " OR ", |at| format!("new.a = {at}"));
    let long = "x".repeat(200_000);
    other
        .execute_batch(&format!(
            "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 2);
             CREATE VIEW deep AS SELECT a FROM t WHERE {or};
             CREATE VIEW many AS {};
             CREATE TABLE checked(a CHECK ({or}), b CHECK (b <> '{long}'));
             CREATE INDEX part ON checked(b) WHERE a IS NOT NULL;
             CREATE TABLE wide({});
             CREATE TABLE kept(a, b AS ({}));
             CREATE VIEW v0 AS SELECT * FROM t;
             CREATE TRIGGER told AFTER INSERT ON t BEGIN SELECT 1 WHERE {new}; END;
             {}",
            times(495, " UNION ", |at| format!("SELECT {at} AS a")),
            times(1_990, ",", |at| format!("c{at}")),
            times(990, " + ", |_| "a".into()),
            times(150, ";", |at| format!(
                "CREATE VIEW v{} AS SELECT * FROM v{at} LIMIT 9",
                at + 1
            )),
        ))
        .expect("a schema");
}

#[test]
fn a_sound_schema_is_never_called_damaged() {
    on_a_guests_stack(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        bring(&path);
        let pool = PoolBuilder::new().max_size(2).open(&path).expect("a pool");
        let uses = [
            "SELECT a FROM deep",
            "SELECT a FROM many WHERE a = 494",
            "INSERT INTO checked VALUES (7, 'y') RETURNING a",
            "SELECT b FROM checked WHERE a IS NOT NULL",
            "INSERT INTO wide(c7) VALUES (1) RETURNING c7",
            "SELECT c7 FROM wide",
            "INSERT INTO kept(a) VALUES (2) RETURNING a",
            "SELECT b / 990 FROM kept",
            "SELECT a FROM v150",
            "INSERT INTO t VALUES (5, 6) RETURNING a",
        ];
        for round in 0..3 {
            for sql in uses {
                let table = query(&pool, sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
                assert!(!table.rows.is_empty(), "{sql}");
            }
            // Every connection must read all of it again.
            query(&pool, &format!("CREATE TABLE more{round}(a)")).expect("a table");
            let other = rusqlite::Connection::open(&path).expect("the file");
            other
                .execute_batch(&format!("CREATE TABLE other{round}(a)"))
                .expect("a table");
        }
        assert_eq!(pool.stats().discarded, 0);
    });
}

#[test]
fn a_cascade_goes_as_deep_as_its_rows() {
    on_a_guests_stack(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = PoolBuilder::new()
            .open(folder.path().join("app.db"))
            .expect("a pool");
        query(
            &pool,
            "CREATE TABLE c(id INTEGER PRIMARY KEY, parent REFERENCES c(id) ON DELETE CASCADE)",
        )
        .expect("a table");
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900)
            INSERT INTO c SELECT i, nullif(i - 1, 0) FROM n";
        query(&pool, rows).expect("a chain");
        query(&pool, "DELETE FROM c WHERE id = 1").expect("a cascade");
        let left = query(&pool, "SELECT count(*) FROM c").expect("a count");
        assert_eq!(left.rows, [[Value::Integer(0)]]);
    });
}

/// Rows that another program wrote, with values that guests may not write.
#[test]
fn rows_that_are_larger_than_a_value_may_be_are_changed_and_read_in_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let other = rusqlite::Connection::open(&path).expect("a file");
    other
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, b, n DEFAULT 0, m AS (n + 1));
             CREATE INDEX tn ON t(n);
             INSERT INTO t(b) VALUES (zeroblob(3000000)), (hex(zeroblob(2000000))), ('short');
             CREATE TABLE log(id); CREATE TABLE copy(b);
             CREATE TRIGGER told AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.id); END",
        )
        .expect("rows");
    let pool = PoolBuilder::new().open(&path).expect("a pool");
    let one = |sql: &str| {
        let rows = query(&pool, sql).map(|table| table.rows);
        rows.map(|rows| format!("{rows:?}"))
            .map_err(|error| error.kind())
    };
    for (sql, expected) in [
        (
            "SELECT length(b), octet_length(b), typeof(b) FROM t WHERE id = 1",
            "[[Integer(3000000), Integer(3000000), Text(\"blob\")]]",
        ),
        (
            "SELECT length(b) FROM t WHERE id = 2",
            "[[Integer(4000000)]]",
        ),
        (
            "SELECT substr(b, 3999999) FROM t WHERE id = 2",
            "[[Text(\"00\")]]",
        ),
        ("SELECT id FROM t WHERE b = 'short'", "[[Integer(3)]]"),
        (
            "SELECT max(length(b)), count(b) FROM t",
            "[[Integer(4000000), Integer(3)]]",
        ),
        (
            "UPDATE t SET n = 5 WHERE id = 1 RETURNING id, n, m",
            "[[Integer(1), Integer(5), Integer(6)]]",
        ),
        ("UPDATE t SET n = n + 1", "[]"),
        ("SELECT group_concat(n) FROM t", "[[Text(\"1,1,6\")]]"),
        ("INSERT INTO copy SELECT b FROM t WHERE id = 1", "[]"),
        ("SELECT length(b) FROM copy", "[[Integer(3000000)]]"),
        ("SELECT count(*) FROM log", "[[Integer(4)]]"),
        ("DELETE FROM t WHERE id = 2 RETURNING id", "[[Integer(2)]]"),
    ] {
        assert_eq!(one(sql).as_deref(), Ok(expected), "{sql}");
    }
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let script = "UPDATE t SET n = 1; UPDATE t SET n = n + 1 WHERE id = 1;";
    block_on(connection.execute_script(script)).expect("a script");
    // In a transaction, statements that change one row.
    let script = "BEGIN; INSERT INTO log VALUES (9); UPDATE copy SET b = b WHERE rowid = 1;
                  SELECT length(b) FROM copy; DELETE FROM copy WHERE rowid = 1; ROLLBACK";
    block_on(connection.execute_script(script)).expect("a script");
    drop(connection);
    // Page by page too.
    let connection = pool.get_blocking(Access::ReadOnly).expect("a connection");
    let lengths = block_on(connection.prepare("SELECT length(b) FROM t")).expect("a statement");
    let page = block_on(lengths.query(&NONE, 1, false)).expect("a row");
    let rest = block_on(page.rest.expect("more rows").next(0)).expect("the rest");
    assert_eq!(rest.len() + page.rows.len(), 2);
    drop((lengths, connection));
    // Not whole, and no value as long can be created.
    for sql in [
        "SELECT b FROM t WHERE id = 1",
        "UPDATE t SET b = hex(b) WHERE id = 1",
        "UPDATE t SET b = b || 'x' WHERE id = 1",
        "INSERT INTO t(b) VALUES (zeroblob(2000000))",
        "SELECT length(zeroblob(2000000))",
        "SELECT group_concat(b) FROM t",
    ] {
        assert_eq!(one(sql), Err(ErrorKind::TooLarge), "{sql}");
    }
    assert_eq!(
        one("SELECT length(b) FROM t WHERE id = 1").as_deref(),
        Ok("[[Integer(3000000)]]")
    );
    assert_eq!((pool.stats().discarded, pool.stats().abandoned), (0, 0));
}
