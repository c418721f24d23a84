//! What an observer is told: each event once, in order, outside of locks.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use millpond_pool::engine::Engine;
use millpond_pool::observe::{Event, Observer, Source};
use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Pool, Request, Settings, TableGrant, TransactionMode,
};

use crate::fake::{Fake, HOUR, NONE, Shared, begin, get, kind};
use crate::recorder::Recorder;

const LONG: Duration = Duration::from_secs(60);

async fn observed(fake: &Fake, settings: Settings) -> (Pool, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let settings = settings.observer(Some(recorder.clone()));
    let pool = Pool::open(Arc::new(fake.clone()), settings).await;
    assert_eq!(recorder.events(), ["opened", "pool opened"]);
    (pool.expect("a pool"), recorder)
}

fn named(name: &'static str) -> Fake {
    Fake(Arc::new(Shared {
        name,
        ..Shared::default()
    }))
}

#[tokio::test]
async fn every_event_says_where() {
    let settings = [
        Settings::new(1, HOUR),
        Settings::new(1, HOUR).tenant(Some("acme".into())),
        Settings::new(1, HOUR)
            .tenant(Some("acme".into()))
            .name("shop"),
    ];
    let wanted = [
        ("file", None),
        ("tenants", Some("acme")),
        ("shop", Some("acme")),
    ];
    for (settings, (database, tenant)) in settings.into_iter().zip(wanted) {
        let (pool, recorder) = observed(&named("file"), settings).await;
        let grant = Grant::new(&pool, Access::ReadWrite).guest("guest");
        let request = Request::new().label("request 7");
        let connection = grant.get(Access::ReadWrite, &request).await;
        let connection = connection.expect("a connection");
        connection.execute("quick", &NONE).await.expect("done");
        drop(connection);
        let told = recorder.take();
        let events: Vec<_> = told.iter().map(|told| &*told.what).collect();
        assert_eq!(events, ["got", "`quick`", "returned", "reset"]);
        for told in told {
            let of_pool = (&*told.database, told.tenant.as_deref());
            assert_eq!(of_pool, (database, tenant), "{}", told.what);
            let of_guest = (told.guest.as_deref(), told.request.as_deref());
            assert_eq!(
                of_guest,
                (Some("guest"), Some("request 7")),
                "{}",
                told.what
            );
            assert!(told.time < LONG, "{}", told.what);
        }
        pool.close(Duration::ZERO).await;
        pool.close(Duration::ZERO).await;
        let told = recorder.take();
        assert!(told.iter().all(|told| told.guest.is_none()));
        let events: Vec<_> = told.iter().map(|told| &*told.what).collect();
        assert_eq!(events, ["closed: pool_closed", "pool closed"]);
        drop((grant, pool));
        assert!(recorder.take().is_empty());
    }
}

#[tokio::test]
async fn each_caller_is_told_of_once_whether_it_gets_a_connection_or_not() {
    let fake = Fake::default();
    let (pool, recorder) = observed(&fake, Settings::new(1, Duration::from_millis(20))).await;
    let grant = Grant::new(&pool, Access::ReadWrite);
    let holder = get(&pool).await;
    assert_eq!(recorder.events(), ["got"]);

    let timed_out = pool.get(Access::ReadOnly).await;
    assert!(matches!(kind(timed_out), ErrorKind::PoolTimeout { .. }));
    let told = recorder.take();
    assert_eq!(told[0].what, "not got: timeout");
    assert!(told[0].time >= Duration::from_millis(20));

    let over = Request::new().deadline(Instant::now() + Duration::from_millis(5));
    grant.get(Access::ReadOnly, &over).await.expect_err("late");
    let interrupted = Request::new();
    interrupted.interrupt();
    let refused = grant.get(Access::ReadOnly, &interrupted).await;
    refused.expect_err("interrupted");
    let mut cancelled = Box::pin(pool.get(Access::ReadOnly));
    begin(&mut cancelled).await;
    drop(cancelled);
    let tables = grant.clone().table("t", TableGrant::new().read());
    let refused = tables.get(Access::ReadOnly, &Request::new()).await;
    assert_eq!(kind(refused), ErrorKind::Unsupported);
    let reads = Grant::new(&pool, Access::ReadOnly);
    let refused = reads.get(Access::ReadWrite, &Request::new()).await;
    assert_eq!(kind(refused), ErrorKind::NotAuthorized);
    let why = ["deadline", "interrupted", "cancelled", "refused", "refused"];
    assert_eq!(recorder.events(), why.map(|why| format!("not got: {why}")));

    // A caller that waited gets it after it was returned.
    let waits = Box::pin(pool.get(Access::ReadOnly));
    let (waited, ()) = tokio::join!(waits, async { drop(holder) });
    let waited = waited.expect("a connection");
    assert_eq!(recorder.events(), ["returned", "reset", "got"]);
    waited.close();
    assert_eq!(recorder.events(), ["to_close", "reset", "closed: asked"]);
    fake.0.unreachable.store(true, Ordering::SeqCst);
    let refused = pool.get(Access::ReadOnly).await;
    assert_eq!(kind(refused), ErrorKind::Unavailable);
    fake.0.unreachable.store(false, Ordering::SeqCst);
    drop(get(&pool).await);
    let told = ["not got: failed", "opened", "got new", "returned", "reset"];
    assert_eq!(recorder.events(), told);
    pool.close(Duration::ZERO).await;
    let refused = pool.get(Access::ReadOnly).await;
    assert_eq!(kind(refused), ErrorKind::PoolClosed);
    let told = ["closed: pool_closed", "pool closed", "not got: pool_closed"];
    assert_eq!(recorder.events(), told);
    let stats = pool.stats();
    assert_eq!(
        (stats.hits, stats.misses, stats.timeouts),
        (1, 2, 2),
        "{stats:?}"
    );
}

