//! SQLite's temporary data: sorted in parts, and in memory.

use millpond_pool::{Access, Connection, Grant, Parameters, Request, Value, ValueRef, block_on};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

fn fixture() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        // Small, so that the data below does not fit.
        .cache_size(64 << 10)
        .max_result_bytes(64 << 20)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let grant = Grant::new(&pool, Access::ReadWrite).temporary(true);
    let connection = block_on(grant.get(Access::ReadWrite, &Request::new()));
    (folder, connection.expect("a connection"))
}

fn run(connection: &Connection, sql: &str) {
    block_on(connection.execute_script(sql)).expect(sql);
}

fn one(connection: &Connection, sql: &str) -> Value {
    let table = block_on(connection.query(sql, &NONE)).expect(sql);
    table.rows.to_vec()[0][0].clone()
}

const NUMBERS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000)";

#[test]
fn rows_that_do_not_fit_the_cache_are_sorted() {
    let (_folder, connection) = fixture();
    let sql =
        format!("{NUMBERS} SELECT (i * 7919) % 50021 AS k, hex(randomblob(20)) FROM n ORDER BY k");
    let table = block_on(connection.query(&sql, &NONE)).expect("sorted");
    assert_eq!(table.rows.len(), 50_000);
    let mut last = -1;
    for row in &table.rows {
        let Some(ValueRef::Integer(key)) = row.get(0) else {
            panic!("{row:?}");
        };
        assert!(last < key, "{last} before {key}");
        last = key;
    }
    let distinct = format!("{NUMBERS} SELECT count(DISTINCT hex(i % 20000)) FROM n");
    assert_eq!(one(&connection, &distinct), Value::Integer(20_000));
    run(
        &connection,
        &format!(
            "CREATE TABLE t(a); INSERT INTO t {NUMBERS} SELECT hex(i) FROM n; CREATE INDEX i ON t(a)"
        ),
    );
    let check = Value::Text("ok".to_owned());
    assert_eq!(one(&connection, "PRAGMA integrity_check"), check);
}

#[test]
fn temporary_tables_outgrow_their_cache() {
    let (_folder, connection) = fixture();
    run(
        &connection,
        &format!(
            "CREATE TEMP TABLE n(i INTEGER PRIMARY KEY, a);
             INSERT INTO n {NUMBERS} SELECT i, hex(randomblob(50)) FROM n;
             BEGIN; DELETE FROM n WHERE i % 2; UPDATE n SET a = a || a; ROLLBACK;
             BEGIN; DELETE FROM n WHERE i % 2; SAVEPOINT s; DELETE FROM n; ROLLBACK TO s; COMMIT"
        ),
    );
    assert_eq!(
        one(&connection, "SELECT count(*) FROM n"),
        Value::Integer(25_000)
    );
    assert_eq!(
        one(&connection, "SELECT max(length(a)) FROM n"),
        Value::Integer(100)
    );
}
