//! Values, parameters, errors, and what a grant allows.

use millpond_libsql::PoolBuilder;
use millpond_pool::{ErrorKind, Parameters, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

#[tokio::test]
async fn values_come_back_as_they_were_sent() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Integer((1 << 53) + 1),
        Value::Real(0.1),
        Value::Real(-0.0),
        Value::Real(f64::MAX),
        Value::Real(5e-324),
        Value::Real(f64::INFINITY),
        Value::Real(f64::NEG_INFINITY),
        Value::Text(String::new()),
        Value::Text("a\0b – ü 🙂 \" \\ \u{7f}".to_owned()),
        Value::Blob(Vec::new()),
        Value::Blob((0..=255).collect()),
        Value::Blob(vec![7; 300_000]),
    ];
    connection
        .execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        .await
        .expect("made");
    for (index, value) in values.iter().enumerate() {
        let parameters = Parameters::from([Value::from(index as i64), value.clone()]);
        let inserted = connection
            .execute("INSERT INTO t VALUES (?1, ?2) RETURNING id", &parameters)
            .await
            .expect("inserted");
        assert_eq!(
            (inserted.changes, inserted.last_insert_rowid),
            (1, index as i64)
        );
        // Straight back, and through the file.
        let parameters = Parameters::from([value.clone()]);
        let echoed = connection.query("SELECT ?", &parameters).await;
        assert_eq!(echoed.expect("a row").rows, [[value.clone()]]);
    }
    let table = connection
        .query("SELECT v AS it FROM t ORDER BY id", &NONE)
        .await
        .expect("rows");
    let expected: Vec<[Value; 1]> = values.map(|value| [value]).into();
    assert_eq!(table.rows, expected);
    assert_eq!(table.columns[0].name, "it");
    assert_eq!(table.columns[0].declared_type, None);
    let declared = connection.query("SELECT id FROM t", &NONE).await;
    let declared = declared.expect("rows").columns.remove(0).declared_type;
    assert_eq!(declared.as_deref(), Some("INTEGER"));
    // SQLite has no NaN.
    let nan = connection
        .query("SELECT ?", &Parameters::from([f64::NAN]))
        .await;
    assert_eq!(nan.expect("a row").rows, [[Value::Null]]);
    let invalid = connection.query("SELECT CAST(x'ff' AS TEXT)", &NONE).await;
    assert_eq!(kind(invalid), ErrorKind::NotUtf8);
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn parameters_have_positions_or_names() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    let rows = |sql: &'static str, parameters| {
        let connection = &connection;
        async move { connection.query_rows(sql, &parameters).await }
    };
    let two = || Parameters::from([1, 2]);
    let named = || Parameters::named([("a", 1), (":b", 2)]);
    for (sql, parameters) in [
        ("SELECT ?, ?", two()),
        ("SELECT ?1, ?2", two()),
        ("SELECT :a, @b", two()),
        ("SELECT :a, :b", named()),
        ("SELECT :a, max(@b, :a)", named()),
        ("SELECT ?1, ?2", Parameters::named([("2", 2), ("?1", 1)])),
        ("SELECT $a, $b", named()),
        ("SELECT :a, ?", two()),
        ("SELECT 1, ?2 WHERE ?1 = 1", two()),
    ] {
        let rows = rows(sql, parameters).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, [[Value::Integer(1), Value::Integer(2)]], "{sql}");
    }
    assert_eq!(kind(rows("SELECT ?", two()).await), ErrorKind::Parameters);
    assert_eq!(
        kind(rows("SELECT :c", named()).await),
        ErrorKind::Parameters
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn errors_have_their_kinds() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script(
            "CREATE TABLE p(id INTEGER PRIMARY KEY);
             CREATE TABLE t(a UNIQUE, b NOT NULL, c CHECK (c > 0), d REFERENCES p(id));
             CREATE TABLE s(a INT) STRICT;
             INSERT INTO t VALUES (1, 1, 1, NULL)",
        )
        .await
        .expect("made");
    for (sql, expected, code) in [
        (
            "INSERT INTO t VALUES (1, 1, 1, NULL)",
            ErrorKind::ConstraintUnique,
            2067,
        ),
        (
            "INSERT INTO t VALUES (2, NULL, 1, NULL)",
            ErrorKind::ConstraintNotNull,
            1299,
        ),
        (
            "INSERT INTO t VALUES (2, 1, 0, NULL)",
            ErrorKind::ConstraintCheck,
            275,
        ),
        (
            "INSERT INTO t VALUES (2, 1, 1, 7)",
            ErrorKind::ConstraintForeignKey,
            787,
        ),
        ("INSERT INTO s VALUES ('x')", ErrorKind::ConstraintOther, 19),
        ("SELECT * FROM nowhere", ErrorKind::Sql, 1),
        ("SELECT missing FROM t", ErrorKind::Sql, 1),
        ("SELECT FROM", ErrorKind::Sql, 0),
        ("SELECT 1; SELECT 2", ErrorKind::Sql, 0),
        ("-- nothing", ErrorKind::Sql, 0),
        ("ATTACH 'x' AS y", ErrorKind::Unsupported, 0),
        ("CREATE TEMP TABLE x(a)", ErrorKind::Unsupported, 0),
        ("SELECT sqlite_version()", ErrorKind::NotAuthorized, 0),
        (
            "DELETE FROM millpond_migrations",
            ErrorKind::NotAuthorized,
            0,
        ),
        ("COMMIT", ErrorKind::Sql, 1),
    ] {
        let failed = error(connection.execute(sql, &NONE).await);
        assert_eq!(
            (failed.kind(), failed.code()),
            (expected, code),
            "{sql}: {failed}"
        );
        assert!(!failed.rolled_back(), "{sql}");
    }
    // A primary key is unique, and the server says no more.
    connection
        .execute("INSERT INTO p VALUES (1)", &NONE)
        .await
        .expect("new");
    let twice = connection.execute("INSERT INTO p VALUES (1)", &NONE).await;
    assert_eq!(kind(twice), ErrorKind::ConstraintUnique);
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn every_pragma_that_is_let_through_is_one_the_server_has() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a PRIMARY KEY REFERENCES t(a)); CREATE INDEX i ON t(a)")
        .await
        .expect("made");
    for pragma in [
        "application_id",
        "auto_vacuum",
        "cache_size",
        "collation_list",
        "compile_options",
        "data_version",
        "defer_foreign_keys",
        "encoding",
        "foreign_key_check",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "integrity_check",
        "journal_mode",
        "page_count",
        "page_size",
        "query_only",
        "quick_check",
        "read_uncommitted",
        "schema_version",
        "synchronous",
        "table_list",
        "user_version",
        "table_info(t)",
        "table_xinfo(t)",
        "index_list(t)",
        "index_info(i)",
        "index_xinfo(i)",
        "foreign_key_list(t)",
        "foreign_key_check(t)",
        "quick_check(t)",
        "table_list(t)",
        "foreign_keys = ON",
        "user_version = 3",
        "defer_foreign_keys = ON",
    ] {
        let sql = format!("PRAGMA {pragma}");
        let done = connection.query(&sql, &NONE).await;
        assert!(done.is_ok(), "{sql}: {done:?}");
    }
    assert_eq!(
        value(&connection, "PRAGMA user_version").await,
        Value::Integer(3)
    );
    drop(connection);
    // What was set is not the next borrower's.
    let connection = get(&pool).await;
    assert_eq!(
        value(&connection, "PRAGMA defer_foreign_keys").await,
        Value::Integer(0)
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_script_runs_up_to_what_fails() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    let script = "CREATE TABLE t(a UNIQUE); -- a; comment
        CREATE TRIGGER g AFTER INSERT ON t WHEN new.a < 0 BEGIN DELETE FROM t; SELECT 1; END;
        INSERT INTO t VALUES (1);; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)";
    let failed = error(connection.execute_script(script).await);
    assert_eq!(failed.kind(), ErrorKind::ConstraintUnique);
    let at = script.rfind("INSERT INTO t VALUES (1)").map(|at| at as u32);
    assert_eq!(failed.offset(), at);
    assert_eq!(
        value(&connection, "SELECT count(*) FROM t").await,
        Value::Integer(1)
    );
    // One that does not parse keeps nothing before it from running.
    let script = "INSERT INTO t VALUES (3); INSERT INTO t VALUES (4); SELECT FROM";
    assert_eq!(
        kind(connection.execute_script(script).await),
        ErrorKind::Sql
    );
    let script = "INSERT INTO t VALUES (5); ATTACH 'x' AS y; INSERT INTO t VALUES (6)";
    assert_eq!(
        kind(connection.execute_script(script).await),
        ErrorKind::Unsupported
    );
    assert_eq!(
        value(&connection, "SELECT sum(a) FROM t").await,
        Value::Integer(13)
    );
    let script =
        "BEGIN; INSERT INTO t VALUES (7); SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT";
    connection.execute_script(script).await.expect("committed");
    assert!(!connection.in_transaction());
    assert_eq!(
        value(&connection, "SELECT sum(a) FROM t").await,
        Value::Integer(20)
    );
    let many: String = (100..700)
        .map(|n| format!("INSERT INTO t VALUES ({n});"))
        .collect();
    connection.execute_script(&many).await.expect("all of them");
    assert_eq!(
        value(&connection, "SELECT count(*) FROM t").await,
        Value::Integer(605)
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn calls_at_once_on_one_connection_follow_each_other() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let insert = |sql| connection.execute(sql, &NONE);
    let (one, two, three) = tokio::join!(
        insert("INSERT INTO t VALUES (1)"),
        insert("INSERT INTO t VALUES (2)"),
        insert("INSERT INTO nowhere VALUES (3)"),
    );
    assert_eq!(one.expect("written").last_insert_rowid, 1);
    assert_eq!(two.expect("written").last_insert_rowid, 2);
    assert_eq!(kind(three), ErrorKind::Sql);
    drop(connection);
    close(pool).await;
}

