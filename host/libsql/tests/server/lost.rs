//! Transactions that others end: the server, or the pool.

use std::time::Duration;

use millpond_pool::{Access, ErrorKind, Grant, Request, TransactionMode, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

#[tokio::test]
async fn a_transaction_that_another_writer_ends_is_not_continued_outside_of_it() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let (one, two) = (get(&pool).await, get(&pool).await);
    one.execute_script("CREATE TABLE t(a)").await.expect("made");
    let open = one.begin(TransactionMode::Immediate).await.expect("begun");
    one.execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    // It waits for five seconds, and takes the lock.
    two.execute("INSERT INTO t VALUES (2)", &NONE)
        .await
        .expect("in the end");
    let lost = error(one.execute("INSERT INTO t VALUES (3)", &NONE).await);
    assert_eq!(
        (lost.kind(), lost.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    for sql in [
        "INSERT INTO t VALUES (4)",
        "SELECT 1",
        "BEGIN",
        "SAVEPOINT s",
    ] {
        let next = error(one.execute(sql, &NONE).await);
        assert_eq!(
            (next.kind(), next.rolled_back()),
            (ErrorKind::StaleHandle, true),
            "{sql}"
        );
    }
    let committed = error(open.commit().await);
    assert_eq!(committed.kind(), ErrorKind::StaleHandle);
    one.execute("INSERT INTO t VALUES (5)", &NONE)
        .await
        .expect("told, and goes on");
    assert_eq!(
        value(&two, "SELECT group_concat(a) FROM t").await,
        Value::from("2,5")
    );
    drop((one, two));
    close(pool).await;
}

#[tokio::test]
async fn an_idle_stream_is_replaced_and_an_idle_transaction_lost() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_transaction_time(Duration::from_secs(60));
    let (one, two) = (
        grant
            .get(Access::ReadWrite, &Request::new())
            .await
            .expect("a connection"),
        get(&pool).await,
    );
    one.execute_script("CREATE TABLE t(a)").await.expect("made");
    let open = one.begin(TransactionMode::Immediate).await.expect("begun");
    one.execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    // What is tested is the server's clock: it ends both streams after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    two.execute("INSERT INTO t VALUES (2)", &NONE)
        .await
        .expect("on a new stream");
    let lost = error(one.execute("INSERT INTO t VALUES (3)", &NONE).await);
    assert_eq!(
        (lost.kind(), lost.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    open.rollback().await.expect("it is");
    assert_eq!(
        value(&one, "SELECT group_concat(a) FROM t").await,
        Value::from("2")
    );
    drop((one, two));
    close(pool).await;
}

#[tokio::test]
async fn a_transaction_open_for_too_long_is_ended_here() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_transaction_time(Duration::ZERO);
    let one = grant
        .get(Access::ReadWrite, &Request::new())
        .await
        .expect("a connection");
    one.execute_script("CREATE TABLE t(a)").await.expect("made");
    let open = one.begin(TransactionMode::Immediate).await.expect("begun");
    let late = error(one.execute("INSERT INTO t VALUES (1)", &NONE).await);
    assert_eq!(
        (late.kind(), late.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    assert_eq!(kind(open.commit().await), ErrorKind::StaleHandle);
    drop(one);
    close(pool).await;
}
