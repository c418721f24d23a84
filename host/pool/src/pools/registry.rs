//! Which pools are open, which of them are in use, and which was used last.
//!
//! Each key has at most one pool, which all its users share: two pools of one file would queue
//! their writers apart. A pool is in use as long as a clone of it, a grant or a connection exists;
//! only others are closed to make room. While a caller waits for room for a key, or its pool is
//! opened or closed, others who want that key wait for the end of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::PoolsStats;
use crate::error::{Error, Result};
use crate::lending::{InUse, Lending};
use crate::maintenance;
use crate::pool::Pool;

#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// Notified when there may be room.
    pub(super) room: Notify,
    max_open: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// Those not in use, in the order in which they were last used.
    unused: BTreeMap<u64, Unused>,
    /// How often a pool has become unused.
    releases: u64,
    is_closed: bool,
    /// `idle` is in `unused`.
    stats: PoolsStats,
}

#[derive(Debug)]
struct Unused {
    key: Arc<str>,
    since: Instant,
}

#[derive(Debug)]
enum Entry {
    Changing(Changing),
    Open {
        lending: Arc<Lending>,
        in_use: Weak<InUse>,
        /// The key in [`State::unused`].
        unused: Option<u64>,
    },
}

/// The end of a change, with the outcome of an opening. If the sender is dropped without one, look
/// again.
pub(super) type Changing = watch::Receiver<Option<Result<()>>>;

/// What there is for a key.
#[derive(Debug)]
pub(super) enum Found {
    Pool(Pool),
    /// Wait for this, then look again.
    Changing(Changing),
    /// Close it, then look again.
    ToClose(Victim),
    /// It is the caller's to open.
    Nothing(Reservation),
}

/// A key that a caller changes: no other does. Dropping it without a pool ends that.
#[derive(Debug)]
pub(super) struct Reservation {
    registry: Arc<Registry>,
    key: Arc<str>,
    end: watch::Sender<Option<Result<()>>>,
    /// Whether it counts as one of the open pools.
    has_room: bool,
}

/// A pool to be closed. Dropping it has the maintenance thread close it.
#[derive(Debug)]
pub(super) struct Victim {
    /// `None` once another has them.
    held: Option<(Arc<Lending>, Reservation)>,
}

/// Whether there is room for one more.
#[derive(Debug)]
pub(super) enum Room {
    Yes,
    /// After closing this one.
    After(Victim),
    /// All that may be open are in use, or are changing.
    No,
}

impl Registry {
    pub(super) fn new(max_open: u32) -> Arc<Registry> {
        Arc::new(Registry {
            state: Mutex::default(),
            room: Notify::new(),
            max_open,
        })
    }