#[tokio::test]
async fn a_pool_that_is_dropped_is_told_of_like_one_that_is_closed() {
    let (pool, recorder) = observed(&Fake::default(), Settings::new(3, HOUR)).await;
    let [a, b, c] = [get(&pool).await, get(&pool).await, get(&pool).await];
    drop((a, b));
    recorder.take();
    drop(pool);
    assert!(recorder.take().is_empty(), "a connection is in use");
    drop(c);
    let closed = "closed: pool_closed";
    let told = ["returned", "reset", closed, closed, closed, "pool closed"];
    assert_eq!(recorder.events(), told);
}

#[tokio::test]
async fn why_a_connection_was_closed() {
    let fake = Fake::default();
    let (pool, recorder) = observed(&fake, Settings::new(2, HOUR).max_idle(Some(1))).await;
    let [a, b] = [get(&pool).await, get(&pool).await];
    drop((a, b));
    let got = ["got", "opened", "got new"];
    let returned = ["returned", "reset", "returned", "reset", "closed: excess"];
    assert_eq!(recorder.events(), [&got[..], &returned].concat());

    get(&pool).await.execute("soil", &NONE).await.expect("done");
    let unclean = ["returned", "reset in vain", "closed: unclean"];
    assert_eq!(
        recorder.events(),
        [&["got", "`soil`"][..], &unclean].concat()
    );

    let connection = get(&pool).await;
    let panics = tokio::spawn(async move { connection.execute("panic", &NONE).await });
    panics.await.expect_err("a panic");
    let told = recorder.events();
    let panicked = [
        "opened",
        "got new",
        "`panic` Cancelled",
        "returned",
        "reset",
    ];
    assert_eq!(told, [&panicked[..], &["closed: unclean"]].concat());

    // Its hold time is over: the next caller takes it back.
    let grant = Grant::new(&pool, Access::ReadWrite).max_hold_time(Duration::ZERO);
    let held = grant.get(Access::ReadWrite, &Request::new()).await;
    let held = held.expect("a connection");
    let other = get(&pool).await;
    recorder.take();
    drop(get(&pool).await);
    let told = recorder.events();
    assert_eq!(told[..3], ["hold_time", "reset", "got"], "{told:?}");
    assert_eq!(
        kind(held.execute("quick", &NONE).await),
        ErrorKind::StaleHandle
    );
    drop(held);
    recorder.take();
    pool.close(Duration::ZERO).await;
    drop(other);
    let ended = [
        "closed: pool_closed",
        "pool_closed",
        "reset",
        "closed: pool_closed",
        "pool closed",
    ];
    let mut told = recorder.events();
    told.sort();
    let mut ended = ended.to_vec();
    ended.sort_unstable();
    ended.retain(|event| told.iter().any(|told| told == event));
    assert!(told.contains(&"pool_closed".to_owned()), "{told:?}");
    assert_eq!(told, ended);
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_told_of() {
    let settings = Settings::new(1, HOUR).max_idle_time(Some(Duration::from_millis(5)));
    let (pool, recorder) = observed(&Fake::default(), settings).await;
    let told = tokio::task::spawn_blocking(move || recorder.wait("closed")).await;
    assert_eq!(told.expect("closed")[0].what, "closed: idle");
    assert_eq!(pool.stats().idle, 0);
}

#[tokio::test]
async fn each_call_is_told_of_once() {
    let fake = Fake::default();
    let (pool, recorder) = observed(&fake, Settings::new(1, HOUR)).await;
    let connection = get(&pool).await;
    recorder.take();
    let waits = connection.execute("wait", &NONE);
    let others = async {
        fake.0.began.notified().await;
        assert!(recorder.take().is_empty(), "it has not ended");
        fake.0.released.notify_one();
    };
    let (waited, ()) = tokio::join!(waits, others);
    waited.expect("waited");
    let mut cancelled = Box::pin(connection.execute("wait in vain", &NONE));
    begin(&mut cancelled).await;
    drop(cancelled);
    assert_eq!(recorder.events(), ["`wait`", "`wait in vain` Cancelled"]);

    // A cursor's calls are one, with its statement.
    let statement = connection.prepare("select").await.expect("a statement");
    for is_read in [true, false] {
        let page = statement.query(&NONE, 1, false).await.expect("a page");
        let rest = page.rest.expect("more");
        assert!(recorder.take().is_empty());
        if is_read {
            fake.0.released.notify_one();
            assert!(rest.next(1).await.expect("the end").is_empty());
            assert_eq!(recorder.events(), ["`select`"]);
            fake.0.released.notify_one();
            rest.next(1).await.expect("the end");
        }
        drop(rest);
    }
    assert_eq!(recorder.events(), ["`select`"]);
    let page = statement.query(&NONE, 1, false).await.expect("a page");
    let rest = page.rest.expect("more");
    let mut cancelled = Box::pin(rest.next(1));
    begin(&mut cancelled).await;
    drop(cancelled);
    drop(rest);
    assert_eq!(recorder.events(), ["`select` Cancelled"]);
    statement.execute(&NONE).await.expect("done");
    let transaction = connection.begin(TransactionMode::Immediate).await;
    transaction.expect("begun").commit().await.expect("done");
    connection.give_back();
    let stale = statement.execute(&NONE).await;
    assert_eq!(kind(stale), ErrorKind::StaleHandle);
    let told = [
        "`select`",
        "`BEGIN IMMEDIATE`",
        "`COMMIT`",
        "returned",
        "reset",
        "`select` Failed(StaleHandle)",
    ];
    assert_eq!(recorder.events(), told);
}

#[tokio::test]
async fn what_a_call_did_is_told_of_it_and_of_no_other() {
    let fake = Fake::default();
    let (pool, recorder) = observed(&fake, Settings::new(1, HOUR)).await;
    let get = async |guest: &str| {
        let grant = Grant::new(&pool, Access::ReadWrite).guest(guest);
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        connection.expect("a connection")
    };
    let connection = get("a").await;
    recorder.take();

    // Another call on the same connection, after its turn came and before its end.
    let mut writes = Box::pin(connection.execute("turn", &NONE));
    begin(&mut writes).await;
    fake.0.released.notify_one();
    begin(&mut writes).await;
    connection.execute("quick", &NONE).await.expect("done");
    let told = recorder.take();
    let events: Vec<_> = told.iter().map(|told| &*told.what).collect();
    assert_eq!(events, ["turn: got", "`quick`"]);
    assert_eq!(told[1].turn_wait, Duration::ZERO);
    fake.0.released.notify_one();
    writes.await.expect("written");
    let told = recorder.take();
    let events: Vec<_> = told.iter().map(|told| &*told.what).collect();
    assert_eq!(events, ["ended: engine", "`turn` wrote"]);
    assert!(told[1].turn_wait > Duration::ZERO, "{told:?}");

    // The next borrower's call, while the handle of the one before is stale.
    let mut stale = Box::pin(connection.execute("wait in vain", &NONE));
    begin(&mut stale).await;
    connection.give_back();
    let next = get("b").await;
    let mut writes = Box::pin(next.execute("turn", &NONE));
    begin(&mut writes).await;
    recorder.take();
    drop(stale);
    let told = recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].guest.as_deref(), &*told[0].what),
        (Some("a"), "`wait in vain` Cancelled")
    );
    drop(writes);
    let told = recorder.take();
    let events: Vec<_> = told.iter().map(|told| &*told.what).collect();
    let wanted = [
        "turn: cancelled",
        "ended: unfinished",
        "`turn` wrote Cancelled",
    ];
    assert_eq!(events, wanted);
    assert!(told.iter().all(|told| told.guest.as_deref() == Some("b")));
}

