//! The future of a call: it has the books for itself, and ends when the call's time is over.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use millpond_pool::engine::StopFlag;
use millpond_pool::{Error, ErrorKind, Result, clock};
use tokio::sync::Mutex;

use super::{Core, Dropped};

/// A call's work, and its type once it has begun.
pub(super) trait Work<T>:
    for<'c> FnOnce(&'c mut Core) -> Working<'c, T> + Send
{
}

impl<T, W> Work<T> for W where W: for<'c> FnOnce(&'c mut Core) -> Working<'c, T> + Send {}

pub(super) type Working<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// Do a call's work, in its time.
pub(super) async fn run<T>(
    core: Arc<Mutex<Core>>,
    stop: Arc<StopFlag>,
    dropped: Vec<Dropped>,
    work: impl Work<T>,
) -> Result<T> {
    let until = stop.until();
    let Some(mut core) = unless_over(&stop, until, core.lock_owned()).await else {
        return Err(over(&stop));
    };
    core.recover_cancelled();
    for handle in dropped {
        core.drop_handle(handle);
    }
    let done = unless_over(&stop, until, work(&mut core)).await;
    let result = match done {
        Some(result) => result,
        None => Err(core.give_up(over(&stop))),
    };
    core.settle();
    result
}

/// Wait for `wanted` until a time, or until it is ended from outside: that is looked at whenever this
/// is polled, which the pool does every 10 ms at least.
async fn unless_over<F: Future>(stop: &StopFlag, until: u64, wanted: F) -> Option<F::Output> {
    let mut wanted = pin!(wanted);
    poll_fn(|context| match wanted.as_mut().poll(context) {
        Poll::Ready(had) => Poll::Ready(Some(had)),
        Poll::Pending if is_over(stop, until) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

fn is_over(stop: &StopFlag, until: u64) -> bool {
    // The deadline may have been changed meanwhile.
    let deadline = stop.deadline();
    stop.is_interrupted()
        || stop.is_stopped()
        || (until != clock::NEVER && clock::now() >= until)
        || deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

fn over(stop: &StopFlag) -> Error {
    match stop.is_stopped() {
        true => Error::new(ErrorKind::PoolClosed, "the pool is closing"),
        false => Error::new(ErrorKind::DeadlineExceeded, "the statement ran out of time"),
    }
}
