//! Tracks what one client and its requests' handlers exchange: which requests are running, which
//! responses have been sent, and what part of an upload is unread.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::access_log::Line;

/// The client of a request.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The connection's socket, for other threads to check. Non-blocking.
    pub(super) socket: Arc<TcpStream>,
    pub(super) exchange: Arc<Exchange>,
    /// Whether the connection is the only one on its thread, in a
    /// [`LocalSet`](tokio::task::LocalSet).
    pub(super) is_alone: bool,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests whose response has not been sent yet.
    under_way: usize,
    /// Bytes of the current response have been written.
    responding: bool,
    /// The last request has a body that was not read to its end.
    unread: bool,
    /// Lines of responses that hyper has in full, but that may not have been sent yet.
    lines: Vec<Line>,
}

impl Exchange {
    /// A request's head has arrived.
    pub(super) fn begin(&self, has_body: bool) {
        let mut state = self.state();
        state.under_way += 1;
        state.responding = false;
        state.unread = has_body;
    }

    /// hyper has read all that it needs of a response. Its line is written when that has been sent.
    pub(super) fn hand_over(&self, line: Line) {
        self.state().lines.push(line);
    }

    /// A response ends before it is complete.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(1);
    }

    /// Whether no request is running. An incomplete head does not count.
    pub(super) fn is_idle(&self) -> bool {
        self.state().under_way == 0
    }

    /// Whether the client may still be sending the body of its last request.
    pub(super) fn has_unread(&self) -> bool {
        self.state().unread
    }

    /// Call `work`, unless the response has begun. It cannot begin meanwhile.
    pub(super) fn before_response(&self, work: impl FnOnce()) {
        let state = self.state();
        if state.under_way == 1 && !state.responding {
            work();
        }
    }

    /// The connection is closed: what has not been sent by now never will be.
    pub(super) fn end(&self) {
        let lines = std::mem::take(&mut self.state().lines);
        lines.into_iter().for_each(Line::cut_short);
    }

    fn writing(&self) {
        self.state().responding = true;
    }

    fn flushed(&self) {
        let mut state = self.state();
        let lines = std::mem::take(&mut state.lines);
        state.under_way = state.under_way.saturating_sub(lines.len());
        drop(state);
        // Dropped, and so written, outside the lock.
        drop(lines);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's stream, which reports to its [`Exchange`] what is written.
pub(super) struct Wire {
    pub(super) stream: tokio::net::TcpStream,
    pub(super) exchange: Arc<Exchange>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.exchange.writing();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.exchange.writing();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when the socket has taken every byte of its buffer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body on its way to the guest.
pub(super) struct Upload {
    body: Incoming,
    exchange: Arc<Exchange>,
    /// Set if the client stops sending, or what it sends is not HTTP.
    broken: Arc<AtomicBool>,
}

impl Upload {
    pub(super) fn new(body: Incoming, client: &Client, broken: Arc<AtomicBool>) -> Upload {
        Upload {
            body,
            exchange: Arc::clone(&client.exchange),
            broken,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Err(_)) = frame {
            self.broken.store(true, Ordering::Release);
        } else if frame.is_none() || self.body.is_end_stream() {
            self.exchange.state().unread = false;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