/// An event, and the numbers of its lending and its call.
type Numbered = (&'static str, Option<u64>, Option<u64>);

/// Records which events belong together.
#[derive(Debug, Default)]
struct Numbers(Mutex<Vec<Numbered>>);

impl Observer for Numbers {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        let what = match event {
            Event::ConnectionAsked => "asked",
            Event::ConnectionGot { .. } => "got",
            Event::ConnectionNotGot { .. } => "not got",
            Event::ConnectionReturned { .. } => "returned",
            Event::ConnectionReset { .. } => "reset",
            Event::StatementBegun { .. } => "begun",
            Event::StatementFinished { .. } => "finished",
            Event::TurnWaited { .. } => "turn",
            Event::TransactionEnded { .. } => "ended",
            _ => "of the pool",
        };
        let mut told = self.0.lock().expect("no panic");
        told.push((what, source.lending, source.call));
    }
}

#[tokio::test]
async fn events_that_belong_together_have_the_same_numbers() {
    let numbers = Arc::new(Numbers::default());
    let fake = Fake::default();
    let engine: Arc<dyn Engine> = Arc::new(fake.clone());
    let settings = Settings::new(1, Duration::ZERO).observer(Some(numbers.clone()));
    let pool = Pool::open(engine, settings).await.expect("a pool");
    let take = || std::mem::take(&mut *numbers.0.lock().expect("no panic"));
    assert!(
        take()
            .iter()
            .all(|(_, lending, call)| (lending, call) == (&None, &None))
    );

    let connection = get(&pool).await;
    pool.get(Access::ReadOnly).await.expect_err("one is lent");
    let told = take();
    let [asked, got, again, not_got] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        [asked.0, got.0, again.0, not_got.0],
        ["asked", "got", "asked", "not got"]
    );
    let lending = asked.1;
    assert!(lending.is_some() && got.1 == lending);
    assert!(again.1.is_some() && again.1 != lending && again.1 == not_got.1);

    fake.0.released.notify_one();
    let mut writes = Box::pin(connection.execute("turn", &NONE));
    begin(&mut writes).await;
    connection.execute("quick", &NONE).await.expect("done");
    drop(writes);
    let statement = connection.prepare("select").await.expect("a statement");
    let page = statement.query(&NONE, 1, false).await.expect("a page");
    fake.0.released.notify_one();
    page.rest.expect("more").next(1).await.expect("the end");
    drop(connection);
    let told = take();
    let events: Vec<_> = told.iter().map(|(what, ..)| *what).collect();
    let calls = [
        "begun", "turn", "begun", "finished", "ended", "finished", "begun", "finished",
    ];
    assert_eq!(events, [&calls[..], &["returned", "reset"]].concat());
    assert!(told.iter().all(|told| told.1 == lending), "{told:?}");
    let call = |at: usize| told[at].2.expect("a call");
    assert!([1, 4, 5].iter().all(|at| call(*at) == call(0)), "{told:?}");
    assert!(call(2) == call(3) && call(6) == call(7), "{told:?}");
    assert!(call(0) != call(2) && call(2) != call(6), "{told:?}");
    assert!(told[8].2.is_none() && told[9].2.is_none());
}

