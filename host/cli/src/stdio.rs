//! A guest's stdout and stderr in `run`: the command's own. If the other end of a pipe is closed,
//! the guest ends quietly, like a process that SIGPIPE ends.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A shell's exit code for a process that SIGPIPE ended.
const BROKEN_PIPE: i32 = 128 + 13;
/// The maximum size of one write of a WASI 0.2 guest.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// Ends a guest when the reader of its output has closed the pipe.
pub(crate) fn broken_pipe() -> wasmtime::Error {
    wasmtime::format_err!(I32Exit(BROKEN_PIPE))
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One of the command's streams, for a guest to write to.
#[derive(Clone, Debug)]
pub(crate) struct GuestStream {
    stream: Stream,
    /// Notified when the other end of the stream is closed.
    broken: Arc<Notify>,
}

impl GuestStream {
    pub(crate) fn new(stream: Stream, broken: Arc<Notify>) -> GuestStream {
        GuestStream { stream, broken }
    }

    fn with<T>(&self, work: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
        let outcome = match self.stream {
            Stream::Stdout => work(&mut io::stdout().lock()),
            Stream::Stderr => work(&mut io::stderr().lock()),
        };
        outcome.inspect_err(|error| {
            if is_broken(error) {
                self.broken.notify_one();
            }
        })
    }
}

fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        match self.stream {
            Stream::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
            Stream::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
        }
    }
}

impl StdoutStream for GuestStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

/// The guest would continue after an error, and report it: trap instead.
fn stream_error(error: io::Error) -> StreamError {
    match is_broken(&error) {
        true => StreamError::Trap(broken_pipe()),
        false => StreamError::LastOperationFailed(error.into()),
    }
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.with(|stream| stream.write_all(&bytes))
            .map_err(stream_error)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.with(|stream| stream.flush()).map_err(stream_error)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

/// A write to a broken pipe never completes: `broken` tells `run`, which drops the guest.
fn unless_broken<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if is_broken(&error) => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        unless_broken(self.with(|stream| stream.write(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unless_broken(self.with(|stream| stream.flush()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
