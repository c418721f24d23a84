//! The next borrower does not find what the last one left: one borrower leaves each thing that can
//! leak through a connection, and the next one looks, on the same connection.

use std::time::Duration;

use millpond_pool::{Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Value};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

/// What a borrower can see of a connection, apart from the database.
const LOOK: &[&str] = &[
    "SELECT last_insert_rowid(), changes(), total_changes()",
    "SELECT count(*) FROM temp.sqlite_schema",
    "SELECT a FROM t ORDER BY a",
    "SELECT count(*) FROM sqlite_schema",
    "PRAGMA defer_foreign_keys",
    "PRAGMA foreign_keys",
    "PRAGMA user_version",
    "SELECT 'A' LIKE 'a'",
    "PRAGMA integrity_check",
    "EXPLAIN QUERY PLAN SELECT * FROM t",
];

/// Each is run alone by the first borrower, who then just drops the connection. The pool may refuse
/// it, but it must not be visible either.
const PLANT: &[&str] = &[
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN; INSERT INTO t VALUES (99)",
    "SAVEPOINT s; INSERT INTO t VALUES (99)",
    "SAVEPOINT s; SAVEPOINT r; DELETE FROM t; RELEASE r",
    "BEGIN; PRAGMA defer_foreign_keys = ON; INSERT INTO child VALUES (99)",
    "PRAGMA defer_foreign_keys = ON",
    "PRAGMA defer_foreign_keys = ON; INSERT INTO child VALUES (99)",
    "EXPLAIN PRAGMA defer_foreign_keys = ON",
    "BEGIN; CREATE TABLE planted(a)",
    "BEGIN; INSERT OR ROLLBACK INTO u VALUES (1)",
    "CREATE TEMP TABLE t(a); INSERT INTO temp.t VALUES ('evil')",
    "CREATE TEMP TABLE planted AS SELECT * FROM main.t",
    "CREATE TEMP VIEW t AS SELECT 'evil' AS a",
    "CREATE TEMP TRIGGER spy AFTER INSERT ON main.t BEGIN DELETE FROM u; END",
    "CREATE TEMP TABLE planted(a); CREATE INDEX temp.i ON planted(a)",
    "CREATE VIRTUAL TABLE temp.planted USING fts5(a)",
    "BEGIN; CREATE TEMP TABLE t(a); INSERT INTO temp.t VALUES ('evil')",
    "INSERT INTO v VALUES (4711)",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = 7",
    "PRAGMA busy_timeout = 1",
    "PRAGMA synchronous = OFF",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA writable_schema = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA reverse_unordered_selects = ON",
    "PRAGMA max_page_count = 10",
    "PRAGMA secure_delete = ON",
    "PRAGMA threads = 4",
    "PRAGMA mmap_size = 1000000",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA legacy_alter_table = ON",
    "PRAGMA cell_size_check = OFF",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA fullfsync = ON",
    "PRAGMA journal_size_limit = 1",
    "PRAGMA automatic_index = OFF",
    "PRAGMA cache_spill = 1",
    "PRAGMA short_column_names = OFF",
    "PRAGMA full_column_names = ON",
    "PRAGMA count_changes = ON",
    "PRAGMA empty_result_callbacks = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA hard_heap_limit = 1000000",
    "PRAGMA soft_heap_limit = 1000000",
    "PRAGMA temp_store_directory = '/tmp'",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA application_id = 7",
    "PRAGMA auto_vacuum = FULL",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA schema_version = 7",
    "ATTACH ':memory:' AS planted",
    "ATTACH 'plan' || 'ted.db' AS planted",
    "VACUUM",
    "VACUUM INTO 'planted.db'",
    "DETACH main",
    "SELECT load_extension('planted')",
    "SELECT changes(), total_changes()",
];

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let setup = PoolBuilder::new().open(&path).expect("a pool");
    get(&setup)
        .await
        .execute_script(
            "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);
             CREATE TABLE u(a UNIQUE); INSERT INTO u VALUES (1);
             CREATE TABLE v(a INTEGER PRIMARY KEY);
             CREATE TABLE parent(id INTEGER PRIMARY KEY);
             CREATE TABLE child(p REFERENCES parent(id))",
        )
        .await
        .expect("tables");
    setup.close(Duration::ZERO).await;
    let pool = PoolBuilder::new().max_size(1).open(path).expect("a pool");
    Fixture {
        _folder: folder,
        pool,
    }
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

/// A connection with the widest grant.
async fn get_wide(pool: &Pool) -> Connection {
    let grant = Grant::new(pool, Access::ReadWrite).temporary(true);
    let connection = grant.get(Access::ReadWrite, &Request::new()).await;
    connection.expect("a connection")
}

async fn look(connection: &Connection) -> Vec<String> {
    let mut seen = vec![format!("in transaction: {}", connection.in_transaction())];
    for sql in LOOK {
        let result = connection.query(sql, &NONE).await;
        seen.push(format!("{sql}: {:?}", result.map(|table| table.rows)));
    }
    // Another borrower's triggers would run here.
    let inserted = connection.execute("INSERT INTO u VALUES (2)", &NONE).await;
    seen.push(format!("insert: {inserted:?}"));
    let left = connection.query("SELECT count(*) FROM u", &NONE).await;
    let orphan = connection
        .execute("INSERT INTO child VALUES (99)", &NONE)
        .await;
    seen.push(format!("orphan: {orphan:?}"));
    seen.push(format!("after: {:?}", left.map(|table| table.rows)));
    connection
        .execute("DELETE FROM u WHERE a = 2", &NONE)
        .await
        .expect("undone");
    seen
}