/// Where the texts of statements are.
#[derive(Debug, Default)]
struct Texts(Mutex<Vec<usize>>);

impl Observer for Texts {
    fn observe(&self, _: &Source<'_>, event: &Event<'_>) {
        if let Event::StatementFinished { sql, .. } = event {
            let mut texts = self.0.lock().expect("no panic");
            texts.push(sql.as_ptr().addr());
        }
    }
}

/// A guest may keep many cursors of one long text.
#[tokio::test]
async fn cursors_share_the_text_of_their_statement() {
    let texts = Arc::new(Texts::default());
    let settings = Settings::new(1, HOUR).observer(Some(texts.clone()));
    let engine: Arc<dyn Engine> = Arc::new(Fake::default());
    let pool = Pool::open(engine, settings).await.expect("a pool");
    let connection = get(&pool).await;
    let statement = connection.prepare("select").await.expect("a statement");
    statement.execute(&NONE).await.expect("done");
    drop(statement.query(&NONE, 1, false).await.expect("a page"));
    let texts = texts.0.lock().expect("no panic");
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_their_own_thread_are_told_of_once() {
    let fake = Fake::default();
    let (pool, recorder) = observed(&fake, Settings::new(4, HOUR)).await;
    let grant = Grant::new(&pool, Access::ReadWrite).max_statement_time(Duration::from_millis(20));
    let get = || async { grant.get(Access::ReadWrite, &Request::new()).await };
    let connection = get().await.expect("a connection");
    recorder.take();
    let stopped = connection.execute("long", &NONE).await;
    assert_eq!(kind(stopped), ErrorKind::DeadlineExceeded);
    let told = recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].what, "`long` Failed(DeadlineExceeded)");
    assert!(told[0].time >= Duration::from_millis(15), "{told:?}");

    let stuck = connection.execute("stuck", &NONE).await;
    assert_eq!(kind(stuck), ErrorKind::DeadlineExceeded);
    drop(connection);
    let told = ["abandoned `stuck`", "`stuck` Failed(DeadlineExceeded)"];
    assert_eq!(recorder.events(), told);
    fake.0.unstuck.store(true, Ordering::SeqCst);
    let wait = |recorder: Arc<Recorder>| move || recorder.wait("closed");
    let told = tokio::task::spawn_blocking(wait(recorder.clone())).await;
    let told: Vec<_> = told
        .expect("closed")
        .into_iter()
        .map(|told| told.what)
        .collect();
    assert_eq!(told, ["abandoned", "reset", "closed: abandoned"]);

    // The future of such a call is dropped.
    let connection = get().await.expect("a connection");
    let mut cancelled = Box::pin(connection.execute("long", &NONE));
    begin(&mut cancelled).await;
    drop(cancelled);
    let told = tokio::task::spawn_blocking(wait(recorder.clone())).await;
    let mut told: Vec<_> = told
        .expect("closed")
        .into_iter()
        .map(|told| told.what)
        .collect();
    // The thread tells the rest, and may be faster.
    assert!(told.contains(&"`long` Cancelled".to_owned()), "{told:?}");
    told.retain(|event| event != "`long` Cancelled");
    let rest = [
        "opened",
        "got new",
        "unfinished",
        "reset",
        "closed: unfinished",
    ];
    assert_eq!(told, rest);
    drop(connection);
    assert!(recorder.take().is_empty());
}

