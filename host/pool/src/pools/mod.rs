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
use tokio::time::timeout_at;

use self::registry::{Found, Place, Registry, Reserved, Taking, Victim};
pub use self::settings::PoolsSettings;
use crate::block_on::block_on;
use crate::error::{Error, ErrorKind, Result};
use crate::maintenance::{self, Chore};
use crate::pool::Pool;

/// Pools of many databases, by key: a tenant's name, for instance. Clones share them.
///
/// A pool is opened when its key is first asked for. At most
/// [`max_open`](PoolsSettings::max_open) are open at once: to open another, the one that has not been
/// used for the longest time is closed. One that has not been used for
/// [`max_idle_time`](PoolsSettings::max_idle_time) is closed too, by a thread that all pools of the
/// process share.
///
/// A pool is in use as long as a clone of it, a grant or a connection exists, and those in use stay
/// open. So no caller sees an error because a database was closed meanwhile. If all are in use,
/// callers who need another wait, in order.
///
/// ```
/// use std::sync::Arc;
/// use millpond_pool::{Access, Grant, Pool, Pools, PoolsSettings, Result};
///
/// async fn open(key: Arc<str>) -> Result<Pool> {
///     // …
/// #   Err(millpond_pool::Error::new(millpond_pool::ErrorKind::NoSuchDatabase, key))
/// }
///
/// # async fn serve() -> Result<()> {
/// let tenants = Pools::new(PoolsSettings::new(1_000), open)?;
/// // For each request:
/// let grant = Grant::new(&tenants.get("a-tenant").await?, Access::ReadWrite);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pools {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    registry: Arc<Registry>,
    settings: PoolsSettings,
    open: Box<Open>,
    /// Those who need a place queue here. The first waits for one.
    door: Mutex<()>,
    /// Whether the maintenance thread looks for what is idle.
    is_scheduled: AtomicBool,
    this: Weak<Shared>,
}

type Open = dyn Fn(Arc<str>) -> Opening + Send + Sync;
type Opening = Pin<Box<dyn Future<Output = Result<Pool>> + Send>>;

/// Counters of [`Pools`], one consistent snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolsStats {
    /// Pools that are open, or are being opened or closed.
    pub open: u32,
    /// Of these, open and not in use.
    pub idle: u32,
    /// How many have been opened.
    pub opened: u64,
    /// How many could not be opened.
    pub failed: u64,
    /// How many have been closed.
    pub closed: u64,
    /// Callers waiting for a place, in order.
    pub waiting: u32,
    /// Calls of `get` that timed out.
    pub timeouts: u64,
}