#[tokio::test]
async fn the_next_borrower_finds_nothing_of_the_last() {
    let fresh = look(&get(&fixture().await.pool).await).await;
    for plant in PLANT {
        let f = fixture().await;
        let planter = get_wide(&f.pool).await;
        let _ = planter.execute_script(plant).await;
        drop(planter);
        let stats = f.pool.stats();
        assert_eq!(stats.in_use, 0, "{plant}");
        let looker = get(&f.pool).await;
        // The looker may see what the plant wrote to the database.
        looker
            .execute("DELETE FROM v", &NONE)
            .await
            .expect("a table");
        // And its changes count as its own: another looks.
        drop(looker);
        let looker = get(&f.pool).await;
        assert_eq!(look(&looker).await, fresh, "{plant}");
        // Reset and lent again, not closed.
        assert_eq!(f.pool.stats().connections_created, 1, "{plant}");
    }
}

#[tokio::test]
async fn statements_with_lasting_effects_are_refused() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    for plant in PLANT.iter().filter(|plant| {
        let sets = plant.starts_with("PRAGMA") && !plant.contains("defer_foreign_keys");
        sets || plant.contains("ATTACH") || plant.contains("DETACH")
    }) {
        let error = connection.execute_script(plant).await.expect_err(plant);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{plant}: {error}");
    }
    for refused in [
        "VACUUM",
        "VACUUM INTO 'planted.db'",
        "SELECT load_extension('planted')",
        "SELECT fts5_source_id()",
    ] {
        connection.execute_script(refused).await.expect_err(refused);
    }
}

#[tokio::test]
async fn statements_and_cursors_left_open_hold_nothing() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    let statement = connection
        .prepare("SELECT a FROM t WHERE a >= ?1")
        .await
        .expect("a statement");
    let secret = Parameters::from([Value::Integer(1)]);
    let page = statement.query(&secret, 1, false).await.expect("a row");
    let cursor = page.rest.expect("another row");
    drop(connection);
    assert_eq!(
        cursor.next(1).await.expect_err("returned").kind(),
        ErrorKind::StaleHandle
    );
    assert_eq!(
        statement.execute(&NONE).await.expect_err("returned").kind(),
        ErrorKind::StaleHandle
    );
    assert_eq!(
        statement.describe().await.expect_err("returned").kind(),
        ErrorKind::StaleHandle
    );

    let next = get(&f.pool).await;
    // The same text, already compiled: it must not remember its bindings.
    let again = next
        .prepare("SELECT a FROM t WHERE a >= ?1")
        .await
        .expect("a statement");
    let error = again
        .query(&NONE, 0, false)
        .await
        .expect_err("a parameter is missing");
    assert_eq!(error.kind(), ErrorKind::Parameters);
    // The first borrower's handles do not affect the second's.
    drop((cursor, statement));
    assert_eq!(
        again.query(&secret, 0, false).await.expect("rows").rows,
        [[Value::Integer(1)], [Value::Integer(2)]]
    );
    next.execute("DROP TABLE t", &NONE)
        .await
        .expect("no reader is left");
    assert_eq!(f.pool.stats().connections_created, 1);
}

#[tokio::test]
async fn a_late_end_of_a_handle_does_not_reach_the_next_borrower() {
    let f = fixture().await;
    let connection = get(&f.pool).await;
    let stale = connection
        .begin(millpond_pool::TransactionMode::Immediate)
        .await
        .expect("begun");
    drop(connection);
    let next = get(&f.pool).await;
    let transaction = next
        .begin(millpond_pool::TransactionMode::Immediate)
        .await
        .expect("begun");
    next.execute("INSERT INTO t VALUES (3)", &NONE)
        .await
        .expect("a row");
    assert_eq!(
        stale.rollback().await.expect_err("returned").kind(),
        ErrorKind::StaleHandle
    );
    transaction.commit().await.expect("still open");
    assert_eq!(f.pool.stats().rolled_back, 1);
}

#[tokio::test]
async fn a_connection_that_saw_a_damaged_schema_is_discarded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(1).open(&path).expect("a pool");
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("a table");
    // Another process damages the schema, which is read again when a statement does not compile.
    let other = rusqlite::Connection::open(&path).expect("the file");
    other
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE TABLE t(';
             PRAGMA schema_version = 77;",
        )
        .expect("damaged");
    let error = connection
        .prepare("SELECT * FROM u")
        .await
        .expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    drop(connection);
    assert_eq!(pool.stats().discarded, 1);
}

#[tokio::test]
async fn a_connection_that_saw_damage_is_discarded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let setup = PoolBuilder::new().open(&path).expect("a pool");
    get(&setup)
        .await
        .execute_script(
            "CREATE TABLE t(a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO t SELECT randomblob(1000) FROM n",
        )
        .await
        .expect("rows");
    setup.close(Duration::ZERO).await;
    // Everything except the first page, with the header and the schema.
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).expect("written");

    let pool = PoolBuilder::new()
        .max_size(1)
        .open(&path)
        .expect("the schema is sound");
    let connection = get(&pool).await;
    let error = connection
        .query("SELECT sum(length(a)) FROM t", &NONE)
        .await
        .expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    drop(connection);
    let stats = pool.stats();
    assert_eq!((stats.discarded, stats.idle, stats.in_use), (1, 0, 0));
}
