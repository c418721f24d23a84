//! The writer's turn: one connection at a time writes to a database, the others queue in order.
//!
//! SQLite would let one writer in and make the others poll for it, out of order
//! (<https://sqlite.org/c3ref/busy_timeout.html>). Here they stand in line and cost no thread.

use super::request::RequestId;
use super::sync::{Arc, AtomicU64, Ordering, OwnedSemaphorePermit, Semaphore, TryAcquireError};

#[derive(Debug)]
pub(crate) struct TurnQueue {
    places: Arc<Semaphore>,
    /// The request whose turn it is; 0 for none.
    holder: AtomicU64,
}

/// The turn. Dropped, it goes to the next in line.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<TurnQueue>,
    _permit: OwnedSemaphorePermit,
}

/// Why the turn was not had at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Another request writes: stand in line.
    Taken,
    /// This request writes already, through another connection.
    Own,
    Closed,
}

impl TurnQueue {
    pub(crate) fn new() -> Arc<TurnQueue> {
        Arc::new(TurnQueue {
            places: Arc::new(Semaphore::new(1)),
            holder: AtomicU64::new(0),
        })
    }

    pub(crate) fn try_take(self: &Arc<Self>, request: RequestId) -> Result<Turn, NoTurn> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(self.turn(request, permit)),
            Err(TryAcquireError::Closed) => Err(NoTurn::Closed),
            Err(TryAcquireError::NoPermits) => {
                if self.holder.load(Ordering::Acquire) == request.0 {
                    Err(NoTurn::Own)
                } else {
                    Err(NoTurn::Taken)
                }
            }
        }
    }

    /// Stand in line; `None` once the queue is closed. Dropping the future leaves the line.
    pub(crate) async fn wait(self: &Arc<Self>, request: RequestId) -> Option<Turn> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(self.turn(request, permit))
    }

    /// Refuse everybody in line, and everybody to come.
    pub(crate) fn close(&self) {
        self.places.close();
    }

    fn turn(self: &Arc<Self>, request: RequestId, permit: OwnedSemaphorePermit) -> Turn {
        self.holder.store(request.0, Ordering::Release);
        Turn {
            queue: Arc::clone(self),
            _permit: permit,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before the permit goes: the next holder must not be overwritten.
        self.queue.holder.store(0, Ordering::Release);
    }
}
