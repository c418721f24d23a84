//! What a grant allows, and what one borrower learns of another.

use std::time::Duration;

use millpond_libsql::{Migrator, PoolBuilder};
use millpond_pool::{
    Access, ErrorKind, Grant, PoolsSettings, Request, Rows, TableGrant, TransactionMode, Value,
};

use crate::admin::Admin;
use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

#[tokio::test]
async fn a_read_only_connection_reads_and_no_more() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let setup = get(&pool).await;
    setup
        .execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        .await
        .expect("made");
    let reader = pool.get(Access::ReadOnly).await.expect("a connection");
    for sql in [
        "SELECT a FROM t",
        "WITH x AS (SELECT a FROM t) SELECT * FROM x",
        // A word that writes, as a name: the server says what it is.
        "WITH \"delete\" AS (SELECT a FROM t) SELECT * FROM \"delete\"",
        "EXPLAIN DELETE FROM t",
        "PRAGMA table_info(t)",
        "BEGIN",
        "SELECT a FROM t",
        "SAVEPOINT s",
        "RELEASE s",
        "COMMIT",
    ] {
        let read = reader.query(sql, &NONE).await;
        assert!(read.is_ok(), "{sql}: {read:?}");
    }
    for sql in [
        "INSERT INTO t VALUES (2)",
        "INSERT INTO t VALUES (2) RETURNING a",
        "WITH x AS (SELECT 2) INSERT INTO t SELECT * FROM x",
        "WITH x AS (SELECT 2) DELETE FROM t WHERE a IN (SELECT 1 FROM x)",
        "CREATE TABLE IF NOT EXISTS t(a)",
        "DROP TABLE t",
        "BEGIN IMMEDIATE",
        "PRAGMA user_version = 1",
    ] {
        let refused = reader.query(sql, &NONE).await;
        assert_eq!(kind(refused), ErrorKind::NotAuthorized, "{sql}");
    }
    let script = reader.execute_script("SELECT 1; DELETE FROM t").await;
    assert_eq!(error(script).offset(), Some(10));
    let prepared = reader.prepare("DELETE FROM t").await.expect("compiled");
    assert!(!prepared.describe().await.expect("described").read_only);
    assert_eq!(
        kind(prepared.execute(&NONE).await),
        ErrorKind::NotAuthorized
    );
    let rows = Rows::from_rows([[1]]).expect("rows");
    let insert = reader
        .prepare("INSERT INTO t VALUES (?)")
        .await
        .expect("compiled");
    assert_eq!(
        kind(insert.execute_many(&rows).await),
        ErrorKind::NotAuthorized
    );
    assert_eq!(
        value(&setup, "SELECT count(*) FROM t").await,
        Value::Integer(1)
    );
    drop((reader, setup, prepared, insert));
    close(pool).await;
}

#[tokio::test]
async fn what_the_engine_cannot_enforce_is_refused_with_the_grant() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let grant = || Grant::new(&pool, Access::ReadWrite);
    let table = TableGrant::new().read();
    for refused in [
        grant().table("t", table.clone()),
        grant().temporary(true),
        grant().max_statement_steps(1000),
    ] {
        assert_eq!(kind(refused.check()), ErrorKind::Unsupported);
        let got = refused.get(Access::ReadOnly, &Request::new()).await;
        assert_eq!(kind(got), ErrorKind::Unsupported);
    }
    // The schema can be watched here.
    let fixed = grant().schema(false);
    fixed.check().expect("enforced");
    let connection = fixed.get(Access::ReadWrite, &Request::new()).await;
    let connection = connection.expect("a connection");
    for sql in [
        "CREATE TABLE t(a)",
        "DROP TABLE t",
        "PRAGMA user_version = 1",
    ] {
        let refused = connection.execute(sql, &NONE).await;
        assert_eq!(kind(refused), ErrorKind::NotAuthorized, "{sql}");
    }
    drop(connection);
    close(pool).await;
    let trusting = PoolBuilder::new()
        .server_enforces_tables(true)
        .read_only(true);
    let pool = server.pool_of(trusting).await;
    let grant = Grant::new(&pool, Access::ReadWrite).table("t", table);
    assert_eq!(
        kind(grant.check()),
        ErrorKind::NotAuthorized,
        "open for reading"
    );
    let grant = Grant::new(&pool, Access::ReadOnly).table("t", TableGrant::new());
    grant.check().expect("the server's to enforce");
    close(pool).await;
}

