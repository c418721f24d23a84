//! Pools of many databases.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Error, ErrorKind, Grant, Pool, Pools, PoolsSettings, Request, Settings,
};
use tokio::sync::Notify;

use super::fake::{Alive, Fake, HOUR, NONE, Shared, begin, kind};

/// A fake engine for each key.
#[derive(Clone, Debug, Default)]
struct Databases {
    fakes: Arc<Mutex<HashMap<Arc<str>, Fake>>>,
    alive: Arc<Alive>,
    /// How often `slow` was asked to open.
    slow: Arc<AtomicU32>,
    /// Lets `slow` open.
    go: Arc<Notify>,
}

impl Databases {
    fn fake(&self, key: &str) -> Fake {
        let mut fakes = self.fakes.lock().expect("no panic");
        let fake = || {
            Fake(Arc::new(Shared {
                alive: Arc::clone(&self.alive),
                ..Shared::default()
            }))
        };
        fakes.entry(key.into()).or_insert_with(fake).clone()
    }

    /// How many sessions of this key have been opened, and how many of them closed.
    fn sessions(&self, key: &str) -> (u32, u32) {
        let Fake(shared) = self.fake(key);
        let (opened, dropped) = (&shared.opened, &shared.dropped);
        (
            opened.load(Ordering::SeqCst),
            dropped.load(Ordering::SeqCst),
        )
    }

    /// How many sessions are open.
    fn open(&self) -> u32 {
        self.alive.now.load(Ordering::SeqCst)
    }

    async fn pool(self, key: Arc<str>) -> Result<Pool, Error> {
        match &*key {
            "unknown" => return Err(Error::new(ErrorKind::NoSuchDatabase, "unknown")),
            "never" => pending().await,
            "slow" => {
                self.slow.fetch_add(1, Ordering::SeqCst);
                self.go.notified().await;
            }
            _ => {}
        }
        let engine = Arc::new(self.fake(&key));
        let max_size = if key.starts_with("tenant") { 1 } else { 2 };
        Pool::open(engine, Settings::new(max_size, HOUR)).await
    }
}

fn pools(settings: PoolsSettings) -> (Pools, Databases) {
    let databases = Databases::default();
    let of_pools = databases.clone();
    let pools = Pools::new(settings, check, move |key| of_pools.clone().pool(key));
    (pools.expect("valid settings"), databases)
}

fn check(key: &str) -> Result<(), Error> {
    match key {
        "malformed" => Err(Error::new(ErrorKind::NoSuchDatabase, "malformed")),
        _ => Ok(()),
    }
}

async fn use_once(pool: &Pool) {
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    connection.execute("quick", &NONE).await.expect("open");
}

#[tokio::test]
async fn a_key_has_one_pool() {
    let (pools, databases) = pools(PoolsSettings::new(2));
    let (one, two) = tokio::join!(pools.get("slow"), async {
        let also = pools.get("slow");
        databases.go.notify_one();
        also.await
    });
    assert_eq!(databases.slow.load(Ordering::SeqCst), 1);
    use_once(&one.expect("open")).await;
    use_once(&two.expect("open")).await;
    use_once(&pools.get("slow").await.expect("still open")).await;
    assert_eq!(databases.sessions("slow"), (1, 0));
    let stats = pools.stats();
    assert_eq!((stats.open, stats.idle, stats.opened), (1, 1, 1));
}

#[tokio::test]
async fn the_one_not_used_for_longest_is_closed() {
    let (pools, databases) = pools(PoolsSettings::new(2));
    for key in ["a", "b", "a", "c"] {
        use_once(&pools.get(key).await.expect("open")).await;
    }
    assert_eq!(databases.sessions("b"), (1, 1));
    assert_eq!(
        (databases.sessions("a"), databases.sessions("c")),
        ((1, 0), (1, 0))
    );
    use_once(&pools.get("b").await.expect("open again")).await;
    assert_eq!(databases.sessions("b"), (2, 1));
    let stats = pools.stats();
    assert_eq!((stats.open, stats.opened, stats.closed), (2, 4, 2));
}

