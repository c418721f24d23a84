//! A gate before reads, which closes briefly now and then: see `checkpoint`.

use super::sync::{AtomicBool, Notify, Ordering};

/// Open, except while a [`Closed`] exists.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    opened: Notify,
}

/// Dropping it opens the gate.
#[derive(Debug)]
pub(crate) struct Closed<'a>(&'a Gate);

impl Gate {
    /// Call after `Watch::start_reading`: of a thread that begins to read and one that closes the
    /// gate, at least one sees the other.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Only one thread may do this at a time.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.closed.store(true, Ordering::SeqCst);
        Closed(self)
    }

    /// Wait until it is open.
    pub(crate) async fn opened(&self) {
        let opened = self.opened.notified();
        // In this order, because the gate may open in between.
        if self.is_closed() {
            opened.await;
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.closed.store(false, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}
