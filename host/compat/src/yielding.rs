//! Yields to other tasks during long copies.

use std::future::poll_fn;
use std::task::Poll;

/// How many bytes are copied before other tasks may run.
pub(crate) const COPIED_AT_ONCE: usize = 1 << 20;

/// Let the runtime's other tasks run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
