//! Transactions, as handles and as text, and what becomes of them.

use millpond_libsql::PoolBuilder;
use millpond_pool::{ErrorKind, TransactionMode, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

const COUNT: &str = "SELECT count(*) FROM t";

#[tokio::test]
async fn a_transaction_is_kept_whole_or_not_at_all() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    let other = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    for mode in [TransactionMode::Deferred, TransactionMode::Immediate] {
        connection
            .execute("DELETE FROM t", &NONE)
            .await
            .expect("empty");
        let open = connection.begin(mode).await.expect("begun");
        assert!(connection.in_transaction());
        let again = connection.begin(mode).await;
        assert_eq!(kind(again), ErrorKind::Sql);
        connection
            .execute("INSERT INTO t VALUES (1)", &NONE)
            .await
            .expect("written");
        assert_eq!(value(&connection, COUNT).await, Value::Integer(1));
        assert_eq!(value(&other, COUNT).await, Value::Integer(0));
        open.commit().await.expect("committed");
        assert!(!connection.in_transaction());
        assert_eq!(value(&other, COUNT).await, Value::Integer(1));

        let open = connection.begin(mode).await.expect("begun");
        connection
            .execute("INSERT INTO t VALUES (2)", &NONE)
            .await
            .expect("written");
        open.rollback().await.expect("undone");
        assert_eq!(value(&connection, COUNT).await, Value::Integer(1));

        let open = connection.begin(mode).await.expect("begun");
        connection
            .execute("INSERT INTO t VALUES (3)", &NONE)
            .await
            .expect("written");
        drop(open);
        assert!(!connection.in_transaction());
        assert_eq!(value(&connection, COUNT).await, Value::Integer(1));

        // One of which nothing reached the server.
        connection
            .begin(mode)
            .await
            .expect("begun")
            .commit()
            .await
            .expect("nothing");
        connection
            .begin(mode)
            .await
            .expect("begun")
            .rollback()
            .await
            .expect("nothing");
        drop(connection.begin(mode).await.expect("begun"));
        assert!(!connection.in_transaction());
    }
    drop((connection, other));
    close(pool).await;
}

#[tokio::test]
async fn what_is_open_when_a_connection_goes_back_is_undone() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool_of(PoolBuilder::new().max_size(1)).await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    drop(connection);
    assert_eq!(kind(open.commit().await), ErrorKind::StaleHandle);
    let connection = get(&pool).await;
    connection
        .execute("BEGIN IMMEDIATE", &NONE)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    drop(connection);
    let connection = get(&pool).await;
    assert!(!connection.in_transaction());
    connection
        .execute("INSERT INTO t VALUES (2)", &NONE)
        .await
        .expect("no lock is held");
    assert_eq!(value(&connection, COUNT).await, Value::Integer(1));
    drop(connection);
    assert_eq!(pool.stats().rolled_back, 2);
    assert_eq!(pool.stats().connections_created, 1);
    close(pool).await;
}

#[tokio::test]
async fn text_begins_and_ends_transactions_too() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let run = |sql: &'static str| connection.execute(sql, &NONE);
    run("/* so */ begin immediate").await.expect("begun");
    assert!(connection.in_transaction());
    assert_eq!(kind(run("BEGIN").await), ErrorKind::Sql);
    run("INSERT INTO t VALUES (1)").await.expect("written");
    run("END").await.expect("committed");
    assert!(!connection.in_transaction());
    // A handle that text ends is stale, and ends no other.
    let open = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    run("INSERT INTO t VALUES (2)").await.expect("written");
    run("COMMIT").await.expect("committed");
    run("BEGIN").await.expect("begun");
    run("INSERT INTO t VALUES (3)").await.expect("written");
    assert_eq!(kind(open.commit().await), ErrorKind::StaleHandle);
    assert!(connection.in_transaction());
    run("ROLLBACK").await.expect("undone");
    // A savepoint begins one, and its release ends it.
    run("SAVEPOINT s").await.expect("begun");
    assert!(connection.in_transaction());
    run("INSERT INTO t VALUES (4)").await.expect("written");
    run("RELEASE s").await.expect("committed");
    assert!(!connection.in_transaction());
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    run("SAVEPOINT s").await.expect("one inside");
    run("INSERT INTO t VALUES (5)").await.expect("written");
    run("ROLLBACK TO s").await.expect("undone");
    run("RELEASE s").await.expect("released");
    assert!(connection.in_transaction());
    open.commit().await.expect("committed");
    assert_eq!(
        value(&connection, "SELECT sum(a) FROM t").await,
        Value::Integer(7)
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_failed_statement_leaves_its_transaction_unless_it_says_so() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script(
            "CREATE TABLE p(id INTEGER PRIMARY KEY);
             CREATE TABLE t(a UNIQUE, p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO t VALUES (1, NULL)",
        )
        .await
        .expect("made");
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (2, NULL)", &NONE)
        .await
        .expect("written");
    let failed = error(
        connection
            .execute("INSERT INTO t VALUES (1, NULL)", &NONE)
            .await,
    );
    assert!(!failed.rolled_back());
    open.commit().await.expect("committed");
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (3, NULL)", &NONE)
        .await
        .expect("written");
    let rolls_back = "INSERT OR ROLLBACK INTO t VALUES (1, NULL)";
    let failed = error(connection.execute(rolls_back, &NONE).await);
    assert_eq!(failed.kind(), ErrorKind::ConstraintUnique);
    assert!(failed.rolled_back());
    // Nothing runs outside of it that was meant for it.
    let next = error(
        connection
            .execute("INSERT INTO t VALUES (4, NULL)", &NONE)
            .await,
    );
    assert_eq!(
        (next.kind(), next.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    assert!(connection.in_transaction());
    assert!(error(open.commit().await).rolled_back());
    assert_eq!(value(&connection, COUNT).await, Value::Integer(2));
    // What cannot be committed is undone.
    let open = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (5, 77)", &NONE)
        .await
        .expect("deferred");
    let failed = error(open.commit().await);
    assert_eq!(failed.kind(), ErrorKind::ConstraintForeignKey);
    assert!(failed.rolled_back());
    assert_eq!(value(&connection, COUNT).await, Value::Integer(2));
    // As text it stays open, to be mended.
    connection.execute("BEGIN", &NONE).await.expect("begun");
    connection
        .execute("INSERT INTO t VALUES (5, 77)", &NONE)
        .await
        .expect("deferred");
    let failed = error(connection.execute("COMMIT", &NONE).await);
    assert_eq!(failed.kind(), ErrorKind::ConstraintForeignKey);
    assert!(connection.in_transaction());
    connection
        .execute("INSERT INTO p VALUES (77)", &NONE)
        .await
        .expect("mended");
    connection
        .execute("COMMIT", &NONE)
        .await
        .expect("committed");
    assert_eq!(value(&connection, COUNT).await, Value::Integer(3));
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_write_on_an_old_snapshot_is_told_apart() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let (one, two) = (get(&pool).await, get(&pool).await);
    one.execute_script("CREATE TABLE t(a)").await.expect("made");
    let open = one.begin(TransactionMode::Deferred).await.expect("begun");
    assert_eq!(value(&one, COUNT).await, Value::Integer(0));
    two.execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    let late = one.execute("INSERT INTO t VALUES (2)", &NONE).await;
    assert_eq!(kind(late), ErrorKind::BusySnapshot);
    open.rollback().await.expect("undone");
    drop((one, two));
    close(pool).await;
}
