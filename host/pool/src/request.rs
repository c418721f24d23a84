//! A request: the scope whose end returns everything it holds, and how to interrupt it from
//! outside.

use std::sync::{self, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;

use super::stop_flag::StopFlag;
use super::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

/// A scope for connections. Clones are the same request.
///
/// Two connections of one request never wait for each other's turn to write, because that wait
/// could never end: the second gets [`Busy`](crate::ErrorKind::Busy) at once.
#[derive(Clone, Debug)]
pub struct Request {
    id: RequestId,
    deadline: Option<Instant>,
    /// Not the scheduler's in `scheduled_tests`, because nothing waits for it.
    label: Option<sync::Arc<str>>,
    shared: Arc<Shared>,
}

/// Identifies one request within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

/// A session, and the number of its lending.
type Entry = (Weak<StopFlag>, u64);

#[derive(Debug, Default)]
struct Shared {
    interrupted: AtomicBool,
    /// The connections lent to it. Inline for one: most requests hold one connection, and then need
    /// no allocation.
    lent: Mutex<SmallVec<[Entry; 1]>>,
}

#[allow(
    clippy::new_without_default,
    reason = "each one is different: none is the default"
)]
impl RequestId {
    /// A number that no other request has.
    pub fn new() -> RequestId {
        // Nothing waits for this atomic, so it need not be the scheduler's in `scheduled_tests`.
        use std::sync::atomic::AtomicU64;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        RequestId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Request {
    /// A new request, without a deadline.
    #[allow(
        clippy::new_without_default,
        reason = "each one is different: none is the default"
    )]
    pub fn new() -> Request {
        Request {
            id: RequestId::new(),
            deadline: None,
            label: None,
            shared: Arc::default(),
        }
    }

    /// Set when the request's statements and waits must end. Connections that it already holds keep
    /// the deadline that they were lent with.
    pub fn deadline(mut self, deadline: Instant) -> Request {
        self.deadline = Some(deadline);
        self
    }

    /// Name the request in [events](crate::observe): with its number in an access log, for instance.
    /// Connections that it already holds keep the label that they were lent with. Defaults to none.
    pub fn label(mut self, label: impl Into<sync::Arc<str>>) -> Request {
        self.label = Some(label.into());
        self
    }

    /// Stop the request's statements and waits, now and later, on any thread: for example because
    /// its client disconnected, or the host is shutting down. They fail with
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and a wait for a connection with
    /// [`PoolTimeout`](crate::ErrorKind::PoolTimeout).
    ///
    /// Does not wait. A statement stops within some milliseconds, a wait within 10. The request's
    /// connections are returned when they are dropped. A late interrupt never affects their next
    /// borrower.
    pub fn interrupt(&self) {
        // Before reading the list, so that a connection that is just being lent is either in the
        // list or sees this.
        self.shared.interrupted.store(true, Ordering::SeqCst);
        let lent = self
            .shared
            .lent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (stop, lending) in lent.iter() {
            if let Some(stop) = stop.upgrade() {
                stop.interrupt(*lending);
            }
        }
    }

    /// Whether the request has been interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.shared.interrupted.load(Ordering::SeqCst)
    }

    /// Its number, which an [engine](crate::engine) is told with each lending.
    pub fn id(&self) -> RequestId {
        self.id
    }

    pub(crate) fn shared_label(&self) -> Option<&sync::Arc<str>> {
        self.label.as_ref()
    }

    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.deadline
    }

    /// Record a connection lent to this request.
    pub(crate) fn enter(&self, stop: &Arc<StopFlag>, lending: u64) {
        let mut lent = self
            .shared
            .lent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lent.retain(|(stop, lending)| {
            let stop = stop.upgrade();
            stop.is_some_and(|stop| stop.lending() == *lending)
        });
        lent.push((Arc::downgrade(stop), lending));
        drop(lent);
        if self.is_interrupted() {
            stop.interrupt(lending);
        }
    }
}
