//! What becomes of calls whose answer does not come, or comes too late, or is a refusal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_libsql::PoolBuilder;
use millpond_pool::{Access, ErrorKind, Grant, Request, TransactionMode, block_on};
use tokio::sync::Notify;

use crate::server::{Play, Server};
use crate::{NONE, READ, WRITE, close, error, get, kind, pool, pool_of};

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_never_repeated() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    for play in [
        Play::Cut(0),
        Play::Cut(30),
        Play::Cut(140),
        Play::Status(500, "INTERNAL"),
        Play::Status(502, ""),
        Play::Status(504, ""),
        Play::Bytes(vec![0xff; 10]),
        Play::Raw(b"SSH-2.0-other\r\n\r\n".to_vec()),
    ] {
        let connection = get(&pool).await;
        server.play(WRITE, play.clone());
        let lost = error(connection.execute(WRITE, &NONE).await);
        assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{play:?}: {lost}");
        assert!(!lost.rolled_back());
        assert_eq!(server.count(WRITE), 1, "{play:?}");
        connection
            .execute(WRITE, &NONE)
            .await
            .expect("on a new stream");
        server.seen();
    }
    close(pool).await;
}

#[tokio::test]
async fn a_read_without_an_answer_is_repeated_once() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    for cut in [0, 140] {
        server.play(READ, Play::Cut(cut));
        connection
            .query(READ, &NONE)
            .await
            .expect("the second time");
        assert_eq!(server.count(READ), 2);
        server.seen();
    }
    server.play(READ, Play::Cut(0));
    server.play(READ, Play::Cut(0));
    assert_eq!(
        kind(connection.query(READ, &NONE).await),
        ErrorKind::Unavailable
    );
    assert_eq!(server.count(READ), 2);
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn what_the_server_refused_to_run_is_run_on_a_new_stream() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    for play in [
        Play::Status(400, "STREAM_EXPIRED"),
        Play::Status(500, "STREAM_EXPIRED"),
    ] {
        server.play(WRITE, play);
        connection
            .execute(WRITE, &NONE)
            .await
            .expect("the second time");
        let seen = server.seen();
        assert!(
            seen[0].baton.is_some() && seen[1].baton.is_none(),
            "{seen:?}"
        );
        assert_eq!(seen.len(), 2);
    }
    for status in [400, 404, 413] {
        server.play(WRITE, Play::Status(status, ""));
        let refused = kind(connection.execute(WRITE, &NONE).await);
        let expected = match status {
            413 => ErrorKind::TooLarge,
            _ => ErrorKind::Unavailable,
        };
        assert_eq!(refused, expected, "{status}");
        assert_eq!(server.seen().len(), 1);
    }
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_server_without_a_stream_left_is_waited_for() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    for _ in 0..5 {
        server.play(WRITE, Play::Status(429, ""));
    }
    connection.execute(WRITE, &NONE).await.expect("in the end");
    assert_eq!(server.count(WRITE), 6);
    drop(connection);
    close(pool).await;
    let impatient = PoolBuilder::new().timeout(Duration::ZERO);
    let pool = pool_of(&server, impatient).await;
    let connection = get(&pool).await;
    server.play(WRITE, Play::Status(429, ""));
    assert_eq!(
        kind(connection.execute(WRITE, &NONE).await),
        ErrorKind::Unavailable
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_late_answer_ends_the_call_and_reaches_no_other() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_statement_time(Duration::from_millis(50));
    for (sql, expected) in [
        (WRITE, ErrorKind::OutcomeUnknown),
        (READ, ErrorKind::DeadlineExceeded),
    ] {
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        let connection = connection.expect("a connection");
        let told = Arc::new(Notify::new());
        server.play(sql, Play::Late(Arc::clone(&told)));
        let since = Instant::now();
        assert_eq!(kind(connection.query(sql, &NONE).await), expected);
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "{:?}",
            since.elapsed()
        );
        told.notify_one();
        let next = connection
            .query("SELECT 2", &NONE)
            .await
            .expect("on a new stream");
        assert_eq!(next.rows, [[7.into()]]);
        assert_eq!(server.count(sql), 1);
        server.seen();
    }
    // In a transaction nothing is kept.
    let connection = grant.get(Access::ReadWrite, &Request::new()).await;
    let connection = connection.expect("a connection");
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    server.play(WRITE, Play::Late(Arc::default()));
    let late = error(connection.execute(WRITE, &NONE).await);
    assert_eq!(
        (late.kind(), late.rolled_back()),
        (ErrorKind::DeadlineExceeded, true)
    );
    drop((open, connection));
    close(pool).await;
}

