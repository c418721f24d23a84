//! How often the server is asked for what: a network's time is in that.

use millpond_pool::{Access, ErrorKind, Rows, TransactionMode};

use crate::server::{Play, Server};
use crate::{NONE, READ, WRITE, close, error, get, pool};

#[tokio::test]
async fn each_call_asks_as_often_as_it_must_and_no_more() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let count = || server.seen().len();
    // A warm connection costs nothing to get and to return.
    drop(get(&pool).await);
    let connection = get(&pool).await;
    assert_eq!(count(), 0);
    connection.query(READ, &NONE).await.expect("rows");
    assert_eq!(count(), 1);
    connection.execute(WRITE, &NONE).await.expect("written");
    assert_eq!(count(), 1);

    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    for _ in 0..3 {
        connection.execute(WRITE, &NONE).await.expect("written");
    }
    open.commit().await.expect("committed");
    assert_eq!(count(), 4, "a transaction of three statements");
    drop(
        connection
            .begin(TransactionMode::Deferred)
            .await
            .expect("begun"),
    );
    assert_eq!(count(), 0, "one of none");

    let statement = connection
        .prepare("INSERT INTO t VALUES (?)")
        .await
        .expect("compiled");
    assert_eq!(count(), 1);
    statement.describe().await.expect("described");
    assert_eq!(count(), 0);
    let again = connection
        .prepare("INSERT INTO t VALUES (?)")
        .await
        .expect("compiled");
    assert_eq!(count(), 0);
    let rows = Rows::from_rows((0..10_000).map(|n| [n])).expect("rows");
    let done = statement.execute_many(&rows).await.expect("all");
    assert_eq!(done.changes, 10_000);
    assert_eq!(count(), 1, "10,000 rows");
    drop(again);
    let select = connection.prepare(READ).await.expect("compiled");
    count();
    let page = select.query(&NONE, 0, true).await.expect("a page");
    assert!(page.rest.is_none());
    assert_eq!(count(), 1);
    connection
        .execute_script("DELETE FROM t; DELETE FROM t; SELECT 1")
        .await
        .expect("run");
    assert_eq!(count(), 1);
    drop((statement, select, connection));
    // A read-only connection is known to read without asking.
    let reader = pool.get(Access::ReadOnly).await.expect("a connection");
    reader.query(READ, &NONE).await.expect("rows");
    assert_eq!(count(), 1);
    drop(reader);
    assert_eq!(count(), 0);
    assert_eq!(pool.stats().connections_created, 1);
    close(pool).await;
}

#[tokio::test]
async fn a_read_after_a_write_sees_it_on_any_connection() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let (one, two) = (get(&pool).await, get(&pool).await);
    server.seen();
    two.query(READ, &NONE).await.expect("rows");
    assert_eq!(server.seen()[0].indexes, []);
    one.execute(WRITE, &NONE).await.expect("written");
    server.seen();
    two.query(READ, &NONE).await.expect("rows");
    assert_eq!(server.seen()[0].indexes, [33]);
    drop((one, two));
    close(pool).await;
}

#[tokio::test]
async fn a_result_that_is_too_large_at_once_is_streamed() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let select = connection.prepare(READ).await.expect("compiled");
    let too_large = crate::server::Part::Error("RESPONSE_TOO_LARGE", "too large");
    server.play(READ, Play::Results(vec![too_large]));
    let page = select.query(&NONE, 2, true).await.expect("a page");
    assert_eq!(page.rows, [[0.into()], [1.into()]]);
    let rest = page.rest.expect("more");
    connection.execute(WRITE, &NONE).await.expect("beside it");
    assert_eq!(rest.next(2).await.expect("the last"), [[2.into()]]);
    assert!(rest.next(2).await.expect("the end").is_empty());
    drop((rest, select, connection));
    close(pool).await;
}

#[tokio::test]
async fn a_result_that_was_too_large_is_streamed_at_once() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let select = connection.prepare(READ).await.expect("compiled");
    let too_large = crate::server::Part::Error("RESPONSE_TOO_LARGE", "too large");
    server.play(READ, Play::Results(vec![too_large]));
    // Not read to its end: it may be large.
    drop(select.query(&NONE, 1, false).await.expect("a page"));
    server.seen();
    let page = select.query(&NONE, 0, false).await.expect("a page");
    assert_eq!((page.rows.len(), server.count(READ)), (3, 1));
    // It was small.
    server.seen();
    select.query(&NONE, 0, false).await.expect("a page");
    let seen = server.seen();
    assert!(seen.iter().all(|seen| !seen.path.ends_with("/cursor")));
    // What a proxy ended is not whole.
    let too_large = crate::server::Part::Error("RESPONSE_TOO_LARGE", "too large");
    server.play(READ, Play::Results(vec![too_large]));
    server.play(READ, Play::Unended);
    let cut = error(select.query(&NONE, 0, false).await);
    assert_eq!(cut.kind(), ErrorKind::Unavailable, "{cut}");
    drop((select, connection));
    close(pool).await;
}
