//! Many pools, by key.

mod registry;
mod settings;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};

use self::registry::{Found, Registry, Reservation, Room, Victim};
pub use self::settings::PoolsSettings;
use crate::block_on::block_on;
use crate::error::{Error, ErrorKind, Result};
use crate::maintenance::{self, Chore};
use crate::pool::Pool;

/// How long to wait, at least, for another caller to open or close a pool.
const CHANGE: Duration = Duration::from_secs(1);

/// Pools of many databases, by key: a tenant's name, for instance. Clones share them.
///
/// A pool is opened when its key is first asked for. At most [`max_open`](PoolsSettings::max_open)
/// are open at once: to open another, the one that has not been used for the longest time is
/// closed. One that has not been used for [`max_idle_time`](PoolsSettings::max_idle_time) is closed
/// too, by a thread that all pools of the process share.
///
/// A pool is in use as long as a clone of it, a grant or a connection exists, and those in use stay
/// open. So no caller sees an error because a database was closed meanwhile. If all are in use,
/// callers who need another wait, in order.
///
/// ```
/// use std::sync::Arc;
/// use millpond_pool::{Access, Grant, Pool, Pools, PoolsSettings, Result};
///
/// fn check(key: &str) -> Result<()> {
///     // …
/// #   Ok(())
/// }
///
/// async fn open(key: Arc<str>) -> Result<Pool> {
///     // …
/// #   Err(millpond_pool::Error::new(millpond_pool::ErrorKind::NoSuchDatabase, &*key))
/// }
///
/// # async fn serve() -> Result<()> {
/// let tenants = Pools::new(PoolsSettings::new(1_000), check, open)?;
/// // For each request:
/// let grant = Grant::new(&tenants.get("a-tenant").await?, Access::ReadWrite);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pools {
    shared: Arc<Shared>,
}

/// Pools that it does not keep.
#[cfg(feature = "prometheus")]
#[derive(Clone, Debug)]
pub(crate) struct WeakPools(Weak<Shared>);

#[cfg(feature = "prometheus")]
impl WeakPools {
    pub(crate) fn upgrade(&self) -> Option<Pools> {
        self.0.upgrade().map(|shared| Pools { shared })
    }
}

/// What the clones share.
struct Shared {
    registry: Arc<Registry>,
    settings: PoolsSettings,
    check: Box<Check>,
    open: Box<Open>,
    /// Those who need room wait here. The first of them looks for it.
    queue: Mutex<()>,
    /// Whether the maintenance thread looks for what is idle.
    is_scheduled: AtomicBool,
    this: Weak<Shared>,
}

type Check = dyn Fn(&str) -> Result<()> + Send + Sync;
type Open = dyn Fn(Arc<str>) -> Opening + Send + Sync;
type Opening = Pin<Box<dyn Future<Output = Result<Pool>> + Send>>;

/// Counters of [`Pools`], one consistent snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolsStats {
    /// Pools that are open, or are being opened or closed: at most
    /// [`max_open`](PoolsSettings::max_open).
    pub open: u32,
    /// Of these, open and not in use.
    pub idle: u32,
    /// How many have been opened.
    pub opened: u64,
    /// How often opening one returned an error.
    pub failed: u64,
    /// How many have been closed.
    pub closed: u64,
    /// Keys that wait for room, in order.
    pub waiting: u32,
    /// Calls of [`get`](Pools::get) that timed out.
    pub timeouts: u64,
}

