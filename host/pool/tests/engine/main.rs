//! A pool over a fake engine. These tests hold for every engine.

mod aside;
mod fake;
mod observe;
mod pools;
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond_pool::{
    Access, ErrorKind, Grant, Pool, Request, Settings, TableGrant, TransactionMode,
};

use self::fake::{Fake, NONE, Shared, get, kind, pool};

#[tokio::test]
async fn the_outcome_of_a_wait_reaches_the_call_that_waited() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let connection = get(&pool).await;
    let waits = connection.execute("wait", &NONE);
    let others = async {
        fake.0.began.notified().await;
        // The session is free meanwhile, and another call can use it.
        assert!(!connection.in_transaction());
        connection.query("quick", &NONE).await.expect("at once");
        fake.0.released.notify_one();
    };
    let (waited, ()) = tokio::join!(waits, others);
    waited.expect("waited");
    assert_eq!(*fake.0.done.lock().expect("no panic"), ["quick", "wait"]);
    // A prepared statement may wait too, although SQLite never does.
    let statement = connection.prepare("prepare").await.expect("a statement");
    assert!(statement.describe().await.expect("one").read_only);
    let page = statement.query(&NONE, 1, false).await.expect("a page");
    fake.0.released.notify_one();
    let rest = page.rest.expect("more").next(1).await.expect("waited");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_a_session_to_be_lent() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let connection = get(&pool).await;
    tokio::select! {
        biased;
        result = connection.execute("wait in vain", &NONE) => panic!("{result:?}"),
        () = fake.0.began.notified() => {}
    }
    connection.execute("quick", &NONE).await.expect("at once");
    drop(connection);
    get(&pool)
        .await
        .execute("quick", &NONE)
        .await
        .expect("clean");
    assert_eq!(fake.0.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn closing_ends_who_waits() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let connection = get(&pool).await;
    let waits = connection.execute("wait", &NONE);
    let closes = async {
        fake.0.began.notified().await;
        pool.close(Duration::ZERO).await;
        fake.0.released.notify_one();
    };
    let (waited, ()) = tokio::join!(waits, closes);
    assert_eq!(kind(waited), ErrorKind::StaleHandle);
    assert_eq!(
        kind(pool.get(Access::ReadOnly).await),
        ErrorKind::PoolClosed
    );
    assert_eq!(fake.0.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_waiter_ends_a_transaction_that_is_open_for_too_long() {
    let fake = Fake::default();
    let pool = pool(&fake, 2).await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_transaction_time(Duration::ZERO);
    let holder = grant.get(Access::ReadWrite, &Request::new()).await;
    let holder = holder.expect("a connection");
    let transaction = holder.begin(TransactionMode::Immediate).await;
    let transaction = transaction.expect("begun");
    // This would wait forever, if the other's transaction were not ended.
    let other = get(&pool).await;
    other.execute("wait", &NONE).await.expect("waited");
    assert!(!holder.in_transaction());
    assert_eq!(kind(transaction.commit().await), ErrorKind::StaleHandle);
}

#[tokio::test]
async fn sessions_that_are_not_clean_or_panicked_are_dropped() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    get(&pool).await.execute("soil", &NONE).await.expect("done");
    assert_eq!(pool.stats().discarded, 1);
    let connection = get(&pool).await;
    let panics = tokio::spawn(async move { connection.execute("panic", &NONE).await });
    assert!(panics.await.is_err());
    let connection = get(&pool).await;
    let open = connection.begin(TransactionMode::Deferred).await;
    drop((connection, open));
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.rolled_back), (0, 1), "{stats:?}");
    assert_eq!(stats.connections_created, 3);
    assert_eq!(stats.groups, 7, "the engine's own");
}

#[tokio::test]
async fn unsupported_grants_are_refused_before_lending() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let grant = Grant::new(&pool, Access::ReadOnly).table("t", TableGrant::new().read());
    let refused = grant.get(Access::ReadOnly, &Request::new()).await;
    assert_eq!(kind(refused), ErrorKind::Unsupported);
    assert_eq!(kind(grant.check()), ErrorKind::Unsupported);
    assert_eq!(pool.stats().hits, 0);
}

#[tokio::test]
async fn an_unreachable_engine_keeps_no_place() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    get(&pool).await.close();
    fake.0.unreachable.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = pool.get(Access::ReadWrite).await;
        assert_eq!(kind(refused), ErrorKind::Unavailable);
    }
    fake.0.unreachable.store(false, Ordering::SeqCst);
    get(&pool)
        .await
        .execute("quick", &NONE)
        .await
        .expect("again");
    let none = Pool::open(
        Arc::new(Fake(Arc::new(Shared {
            unreachable: AtomicBool::new(true),
            ..Shared::default()
        }))),
        Settings::default(),
    );
    assert_eq!(kind(none.await), ErrorKind::Unavailable);
}
