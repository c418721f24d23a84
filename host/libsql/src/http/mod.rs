//! One connection to the server, kept alive between requests. Knows what was sent, and what not.

mod blocks;
mod tls;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub(crate) use self::blocks::Blocks;
pub(crate) use self::tls::Tls;
use crate::target::Target;

/// A connection that has been idle for longer is not used again: proxies close idle ones after a
/// minute or so, and a request that crosses with that is lost, with its outcome.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server cannot have seen it.
    NotSent(String),
    /// It may have.
    Sent(String),
}

/// A connection.
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    used: Instant,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// What bytes go through.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Http {
    /// Connect. The connection is served by `runtime`.
    pub(crate) async fn connect(
        runtime: &Handle,
        target: &Target,
        tls: Option<&Tls>,
    ) -> io::Result<Http> {
        let address = (target.host.clone(), target.port);
        let tls = tls.cloned();
        let connecting = runtime.spawn(async move {
            let stream = TcpStream::connect(address).await?;
            // A request is one write, and its answer is waited for.
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match tls {
                Some(tls) => Box::new(tls.connect(stream).await?),
                None => Box::new(stream),
            };
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            // It ends when the sender is dropped, or the server closes it.
            tokio::spawn(connection);
            Ok(sender)
        });
        let sender = AbortOnDrop(connecting).joined().await?;
        Ok(Http {
            sender,
            used: Instant::now(),
        })
    }

    /// Whether another request may be sent on it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.used.elapsed() < MAX_IDLE
    }

    /// Send a request, and wait for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        // It is free once the answer before has been read, a moment later.
        if self.sender.ready().await.is_err() {
            return Err(Failure::NotSent("the connection was closed".to_owned()));
        }
        let answer = self.sender.try_send_request(request).await;
        self.used = Instant::now();
        answer.map_err(|mut error| match error.take_message() {
            Some(_) => Failure::NotSent("the connection was closed".to_owned()),
            None => Failure::Sent(describe(error.error())),
        })
    }

    /// Wait until the answer before has been read whole.
    pub(crate) async fn settle(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }
}

/// What went wrong, without what the server sent.
pub(crate) fn describe(error: &hyper::Error) -> String {
    let what = if error.is_incomplete_message() || error.is_closed() {
        "the connection was closed before the answer"
    } else if error.is_parse() {
        "the answer is no HTTP"
    } else {
        "the connection failed"
    };
    what.to_owned()
}

/// Why an answer was not read whole.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    Cut(String),
}

/// Read an answer of up to `max` bytes.
pub(crate) async fn read_body(mut body: Incoming, max: usize) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Cut(describe(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > max {
            return Err(BodyError::TooLarge);
        }
        // Nearly every answer is one piece, which need not be copied.
        if all.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A task that is aborted when its waiter is dropped.
#[derive(Debug)]
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<io::Result<T>> {
    async fn joined(mut self) -> io::Result<T> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("connecting was ended")),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
