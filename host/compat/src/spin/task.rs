//! Runs the waiting part of an asynchronous function, whether or not the guest's store is polled.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinHandle};

/// A task of the runtime. Dropping it stops it where it waits.
///
/// While the guest computes or is in a synchronous function, the store does not poll its
/// asynchronous functions. If such a call had its turn on a connection, the turn to write, or a
/// place in the pool, everything else that waits for it would wait until the guest is done.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Start a task. Panics outside of a tokio runtime.
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    /// An error if the runtime shuts down.
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|error| {
            if error.is_panic() {
                resume_unwind(error.into_panic());
            }
            error
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
