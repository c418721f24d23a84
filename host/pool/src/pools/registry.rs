//! Which pools are open, which of them are in use, and which was used last.
//!
//! Each key has at most one pool, which all its users share: two pools of one file would queue their
//! writers apart. A pool is in use as long as a clone of it, a grant or a connection exists; only others are
//! closed. While one is opened or closed, callers who want that key wait for the end of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::PoolsStats;
use crate::error::{Error, Result};
use crate::lending::{InUse, Lending};
use crate::pool::Pool;

#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// Notified when a pool may be closed, or one has been.
    pub(super) changed: Notify,
    max_open: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// Those not in use, in the order in which they were last used.
    unused: BTreeMap<u64, Unused>,
    /// How often a pool has become unused.
    releases: u64,
    is_closed: bool,
    stats: PoolsStats,
}

#[derive(Debug)]
struct Unused {
    key: Arc<str>,
    since: Instant,
}

#[derive(Debug)]
enum Entry {
    /// Is being opened or closed.
    Changing(Changing),
    Open {
        lending: Arc<Lending>,
        in_use: Weak<InUse>,
        /// The key in [`State::unused`].
        unused: Option<u64>,
    },
}

/// The end of an opening, with its outcome, or of a closing. If the sender is dropped without one,
/// look again.
pub(super) type Changing = watch::Receiver<Option<Result<()>>>;

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Found {
    Pool(Pool),
    /// Wait for this, then look again.
    Changing(Changing),
    /// None is open: [reserve](Registry::reserve) a place for it.
    Nothing,
}

/// What a caller who wants a place gets.
#[derive(Debug)]
pub(super) enum Reserved {
    /// A place, and what to close before it is used.
    Place(Place, Option<Victim>),
    /// Another caller has reserved one for this key, or all are closed.
    LookAgain,
    /// All pools that may be open are in use.
    Full,
}

/// A place, for the pool of one key. Dropping it without a pool frees it.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    key: Arc<str>,
    end: watch::Sender<Option<Result<()>>>,
}

/// A pool to be closed. Dropping this closes it: for milliseconds, while it writes to the disk.
#[derive(Debug)]
pub(super) struct Victim {
    /// Held until it has been closed.
    _place: Place,
    lending: Option<Arc<Lending>>,
}

impl Registry {
    pub(super) fn new(max_open: u32) -> Arc<Registry> {
        Arc::new(Registry {
            state: Mutex::default(),
            changed: Notify::new(),
            max_open: max_open as usize,
        })
    }