/// Uses the pool, and its connection, whenever it is told something.
#[derive(Debug, Default)]
struct Nosy {
    pool: Mutex<Option<Pool>>,
    connection: Mutex<Weak<Connection>>,
    told: AtomicU32,
    panics: AtomicBool,
}

impl Observer for Nosy {
    fn observe(&self, _: &Source<'_>, _: &Event<'_>) {
        self.told.fetch_add(1, Ordering::SeqCst);
        if let Some(pool) = &*self.pool.lock().expect("no panic") {
            pool.stats();
        }
        let connection = self.connection.lock().expect("no panic").upgrade();
        if let Some(connection) = connection {
            connection.in_transaction();
        }
        assert!(!self.panics.load(Ordering::SeqCst), "as it was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_is_called_outside_of_locks_and_may_panic() {
    let fake = Fake::default();
    let nosy = Arc::new(Nosy::default());
    let engine: Arc<dyn Engine> = Arc::new(fake.clone());
    let settings = Settings::new(2, HOUR).observer(Some(nosy.clone()));
    let pool = Pool::open(engine, settings).await.expect("a pool");
    *nosy.pool.lock().expect("no panic") = Some(pool.clone());
    for panics in [false, true] {
        nosy.panics.store(panics, Ordering::SeqCst);
        nosy.told.store(0, Ordering::SeqCst);
        fake.0.unstuck.store(false, Ordering::SeqCst);
        let grant = Grant::new(&pool, Access::ReadWrite)
            .max_statement_time(Duration::from_millis(5))
            .max_transaction_time(Duration::ZERO);
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        let connection = Arc::new(connection.expect("a connection"));
        *nosy.connection.lock().expect("no panic") = Arc::downgrade(&connection);
        connection.execute("quick", &NONE).await.expect("done");
        let transaction = connection.begin(TransactionMode::Immediate).await;
        let transaction = transaction.expect("begun");
        // A waiter ends the transaction.
        get(&pool)
            .await
            .execute("wait", &NONE)
            .await
            .expect("waited");
        drop(transaction);
        let stuck = connection.execute("stuck", &NONE).await;
        assert_eq!(kind(stuck), ErrorKind::DeadlineExceeded);
        drop(connection);
        fake.0.unstuck.store(true, Ordering::SeqCst);
        while pool.stats().in_use > 0 {
            tokio::task::yield_now().await;
        }
        assert!(nosy.told.load(Ordering::SeqCst) >= 10);
    }
    assert_eq!(pool.stats().connections_created, 3);
    *nosy.pool.lock().expect("no panic") = None;
    pool.close(Duration::ZERO).await;
}
