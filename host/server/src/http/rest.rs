//! A response's body that the store of its guest can finish.
//!
//! When the last task of a guest for WASI 0.3 has ended, the end of its response's body, and the
//! trailers, may still be on their way: from a stream or a future of the host, such as those of the
//! request. They only move while the store runs, and a body whose store is dropped ends early and
//! looks complete. So the store takes what is left out of the body, and then need not wait until
//! the client has read it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

/// How many bytes the store takes ahead of the client. Beyond that it waits.
const MAX_HELD: usize = 64 << 10;

/// The store's side of a body.
pub(super) struct Rest(Arc<Mutex<Shared>>);

/// The connection's side.
struct Front(Arc<Mutex<Shared>>);

struct Shared {
    /// `None` after its end, or once the connection has dropped it.
    body: Option<WasiBody>,
    /// What the store has taken, and how many bytes of data that is.
    held: VecDeque<Result<Frame<Bytes>, Error>>,
    bytes: usize,
    /// Only the store reads the body: it has only one waker.
    store_reads: bool,
    connection: Option<Waker>,
    store: Option<Waker>,
}

impl Rest {
    /// The response for the connection, and the rest for the store.
    pub(super) fn of(response: Response<WasiBody>) -> (Response<WasiBody>, Rest) {
        let (head, body) = response.into_parts();
        let shared = Arc::new(Mutex::new(Shared {
            body: Some(body),
            held: VecDeque::new(),
            bytes: 0,
            store_reads: false,
            connection: None,
            store: None,
        }));
        let front = Front(Arc::clone(&shared)).boxed_unsync();
        (Response::from_parts(head, front), Rest(shared))
    }

    /// Take the rest of the body. Completes once nothing is left, or the connection has dropped it.
    /// The store must run meanwhile.
    pub(super) async fn take(self) {
        poll_fn(|cx| lock(&self.0).poll_take(cx)).await;
    }
}

impl Drop for Rest {
    /// The body ends when the store is dropped: the connection must read that.
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.store_reads = false;
        wake(&mut shared.connection);
    }
}

impl Shared {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.store_reads = true;
        while let Some(body) = &mut self.body {
            if self.bytes < MAX_HELD
                && let Poll::Ready(frame) = Pin::new(body).poll_frame(cx)
            {
                // Nothing follows an error.
                if !matches!(frame, Some(Ok(_))) {
                    self.body = None;
                }
                if let Some(frame) = frame {
                    self.bytes += length(&frame);
                    self.held.push_back(frame);
                }
                wake(&mut self.connection);
            } else {
                self.store = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Body for Front {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let shared = &mut *lock(&self.0);
        if let Some(frame) = shared.held.pop_front() {
            shared.bytes -= length(&frame);
            wake(&mut shared.store);
            return Poll::Ready(Some(frame));
        }
        let Some(body) = &mut shared.body else {
            return Poll::Ready(None);
        };
        if !shared.store_reads
            && let Poll::Ready(frame) = Pin::new(body).poll_frame(cx)
        {
            return Poll::Ready(frame);
        }
        shared.connection = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.0);
        shared.held.is_empty() && shared.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.0);
        let left = match &shared.body {
            Some(body) => body.size_hint().exact(),
            None => Some(0),
        };
        let exact = left.map(|left| SizeHint::with_exact(left + shared.bytes as u64));
        exact.unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        let body = shared.body.take();
        shared.held.clear();
        shared.bytes = 0;
        wake(&mut shared.store);
        drop(shared);
        // It tells the guest, so without the lock.
        drop(body);
    }
}

fn length(frame: &Result<Frame<Bytes>, Error>) -> usize {
    let data = frame.as_ref().ok().and_then(Frame::data_ref);
    data.map_or(0, Bytes::len)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
