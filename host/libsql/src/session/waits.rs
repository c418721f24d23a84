//! The future of a call: it has the books for itself, and ends when the call's time is over.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use millpond_pool::engine::StopFlag;
use millpond_pool::{Error, ErrorKind, Result, clock};
use tokio::sync::Mutex;

use super::{Core, Dropped};

/// A call's work, and its type once it has begun.
pub(super) trait Work<T>: for<'c> FnOnce(&'c mut Core) -> Working<'c, T> + Send {}

impl<T, W> Work<T> for W where W: for<'c> FnOnce(&'c mut Core) -> Working<'c, T> + Send {}

pub(super) type Working<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// When a call ends, done or not.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) stop: Arc<StopFlag>,
    /// By [`clock`].
    pub(super) until: u64,
    /// The session has been taken from its borrower, whose call it is.
    pub(super) gone: Arc<AtomicBool>,
}

impl Ends {
    fn is_over(&self) -> bool {
        // The deadline may have been changed meanwhile.
        let deadline = self.stop.deadline();
        self.stop.is_interrupted()
            || self.stop.is_stopped()
            || self.gone.load(Ordering::Relaxed)
            || (self.until != clock::NEVER && clock::now() >= self.until)
            || deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn error(&self) -> Error {
        if self.stop.is_stopped() {
            return Error::new(ErrorKind::PoolClosed, "the pool is closing");
        }
        match self.gone.load(Ordering::Relaxed) {
            true => Error::new(ErrorKind::StaleHandle, "the connection has been taken back"),
            false => Error::new(ErrorKind::DeadlineExceeded, "the statement ran out of time"),
        }
    }

    /// Wait for `wanted`, unless the call is over before: that is looked at whenever this is
    /// polled, which the pool does every 10 ms at least.
    async fn unless_over<F: Future>(&self, wanted: F) -> Option<F::Output> {
        let mut wanted = pin!(wanted);
        poll_fn(|context| match wanted.as_mut().poll(context) {
            Poll::Ready(had) => Poll::Ready(Some(had)),
            Poll::Pending if self.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Do a call's work, in its time.
pub(super) async fn run<T>(
    core: Arc<Mutex<Core>>,
    ends: Ends,
    dropped: Vec<Dropped>,
    work: impl Work<T>,
) -> Result<T> {
    let Some(mut core) = ends.unless_over(core.lock_owned()).await else {
        return Err(ends.error());
    };
    core.recover_cancelled();
    for handle in dropped {
        core.drop_handle(handle);
    }
    let done = ends.unless_over(work(&mut core)).await;
    let result = match done {
        Some(result) => result,
        None => Err(core.give_up(ends.error())),
    };
    core.settle();
    result
}