    /// The pool of this key.
    pub(super) fn find(self: &Arc<Self>, key: &str) -> Result<Found> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::closed());
        }
        let (name, lending, last) = match state.entries.get_key_value(key) {
            None => return Ok(Found::Nothing),
            Some((_, Entry::Changing(changing))) => return Ok(Found::Changing(changing.clone())),
            Some((_, Entry::Open { lending, .. })) if lending.slots.is_closed() => {
                // By a caller who has a clone: this one gets a new pool.
                let removed = state.remove(key);
                drop(state);
                // Outside the lock, because it may write to the disk.
                drop(removed);
                return Ok(Found::Nothing);
            }
            Some((
                name,
                Entry::Open {
                    lending,
                    in_use,
                    unused,
                },
            )) => {
                if let Some(in_use) = in_use.upgrade() {
                    return Ok(Found::Pool(Pool::shared(in_use)));
                }
                (Arc::clone(name), Arc::clone(lending), *unused)
            }
        };
        if let Some(last) = last {
            state.unused.remove(&last);
        }
        Ok(Found::Pool(self.hand_out(&mut state, name, lending)))
    }

    /// Record that the pool of this key is in use.
    fn hand_out(self: &Arc<Self>, state: &mut State, key: Arc<str>, lending: Arc<Lending>) -> Pool {
        let registry = Arc::downgrade(self);
        let released = Arc::clone(&key);
        let on_release = move || {
            if let Some(registry) = registry.upgrade() {
                registry.release(&released);
            }
        };
        let pool = Pool::of(Arc::clone(&lending), Some(Box::new(on_release)));
        let entry = Entry::Open {
            lending,
            in_use: Arc::downgrade(pool.in_use()),
            unused: None,
        };
        state.entries.insert(key, entry);
        pool
    }

    /// The last clone, grant or connection of a pool was dropped. If the pool was handed out again
    /// or closed since, there is nothing to do.
    fn release(&self, key: &Arc<str>) {
        let mut state = self.lock();
        let number = state.releases;
        match state.entries.get_mut(key) {
            Some(Entry::Open {
                in_use,
                unused: unused @ None,
                ..
            }) if in_use.strong_count() == 0 => {
                *unused = Some(number);
            }
            _ => return,
        }
        state.releases += 1;
        let unused = Unused {
            key: Arc::clone(key),
            since: Instant::now(),
        };
        state.unused.insert(number, unused);
        drop(state);
        self.changed.notify_one();
    }

    /// Reserve a place for the pool of this key. There is room if fewer are open than may be, or one is
    /// not in use: that one must be closed first.
    pub(super) fn reserve(self: &Arc<Self>, key: &str) -> Reserved {
        let mut state = self.lock();
        if state.is_closed || state.entries.contains_key(key) {
            return Reserved::LookAgain;
        }
        let victim = match state.entries.len() < self.max_open {
            true => None,
            false => match self.take_unused(&mut state, |_| true) {
                None => return Reserved::Full,
                victim => victim,
            },
        };
        Reserved::Place(self.place(&mut state, key.into()), victim)
    }

    fn place(self: &Arc<Self>, state: &mut State, key: Arc<str>) -> Place {
        let (end, changing) = watch::channel(None);
        let entry = Entry::Changing(changing);
        state.entries.insert(Arc::clone(&key), entry);
        Place {
            registry: Arc::clone(self),
            key,
            end,
        }
    }

    /// Take the pool that has not been used for the longest time, if it is one to be closed.
    fn take_unused(
        self: &Arc<Self>,
        state: &mut State,
        is_wanted: impl FnOnce(&Unused) -> bool,
    ) -> Option<Victim> {
        let oldest = state
            .unused
            .first_entry()
            .filter(|oldest| is_wanted(oldest.get()))?;
        let key = oldest.remove().key;
        self.take(state, key)
    }

    fn take(self: &Arc<Self>, state: &mut State, key: Arc<str>) -> Option<Victim> {
        let Some(Entry::Open { lending, .. }) = state.entries.get(&key) else {
            return None;
        };
        let lending = Some(Arc::clone(lending));
        state.stats.closed += 1;
        let place = self.place(state, key);
        Some(Victim {
            _place: place,
            lending,
        })
    }

    /// Take a pool that has not been used for `time`; or say when there will be one.
    pub(super) fn take_idle(self: &Arc<Self>, time: Duration) -> Result<Victim, Option<Instant>> {
        let mut state = self.lock();
        let since = |state: &State| state.unused.values().next().map(|oldest| oldest.since);
        let taken = self.take_unused(&mut state, |oldest| oldest.since.elapsed() >= time);
        taken.ok_or_else(|| since(&state).and_then(|since| since.checked_add(time)))
    }

    /// Take the pool of this key, to end its use.
    pub(super) fn take_key(self: &Arc<Self>, key: &str) -> Taking {
        let mut state = self.lock();
        let (name, unused) = match state.entries.get_key_value(key) {
            None => return Taking::Nothing,
            Some((_, Entry::Changing(changing))) => return Taking::Changing(changing.clone()),
            Some((name, Entry::Open { unused, .. })) => (Arc::clone(name), *unused),
        };
        if let Some(unused) = unused {
            state.unused.remove(&unused);
        }
        match self.take(&mut state, name) {
            Some(victim) => Taking::Victim(victim),
            None => Taking::Nothing,
        }
    }

    /// Refuse all callers from now on, and return the keys.
    pub(super) fn close(&self) -> Vec<Arc<str>> {
        let mut state = self.lock();
        state.is_closed = true;
        let keys = state.entries.keys().cloned().collect();
        drop(state);
        self.changed.notify_waiters();
        keys
    }

    pub(super) fn stats(&self) -> PoolsStats {
        let state = self.lock();
        PoolsStats {
            open: state.entries.len() as u32,
            idle: state.unused.len() as u32,
            ..state.stats
        }
    }

    /// Count a waiting caller until the returned guard is dropped.
    pub(super) fn waits(&self) -> Waiting<'_> {
        self.lock().stats.waiting += 1;
        Waiting(self)
    }

    pub(super) fn timed_out(&self) {
        self.lock().stats.timeouts += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to close.
#[derive(Debug)]
pub(super) enum Taking {
    Victim(Victim),
    /// Wait for this, then take again.
    Changing(Changing),
    Nothing,
}

/// Counts a caller while it waits.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Registry);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().stats.waiting -= 1;
    }
}

impl State {
    fn remove(&mut self, key: &str) -> Option<Entry> {
        let removed = self.entries.remove(key);
        if let Some(Entry::Open {
            unused: Some(unused),
            ..
        }) = &removed
        {
            self.unused.remove(unused);
        }
        removed
    }
}

impl Place {
    /// The pool is open: hand it out.
    pub(super) fn opened(self, pool: Pool) -> Result<Pool> {
        let lending = Arc::clone(pool.in_use().lending());
        drop(pool);
        let mut state = self.registry.lock();
        if state.is_closed {
            drop(state);
            // Closed as a victim, so that this waits for it.
            drop(Victim {
                _place: self,
                lending: Some(lending),
            });
            return Err(Error::closed());
        }
        state.stats.opened += 1;
        let pool = self
            .registry
            .hand_out(&mut state, Arc::clone(&self.key), lending);
        drop(state);
        self.end.send_replace(Some(Ok(())));
        Ok(pool)
    }

    /// It could not be opened: tell those that wait for it.
    pub(super) fn failed(self, error: &Error) {
        self.registry.lock().stats.failed += 1;
        self.end.send_replace(Some(Err(error.clone())));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if let Some(Entry::Changing(changing)) = state.entries.get(&self.key)
            && changing.same_channel(&self.end.subscribe())
        {
            state.entries.remove(&self.key);
            drop(state);
            self.registry.changed.notify_one();
        }
    }
}

impl Victim {
    /// Close it, with `grace` for those that use it.
    pub(super) async fn close(mut self, grace: Duration) {
        if let Some(lending) = &self.lending {
            // If this is dropped meanwhile, it is closed without waiting.
            Pool::of(Arc::clone(lending), None).close(grace).await;
            self.lending = None;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(lending) = self.lending.take() {
            Pool::of(lending, None).close_blocking(Duration::ZERO);
        }
    }
}