    /// The pool of this key, after `check` has accepted it.
    pub(super) fn find(
        self: &Arc<Self>,
        key: &str,
        check: impl Fn(&str) -> Result<()>,
    ) -> Result<Found> {
        if !self.is_closed() {
            check(key)?;
        }
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::closed());
        }
        let (name, lending) = match state.entries.get_key_value(key) {
            None => return Ok(Found::Nothing(self.reserve(&mut state, key.into(), false))),
            Some((_, Entry::Changing(changing))) => return Ok(Found::Changing(changing.clone())),
            Some((
                name,
                Entry::Open {
                    lending, in_use, ..
                },
            )) => match in_use.upgrade() {
                // A caller who has a clone is closing it, or has.
                _ if lending.slots.is_closed() => {
                    let name = Arc::clone(name);
                    return Ok(Found::ToClose(self.take(&mut state, name)));
                }
                Some(in_use) => return Ok(Found::Pool(Pool::shared(in_use))),
                None => (Arc::clone(name), Arc::clone(lending)),
            },
        };
        state.forget_unused(key);
        Ok(Found::Pool(self.hand_out(&mut state, name, lending)))
    }

    /// The pool of this key, if it is open.
    pub(super) fn find_open(self: &Arc<Self>, key: &str) -> Option<Pool> {
        let mut state = self.lock();
        let (name, lending) = match state.entries.get_key_value(key)? {
            (_, Entry::Changing(_)) => return None,
            (
                name,
                Entry::Open {
                    lending, in_use, ..
                },
            ) => match in_use.upgrade() {
                _ if lending.slots.is_closed() => return None,
                Some(in_use) => return Some(Pool::shared(in_use)),
                None => (Arc::clone(name), Arc::clone(lending)),
            },
        };
        state.forget_unused(key);
        Some(self.hand_out(&mut state, name, lending))
    }

    /// What must be closed for this key to have no pool, or `None`.
    pub(super) fn find_to_close(self: &Arc<Self>, key: &str) -> Option<Found> {
        let mut state = self.lock();
        let name = match state.entries.get_key_value(key)? {
            (_, Entry::Changing(changing)) => return Some(Found::Changing(changing.clone())),
            (name, Entry::Open { .. }) => Arc::clone(name),
        };
        Some(Found::ToClose(self.take(&mut state, name)))
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
            }) if in_use.strong_count() == 0 => *unused = Some(number),
            _ => return,
        }
        state.releases += 1;
        let unused = Unused {
            key: Arc::clone(key),
            since: Instant::now(),
        };
        state.unused.insert(number, unused);
        drop(state);
        self.room.notify_one();
    }

    fn reserve(self: &Arc<Self>, state: &mut State, key: Arc<str>, has_room: bool) -> Reservation {
        let (end, changing) = watch::channel(None);
        let entry = Entry::Changing(changing);
        state.entries.insert(Arc::clone(&key), entry);
        Reservation {
            registry: Arc::clone(self),
            key,
            end,
            has_room,
        }
    }

    /// Take an open pool, to close it.
    fn take(self: &Arc<Self>, state: &mut State, key: Arc<str>) -> Victim {
        state.forget_unused(&key);
        let lending = match state.entries.get(&key) {
            Some(Entry::Open { lending, .. }) => Some(Arc::clone(lending)),
            _ => None,
        };
        let reserve = |lending| (lending, self.reserve(state, key, true));
        Victim {
            held: lending.map(reserve),
        }
    }

    /// Take the pool that has not been used for the longest time, if it is one to be closed.
    fn take_unused(
        self: &Arc<Self>,
        state: &mut State,
        is_wanted: impl FnOnce(&Unused) -> bool,
    ) -> Option<Victim> {
        let oldest = state.unused.values().next();
        let key = Arc::clone(&oldest.filter(|oldest| is_wanted(oldest))?.key);
        Some(self.take(state, key))
    }

    /// Take a pool that has not been used for `time`; or say when there will be one.
    pub(super) fn take_idle(self: &Arc<Self>, time: Duration) -> Result<Victim, Option<Instant>> {
        let mut state = self.lock();
        let since = |state: &State| state.unused.values().next().map(|oldest| oldest.since);
        let taken = self.take_unused(&mut state, |oldest| oldest.since.elapsed() >= time);
        taken.ok_or_else(|| since(&state).and_then(|since| since.checked_add(time)))
    }

    /// Refuse all callers from now on, and return the keys.
    pub(super) fn close(&self) -> Vec<Arc<str>> {
        let mut state = self.lock();
        state.is_closed = true;
        let keys = state.entries.keys().cloned().collect();
        drop(state);
        self.room.notify_waiters();
        keys
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub(super) fn stats(&self) -> PoolsStats {
        let state = self.lock();
        PoolsStats {
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

/// Counts a caller while it waits.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Registry);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().stats.waiting -= 1;
    }
}

impl State {
    fn forget_unused(&mut self, key: &str) {
        if let Some(Entry::Open { unused, .. }) = self.entries.get_mut(key)
            && let Some(unused) = unused.take()
        {
            self.unused.remove(&unused);
        }
    }
}

impl Reservation {
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Have room for a pool, if there is any.
    pub(super) fn try_room(&mut self) -> Room {
        let mut state = self.registry.lock();
        if state.stats.open < self.registry.max_open {
            state.stats.open += 1;
            self.has_room = true;
            return Room::Yes;
        }
        let Some(mut victim) = self.registry.take_unused(&mut state, |_| true) else {
            return Room::No;
        };
        // Its room is this one's from now on.
        if let Some((_, of_victim)) = &mut victim.held {
            of_victim.has_room = false;
            self.has_room = true;
        }
        Room::After(victim)
    }

    /// The pool is open: hand it out.
    pub(super) fn opened(self, pool: Pool) -> Result<Pool> {
        let lending = Arc::clone(pool.in_use().lending());
        drop(pool);
        let mut state = self.registry.lock();
        state.stats.opened += 1;
        if state.is_closed {
            drop(state);
            let held = Some((lending, self));
            drop(Victim { held });
            return Err(Error::closed());
        }
        let key = Arc::clone(&self.key);
        let pool = self.registry.hand_out(&mut state, key, lending);
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

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if let Some(Entry::Changing(changing)) = state.entries.get(&self.key)
            && changing.same_channel(&self.end.subscribe())
        {
            state.entries.remove(&self.key);
            if self.has_room {
                state.stats.open -= 1;
                drop(state);
                self.registry.room.notify_one();
            }
        }
    }
}

impl Victim {
    /// Close it, with `grace` for those that use it.
    pub(super) async fn close(mut self, grace: Duration) {
        if let Some((lending, _)) = &self.held {
            Pool::of(Arc::clone(lending), None).close(grace).await;
        }
        self.closed();
    }

    /// Close it on this thread, which may block.
    pub(super) fn close_blocking(mut self) {
        if let Some((lending, _)) = &self.held {
            Pool::of(Arc::clone(lending), None).close_blocking(Duration::ZERO);
        }
        self.closed();
    }

    fn closed(&mut self) {
        if let Some((_, reservation)) = self.held.take() {
            reservation.registry.lock().stats.closed += 1;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // The future that was closing it is gone. Closing may block, and may have to wait for a
        // future that only this thread polls.
        if let Some(held) = self.held.take() {
            let victim = Victim { held: Some(held) };
            maintenance::run(Box::new(move || victim.close_blocking()));
        }
    }
}
