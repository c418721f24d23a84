//! HTTP/2 on one connection, whose requests run at the same time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::http::exchange::{Exchange, Timer};

/// What a client begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No method begins like this: it is reserved.
const BEGINNING: usize = b"PRI".len();
/// How long to wait for more of a beginning that is shorter than that.
const BEGINNING_PAUSE: Duration = Duration::from_millis(10);

/// Maximum number of requests of one connection that run at the same time. RFC 9113 recommends no
/// fewer (5.1.2). Others wait at the client.
const MAX_STREAMS: u32 = 100;
/// How much of a request's body a client may send before the guest reads it, and how much of all
/// bodies of a connection together: four guests that do not read stop the others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How much of a response's body to take from the guest before the client does.
const SEND_BUFFER: usize = 64 << 10;

/// A request's stream. It also ends if the client does not take its response by the deadline.
pub(super) struct Stream {
    stream: Pin<Box<dyn Future<Output = ()> + Send>>,
    exchange: Arc<Exchange>,
    until: Option<Instant>,
    timer: Timer,
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let outcome = this.stream.as_mut().poll(cx);
        this.until = this.exchange.take_until().or(this.until);
        match outcome {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => this.timer.poll(this.until, cx),
        }
    }
}

/// Keeps the streams of a connection for [`drive`], which runs them in the connection's own task:
/// so the end of the connection is the end of its requests, and what a stream has sent is written
/// after the stream has ended.
#[derive(Clone)]
pub(super) struct Streams {
    new: Arc<Mutex<Vec<Stream>>>,
    exchange: Arc<Exchange>,
}

impl Streams {
    pub(super) fn new(exchange: &Arc<Exchange>) -> Streams {
        Streams {
            new: Arc::default(),
            exchange: Arc::clone(exchange),
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push(Stream {
            stream: Box::pin(stream),
            exchange: Arc::clone(&self.exchange),
            until: None,
            timer: Timer::default(),
        });
    }
}

/// For a connection whose requests have heads of up to `max_head_size` bytes.
///
/// The rest are the defaults of hyper and h2. A frame has up to 16 KiB. The connection is closed
/// after 20 requests that the client resets before the server has seen them, 1,024 invalid
/// requests, 100 empty parts of bodies, too many small parts, or a head of too many frames. Pings
/// and settings are acknowledged before more is read.
pub(super) fn builder(streams: &Streams, max_head_size: u32) -> Builder<Streams> {
    let mut http = Builder::new(streams.clone());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(max_head_size)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    http
}

/// Run a connection and its streams to the end of the connection, or until its client is a
/// [flood](Exchange::is_flooded). Returns false if its client does not take its responses
/// [in time](Exchange::in_time).
pub(super) async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    streams: &Streams,
    running: &mut FuturesUnordered<Stream>,
    exchange: &Exchange,
    patience: Duration,
) -> bool {
    let driving = poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut new = streams.new.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend(new.drain(..));
        drop(new);
        while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
        match exchange.is_flooded() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    exchange.in_time(pin!(driving), patience).await.is_some()
}

/// Whether the client begins with HTTP/2. Waits until it sends something.
pub(super) async fn is_chosen(stream: &TcpStream) -> std::io::Result<bool> {
    let mut beginning = [0; BEGINNING];
    loop {
        let length = stream.peek(&mut beginning).await?;
        let is_preface = length > 0 && PREFACE.starts_with(&beginning[..length]);
        if !is_preface || length == BEGINNING {
            return Ok(is_preface);
        }
        if stream.ready(Interest::READABLE).await?.is_read_closed() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        // What has arrived stays in the socket, which is ready because of that.
        tokio::time::sleep(BEGINNING_PAUSE).await;
    }
}
