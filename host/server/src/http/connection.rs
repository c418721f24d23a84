//! Speaks HTTP on one connection, until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::FuturesUnordered;
use http::uri::Scheme;
use http::{Request, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::http::bounds::Place;
use crate::http::exchange::{Client, Exchange};
use crate::http::http2::{self, Streams};
use crate::http::listener::{Phase, Service, Settings, reached};
use crate::http::tls;
use crate::http::wire::{Stream, Wire};

/// How long to read what a client still sends after its response, and how long to wait for more of
/// it. Closing a connection with unread data resets it, which may discard a response on its way
/// (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// How long a connection may still send once every request must end.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How much more of a head hyper reads than it may have: so that the server sees what is too large,
/// a target or a header.
const HEAD_SLACK: usize = 16 << 10;

/// What serving one connection needs.
pub(super) struct Connection<S> {
    pub(super) settings: Arc<Settings>,
    pub(super) address: IpAddr,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) service: S,
    /// Dropped when the connection need not be waited for any more.
    pub(super) open: watch::Receiver<()>,
    /// Dropped when another connection may be accepted in place of this one.
    pub(super) _place: Place,
}

/// HTTP/1, as a listener speaks it.
pub(super) fn http1(server: &config::Server, max_head_size: u32, has_tls: bool) -> http1::Builder {
    /// hyper's default, which needs no allocation.
    const HEADERS: u32 = 100;
    let mut http = http1::Builder::new();
    // A client may close its sending half and wait for the response (RFC 9112, 9.6). With TLS, none
    // does: it has closed the connection.
    http.half_close(!has_tls)
        .timer(TokioTimer::new())
        .header_read_timeout(server.head_timeout)
        .max_buf_size(max_head_size as usize + HEAD_SLACK);
    if server.max_headers > HEADERS {
        http.max_headers(server.max_headers as usize);
    }
    http
}

impl<S: Service> Connection<S> {
    /// Serve the connection to its end.
    pub(super) async fn serve(mut self, stream: TcpStream) {
        if let Some(acceptor) = self.settings.tls.clone() {
            return self.serve_tls(stream, acceptor).await;
        }
        match self.is_http2(&stream).await {
            Some(true) => self.serve_http2(stream).await,
            Some(false) => self.serve_http1(stream).await,
            None => {}
        }
    }

    /// Whether the client begins with HTTP/2. `None`: the connection is over.
    async fn is_http2(&mut self, stream: &TcpStream) -> Option<bool> {
        if !self.settings.http2 {
            return Some(false);
        }
        self.in_time(http2::is_chosen(stream)).await
    }

    /// The outcome of what precedes the first request, unless it takes too long.
    async fn in_time<T>(&mut self, beginning: impl Future<Output = io::Result<T>>) -> Option<T> {
        tokio::select! {
            outcome = tokio::time::timeout(self.settings.head_timeout, beginning) => {
                outcome.ok()?.ok()
            }
            () = reached(&mut self.phase, Phase::Finishing) => None,
        }
    }