impl Pools {
    /// Create an empty set of pools. `open` opens the pool of a key, and does not keep a clone of it. It
    /// is called for one key at a time, and for several keys at once. If it blocks the thread, let it
    /// call [`hand_over`](crate::engine::hand_over) first.
    ///
    /// A key may come from a request. `open` must check it, and return
    /// [`NoSuchDatabase`](ErrorKind::NoSuchDatabase) if it is no database's.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn new<F>(
        settings: PoolsSettings,
        open: impl Fn(Arc<str>) -> F + Send + Sync + 'static,
    ) -> Result<Pools>
    where
        F: Future<Output = Result<Pool>> + Send + 'static,
    {
        settings.check()?;
        let shared = Arc::new_cyclic(|this| Shared {
            registry: Registry::new(settings.max_open),
            settings,
            open: Box::new(move |key| Box::pin(open(key))),
            door: Mutex::new(()),
            is_scheduled: AtomicBool::new(false),
            this: this.clone(),
        });
        Ok(Pools { shared })
    }

    /// The pool of this key. Opens it if it is not open. If another caller is opening or closing
    /// it, waits for that. If as many as may be open are all in use, waits for one to become
    /// unused, in the order in which callers came. Waits for up to
    /// [`timeout`](PoolsSettings::timeout) in all, without blocking a thread.
    ///
    /// It stays open as long as the caller keeps it, or a grant or connection of it: keep it for one
    /// request. Closing another blocks the thread for milliseconds, after having handed over its worker.
    ///
    /// Must be awaited within a tokio runtime with time enabled; elsewhere use
    /// [`get_blocking`](Pools::get_blocking).
    ///
    /// # Errors
    ///
    /// Those of the function that opens it: of a failed opening, all who waited for it get the
    /// same. [`PoolTimeout`](ErrorKind::PoolTimeout): all were in use for too long, or another
    /// caller took too long to open or close this one; `in_use` is how many pools are in use.
    /// [`PoolClosed`](ErrorKind::PoolClosed): after [`close`](Pools::close).
    pub async fn get(&self, key: &str) -> Result<Pool> {
        let mut since = None;
        loop {
            let mut changing = match self.shared.registry.find(key)? {
                Found::Pool(pool) => return Ok(pool),
                Found::Nothing => match self.shared.place(key, &mut since).await? {
                    Some((place, victim)) => return self.shared.open(key, place, victim).await,
                    None => continue,
                },
                Found::Changing(changing) => changing,
            };
            let ended = async {
                let ended = changing.wait_for(Option::is_some).await;
                ended.ok().and_then(|outcome| outcome.clone())
            };
            if let Some(Err(error)) = self.shared.in_time(&mut since, ended).await? {
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

    /// The counters.
    pub fn stats(&self) -> PoolsStats {
        self.shared.registry.stats()
    }

    /// Close the pool of this key, even if it is in use, as [`Pool::close`] does: to delete or restore
    /// its database, for instance. Does nothing if it is not open. Callers who ask for it meanwhile
    /// wait, and then open it again.
    pub async fn close_one(&self, key: &str, grace: Duration) {
        loop {
            match self.shared.registry.take_key(key) {
                Taking::Nothing => return,
                Taking::Victim(victim) => return victim.close(grace).await,
                // Fails if the other ends without an outcome, which is an end too.
                Taking::Changing(mut changing) => drop(changing.wait_for(Option::is_some).await),
            }
        }
    }

    /// Close all pools, as [`Pool::close`] does, within one `grace`. From now on getting one fails with
    /// [`PoolClosed`](ErrorKind::PoolClosed).
    pub async fn close(&self, grace: Duration) {
        let since = Instant::now();
        for key in self.shared.registry.close() {
            self.close_one(&key, grace.saturating_sub(since.elapsed()))
                .await;
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
    /// Wait for a place. `None` if another caller has reserved one for this key.
    async fn place(
        &self,
        key: &str,
        since: &mut Option<Instant>,
    ) -> Result<Option<(Place, Option<Victim>)>> {
        // Unless others wait.
        if let Ok(_first) = self.door.try_lock() {
            match self.registry.reserve(key) {
                Reserved::Place(place, victim) => return Ok(Some((place, victim))),
                Reserved::LookAgain => return Ok(None),
                Reserved::Full => {}
            }
        }
        let _waiting = self.registry.waits();
        let reserved = async {
            let _first = self.door.lock().await;
            loop {
                let mut changed = pin!(self.registry.changed.notified());
                changed.as_mut().enable();
                match self.registry.reserve(key) {
                    Reserved::Place(place, victim) => return Some((place, victim)),
                    Reserved::LookAgain => return None,
                    Reserved::Full => changed.await,
                }
            }
        };
        self.in_time(since, reserved).await
    }

    /// Open the pool, after having closed another.
    async fn open(&self, key: &str, place: Place, victim: Option<Victim>) -> Result<Pool> {
        if let Some(victim) = victim {
            victim.close(Duration::ZERO).await;
        }
        match (self.open)(key.into()).await {
            Ok(pool) => {
                let pool = place.opened(pool)?;
                if !self.is_scheduled.swap(true, Ordering::AcqRel) {
                    maintenance::schedule(self.this.clone(), self.settings.max_idle_time);
                }
                Ok(pool)
            }
            Err(error) => {
                place.failed(&error);
                Err(error)
            }
        }
    }

    /// Await something for what is left of the timeout, which began at `since`, or begins now.
    async fn in_time<T>(
        &self,
        since: &mut Option<Instant>,
        wait: impl Future<Output = T>,
    ) -> Result<T> {
        let since = *since.get_or_insert_with(Instant::now);
        let until = since + self.settings.timeout;
        timeout_at(until.into(), wait).await.map_err(|_| {
            self.registry.timed_out();
            let stats = self.registry.stats();
            let (waited, in_use) = (since.elapsed(), stats.open - stats.idle);
            let message = format!(
                "the database could not be opened within {waited:.1?} ({in_use} of {} pools are in \
                 use)",
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
                // Closes it.
                Ok(victim) => drop(victim),
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
