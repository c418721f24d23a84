//! A request's body on its way to the guest.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use wasmtime_wasi_http::Error;

use crate::http::exchange::{Client, Exchange};
use crate::http::request::{Refusal, TOO_LARGE};

/// How far a request's body has been read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// To its end.
    done: AtomicBool,
    /// The client stopped sending, or what it sends is not HTTP.
    broken: AtomicBool,
    /// It is larger than the server allows.
    too_large: AtomicBool,
}

impl Reading {
    pub(super) fn of(body: &Incoming) -> Reading {
        Reading {
            done: AtomicBool::new(body.is_end_stream()),
            ..Reading::default()
        }
    }

    /// Whether nothing of it is left.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The response to a request whose guest has responded with nothing valid.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.is_too_large() {
            return Some(TOO_LARGE);
        }
        self.broken.load(Ordering::Acquire).then_some((
            StatusCode::BAD_REQUEST,
            "the request's body is incomplete or malformed\n",
        ))
    }

    /// Whether it is larger than the server allows. Then the guest's response does not count.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Acquire)
    }
}

/// The body.
pub(super) struct Upload {
    body: Incoming,
    exchange: Arc<Exchange>,
    reading: Arc<Reading>,
    /// How large it may be, and how much of that is left.
    most: Option<u64>,
    left: u64,
}

impl Upload {
    pub(super) fn new(
        body: Incoming,
        client: &Client,
        most: Option<u64>,
        reading: Arc<Reading>,
    ) -> Upload {
        Upload {
            body,
            exchange: Arc::clone(&client.exchange),
            reading,
            most,
            left: most.unwrap_or(u64::MAX),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.reading.is_too_large() {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let size = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => {
                self.reading.broken.store(true, Ordering::Release);
                0
            }
            None => 0,
        };
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => {
                self.reading.too_large.store(true, Ordering::Release);
                return Poll::Ready(Some(Err(Error::HttpRequestBodySize(self.most))));
            }
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.reading.done.store(true, Ordering::Release);
            self.exchange.read_all();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
