//! Whether the guests of a server can still be interrupted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::handler::Handler;
use crate::config::Name;

/// A check whether the threads that interrupt guests make progress. Without them, a guest that
/// computes would keep its worker, and its request would not end at its timeout.
pub struct EpochProgress {
    handler: Arc<Handler>,
    /// The count of each component's epochs at the last look.
    counts: BTreeMap<Name, u64>,
}

impl fmt::Debug for EpochProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochProgress")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl EpochProgress {
    pub(super) fn new(handler: Arc<Handler>) -> EpochProgress {
        EpochProgress {
            handler,
            counts: BTreeMap::new(),
        }
    }

    /// Whether the epochs of every component of the current configuration have advanced since the
    /// last call. True for a component that is new since then. Wait longer than an
    /// [`EPOCH`](millpond_wasmtime::EPOCH) between two calls. Never blocks.
    pub fn has_advanced(&mut self) -> bool {
        let before = std::mem::take(&mut self.counts);
        for (name, program) in &self.handler.site().programs {
            self.counts.insert(name.clone(), program.epochs.get());
        }
        let mut counts = self.counts.iter();
        counts.all(|(name, count)| before.get(name) != Some(count))
    }
}