impl Pools {
    /// Create an empty set of pools.
    ///
    /// `check` says whether a key may be a database's: each [`get`](Pools::get) calls it, on the
    /// calling thread, before anything is closed or opened for the key, and whether or not its pool
    /// is open. So it can refuse a database that is open, from one call to the next. Keys may come
    /// from requests: let it refuse, quickly, what is none, with
    /// [`NoSuchDatabase`](ErrorKind::NoSuchDatabase).
    ///
    /// `open` opens the pool of a key, and does not keep a clone of it. It is called for one key at
    /// a time, and for several keys at once. If it blocks the thread, let it call
    /// [`hand_over`](crate::engine::hand_over) first. Let it set the key as the pool's
    /// [`tenant`](crate::Settings::tenant), for observers.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn new<F>(
        settings: PoolsSettings,
        check: impl Fn(&str) -> Result<()> + Send + Sync + 'static,
        open: impl Fn(Arc<str>) -> F + Send + Sync + 'static,
    ) -> Result<Pools>
    where
        F: Future<Output = Result<Pool>> + Send + 'static,
    {
        settings.check()?;
        let shared = Arc::new_cyclic(|this| Shared {
            registry: Registry::new(settings.max_open),
            settings,
            check: Box::new(check),
            open: Box::new(move |key| Box::pin(open(key))),
            queue: Mutex::new(()),
            is_scheduled: AtomicBool::new(false),
            this: this.clone(),
        });
        Ok(Pools { shared })
    }

    /// Get the pool of this key, and open it if it is not open. Waits, without blocking a thread,
    /// for up to [`timeout`](PoolsSettings::timeout): in order, for room, while all pools that may
    /// be open are in use. And for as long, at least a second, while another caller waits for room
    /// for the same key, or opens or closes its pool.
    ///
    /// It stays open as long as the caller keeps it, or a grant or connection of it: keep it for
    /// one request. Closing another to make room blocks the thread for milliseconds, after having
    /// handed over its worker.
    ///
    /// Must be awaited within a tokio runtime with time enabled; elsewhere use
    /// [`get_blocking`](Pools::get_blocking).
    ///
    /// # Errors
    ///
    /// Those of the functions that check the key and open its pool: of a failed opening, all who
    /// waited for it get the same. [`PoolTimeout`](ErrorKind::PoolTimeout): the wait exceeded the
    /// timeout; `in_use` is how many pools were in use. [`PoolClosed`](ErrorKind::PoolClosed):
    /// after [`close`](Pools::close).
    pub async fn get(&self, key: &str) -> Result<Pool> {
        let Shared {
            registry, settings, ..
        } = &*self.shared;
        let since = Instant::now();
        loop {
            let mut changing = match registry.find(key, &self.shared.check)? {
                Found::Pool(pool) => return Ok(pool),
                Found::Nothing(reservation) => return self.shared.open(reservation, since).await,
                Found::ToClose(victim) => {
                    victim.close(settings.timeout).await;
                    continue;
                }
                Found::Changing(changing) => changing,
            };
            let ended = async {
                let ended = changing.wait_for(Option::is_some).await;
                ended.ok().and_then(|outcome| outcome.clone())
            };
            let time = settings.timeout.max(CHANGE);
            if let Some(Err(error)) = self.shared.in_time(since, time, ended).await? {
                return Err(error);
            }
        }
    }

    /// Like [`get`](Pools::get), but blocks the thread. Works inside and outside of a runtime.
    ///
    /// # Errors
    ///
    /// As [`get`](Pools::get).
    pub fn get_blocking(&self, key: &str) -> Result<Pool> {
        block_on(self.get(key))
    }

    /// The pool of this key, if it is open. Opens and closes nothing, and does not wait.
    pub fn find_open(&self, key: &str) -> Option<Pool> {
        self.shared.registry.find_open(key)
    }

    /// The counters.
    pub fn stats(&self) -> PoolsStats {
        self.shared.registry.stats()
    }

    /// For what shows the counters, and must not keep the pools.
    #[cfg(feature = "prometheus")]
    pub(crate) fn downgrade(&self) -> WeakPools {
        WeakPools(Arc::downgrade(&self.shared))
    }

    /// Close the pool of this key, even if it is in use, as [`Pool::close`] does: to delete or
    /// restore its database, for instance. Does nothing if it is not open. If it is being opened,
    /// waits for that. Callers who ask for it meanwhile wait, and then open it again. If this
    /// future is dropped, the maintenance thread closes the pool, without `grace`.
    pub async fn close_one(&self, key: &str, grace: Duration) {
        loop {
            match self.shared.registry.find_to_close(key) {
                Some(Found::ToClose(victim)) => return victim.close(grace).await,
                // Fails if the other ends without an outcome, which is an end too.
                Some(Found::Changing(mut changing)) => {
                    drop(changing.wait_for(Option::is_some).await);
                }
                _ => return,
            }
        }
    }

    /// Close all pools, as [`Pool::close`] does, within one `grace`. From now on getting one fails
    /// with [`PoolClosed`](ErrorKind::PoolClosed). One that is being opened is closed as soon as it
    /// is open, by the maintenance thread if that takes longer than `grace`.
    pub async fn close(&self, grace: Duration) {
        let since = Instant::now();
        for key in self.shared.registry.close() {
            let left = grace.saturating_sub(since.elapsed());
            // Longer than closing takes by itself.
            let _ = timeout(left + CHANGE, self.close_one(&key, left)).await;
        }
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            settings, registry, ..
        } = &*self.shared;
        f.debug_struct("Pools")
            .field("settings", settings)
            .field("stats", &registry.stats())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Open the pool, once there is room for it.
    async fn open(&self, mut reservation: Reservation, since: Instant) -> Result<Pool> {
        if let Some(victim) = self.room(&mut reservation, since).await? {
            victim.close(Duration::ZERO).await;
        }
        match (self.open)(Arc::clone(reservation.key())).await {
            Ok(pool) => {
                let pool = reservation.opened(pool)?;
                if !self.is_scheduled.swap(true, Ordering::AcqRel) {
                    maintenance::schedule(self.this.clone(), self.settings.max_idle_time);
                }
                Ok(pool)
            }
            Err(error) => {
                reservation.failed(&error);
                Err(error)
            }
        }
    }

    /// Wait for room. Returns what must be closed first.
    async fn room(&self, reservation: &mut Reservation, since: Instant) -> Result<Option<Victim>> {
        // Unless others wait.
        if let Ok(_first) = self.queue.try_lock() {
            match reservation.try_room() {
                Room::Yes => return Ok(None),
                Room::After(victim) => return Ok(Some(victim)),
                Room::No => {}
            }
        }
        let _waiting = self.registry.waits();
        let room = async {
            let _first = self.queue.lock().await;
            loop {
                let mut room = pin!(self.registry.room.notified());
                room.as_mut().enable();
                if self.registry.is_closed() {
                    return Err(Error::closed());
                }
                match reservation.try_room() {
                    Room::Yes => return Ok(None),
                    Room::After(victim) => return Ok(Some(victim)),
                    Room::No => room.await,
                }
            }
        };
        self.in_time(since, self.settings.timeout, room).await?
    }

    /// Await something until `time` after `since`.
    async fn in_time<T>(
        &self,
        since: Instant,
        time: Duration,
        wait: impl Future<Output = T>,
    ) -> Result<T> {
        let until = since + time;
        timeout_at(until.into(), wait).await.map_err(|_| {
            self.registry.timed_out();
            let stats = self.registry.stats();
            let (waited, in_use) = (since.elapsed(), stats.open - stats.idle);
            let message = format!(
                "the database could not be opened within {waited:.1?} ({in_use} of {} pools are in use)",
                self.settings.max_open
            );
            Error::new(ErrorKind::PoolTimeout { waited, in_use }, message)
        })
    }
}

impl Chore for Shared {
    fn run(&self) -> Option<Instant> {
        let time = self.settings.max_idle_time;
        loop {
            match self.registry.take_idle(time) {
                Ok(victim) => victim.close_blocking(),
                Err(Some(due)) => return Some(due),
                Err(None) => break,
            }
        }
        self.is_scheduled.store(false, Ordering::Release);
        // Unless all have been closed, one in use becomes idle later.
        let again =
            self.registry.stats().open > 0 && !self.is_scheduled.swap(true, Ordering::AcqRel);
        again.then(|| Instant::now().checked_add(time)).flatten()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pools")
    }
}
