//! What a guest and the body of its response tell each other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// How the delivery of a guest's response has ended, on either side.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    cut: AtomicBool,
    complete: OnceLock<bool>,
}

impl Delivery {
    /// Called for the guest: it is about to be dropped with its work unfinished.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether the body must not look complete to the client.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Called for the connection: it takes no more of the body. Only the first call counts.
    pub(super) fn end(&self, is_complete: bool) {
        let _ = self.complete.set(is_complete);
    }

    /// Whether the connection has taken the whole body. `None`: not yet.
    pub(super) fn is_complete(&self) -> Option<bool> {
        self.complete.get().copied()
    }
}