#[tokio::test]
async fn a_namespace_is_a_database_of_its_own() {
    let Some((server, admin)) = Admin::start() else {
        return;
    };
    let mut pools = Vec::new();
    for name in ["one", "two"] {
        admin.create(name);
        pools.push(server.pool_of(PoolBuilder::new().namespace(name)).await);
    }
    for pool in &pools {
        let connection = get(pool).await;
        let made = connection.execute("CREATE TABLE t(a)", &NONE).await;
        made.expect("each has its own");
    }
    for pool in pools {
        close(pool).await;
    }
    let url = server.url();
    let none = PoolBuilder::new().namespace("none").open(&url);
    assert_eq!(kind(none.await), ErrorKind::NoSuchDatabase);
    let none = PoolBuilder::new().namespace("no.name").open(&url);
    assert_eq!(kind(none.await), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_opened_and_closed_by_key() {
    let Some((server, admin)) = Admin::start() else {
        return;
    };
    let keys: Vec<String> = (0..8).map(|number| format!("tenant-{number}")).collect();
    for key in &keys {
        admin.create(key);
    }
    let migrate = |migrator: &mut Migrator| {
        migrator.begin()?;
        migrator.execute_script("CREATE TABLE IF NOT EXISTS t(a)")?;
        migrator.commit()
    };
    let settings = PoolsSettings::new(3).max_idle_time(Duration::from_millis(5));
    let pools = PoolBuilder::new().migrated_pools(&server.url(), settings, migrate);
    let pools = pools.expect("valid settings");
    let tasks = (0..3_usize).map(|task| {
        let (pools, keys) = (pools.clone(), keys.clone());
        tokio::spawn(async move {
            for turn in 0..16 {
                let pool = pools
                    .get(&keys[(turn * 5 + task) % 8])
                    .await
                    .expect("a pool");
                let connection = get(&pool).await;
                drop(pool);
                let insert = connection.execute("INSERT INTO t VALUES (1)", &NONE);
                insert.await.expect("not closed meanwhile");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no failure");
    }
    for key in &keys {
        let pool = pools.get(key).await.expect("a pool");
        let count = value(&get(&pool).await, "SELECT count(*) FROM t").await;
        assert_eq!(count, Value::Integer(6), "{key}");
    }
    for key in [
        "none",
        "",
        "a.b",
        "tenant-1.",
        "tenant-1/x",
        "tenant-1:80",
        "\0",
        &"x".repeat(64),
    ] {
        assert_eq!(
            kind(pools.get(key).await),
            ErrorKind::NoSuchDatabase,
            "{key:?}"
        );
    }
    let stats = pools.stats();
    assert!(stats.closed >= 5 && stats.timeouts == 0, "{stats:?}");
    pools.close(Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_larger_than_the_limits_is_an_error() {
    let Some(server) = Sqld::start() else { return };
    let builder = PoolBuilder::new()
        .max_value_bytes(64 << 10)
        .max_result_bytes(128 << 10);
    let pool = server.pool_of(builder).await;
    let connection = get(&pool).await;
    for sql in [
        "SELECT zeroblob(65537)",
        "SELECT zeroblob(60000), zeroblob(60000), zeroblob(60000)",
        "SELECT zeroblob(12000000)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(50000) FROM n",
    ] {
        assert_eq!(
            kind(connection.query(sql, &NONE).await),
            ErrorKind::TooLarge,
            "{sql}"
        );
        assert_eq!(value(&connection, "SELECT 7").await, Value::Integer(7));
    }
    // What has been written is not said to have been undone.
    connection
        .execute("CREATE TABLE t(a)", &NONE)
        .await
        .expect("made");
    let insert = "INSERT INTO t VALUES (zeroblob(65537)) RETURNING a";
    assert_eq!(
        kind(connection.query(insert, &NONE).await),
        ErrorKind::OutcomeUnknown
    );
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let failed = error(connection.query(insert, &NONE).await);
    assert_eq!(
        (failed.kind(), failed.rolled_back()),
        (ErrorKind::TooLarge, true)
    );
    drop(open);
    assert_eq!(
        value(&connection, "SELECT count(*) FROM t").await,
        Value::Integer(1)
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn functions_tell_nothing_of_the_borrower_before() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool_of(PoolBuilder::new().max_size(1)).await;
    let all = "SELECT last_insert_rowid() + changes() + total_changes()";
    let first = get(&pool).await;
    first
        .execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3)")
        .await
        .expect("made");
    assert_eq!(value(&first, all).await, Value::Integer(3 + 3 + 3));
    drop(first);
    let second = get(&pool).await;
    assert_eq!(value(&second, all).await, Value::Integer(0));
    drop(second);
    let third = get(&pool).await;
    let none = third.execute("DELETE FROM t WHERE a > 3", &NONE).await;
    assert_eq!(none.expect("done").last_insert_rowid, 0);
    assert_eq!(
        value(&third, "SELECT last_insert_rowid()").await,
        Value::Integer(0)
    );
    third
        .execute("INSERT INTO t VALUES (4)", &NONE)
        .await
        .expect("done");
    assert_eq!(
        value(&third, "SELECT last_insert_rowid()").await,
        Value::Integer(4)
    );
    drop(third);
    close(pool).await;
}
