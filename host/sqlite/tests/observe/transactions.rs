//! Transactions and statements that the host ends.

use std::time::{Duration, Instant};

use millpond_pool::{Connection, ErrorKind, TransactionMode};
use millpond_sqlite::PoolBuilder;

use crate::{INSERT, NONE, fixture, kind, one};

/// Never ends.
const FOREVER: &str = "INSERT INTO t(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
     FROM n) SELECT 'x' || i FROM n WHERE i < 0";

#[tokio::test]
async fn who_ended_a_transaction_is_told_once() {
    let f = fixture(PoolBuilder::new().max_size(3)).await;
    let ended = |why: &str| format!("ended: {why}");

    // Its owner: nothing is told.
    let connection = f.get().await;
    connection
        .execute_script("BEGIN; ROLLBACK")
        .await
        .expect("run");
    let transaction = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    transaction.commit().await.expect("done");
    drop(transaction);
    let told = ["`BEGIN; ROLLBACK`", "`BEGIN`", "`COMMIT`"];
    assert_eq!(f.statements(), told);

    // It left it behind, by text or by handle.
    connection
        .execute("BEGIN IMMEDIATE", &NONE)
        .await
        .expect("begun");
    drop(connection);
    let told = f.recorder.events();
    let reset = "reset, rolled back".to_owned();
    let wanted = [
        "`BEGIN IMMEDIATE` wrote".to_owned(),
        "returned".to_owned(),
        ended("returned"),
        reset,
    ];
    assert_eq!(told, wanted);
    let connection = f.get().await;
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    drop(transaction);
    assert_eq!(
        f.statements(),
        ["`BEGIN IMMEDIATE` wrote".to_owned(), ended("dropped")]
    );

    // SQLite refuses to commit it.
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO child VALUES (7)", &NONE)
        .await
        .expect("so far");
    let refused = transaction.commit().await;
    assert_eq!(kind(refused), ErrorKind::ConstraintForeignKey);
    let told = f.statements();
    let commit = "`COMMIT` Failed(ConstraintForeignKey)";
    assert_eq!(told[2..], [ended("engine"), commit.to_owned()]);
    drop(connection);

    // A hostile guest: its statement does not end, in a transaction.
    let hostile = f
        .get_granted(|grant| grant.max_statement_time(Duration::from_millis(20)))
        .await;
    let transaction = hostile
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    f.recorder.take();
    let stopped = hostile.execute(FOREVER, &NONE).await;
    assert_eq!(kind(stopped), ErrorKind::DeadlineExceeded);
    let stale = hostile.execute("SELECT 1", &NONE).await;
    assert_eq!(kind(stale), ErrorKind::StaleHandle);
    let wanted = [
        ended("deadline"),
        format!("`{FOREVER}` wrote Failed(DeadlineExceeded)"),
        "`SELECT 1` Failed(StaleHandle)".to_owned(),
    ];
    assert_eq!(f.statements(), wanted);
    drop((transaction, hostile));

    // It holds its transaction for too long, and another waits for it; or its connection.
    let slow = f
        .get_granted(|grant| grant.max_transaction_time(Duration::ZERO))
        .await;
    let transaction = slow.begin(TransactionMode::Immediate).await.expect("begun");
    let other = f.get().await;
    f.recorder.take();
    other.execute(INSERT, &one("other")).await.expect("written");
    let told = f.recorder.take();
    let of_slow: Vec<_> = told.iter().filter(|told| told.guest.is_some()).collect();
    assert_eq!(of_slow.len(), 1, "{told:?}");
    assert_eq!(of_slow[0].what, ended("transaction_time"));
    assert_eq!(kind(transaction.commit().await), ErrorKind::StaleHandle);
    drop((transaction, slow));
    assert_eq!(f.statements(), ["`COMMIT` Failed(StaleHandle)"]);
    let [first, second] = [
        f.get().await,
        f.get_granted(|grant| grant.max_hold_time(Duration::ZERO))
            .await,
    ];
    let second_begun = second.execute("BEGIN", &NONE).await;
    assert_eq!(kind(second_begun), ErrorKind::StaleHandle);
    drop((first, second));
    f.recorder.take();
    let held = f
        .get_granted(|grant| grant.max_hold_time(Duration::from_millis(50)))
        .await;
    held.execute("BEGIN", &NONE).await.expect("begun");
    let [_a, _b] = [f.get().await, f.get().await];
    let told = f.recorder.events();
    let wanted = [
        "hold_time".to_owned(),
        ended("hold_time"),
        "reset, rolled back".to_owned(),
        "got".to_owned(),
    ];
    assert!(told.ends_with(&wanted), "{told:?}");
}

/// A statement that takes SQLite seconds to compile, without any check of the deadline.
async fn unstoppable(connection: &Connection) -> String {
    let table = |at: usize| {
        let columns: Vec<_> = (0..999).map(|column| format!("d{at}_{column}")).collect();
        format!("CREATE TABLE j{at}({});", columns.join(","))
    };
    let script: String = (0..40).map(table).collect();
    connection.execute_script(&script).await.expect("tables");
    let tables: Vec<_> = (0..40).map(|at| format!("j{at}")).collect();
    format!("SELECT 1 FROM {}", tables.join(" NATURAL JOIN "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_does_not_stop_is_told_once() {
    let f = fixture(PoolBuilder::new()).await;
    let connection = f.get_granted(|grant| grant).await;
    let sql = unstoppable(&connection).await;
    connection
        .execute("BEGIN IMMEDIATE", &NONE)
        .await
        .expect("begun");
    f.recorder.take();
    connection.set_deadline(Some(Instant::now()));
    let error = connection
        .query(&sql, &NONE)
        .await
        .expect_err("it takes seconds");
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::DeadlineExceeded, true)
    );
    let told = f.recorder.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].what, format!("abandoned `{sql}`"));
    assert_eq!(told[1].what, format!("`{sql}` Failed(DeadlineExceeded)"));
    assert!(told[0].time >= Duration::from_millis(20) && told[0].time <= told[1].time);
    drop(connection);
    let told: Vec<_> = f
        .recorder
        .wait("closed")
        .into_iter()
        .map(|told| told.what)
        .collect();
    let wanted = [
        "abandoned",
        "ended: deadline",
        "reset, rolled back",
        "closed: abandoned",
    ];
    assert_eq!(told, wanted);
}
