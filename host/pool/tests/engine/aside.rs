//! Calls on a session's own thread, which their caller may have to abandon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use millpond_pool::{Access, ErrorKind, Grant, Request};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fake::{Fake, HOUR, NONE, Shared, begin, get, kind, pool};

/// Counts the warnings about the engine named `logged`: other tests cause some too.
struct Warnings(AtomicU32);

static WARNINGS: Warnings = Warnings(AtomicU32::new(0));

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) && record.args().to_string().contains("logged") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_is_abandoned_counted_and_logged() {
    log::set_logger(&WARNINGS).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let fake = Fake(Arc::new(Shared {
        name: "logged",
        ..Shared::default()
    }));
    let pool = pool(&fake, 2).await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_statement_time(Duration::from_millis(20));
    let get = || async { grant.get(Access::ReadWrite, &Request::new()).await };
    // A call that stops when told to costs nothing.
    let connection = get().await.expect("a connection");
    let result = connection.execute("long", &NONE).await;
    assert_eq!(kind(result), ErrorKind::DeadlineExceeded);
    connection.execute("quick", &NONE).await.expect("at once");
    assert_eq!(
        (pool.stats().abandoned, WARNINGS.0.load(Ordering::SeqCst)),
        (0, 0)
    );
    // One that does not stop costs its connection, but no other.
    let since = Instant::now();
    let result = connection.execute("stuck", &NONE).await;
    assert_eq!(kind(result), ErrorKind::DeadlineExceeded);
    assert!(since.elapsed() < HOUR);
    let result = connection.execute("quick", &NONE).await;
    assert_eq!(kind(result), ErrorKind::StaleHandle);
    drop(connection);
    assert_eq!((pool.stats().abandoned, pool.stats().in_use), (1, 1));
    assert_eq!(WARNINGS.0.load(Ordering::SeqCst), 1);
    let other = get().await.expect("the other place");
    other.execute("quick", &NONE).await.expect("at once");
    drop(other);
    fake.0.unstuck.store(true, Ordering::SeqCst);
    while pool.stats().in_use > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.0.dropped.load(Ordering::SeqCst), 1);
}

/// On this test's only thread, nothing else would run if the call blocked it.
#[tokio::test]
async fn a_call_on_the_sessions_own_thread_blocks_no_other() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let connection = get(&pool).await;
    let (result, ()) = tokio::join!(connection.execute("stuck", &NONE), async {
        fake.0.unstuck.store(true, Ordering::SeqCst);
    });
    result.expect("done");
    connection.execute("quick", &NONE).await.expect("as before");
}

#[tokio::test]
async fn a_call_on_the_sessions_own_thread_is_stopped_when_its_future_is_dropped() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    for sql in ["long", "stuck"] {
        let connection = get(&pool).await;
        let given_up = timeout(Duration::from_millis(20), connection.execute(sql, &NONE));
        assert!(given_up.await.is_err(), "{sql}");
        let result = connection.execute("quick", &NONE).await;
        assert_eq!(kind(result), ErrorKind::StaleHandle, "{sql}");
        drop(connection);
        // One that does not stop keeps its place.
        fake.0.unstuck.store(true, Ordering::SeqCst);
        get(&pool).await.close();
        fake.0.unstuck.store(false, Ordering::SeqCst);
    }
    let stats = pool.stats();
    assert_eq!((stats.abandoned, stats.in_use), (0, 0), "{stats:?}");
    assert_eq!(stats.connections_created, stats.connections_closed);
}

/// While this thread waits for the session, it cannot poll the call.
#[tokio::test]
async fn a_call_that_is_not_polled_is_abandoned_by_a_thread_that_waits_for_it() {
    for closes in [false, true] {
        let fake = Fake::default();
        let pool = pool(&fake, 1).await;
        let brief = Grant::new(&pool, Access::ReadWrite);
        let brief = match closes {
            false => brief.max_statement_time(Duration::from_millis(20)),
            true => brief,
        };
        let connection = brief.get(Access::ReadWrite, &Request::new()).await;
        let connection = connection.expect("a connection");
        let other = async {
            while fake.0.begun_aside.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            match closes {
                false => assert!(!connection.in_transaction()),
                true => pool.close(Duration::ZERO).await,
            }
        };
        let (result, ()) = tokio::join!(connection.execute("stuck", &NONE), other);
        assert_eq!(kind(result), ErrorKind::DeadlineExceeded);
        fake.0.unstuck.store(true, Ordering::SeqCst);
    }
}

