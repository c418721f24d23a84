//! A connection's bytes, with TLS or without, and when they have been sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::http::exchange::Exchange;

/// What a client is connected by.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Call a method of whichever stream it is.
macro_rules! either {
    ($stream:expr, $method:ident, $($argument:expr),*) => {
        match $stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

/// A connection's stream, which reports to its [`Exchange`] what is written.
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) exchange: Arc<Exchange>,
}

impl Wire {
    fn took<T>(&self, outcome: Poll<T>) -> Poll<T> {
        self.exchange.took(outcome.is_ready());
        outcome
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut self.stream, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.exchange.writing();
        let written = either!(&mut self.stream, poll_write, cx, bytes);
        self.took(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        /// A head and a short body.
        const SHORT: usize = 2 << 10;

        self.exchange.writing();
        let size: usize = bytes.iter().map(|bytes| bytes.len()).sum();
        let written = if size <= SHORT {
            // The system takes one piece faster than two.
            let mut joined = SmallVec::<[u8; SHORT]>::new();
            bytes
                .iter()
                .for_each(|bytes| joined.extend_from_slice(bytes));
            either!(&mut self.stream, poll_write, cx, &joined)
        } else {
            either!(&mut self.stream, poll_write_vectored, cx, bytes)
        };
        self.took(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    /// hyper flushes when the socket has taken every byte of its buffer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = either!(&mut self.stream, poll_flush, cx);
        ready!(self.took(flushed))?;
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = either!(&mut self.stream, poll_shutdown, cx);
        self.took(shut_down)
    }
}