/// The server tells the last rowid of the stream, which an earlier borrower used.
#[tokio::test]
async fn the_last_rowid_is_of_the_borrowers_own_insert() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool_of(PoolBuilder::new().max_size(1)).await;
    let first = get(&pool).await;
    let setup = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY KEY);
                 INSERT INTO t VALUES (1, 1), (2, 2), (7, 7)";
    first.execute_script(setup).await.expect("done");
    drop(first);
    let upsert = "INSERT INTO t VALUES (1, 1) ON CONFLICT DO UPDATE SET a = a + 1";
    let second = get(&pool).await;
    for (sql, changes, rowid) in [
        ("UPDATE t SET a = 3 WHERE id = 2", 1, 0),
        (upsert, 1, 0),
        // The row that the earlier borrower inserted last has the same rowid.
        ("INSERT INTO u VALUES (7)", 1, 7),
        ("UPDATE t SET a = 3 WHERE id = 2", 1, 7),
        (
            "WITH n(i) AS (SELECT 8) INSERT INTO u SELECT i FROM n",
            1,
            8,
        ),
        (upsert, 1, 8),
        ("REPLACE INTO u VALUES (3)", 1, 3),
        ("DELETE FROM u WHERE id = replace('3', '4', '')", 1, 3),
    ] {
        let done = second.execute(sql, &NONE).await.expect(sql);
        assert_eq!(
            (done.changes, done.last_insert_rowid),
            (changes, rowid),
            "{sql}"
        );
    }
    // After what said nothing of its rowid, it is unknown.
    let statement = second.prepare("INSERT INTO u VALUES (20), (21) RETURNING id");
    let statement = statement.await.expect("a statement");
    let page = statement.query(&NONE, 1, false).await.expect("a row");
    drop((page, statement, second));
    let third = get(&pool).await;
    let done = third.execute(upsert, &NONE).await.expect("done");
    assert_eq!(done.last_insert_rowid, 0);
    drop(third);
    close(pool).await;
}
