//! A pool over a fake engine that runs no SQL, and does what its "statements" say. These tests hold
//! for every engine.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millpond_pool::clock;
use millpond_pool::engine::{
    Call, Engine, Limits, Opening, Reset, Rights, Session, Step, Stop, StopFlag, Terms,
};
use millpond_pool::{
    Access, Column, Connection, Description, Error, ErrorKind, Grant, Parameters, Pool, PoolStats,
    Request, Result, Rows, Settings, Summary, Table, TableGrant, TransactionMode,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

static NONE: Parameters = Parameters::NONE;
const HOUR: Duration = Duration::from_secs(3600);

/// What a fake's sessions share with the test.
#[derive(Debug, Default)]
struct Shared {
    name: &'static str,
    opened: AtomicU32,
    dropped: AtomicU32,
    /// While set, opening a session fails.
    unreachable: AtomicBool,
    /// Releases calls of `wait`.
    released: Notify,
    /// How many calls of `aside wait` wait.
    waiting: AtomicU32,
    /// Releases calls of `stuck`.
    unstuck: AtomicBool,
    /// Notified when a session begins a call.
    began: Notify,
    done: Mutex<Vec<String>>,
}

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Shared>);

#[derive(Debug)]
struct FakeSession {
    shared: Arc<Shared>,
    stop: Arc<StopFlag>,
    limits: Limits,
    transaction: Option<u64>,
    transactions: u64,
    soiled: bool,
}

/// The outcome of a `wait`.
struct Waited;

impl Engine for Fake {
    fn open(&self, stop: Arc<StopFlag>, _: u64) -> Opening<'_> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.0.unreachable.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "nothing answers"));
            }
            self.0.opened.fetch_add(1, Ordering::SeqCst);
            let session: Box<dyn Session> = Box::new(FakeSession {
                shared: Arc::clone(&self.0),
                stop,
                limits: Limits::default(),
                transaction: None,
                transactions: 0,
                soiled: false,
            });
            Ok(session)
        })
    }

    fn check(&self, _: Access, rights: &Rights, _: &Limits) -> Result<()> {
        match rights.tables() {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Unsupported, "the fake has no tables")),
        }
    }

    fn name(&self) -> &str {
        self.0.name
    }

    fn count(&self, stats: &mut PoolStats) {
        stats.groups = 7;
    }
}

impl FakeSession {
    fn run(&mut self, call: Call, sql: &str) -> Step<()> {
        if !call.continued {
            let until = clock::from(call.now, self.limits.statement);
            self.stop.start(until.min(call.hold_until));
        }
        self.shared.began.notify_one();
        match sql {
            "wait" => match call.outcome {
                Some(outcome) => assert!(outcome.is::<Waited>()),
                None => {
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait(async move {
                        shared.released.notified().await;
                        Waited
                    }));
                }
            },
            "aside wait" if !call.aside => return Err(Stop::Aside),
            "aside wait" => match call.outcome {
                Some(outcome) => assert!(outcome.is::<Waited>()),
                None => {
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait(async move {
                        shared.waiting.fetch_add(1, Ordering::SeqCst);
                        shared.released.notified().await;
                        Waited
                    }));
                }
            },
            "wait in vain" => return Err(Stop::wait(pending::<Waited>())),
            "long" | "stuck" if !call.aside => return Err(Stop::Aside),
            "long" => {
                while !self.stop.must_stop() {
                    std::thread::yield_now();
                }
                return Err(Error::new(ErrorKind::DeadlineExceeded, "stopped").into());
            }
            "stuck" => {
                while !self.shared.unstuck.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            "panic" => panic!("as it was told"),
            "soil" => self.soiled = true,
            _ => assert!(call.outcome.is_none(), "of another call: {sql}"),
        }
        self.shared
            .done
            .lock()
            .expect("no panic")
            .push(sql.to_owned());
        Ok(())
    }

    fn end(&mut self, transaction: u64) -> Step<()> {
        match self.transaction.take_if(|open| *open == transaction) {
            Some(_) => {
                self.stop.set_transaction_until(clock::NEVER);
                Ok(())
            }
            None => Err(Error::new(ErrorKind::StaleHandle, "it has ended").into()),
        }
    }
}

impl Session for FakeSession {
    fn suits(&self, _: Access) -> bool {
        true
    }

    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        self.limits = terms.limits;
        Ok(())
    }

    fn reset(&mut self) -> Reset {
        Reset {
            clean: !self.soiled,
            rolled_back: self.transaction.take().is_some(),
        }
    }

    fn execute(&mut self, call: Call, sql: &str, _: &Parameters) -> Step<Summary> {
        self.run(call, sql).map(|()| Summary::default())
    }

    fn query(&mut self, call: Call, sql: &str, _: &Parameters, _: bool) -> Step<Table> {
        self.run(call, sql)?;
        Ok(Table {
            columns: Vec::new(),
            rows: Rows::new(),
        })
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        *start = sql.len();
        self.run(call, sql)
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        self.run(call, sql).map(|()| 1)
    }

    fn describe(&mut self, call: Call, _: usize) -> Step<Description> {
        self.run(call, "describe")?;
        Ok(Description {
            columns: Vec::new(),
            parameter_names: Vec::new(),
            read_only: true,
        })
    }

    fn execute_prepared(&mut self, call: Call, _: usize, _: &Parameters) -> Step<Summary> {
        self.run(call, "prepared").map(|()| Summary::default())
    }

    fn execute_many(&mut self, call: Call, _: usize, _: &Rows) -> Step<Summary> {
        self.run(call, "many").map(|()| Summary::default())
    }

    fn query_prepared(
        &mut self,
        call: Call,
        _: usize,
        _: &Parameters,
        _: u32,
        _: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)> {
        self.run(call, "page")?;
        Ok((Rows::new(), None, Some(1)))
    }

    fn next(&mut self, call: Call, _: usize, _: u64, _: u32) -> Step<Rows> {
        self.run(call, "wait")?;
        Ok(Rows::new())
    }

    fn begin(&mut self, call: Call, _: TransactionMode) -> Step<u64> {
        self.transactions += 1;
        self.transaction = Some(self.transactions);
        let until = clock::from(call.now, self.limits.transaction);
        self.stop.set_transaction_until(until);
        Ok(self.transactions)
    }

    fn commit(&mut self, _: Call, transaction: u64) -> Step<()> {
        self.end(transaction)
    }

    fn rollback(&mut self, _: Call, transaction: u64) -> Step<()> {
        self.end(transaction)
    }

    fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn drop_statement(&mut self, _: usize) {}

    fn drop_cursor(&mut self, _: usize, _: u64) {}

    fn drop_transaction(&mut self, transaction: u64) {
        let _ = self.end(transaction);
    }

    fn end_overdue(&mut self) {
        self.transaction = None;
        self.stop.set_transaction_until(clock::NEVER);
        // The call that waits continues.
        self.shared.released.notify_one();
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.shared.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

async fn pool(fake: &Fake, max_size: u32) -> Pool {
    let settings = Settings::new(max_size, HOUR);
    let pool = Pool::open(Arc::new(fake.clone()), settings).await;
    pool.expect("a pool")
}

async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

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
            // On the calling thread, and then on the session's own.
            fake.0.began.notified().await;
            fake.0.began.notified().await;
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
    assert_eq!(pool.stats().pool_hits, 0);
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
