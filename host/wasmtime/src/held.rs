//! The connections that a request holds, which are returned when it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::ctx::Connection;

/// The connections that one request holds of the database of one name. Its weak count is the number
/// of calls that wait for one. It does not keep the pool in use.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) name: String,
    state: Mutex<HeldState>,
}

#[derive(Debug, Default)]
struct HeldState {
    /// Those whose handle the guest has not dropped.
    connections: Vec<Weak<millpond_pool::Connection>>,
    /// The request has ended: they have been returned.
    has_ended: bool,
}

impl Held {
    pub(crate) fn new(name: String) -> Held {
        Held {
            name,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of them the guest has handles of.
    pub(crate) fn handles(&self) -> usize {
        let state = self.state();
        let connections = state.connections.iter();
        connections
            .filter(|connection| connection.strong_count() > 0)
            .count()
    }

    /// How many handles of connections there are, with those that calls wait for.
    pub(crate) fn count(self: &Arc<Held>) -> usize {
        let mut state = self.state();
        state
            .connections
            .retain(|connection| connection.strong_count() > 0);
        state.connections.len() + Arc::weak_count(self)
    }

    /// Note a connection that a call has waited for, and free its place.
    pub(crate) fn add(&self, connection: &Connection, place: Weak<Held>) {
        let mut state = self.state();
        state.connections.push(Arc::downgrade(connection));
        // While the list is locked: it counts once.
        drop(place);
        if state.has_ended {
            drop(state);
            connection.give_back();
        }
    }

    /// Return all connections, now and later.
    pub(crate) fn end(&self) {
        let held: Vec<_> = {
            let mut state = self.state();
            state.has_ended = true;
            let held = state.connections.iter();
            held.filter_map(Weak::upgrade).collect()
        };
        for connection in held {
            connection.give_back();
        }
    }
}
