//! A gate before reads, which is closed for a moment now and then: see `checkpoint`.

use super::sync::{AtomicBool, Notify, Ordering};

/// Open, but for the moments that a [`Closed`] exists.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    opened: Notify,
}

/// Dropped, it opens the gate again.
#[derive(Debug)]
pub(crate) struct Closed<'a>(&'a Gate);

impl Gate {
    /// To be asked after `Watch::start_reading`: of one who begins to read and one who closes the gate, at
    /// least one sees the other.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// By one at a time.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.closed.store(true, Ordering::SeqCst);
        Closed(self)
    }

    /// Wait until it is open.
    pub(crate) async fn opened(&self) {
        let opened = self.opened.notified();
        // In this order, because the gate may be opened in between.
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
