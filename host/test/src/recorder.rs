//! What one call of a guest does, as it does it: the journal so far, the faults to come, and what
//! is left open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_pool::engine::RequestId;
use tokio::sync::Notify;

use crate::fault::{Effect, Fault};
use crate::journal::{Action, Entry, Journal, Outcome};

/// The maximum number of entries of a journal. Later ones are only counted.
const MAX_ENTRIES: usize = 100_000;

/// The calls that run now, by their request.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<RequestId, Arc<Recorder>>>);

impl Calls {
    pub(crate) fn begin(&self, request: RequestId, faults: Vec<Fault>) -> Arc<Recorder> {
        let state = State {
            faults,
            ..State::default()
        };
        let recorder = Arc::new(Recorder {
            state: Mutex::new(state),
            leave: Notify::new(),
        });
        self.lock().insert(request, Arc::clone(&recorder));
        recorder
    }

    pub(crate) fn end(&self, request: RequestId) {
        self.lock().remove(&request);
    }

    /// The recorder of a request; `None` if it is not a guest's.
    pub(crate) fn get(&self, request: RequestId) -> Option<Arc<Recorder>> {
        self.lock().get(&request).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Recorder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records one call.
#[derive(Debug)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    /// Notified when the client goes away.
    pub(crate) leave: Notify,
}

#[derive(Debug, Default)]
struct State {
    journal: Journal,
    faults: Vec<Fault>,
    gets: u32,
    calls: u32,
    /// From now on, connections are returned by the end of the request.
    has_ended: bool,
    left: Left,
}

/// What a guest had not finished when its connections were returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The SQL of statements whose handles were not dropped.
    pub statements: Vec<String>,
    /// The SQL of statements whose rows were not read to the end.
    pub cursors: Vec<String>,
    /// The last statement of each transaction that was neither committed nor rolled back.
    pub transactions: Vec<String>,
    /// The databases of connections that the end of the request returned, not the guest.
    pub connections: Vec<String>,
}

/// An entry of the journal that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// Of no entry if the journal is full.
    pub(crate) index: usize,
    pub(crate) fault: Option<Effect>,
}

impl Recorder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest has ended, and everything it still holds is about to be returned.
    pub(crate) fn guest_has_ended(&self) {
        self.state().has_ended = true;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// The number of a new connection.
    pub(crate) fn next_connection(&self) -> u32 {
        let mut state = self.state();
        state.gets += 1;
        state.gets
    }

    /// Begin an entry, and decide which fault happens at it. `sql` is what faults are matched with.
    pub(crate) fn begin(&self, entry: Entry, sql: &str, in_transaction: bool) -> Begun {
        let mut state = self.state();
        let of_get = matches!(entry.action, Action::Get(_));
        let is_call = entry.action.runs_statement()
            || matches!(
                entry.action,
                Action::Next | Action::Begin(_) | Action::Commit | Action::Rollback
            );
        state.calls += u32::from(is_call);
        let number = if of_get { state.gets } else { state.calls };
        let mut faults = state.faults.iter_mut();
        let fault = faults.find_map(|fault| {
            let is_here = (is_call || of_get) && fault.is_of_get() == of_get;
            let can_be = in_transaction || !fault.needs_transaction();
            (is_here && can_be && fault.take(number, sql)).then_some(fault.effect)
        });
        let index = state.journal.entries.len();
        if index < MAX_ENTRIES {
            state.journal.entries.push(Entry {
                fault: fault.is_some(),
                ..entry
            });
            return Begun { index, fault };
        }
        state.journal.omitted += 1;
        let index = usize::MAX;
        Begun { index, fault }
    }

    pub(crate) fn waits(&self, index: usize) {
        if let Some(entry) = self.state().journal.entries.get_mut(index) {
            entry.waits += 1;
        }
    }

    pub(crate) fn end(&self, index: usize, outcome: Outcome) {
        if let Some(entry) = self.state().journal.entries.get_mut(index) {
            entry.outcome = outcome;
        }
    }

    pub(crate) fn leave(&self, work: impl FnOnce(&mut Left)) {
        work(&mut self.state().left);
    }

    /// What was recorded, once the call is over.
    pub(crate) fn take(&self) -> (Journal, Left) {
        let mut state = self.state();
        (
            std::mem::take(&mut state.journal),
            std::mem::take(&mut state.left),
        )
    }
}