#[tokio::test]
async fn a_request_that_is_over_waits_no_more() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let grant = Grant::new(&pool, Access::ReadWrite);
    let request = Request::new();
    let connection = grant
        .get(Access::ReadWrite, &request)
        .await
        .expect("a connection");
    server.play(READ, Play::Late(Arc::default()));
    let ends = async {
        server.came.notified().await;
        request.interrupt();
    };
    // Of what came before.
    let _ = tokio::time::timeout(Duration::from_millis(1), server.came.notified()).await;
    let (read, ()) = tokio::join!(connection.query(READ, &NONE), ends);
    assert_eq!(kind(read), ErrorKind::DeadlineExceeded);
    drop(connection);
    let deadline = Request::new().deadline(Instant::now() + Duration::from_millis(50));
    let connection = grant
        .get(Access::ReadWrite, &deadline)
        .await
        .expect("a connection");
    server.play(WRITE, Play::Late(Arc::default()));
    assert_eq!(
        kind(connection.execute(WRITE, &NONE).await),
        ErrorKind::OutcomeUnknown
    );
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_a_connection_that_is_closed() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("DELETE FROM t", &NONE)
        .await
        .expect("written");
    server.play(WRITE, Play::Late(Arc::default()));
    let came = async {
        while server.count(WRITE) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        result = connection.execute(WRITE, &NONE) => panic!("{result:?}"),
        () = came => {}
    }
    let next = error(connection.execute(WRITE, &NONE).await);
    assert_eq!(
        (next.kind(), next.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    assert_eq!(kind(open.commit().await), ErrorKind::StaleHandle);
    assert_eq!(server.count(WRITE), 1);
    drop(connection);
    assert_eq!(pool.stats().discarded, 1);
    close(pool).await;
}

#[tokio::test]
async fn closing_the_pool_ends_a_call_under_way() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    server.play(READ, Play::Late(Arc::default()));
    let closes = async {
        while server.count(READ) == 0 {
            tokio::task::yield_now().await;
        }
        pool.close(Duration::ZERO).await;
    };
    let since = Instant::now();
    let (read, ()) = tokio::join!(connection.query(READ, &NONE), closes);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
    assert!(matches!(
        kind(read),
        ErrorKind::PoolClosed | ErrorKind::StaleHandle
    ));
    assert_eq!(pool.stats().in_use, 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_met_again() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", unused.local_addr().expect("an address"));
    drop(unused);
    let opened = PoolBuilder::new().open(&url).await;
    assert_eq!(kind(opened), ErrorKind::Unavailable);
    // One that closes its idle connections, as a restart does.
    server.play(READ, Play::Raw(Vec::new()));
    server.play(READ, Play::Raw(Vec::new()));
    assert_eq!(
        kind(connection.query(READ, &NONE).await),
        ErrorKind::Unavailable
    );
    connection.execute(WRITE, &NONE).await.expect("again");
    drop(connection);
    close(pool).await;
}

#[test]
fn a_thread_without_a_runtime_can_use_it() {
    // The server's own.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let pool = PoolBuilder::new()
        .open_blocking(&server.url())
        .expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute(WRITE, &NONE)).expect("written");
    drop(connection);
    // Nor does it matter which runtime asked before.
    runtime.block_on(async {
        let connection = pool.get(Access::ReadOnly).await.expect("a connection");
        connection.query(READ, &NONE).await.expect("rows");
    });
    pool.close_blocking(Duration::from_secs(5));
}

#[tokio::test]
async fn the_token_goes_to_the_server_and_nowhere_else() {
    let server = Server::start().await;
    let builder = PoolBuilder::new().token("geheim").max_size(2);
    assert!(!format!("{builder:?}").contains("geheim"));
    let pool = builder.open(&server.url()).await.expect("a pool");
    assert_eq!(server.seen()[0].token.as_deref(), Some("Bearer geheim"));
    assert!(!format!("{pool:?}").contains("geheim"));
    let other = Server::start().await;
    let connection = get(&pool).await;
    server.play(WRITE, Play::BaseUrl(other.url()));
    connection.execute(WRITE, &NONE).await.expect("it has run");
    connection.execute(WRITE, &NONE).await.expect("here again");
    server.play(WRITE, Play::Status(307, ""));
    let sent_away = error(connection.execute(WRITE, &NONE).await);
    assert_eq!(sent_away.kind(), ErrorKind::Unavailable);
    server.play(READ, Play::BaseUrl(format!("{}/elsewhere/", server.url())));
    connection.query(READ, &NONE).await.expect("rows");
    server.seen();
    connection.query(READ, &NONE).await.expect("rows");
    assert_eq!(server.seen()[0].path, "/elsewhere/v3-protobuf/pipeline");
    assert_eq!(other.seen(), []);
    server.play(READ, Play::Status(401, ""));
    let refused = error(connection.query(READ, &NONE).await);
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!refused.to_string().contains("geheim"));
    drop(connection);
    close(pool).await;

    server.play("", Play::BaseUrl(other.url()));
    let opened = PoolBuilder::new().open(&server.url()).await;
    assert_eq!(kind(opened), ErrorKind::CannotOpen);
}

#[tokio::test]
async fn a_token_that_was_replaced_in_its_file_is_taken_up() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "one\n").expect("written");
    let pool = pool_of(&server, PoolBuilder::new().token_file(&path)).await;
    let connection = get(&pool).await;
    std::fs::write(&path, "two\n").expect("written");
    server.play(WRITE, Play::Status(401, ""));
    connection
        .execute(WRITE, &NONE)
        .await
        .expect("with the new one");
    let tokens: Vec<_> = server.seen().into_iter().map(|seen| seen.token).collect();
    assert_eq!(
        tokens,
        [Some("Bearer one".to_owned()), Some("Bearer two".to_owned())]
    );
    drop(connection);
    close(pool).await;
}
