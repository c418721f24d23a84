//! A request: the scope at whose end everything that it holds goes back, and how it is ended from
//! outside.

use std::sync::PoisonError;
use std::time::Instant;

use super::stop_flag::StopFlag;
use super::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

/// A request, whose connections are lent together. Clones are the same request.
///
/// Two connections of one request never wait for each other's turn to write, because that wait would
/// have no end: the second gets [`Busy`](crate::ErrorKind::Busy) at once.
#[derive(Clone, Debug)]
pub struct Request {
    id: RequestId,
    deadline: Option<Instant>,
    shared: Arc<Shared>,
}

/// Names one request: no other of this process has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

#[derive(Debug, Default)]
struct Shared {
    interrupted: AtomicBool,
    /// What was lent to it, by the numbers of the lendings.
    lent: Mutex<Vec<(Weak<StopFlag>, u64)>>,
}

#[allow(
    clippy::new_without_default,
    reason = "each one is different: none is the default"
)]
impl RequestId {
    /// Another than any before.
    pub fn new() -> RequestId {
        // Nothing waits for it: a plain one in the tests of what does too.
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
            shared: Arc::default(),
        }
    }

    /// When the request's statements and waits are to end. Connections that it holds already keep
    /// the deadline that they were lent with.
    pub fn deadline(mut self, deadline: Instant) -> Request {
        self.deadline = Some(deadline);
        self
    }

    /// End the request's statements and waits, now and from now on, on whatever thread they are: because
    /// its client has gone, or the host is ending. They fail with
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and a wait for a connection with
    /// [`PoolTimeout`](crate::ErrorKind::PoolTimeout).
    ///
    /// Does not wait. A statement notices within some milliseconds, a wait within 10. What the
    /// request holds goes back when its connections are dropped, and a later borrower of theirs is not
    /// interrupted, however late this comes.
    pub fn interrupt(&self) {
        // Before the list: a connection that is being lent just now is entered in it, or sees this.
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

    /// Whether it has been interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.shared.interrupted.load(Ordering::SeqCst)
    }

    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.deadline
    }

    /// A connection is lent to it.
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
