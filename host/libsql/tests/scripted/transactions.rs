//! Transactions that the server ends, or that may have been committed.

use millpond_pool::{ErrorKind, TransactionMode};

use crate::server::{Part, Play, Server};
use crate::{NONE, WRITE, close, error, get, kind, pool};

const STOLEN: Part = Part::Error("TRANSACTION_TIMEOUT", "Transaction timed out");

#[tokio::test]
async fn after_a_stolen_transaction_nothing_is_sent_until_its_owner_ends_it() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    for play in [
        Play::Results(vec![STOLEN, Part::Autocommit(true)]),
        // It was gone before the statement, whose condition did not hold.
        Play::Status(400, "STREAM_EXPIRED"),
    ] {
        let connection = get(&pool).await;
        let open = connection
            .begin(TransactionMode::Immediate)
            .await
            .expect("begun");
        connection.execute(WRITE, &NONE).await.expect("written");
        server.play("INSERT", play.clone());
        let lost = error(connection.execute(WRITE, &NONE).await);
        assert_eq!(
            (lost.kind(), lost.rolled_back()),
            (ErrorKind::StaleHandle, true),
            "{play:?}"
        );
        server.seen();
        for sql in [WRITE, "SELECT 1", "BEGIN", "SAVEPOINT s", "RELEASE s"] {
            let next = error(connection.execute(sql, &NONE).await);
            assert_eq!(
                (next.kind(), next.rolled_back()),
                (ErrorKind::StaleHandle, true)
            );
        }
        assert_eq!(
            kind(connection.prepare(WRITE).await),
            ErrorKind::StaleHandle
        );
        assert_eq!(
            kind(connection.execute_script(WRITE).await),
            ErrorKind::StaleHandle
        );
        let begun = connection.begin(TransactionMode::Deferred).await;
        assert_eq!(kind(begun), ErrorKind::StaleHandle);
        assert!(connection.in_transaction());
        let committed = error(open.commit().await);
        assert_eq!(
            (committed.kind(), committed.rolled_back()),
            (ErrorKind::StaleHandle, true)
        );
        assert_eq!(server.seen(), []);
        connection
            .execute(WRITE, &NONE)
            .await
            .expect("its owner knows");
    }
    close(pool).await;
}

#[tokio::test]
async fn text_ends_a_lost_transaction_too() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    for (end, ends_well) in [("ROLLBACK", true), ("COMMIT", false)] {
        connection.execute("BEGIN", &NONE).await.expect("begun");
        server.play(
            "INSERT",
            Play::Results(vec![STOLEN, Part::Autocommit(true)]),
        );
        connection.execute(WRITE, &NONE).await.expect_err("stolen");
        server.seen();
        assert_eq!(connection.execute(end, &NONE).await.is_ok(), ends_well);
        assert_eq!(server.seen(), []);
        assert!(!connection.in_transaction());
    }
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown_and_not_repeated() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    for cut in [0, 20, 100] {
        let connection = get(&pool).await;
        let open = connection
            .begin(TransactionMode::Immediate)
            .await
            .expect("begun");
        connection.execute(WRITE, &NONE).await.expect("written");
        server.play("COMMIT", Play::Cut(cut));
        let committed = error(open.commit().await);
        assert_eq!(
            committed.kind(),
            ErrorKind::OutcomeUnknown,
            "after {cut} bytes"
        );
        assert!(!committed.rolled_back());
        assert_eq!(server.count("COMMIT"), 1);
        assert!(!connection.in_transaction());
        connection
            .execute(WRITE, &NONE)
            .await
            .expect("on a new stream");
        server.seen();
    }
    close(pool).await;
}

#[tokio::test]
async fn a_cut_within_a_transaction_undoes_it() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    // Of the statement that begins it, and of a later one.
    for before in [0, 1] {
        let connection = get(&pool).await;
        let open = connection
            .begin(TransactionMode::Immediate)
            .await
            .expect("begun");
        for _ in 0..before {
            connection
                .execute("DELETE FROM t", &NONE)
                .await
                .expect("written");
        }
        server.play("INSERT", Play::Cut(0));
        let cut = error(connection.execute(WRITE, &NONE).await);
        assert_eq!(
            (cut.kind(), cut.rolled_back()),
            (ErrorKind::Unavailable, true)
        );
        assert_eq!(server.count("INSERT"), 1);
        let next = error(connection.execute(WRITE, &NONE).await);
        assert_eq!(
            (next.kind(), next.rolled_back()),
            (ErrorKind::StaleHandle, true)
        );
        open.rollback().await.expect("it is");
        connection
            .execute(WRITE, &NONE)
            .await
            .expect("on a new stream");
        server.seen();
    }
    close(pool).await;
}

#[tokio::test]
async fn a_begin_that_fails_is_tried_again_with_the_next_statement() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let busy = Part::Error("SQLITE_BUSY", "SQLite error: database is locked");
    server.play("BEGIN", Play::Results(vec![busy, Part::Autocommit(true)]));
    let failed = error(connection.execute(WRITE, &NONE).await);
    assert_eq!(
        (failed.kind(), failed.rolled_back()),
        (ErrorKind::Busy, false)
    );
    server.seen();
    connection.execute(WRITE, &NONE).await.expect("now");
    assert_eq!(server.seen()[0].sql, ["BEGIN IMMEDIATE", WRITE]);
    open.commit().await.expect("committed");
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn a_rollback_without_an_answer_has_undone_it() {
    let server = Server::start().await;
    let pool = pool(&server).await;
    let connection = get(&pool).await;
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection.execute(WRITE, &NONE).await.expect("written");
    server.play("ROLLBACK", Play::Cut(10));
    open.rollback().await.expect("with its stream");
    assert!(!connection.in_transaction());
    connection
        .execute(WRITE, &NONE)
        .await
        .expect("on a new stream");
    drop(connection);
    close(pool).await;
}