#[tokio::test]
async fn one_in_use_stays_open_and_others_wait_in_order() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    let grant = Grant::new(&pools.get("a").await.expect("open"), Access::ReadWrite);
    let mut second = Box::pin(pools.get("b"));
    let mut third = Box::pin(pools.get("c"));
    begin(&mut second).await;
    begin(&mut third).await;
    assert_eq!(pools.stats().waiting, 2);
    let connection = grant.get(Access::ReadWrite, &Request::new()).await;
    let connection = connection.expect("a connection");
    // The connection keeps it open, without the grant.
    drop(grant);
    begin(&mut second).await;
    connection
        .execute("quick", &NONE)
        .await
        .expect("still open");
    // One that is open is for everyone.
    use_once(&pools.get("a").await.expect("open")).await;
    begin(&mut third).await;
    drop(connection);
    begin(&mut third).await;
    let second = second.await.expect("room");
    assert_eq!(databases.sessions("a"), (2, 2));
    begin(&mut third).await;
    drop(second);
    third.await.expect("room");
    assert_eq!(pools.stats().waiting, 0);
}

#[tokio::test]
async fn who_waits_for_too_long_is_told_how_many_are_in_use() {
    let (pools, _) = pools(PoolsSettings::new(1).timeout(Duration::from_millis(20)));
    let held = pools.get("a").await.expect("open");
    let ErrorKind::PoolTimeout { waited, in_use } = kind(pools.get("b").await) else {
        panic!("another kind");
    };
    assert!(waited >= Duration::from_millis(20));
    assert_eq!((in_use, pools.stats().timeouts), (1, 1));
    drop(held);
    pools.get("b").await.expect("room");
}

#[tokio::test]
async fn a_failed_opening_is_told_to_all_who_waited_and_tried_again() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    assert_eq!(kind(pools.get("unknown").await), ErrorKind::NoSuchDatabase);
    let fake = databases.fake("slow");
    fake.0.unreachable.store(true, Ordering::SeqCst);
    let (one, two) = tokio::join!(pools.get("slow"), async {
        let also = pools.get("slow");
        databases.go.notify_one();
        also.await
    });
    assert_eq!(
        (kind(one), kind(two)),
        (ErrorKind::Unavailable, ErrorKind::Unavailable)
    );
    assert_eq!(databases.slow.load(Ordering::SeqCst), 1);
    let stats = pools.stats();
    assert_eq!((stats.open, stats.failed), (0, 2));
    fake.0.unreachable.store(false, Ordering::SeqCst);
    databases.go.notify_one();
    pools.get("slow").await.expect("reachable again");
}

