//! What has begun and not ended.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of locks: with several, threads rarely wait for each other.
const SHARDS: usize = 16;

/// Things by their number.
#[derive(Debug)]
pub(super) struct ByNumber<T> {
    shards: [Mutex<HashMap<u64, T>>; SHARDS],
}

impl<T> Default for ByNumber<T> {
    fn default() -> ByNumber<T> {
        ByNumber {
            shards: Default::default(),
        }
    }
}

impl<T> ByNumber<T> {
    pub(super) fn put(&self, number: u64, thing: T) {
        self.shard(number).insert(number, thing);
    }

    pub(super) fn take(&self, number: u64) -> Option<T> {
        self.shard(number).remove(&number)
    }

    /// What `look` returns of the thing, if it is there. `look` must not use this.
    pub(super) fn look<R>(&self, number: u64, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.shard(number).get_mut(&number).map(look)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        (0..SHARDS as u64).all(|number| self.shard(number).is_empty())
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, T>> {
        let shard = &self.shards[number as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
