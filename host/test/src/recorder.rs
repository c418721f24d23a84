//! What one call of a guest does, as it does it: the journal so far, the faults to come, and what
//! is left open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millpond_pool::engine::RequestId;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::fault::{Effect, Failure, Fault, Situation};
use crate::journal::{Action, Entry, Journal, Outcome};

/// The maximum number of entries of a journal. Later ones are only counted.
const MAX_ENTRIES: usize = 100_000;
/// How long to wait for connections that a statement still uses when the guest has ended.
const RETURN_TIME: Duration = Duration::from_millis(300);

/// The calls that run now, by their request.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<RequestId, Arc<Recorder>>>);

impl Calls {
    /// Record what a request does, until the result is dropped.
    pub(crate) fn begin(self: &Arc<Calls>, request: RequestId, faults: Vec<Fault>) -> Ongoing {
        let state = State {
            faults,
            ..State::default()
        };
        let recorder = Arc::new(Recorder {
            state: Mutex::new(state),
            leave: Notify::new(),
            returned: Notify::new(),
        });
        self.lock().insert(request, Arc::clone(&recorder));
        Ongoing {
            calls: Arc::clone(self),
            request,
            recorder,
        }
    }

    /// The recorder of a request; `None` if it is not a guest's.
    pub(crate) fn get(&self, request: RequestId) -> Option<Arc<Recorder>> {
        self.lock().get(&request).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Recorder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is being recorded.
#[derive(Debug)]
pub(crate) struct Ongoing {
    calls: Arc<Calls>,
    request: RequestId,
    pub(crate) recorder: Arc<Recorder>,
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.request);
    }
}

/// Records one call.
#[derive(Debug)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    /// Notified when the client goes away.
    pub(crate) leave: Notify,
    /// Notified when a connection is returned.
    returned: Notify,
}

#[derive(Debug, Default)]
struct State {
    journal: Journal,
    faults: Vec<Fault>,
    gets: u32,
    calls: u32,
    /// The connections that are lent now, and their databases.
    lent: BTreeMap<u32, String>,
    /// From now on, connections are returned by the end of the request.
    has_ended: bool,
    left: Leftovers,
}

/// What a guest had not finished when its connections were returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// The SQL of statements whose handles were not dropped.
    pub statements: Vec<String>,
    /// The SQL of statements whose rows were not read to the end.
    pub cursors: Vec<String>,
    /// The last statement of each transaction that was neither committed nor rolled back.
    pub transactions: Vec<String>,
    /// The databases of connections that the end of the request returned, not the guest.
    pub connections: Vec<String>,
    /// The databases of connections that were not back 300 ms after the guest's end, because a
    /// statement still ran. What is open on them is not known.
    pub unreturned: Vec<String>,
}

/// An entry of the journal that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// Of no entry if the journal is full.
    pub(crate) index: usize,
    /// How long it is delayed, before anything else happens.
    pub(crate) delay: Duration,
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

    /// A connection has been lent to the guest.
    pub(crate) fn lends(&self, connection: u32, database: &str) {
        self.state().lent.insert(connection, database.to_owned());
    }

    /// The connection is back.
    pub(crate) fn returns(&self, connection: u32) {
        self.state().lent.remove(&connection);
        self.returned.notify_one();
    }

    /// Wait until every connection is back, or note those that are not.
    pub(crate) async fn all_returned(&self) {
        let all = async {
            while !self.state().lent.is_empty() {
                self.returned.notified().await;
            }
        };
        if timeout(RETURN_TIME, all).await.is_err() {
            let mut state = self.state();
            state.left.unreturned = state.lent.values().cloned().collect();
        }
    }

    /// Begin an entry, and decide which faults happen at it. `sql` is what faults are matched with.
    pub(crate) fn begin(&self, entry: Entry, sql: &str, at: &Situation) -> Begun {
        let mut state = self.state();
        let state = &mut *state;
        let of_get = matches!(entry.action, Action::Get(_));
        let is_call = entry.action.runs_statement()
            || matches!(
                entry.action,
                Action::Next | Action::Begin(_) | Action::Commit | Action::Rollback
            );
        state.calls += u32::from(is_call);
        let number = if of_get { state.gets } else { state.calls };
        let mut begun = Begun {
            index: state.journal.entries.len(),
            delay: Duration::ZERO,
            fault: (at.takes_turn && at.is_outdated)
                .then_some(Effect::Error(Failure::BusySnapshot)),
        };
        let faults = state.faults.iter_mut();
        for fault in faults.filter(|fault| (is_call || of_get) && fault.is_of_get() == of_get) {
            let can_be = match fault.effect {
                Effect::Delay(_) => true,
                // Of several, only the first.
                _ => begun.fault.is_none() && fault.can_be(at),
            };
            if can_be && fault.take(number, sql) {
                match fault.effect {
                    Effect::Delay(delay) => begun.delay += delay,
                    effect => begun.fault = Some(effect),
                }
            }
        }
        if begun.index < MAX_ENTRIES {
            state.journal.entries.push(Entry {
                fault: begun.fault.is_some() || !begun.delay.is_zero(),
                ..entry
            });
        } else {
            state.journal.omit(&entry);
            begun.index = usize::MAX;
        }
        begun
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

    pub(crate) fn leave(&self, work: impl FnOnce(&mut Leftovers)) {
        work(&mut self.state().left);
    }

    /// What was recorded, once the call is over; and the faults that never happened.
    pub(crate) fn take(&self) -> (Journal, Leftovers, Vec<String>) {
        let mut state = self.state();
        let unused = state.faults.iter().filter_map(Fault::unused).collect();
        (
            std::mem::take(&mut state.journal),
            std::mem::take(&mut state.left),
            unused,
        )
    }
}