#[tokio::test]
async fn an_opening_that_is_dropped_leaves_no_trace() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    let mut never = Box::pin(pools.get("never"));
    begin(&mut never).await;
    let mut same = Box::pin(pools.get("never"));
    let mut other = Box::pin(pools.get("a"));
    begin(&mut same).await;
    begin(&mut other).await;
    drop((never, same));
    use_once(&other.await.expect("room")).await;
    assert_eq!(databases.open(), 1);
    // The next in line opens it in place of one that is dropped.
    let mut first = Box::pin(pools.get("slow"));
    begin(&mut first).await;
    let mut second = Box::pin(pools.get("slow"));
    begin(&mut second).await;
    drop(first);
    databases.go.notify_one();
    second.await.expect("open");
    assert_eq!(databases.slow.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_idle_pool_is_closed_and_one_in_use_is_not() {
    let idle = Duration::from_millis(5);
    let (pools, databases) = pools(PoolsSettings::new(9).max_idle_time(idle));
    let held = pools.get("held").await.expect("open");
    use_once(&pools.get("idle").await.expect("open")).await;
    let since = Instant::now();
    while databases.sessions("idle") != (1, 1) {
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    use_once(&held).await;
    assert_eq!(databases.sessions("held"), (1, 0));
    // The handles of a connection that has been returned do not use the pool.
    let connection = held.get(Access::ReadOnly).await.expect("a connection");
    let statement = connection.prepare("quick").await.expect("a statement");
    connection.give_back();
    drop(held);
    while databases.open() > 0 {
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    let described = statement.describe().await;
    assert_eq!(kind(described), ErrorKind::StaleHandle);
    use_once(&pools.get("idle").await.expect("open again")).await;
    assert_eq!(databases.sessions("idle").0, 2);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let fake = Fake::default();
    let settings = Settings::new(2, HOUR).max_idle_time(Some(Duration::from_millis(5)));
    let pool = Pool::open(Arc::new(fake.clone()), settings)
        .await
        .expect("a pool");
    let since = Instant::now();
    for used in 1..=2 {
        let held = pool.get(Access::ReadWrite).await.expect("a connection");
        use_once(&pool).await;
        while pool.stats().idle > 0 {
            assert!(since.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        held.execute("quick", &NONE).await.expect("in use, so open");
        drop(held);
        while pool.stats().idle > 0 {
            assert!(since.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.stats().connections_closed, 2 * used);
    }
}

#[tokio::test]
async fn one_can_be_closed_although_it_is_in_use() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    pools.close_one("a", Duration::ZERO).await;
    let pool = pools.get("a").await.expect("open");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    pools.close_one("a", Duration::ZERO).await;
    assert_eq!(
        kind(connection.execute("quick", &NONE).await),
        ErrorKind::StaleHandle
    );
    assert_eq!(
        kind(pool.get(Access::ReadOnly).await),
        ErrorKind::PoolClosed
    );
    use_once(&pools.get("a").await.expect("open again")).await;
    drop((connection, pool));
    // The end of the first one's use is not that of the second's.
    assert_eq!(databases.sessions("a"), (2, 1));
    // As is one that a caller has closed.
    pools
        .get("a")
        .await
        .expect("open")
        .close(Duration::ZERO)
        .await;
    use_once(&pools.get("a").await.expect("open again")).await;
    assert_eq!((databases.sessions("a"), pools.stats().open), ((3, 2), 1));
}

#[tokio::test]
async fn a_pool_that_a_holder_closes_makes_room_for_who_waits() {
    let (pools, _) = pools(PoolsSettings::new(1));
    let held = pools.get("a").await.expect("open");
    let mut waits = Box::pin(pools.get("b"));
    begin(&mut waits).await;
    held.close(Duration::ZERO).await;
    let first = async { drop(waits.await.expect("room")) };
    let (again, ()) = tokio::join!(pools.get("a"), first);
    use_once(&again.expect("open again")).await;
    assert_eq!(
        kind(held.get(Access::ReadOnly).await),
        ErrorKind::PoolClosed
    );
    drop(held);
    let stats = pools.stats();
    assert_eq!((stats.open, stats.opened, stats.closed), (1, 3, 2));
}

#[tokio::test]
async fn a_key_has_no_second_pool_while_the_first_ends() {
    let (pools, databases) = pools(PoolsSettings::new(2));
    let pool = pools.get("tenant").await.expect("open");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    let mut closes = Box::pin(pool.close(HOUR));
    begin(&mut closes).await;
    let mut again = Box::pin(pools.get("tenant"));
    begin(&mut again).await;
    connection
        .execute("quick", &NONE)
        .await
        .expect("within the grace");
    assert_eq!(databases.sessions("tenant"), (1, 0));
    drop(connection);
    let (again, ()) = tokio::join!(again, closes);
    use_once(&again.expect("open again")).await;
    assert_eq!(databases.sessions("tenant"), (2, 1));
    assert_eq!(databases.alive.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_waits_for_a_key_that_another_has_opened_waits_no_longer() {
    let (pools, _) = pools(PoolsSettings::new(1));
    let held = pools.get("a").await.expect("open");
    let mut first = Box::pin(pools.get("b"));
    let mut second = Box::pin(pools.get("c"));
    let mut third = Box::pin(pools.get("b"));
    begin(&mut first).await;
    begin(&mut second).await;
    begin(&mut third).await;
    drop(held);
    let first = first.await.expect("room");
    begin(&mut second).await;
    use_once(&third.await.expect("open already")).await;
    drop(first);
    second.await.expect("room");
}

#[tokio::test]
async fn a_key_that_is_none_closes_nothing_and_waits_for_nothing() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    let held = pools.get("a").await.expect("open");
    assert_eq!(
        kind(pools.get("malformed").await),
        ErrorKind::NoSuchDatabase
    );
    drop(held);
    assert_eq!(
        kind(pools.get("malformed").await),
        ErrorKind::NoSuchDatabase
    );
    assert_eq!(databases.sessions("a"), (1, 0));
    pools.close(Duration::ZERO).await;
    assert_eq!(kind(pools.get("malformed").await), ErrorKind::PoolClosed);
}

#[tokio::test]
async fn a_closing_that_is_dropped_is_finished_by_another_thread() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    let pool = pools.get("a").await.expect("open");
    let connection = pool.get(Access::ReadWrite).await.expect("a connection");
    let mut closes = Box::pin(pools.close_one("a", HOUR));
    begin(&mut closes).await;
    drop(closes);
    // Waits for the end of it.
    use_once(&pools.get("a").await.expect("open again")).await;
    assert_eq!(databases.sessions("a"), (2, 1));
    assert_eq!(
        kind(connection.execute("quick", &NONE).await),
        ErrorKind::StaleHandle
    );
}

#[tokio::test]
async fn closing_all_refuses_who_comes_and_who_waits() {
    let (pools, databases) = pools(PoolsSettings::new(1));
    let held = pools.get("a").await.expect("open");
    let mut waits = Box::pin(pools.get("b"));
    begin(&mut waits).await;
    pools.close(Duration::ZERO).await;
    assert_eq!(kind(waits.await), ErrorKind::PoolClosed);
    assert_eq!(kind(pools.get("a").await), ErrorKind::PoolClosed);
    assert_eq!(
        kind(held.get(Access::ReadOnly).await),
        ErrorKind::PoolClosed
    );
    assert_eq!(databases.open(), 0);
    // One that is being opened meanwhile is closed.
    let (pools, databases) = self::pools(PoolsSettings::new(1));
    let mut opens = Box::pin(pools.get("slow"));
    begin(&mut opens).await;
    let mut closes = Box::pin(pools.close(Duration::ZERO));
    begin(&mut closes).await;
    databases.go.notify_one();
    let (opened, ()) = tokio::join!(opens, closes);
    assert_eq!(kind(opened), ErrorKind::PoolClosed);
    assert_eq!(databases.open(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_of_many_calls_fails_and_no_more_are_open_than_may_be() {
    const MOST: u32 = 5;
    let (pools, databases) =
        pools(PoolsSettings::new(MOST).max_idle_time(Duration::from_millis(1)));
    let tasks = (0..8_u64).map(|task| {
        let pools = pools.clone();
        tokio::spawn(async move {
            let mut random = task + 1;
            for _ in 0..2_000 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let key = format!("tenant-{}", (random >> 33) % 50);
                let pool = pools.get(&key).await.expect("a pool");
                let connection = pool.get(Access::ReadWrite).await.expect("a connection");
                drop(pool);
                connection
                    .execute("quick", &NONE)
                    .await
                    .expect("not closed meanwhile");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no failure");
    }
    pools.close(Duration::ZERO).await;
    assert_eq!(databases.open(), 0);
    // Each has one connection.
    assert!(databases.alive.most.load(Ordering::SeqCst) <= MOST);
    let stats = pools.stats();
    assert_eq!((stats.open, stats.idle, stats.waiting), (0, 0, 0));
    assert_eq!((stats.opened, stats.failed), (stats.closed, 0));
}

#[test]
fn settings_have_bounds() {
    let of = |settings| Pools::new(settings, check, |_| async { unreachable!() });
    for settings in [
        PoolsSettings::new(0),
        PoolsSettings::new(100_001),
        PoolsSettings::new(1).max_idle_time(Duration::ZERO),
        PoolsSettings::new(1).timeout(HOUR + Duration::from_millis(1)),
    ] {
        assert_eq!(kind(of(settings)), ErrorKind::Config, "{settings:?}");
    }
}

#[tokio::test]
async fn a_key_whose_pool_is_open_is_checked_each_time() {
    let databases = Databases::default();
    let is_refused = Arc::new(AtomicU32::new(0));
    let refused = Arc::clone(&is_refused);
    let check = move |_: &str| match refused.load(Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::Unavailable, "suspended")),
    };
    let open = move |key| databases.clone().pool(key);
    let pools = Pools::new(PoolsSettings::new(2), check, open).expect("valid settings");
    let in_use = pools.get("a").await.expect("open");
    is_refused.store(1, Ordering::SeqCst);
    assert_eq!(kind(pools.get("a").await), ErrorKind::Unavailable);
    use_once(&in_use).await;
    is_refused.store(0, Ordering::SeqCst);
    use_once(&pools.get("a").await.expect("open")).await;
    assert_eq!(pools.stats().opened, 1);
}