/// A guest whose statements never stop must not use up a pool that others need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_did_not_stop_leave_room_for_others() {
    let fake = Fake::default();
    let pool = pool(&fake, 8).await;
    let brief = Grant::new(&pool, Access::ReadWrite).max_statement_time(Duration::from_millis(20));
    let stuck = async || {
        let connection = brief.get(Access::ReadWrite, &Request::new()).await;
        let connection = connection.expect("a connection");
        let result = connection.execute("stuck", &NONE).await;
        assert_eq!(kind(result), ErrorKind::DeadlineExceeded);
        let result = connection.execute("quick", &NONE).await;
        assert_eq!(kind(result), ErrorKind::StaleHandle);
    };
    // A quarter of eight may be abandoned. What may have to be abandoned next waits for them, and
    // its connection is free after its deadline.
    for abandoned in [1, 2, 2, 2] {
        stuck().await;
        let stats = pool.stats();
        assert_eq!(
            (stats.abandoned, stats.in_use),
            (abandoned, abandoned as u32)
        );
    }
    let other = get(&pool).await;
    other.execute("quick", &NONE).await.expect("at once");
    // A caller that gives up while it waits loses its connection, which has begun a call.
    let impatient = get(&pool).await;
    let given_up =
        tokio::time::timeout(Duration::from_millis(20), impatient.execute("stuck", &NONE));
    assert!(given_up.await.is_err());
    let result = impatient.execute("quick", &NONE).await;
    assert_eq!(kind(result), ErrorKind::StaleHandle);
    // One that waits long enough continues.
    drop((other, impatient));
    // What a call has waited for reaches it at once: it may be that another has committed it.
    fake.0.unstuck.store(true, Ordering::SeqCst);
    while pool.stats().in_use > 0 {
        tokio::task::yield_now().await;
    }
    fake.0.unstuck.store(false, Ordering::SeqCst);
    let waits = get(&pool).await;
    let waits = tokio::spawn(async move { waits.execute("aside wait", &NONE).await });
    while fake.0.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stuck().await;
    stuck().await;
    fake.0.released.notify_one();
    waits.await.expect("no panic").expect("done");
    let begin = async || {
        let connection = get(&pool).await;
        // That of the last call.
        fake.0.began.notified().await;
        let mut calls = JoinSet::new();
        calls.spawn(async move { connection.execute("stuck", &NONE).await });
        fake.0.began.notified().await;
        calls
    };
    let mut patient = begin().await;
    fake.0.unstuck.store(true, Ordering::SeqCst);
    let result = patient.join_next().await.expect("one");
    result.expect("no panic").expect("done");
    // Closing does not wait.
    fake.0.unstuck.store(false, Ordering::SeqCst);
    stuck().await;
    stuck().await;
    let mut waits = begin().await;
    pool.close(Duration::ZERO).await;
    let result = waits.join_next().await.expect("one");
    let result = result.expect("no panic");
    assert_eq!(kind(result), ErrorKind::PoolClosed);
    fake.0.unstuck.store(true, Ordering::SeqCst);
}

/// The pool has taken its connection back, and lent it again, when a caller gives up.
#[tokio::test]
async fn giving_up_a_call_does_not_abandon_that_of_the_next_borrower() {
    let fake = Fake::default();
    let pool = pool(&fake, 3).await;
    let brief = Grant::new(&pool, Access::ReadWrite).max_statement_time(Duration::from_millis(20));
    for _ in 0..2 {
        let connection = brief.get(Access::ReadWrite, &Request::new()).await;
        let connection = connection.expect("a connection");
        let result = connection.execute("stuck", &NONE).await;
        assert_eq!(kind(result), ErrorKind::DeadlineExceeded);
    }
    let held = Grant::new(&pool, Access::ReadWrite).max_hold_time(Duration::from_millis(20));
    let impatient = held.get(Access::ReadWrite, &Request::new()).await;
    let impatient = impatient.expect("a connection");
    let mut waits = Box::pin(impatient.execute("stuck", &NONE));
    begin(&mut waits).await;
    let next = get(&pool).await;
    let mut waits_too = Box::pin(next.execute("wait", &NONE));
    begin(&mut waits_too).await;
    drop(waits);
    fake.0.released.notify_one();
    waits_too.await.expect("done");
    fake.0.unstuck.store(true, Ordering::SeqCst);
}

/// What such a call has begun is unknown, and no handle exists to end it.
#[tokio::test]
async fn a_result_that_no_caller_received_costs_the_connection() {
    let fake = Fake::default();
    let pool = pool(&fake, 1).await;
    let connection = get(&pool).await;
    let mut call = Box::pin(connection.execute("stuck", &NONE));
    begin(&mut call).await;
    fake.0.unstuck.store(true, Ordering::SeqCst);
    // Waits until the call has ended.
    assert!(!connection.in_transaction());
    drop(call);
    let result = connection.execute("quick", &NONE).await;
    assert_eq!(kind(result), ErrorKind::StaleHandle);
    assert_eq!(fake.0.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropping_a_call_that_has_ended_does_not_stop_the_next() {
    let fake = Fake::default();
    let pool = pool(&fake, 2).await;
    let connection = get(&pool).await;
    let mut call = Box::pin(connection.execute("stuck", &NONE));
    begin(&mut call).await;
    fake.0.unstuck.store(true, Ordering::SeqCst);
    assert!(!connection.in_transaction());
    fake.0.unstuck.store(false, Ordering::SeqCst);
    let mut next = Box::pin(connection.execute("stuck", &NONE));
    begin(&mut next).await;
    drop(call);
    fake.0.unstuck.store(true, Ordering::SeqCst);
    next.await.expect("done");
    // What it had opened has no handle.
    let result = connection.execute("quick", &NONE).await;
    assert_eq!(kind(result), ErrorKind::StaleHandle);
}

#[tokio::test]
async fn closing_waits_for_a_dropped_call_that_stops() {
    let fake = Fake::default();
    let pool = pool(&fake, 2).await;
    for sql in ["long", "stuck"] {
        let connection = get(&pool).await;
        let mut call = Box::pin(connection.execute(sql, &NONE));
        begin(&mut call).await;
        drop(call);
    }
    // Briefly for one that does not.
    pool.close(Duration::ZERO).await;
    assert_eq!(
        (fake.0.dropped.load(Ordering::SeqCst), pool.stats().in_use),
        (1, 1)
    );
    fake.0.unstuck.store(true, Ordering::SeqCst);
}
