//! Only `ANALYZE` writes SQLite's statistics, also in a statement that SQLite compiles again.

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, TableGrant, Value, block_on,
};
use millpond_sqlite::PoolBuilder;
use tempfile::TempDir;

static NONE: Parameters = Parameters::NONE;

/// Two connections to a database, whose first has cached a statement that inserts a row, and
/// compiled another since.
fn connections() -> (TempDir, Pool, [Connection; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new().max_size(2);
    let pool = pool.open(folder.path().join("app.db")).expect("a pool");
    let get = || pool.get_blocking(Access::ReadWrite).expect("a connection");
    let connections = [get(), get()];
    for sql in [
        "CREATE TABLE t(a)",
        "CREATE INDEX ta ON t(a)",
        "INSERT INTO t SELECT value FROM generate_series(1, 100)",
        "ANALYZE",
        INSERT,
        "SELECT 1",
    ] {
        run(&connections[0], sql).expect(sql);
    }
    (folder, pool, connections)
}

const INSERT: &str = "INSERT INTO t VALUES (1)";
const TRIGGER: &str = "CREATE TRIGGER r AFTER INSERT ON t BEGIN
    UPDATE sqlite_stat1 SET stat = '9 9'; END";

fn run(connection: &Connection, sql: &str) -> Result<(), ErrorKind> {
    let outcome = block_on(connection.query(sql, &NONE));
    outcome.map(drop).map_err(|error| error.kind())
}

fn statistics(connection: &Connection) -> Value {
    let sql = "SELECT stat FROM sqlite_stat1 WHERE idx = 'ta'";
    let table = block_on(connection.query(sql, &NONE)).expect("a table");
    let row = table.rows.iter().next().expect("a row").to_vec();
    row[0].clone()
}

fn is_refused(connection: &Connection) {
    let before = statistics(connection);
    assert_eq!(run(connection, INSERT), Err(ErrorKind::NotAuthorized));
    assert_eq!(statistics(connection), before);
}

#[test]
fn a_trigger_does_not_write_them_in_a_cached_statement() {
    let (_folder, _pool, [one, _]) = connections();
    run(&one, TRIGGER).expect("a trigger");
    is_refused(&one);
}

#[test]
fn nor_one_of_another_connection_after_an_analysis() {
    for analysis in ["PRAGMA optimize(0x10002)", "ANALYZE t"] {
        let (_folder, _pool, [one, other]) = connections();
        run(&other, TRIGGER).expect("a trigger");
        run(&one, "CREATE TABLE IF NOT EXISTS t(a)").expect("a read of the schema");
        run(&one, analysis).expect(analysis);
        is_refused(&one);
    }
}

#[test]
fn a_cached_analysis_may_be_compiled_again() {
    let (_folder, _pool, [one, other]) = connections();
    for analysis in ["ANALYZE t", "PRAGMA optimize(0x10002)"] {
        run(&one, analysis).expect(analysis);
        run(&other, "CREATE TABLE IF NOT EXISTS n(a)").expect("a table");
        run(&other, "DROP TABLE n").expect("none");
        run(&one, "SELECT 2").expect("a row");
        run(&one, analysis).expect(analysis);
    }
}

/// Dropping a table deletes the rows that refer to its own.
#[test]
fn a_trigger_does_not_write_them_while_a_table_is_dropped() {
    for own in [
        "sqlite_stat1 SET stat = '9 9'",
        "sqlite_sequence SET seq = 9",
    ] {
        let (_folder, pool, [one, other]) = connections();
        for sql in [
            "CREATE TABLE n(id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "INSERT INTO n VALUES (1)",
        ] {
            run(&one, sql).expect(sql);
        }
        drop(one);
        drop(other);
        let all = TableGrant::new().read().insert().update().delete();
        let grant = Grant::new(&pool, Access::ReadWrite)
            .table("parent", all.clone())
            .table("child", all)
            .schema(true);
        let guest = block_on(grant.get(Access::ReadWrite, &Request::new()));
        let guest = guest.expect("a connection");
        let trigger = format!("CREATE TRIGGER c AFTER DELETE ON child BEGIN UPDATE {own}; END");
        for sql in [
            "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
            "CREATE TABLE child(p REFERENCES parent ON DELETE CASCADE)",
            "INSERT INTO parent VALUES (1)",
            "INSERT INTO child VALUES (1)",
            &trigger,
        ] {
            run(&guest, sql).expect(sql);
        }
        let dropped = run(&guest, "DROP TABLE parent");
        assert_eq!(dropped, Err(ErrorKind::NotAuthorized), "{own}");
        // Without the trigger, SQLite deletes the table's statistics.
        for sql in ["DROP TRIGGER c", "ANALYZE parent", "DROP TABLE parent"] {
            run(&guest, sql).expect(sql);
        }
    }
}

/// Its statements are compiled while the table of another is dropped, and belong to no trigger.
#[test]
fn a_full_text_table_does_not_read_them_while_a_table_is_dropped() {
    let (_folder, pool, [one, other]) = connections();
    drop(one);
    drop(other);
    let all = TableGrant::new().read().insert().update().delete();
    let text = all.clone().shadow_tables();
    let grant = Grant::new(&pool, Access::ReadWrite)
        .table("f", text.clone())
        .table("g", text)
        .table("child", all.clone())
        .table("mine", all)
        .schema(true);
    let guest = block_on(grant.get(Access::ReadWrite, &Request::new()));
    let guest = guest.expect("a connection");
    for sql in [
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE VIRTUAL TABLE g USING fts5(tbl, idx, stat, content = 'sqlite_stat1')",
        "CREATE TABLE child(p REFERENCES f_data(id) ON DELETE CASCADE)",
        "CREATE TABLE mine(a)",
        "INSERT INTO child VALUES (10)",
        "CREATE TRIGGER c AFTER DELETE ON child BEGIN
            INSERT INTO mine SELECT tbl || idx || stat FROM g; END",
    ] {
        run(&guest, sql).expect(sql);
    }
    assert_eq!(run(&guest, "DROP TABLE f"), Err(ErrorKind::NotAuthorized));
}