    async fn serve_tls(mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let Some((stream, client)) = self.client(stream) else {
            return;
        };
        let Some(stream) = self.in_time(acceptor.accept(stream)).await else {
            return;
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
        let stream = Stream::Tls(Box::new(stream));
        match is_http2 {
            true => self.until_the_end(stream, client, Self::talk_http2).await,
            false => self.until_the_end(stream, client, Self::talk_http1).await,
        }
    }

    async fn serve_http1(self, stream: TcpStream) {
        if let Some((stream, client)) = self.client(stream) {
            let stream = Stream::Plain(stream);
            self.until_the_end(stream, client, Self::talk_http1).await;
        }
    }

    async fn serve_http2(self, stream: TcpStream) {
        if let Some((stream, client)) = self.client(stream) {
            let stream = Stream::Plain(stream);
            self.until_the_end(stream, client, Self::talk_http2).await;
        }
    }

    /// `None`: the stream cannot be shared. Treat the connection as closed.
    fn client(&self, stream: TcpStream) -> Option<(TcpStream, Client)> {
        let stream = stream.into_std().ok()?;
        let client = Client {
            socket: Arc::new(stream.try_clone().ok()?),
            exchange: Arc::default(),
            address: self.address,
            local: stream.local_addr().ok(),
            scheme: match self.settings.tls {
                Some(_) => Scheme::HTTPS,
                None => Scheme::HTTP,
            },
        };
        Some((TcpStream::from_std(stream).ok()?, client))
    }

    async fn until_the_end<F: Future<Output = ()>>(
        self,
        stream: Stream,
        client: Client,
        talk: impl FnOnce(Self, TokioIo<Wire>, Client) -> F,
    ) {
        let exchange = Arc::clone(&client.exchange);
        let mut phase = self.phase.clone();
        let last_words = async {
            reached(&mut phase, Phase::Ending).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let wire = Wire {
            stream,
            exchange: Arc::clone(&exchange),
        };
        tokio::select! {
            () = talk(self, TokioIo::new(wire), client) => {}
            () = last_words => {}
        }
        exchange.end();
    }

    async fn talk_http1(mut self, wire: TokioIo<Wire>, client: Client) {
        let exchange = Arc::clone(&client.exchange);
        let socket = Arc::clone(&client.socket);
        let outcome = {
            let service = service_fn(|request: Request<Incoming>| {
                client.exchange.begin(!request.body().is_end_stream());
                let response = self.service.handle(request, client.clone());
                // Not in an `async` block, which would copy it.
                response.map(Ok::<_, Infallible>)
            });
            let http = &self.settings.http1;
            let mut connection = pin!(http.serve_connection(wire, service));
            let patience = self.settings.head_timeout;
            tokio::select! {
                biased;
                outcome = exchange.in_time(connection.as_mut(), patience) => outcome,
                () = reached(&mut self.phase, Phase::Finishing) => {
                    // hyper would wait for the rest of a head.
                    if exchange.is_idle() {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                    exchange.in_time(connection, patience).await
                }
            }
        };
        let Some(outcome) = outcome else {
            return;
        };
        exchange.end();
        let answer = outcome
            .err()
            .and_then(|error| Some((answer_to(&error)?, error)));
        if let Some((status, error)) = &answer {
            self.service.refused(*status, error);
        }
        let _ = socket.shutdown(Shutdown::Write);
        if answer.is_none() && !exchange.has_unread() {
            // The client only has to close its half: a shutdown does not wait for that.
            drop(self.open);
        }
        linger(&socket, LINGER).await;
    }

    async fn talk_http2(mut self, wire: TokioIo<Wire>, client: Client) {
        let exchange = Arc::clone(&client.exchange);
        let socket = Arc::clone(&client.socket);
        let mut running = FuturesUnordered::new();
        let mut lingering = LINGER;
        {
            let (service, exchange) = (self.service.clone(), &exchange);
            let service = service_fn(move |request: Request<Incoming>| {
                client.exchange.begin(false);
                let (service, client) = (service.clone(), client.clone());
                let running = Running(Some(Arc::clone(&client.exchange)));
                async move {
                    let response = service.handle(request, client).await;
                    running.has_response();
                    Ok::<_, Infallible>(response)
                }
            });
            let streams = Streams::new(exchange);
            let (patience, from) = (self.settings.head_timeout, Instant::now());
            let http = http2::builder(&streams, self.settings.max_head_size);
            let mut connection = pin!(http.serve_connection(wire, service));
            let driving = http2::drive(
                connection.as_mut(),
                &streams,
                &mut running,
                exchange,
                patience,
            );
            let ending = tokio::select! {
                biased;
                is_taken = driving => Some(is_taken),
                () = reached(&mut self.phase, Phase::Finishing) => None,
                () = exchange.idle(patience, from) => {
                    lingering = LINGER_IDLE;
                    None
                }
            };
            let is_taken = match ending {
                Some(is_taken) => is_taken,
                None => {
                    connection.as_mut().graceful_shutdown();
                    let driving =
                        http2::drive(connection, &streams, &mut running, exchange, patience);
                    tokio::select! {
                        is_taken = driving => is_taken,
                        // The client does not acknowledge the shutdown.
                        () = exchange.idle(LINGER_IDLE, Instant::now()) => true,
                    }
                }
            };
            if !is_taken {
                return;
            }
        }
        // Requests that still run end with their streams.
        drop(running);
        exchange.end();
        let _ = socket.shutdown(Shutdown::Write);
        drop(self.open);
        linger(&socket, lingering).await;
    }
}

/// A request of an HTTP/2 connection. Dropping this before there is a response means that the
/// client does not want it any more.
struct Running(Option<Arc<Exchange>>);

impl Running {
    fn has_response(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.abandon();
        }
    }
}

/// The response that hyper has sent to an invalid request.
fn answer_to(error: &hyper::Error) -> Option<StatusCode> {
    // A client that disconnects is not an event: its request is in the access log. A client that
    // speaks HTTP/2 where only HTTP/1 is spoken gets no response.
    if !error.is_parse() || error.is_parse_version_h2() {
        return None;
    }
    Some(match error.is_parse_too_large() {
        // hyper reports both as the same error, and only its message tells them apart.
        true if error.to_string().contains("URI") => StatusCode::URI_TOO_LONG,
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    })
}

/// Read and discard what the client still sends, until it closes its half too, for up to `most`.
async fn linger(socket: &std::net::TcpStream, most: Duration) {
    if matches!(socket.peek(&mut [0]), Ok(0)) {
        return;
    }
    let Ok(stream) = socket.try_clone().and_then(TcpStream::from_std) else {
        return;
    };
    let drain = async {
        let mut forgotten = vec![0; 16 * 1024];
        while let Ok(Ok(())) = tokio::time::timeout(LINGER_IDLE, stream.readable()).await {
            match stream.try_read(&mut forgotten) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(most, drain).await;
}
