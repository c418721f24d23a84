//! Accepts connections and speaks HTTP/1 on them, until told to stop.
//!
//! A connection has its own thread, if the system has one: then nothing moves between threads from
//! the arrival of a request to its response, which would take longer than a fast guest. If there
//! are more connections than threads, the others share the runtime's threads.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::LocalSet;

use crate::http::answer::Outgoing;
use crate::http::exchange::{Client, Wire};

/// How long to wait when the system refuses a connection, usually because it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long to read what a client still sends after its response, and how long to wait for more of
/// it. Closing a connection with unread data resets it, which may discard a response on its way
/// (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// How long a connection may still send once every request must end.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The phases of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Accept no new requests; finish those that are running.
    Finishing,
    /// Do not wait for any request.
    Ending,
}

async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    // Without a sender there is no server.
    let _ = phases.wait_for(|current| *current >= phase).await;
}

/// Handles the requests.
pub(super) trait Service: Clone + Send + Sync + 'static {
    fn handle(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Outgoing>> + Send;

    /// hyper has sent this response to an invalid request.
    fn refused(&self, status: StatusCode, reason: &hyper::Error);
}

/// Serve `listener`, which must be non-blocking. Up to `threads` connections at once have their own
/// thread. A request's head may take up to `head_timeout` to arrive: a slow client only occupies a
/// connection. The future completes once the phase is [`Finishing`](Phase::Finishing) and every
/// connection has finished its request, or shortly after the phase is [`Ending`](Phase::Ending).
pub(super) fn serve(
    listener: TcpListener,
    mut phase: watch::Receiver<Phase>,
    threads: usize,
    head_timeout: Duration,
    service: impl Service,
) -> io::Result<impl Future<Output = ()> + Send> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let threads = Arc::new(Semaphore::new(threads));
    let mut http = http1::Builder::new();
    // A client may close its sending half and wait for the response (RFC 9112, 9.6).
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    Ok(async move {
        // Closed when no connection has a receiver any more.
        let (connections, connection) = watch::channel(());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = reached(&mut phase, Phase::Finishing) => break,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // A small response must not wait for the client to acknowledge the previous one.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                http: http.clone(),
                phase: phase.clone(),
                service: service.clone(),
                open: connection.clone(),
            };
            match Thread::new(&threads) {
                Some(thread) => thread.serve(stream, connection),
                None => {
                    tokio::spawn(async move {
                        let _ = connection.serve(stream, false).await;
                    });
                }
            }
        }
        drop((listener, connection));
        connections.closed().await;
    })
}

/// A thread for a connection, with a runtime for that alone.
struct Thread {
    runtime: Runtime,
    place: OwnedSemaphorePermit,
}

impl Thread {
    fn new(threads: &Arc<Semaphore>) -> Option<Thread> {
        let place = Arc::clone(threads).try_acquire_owned().ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .ok()?;
        Some(Thread { runtime, place })
    }

    fn serve(self, stream: TcpStream, connection: Connection<impl Service>) {
        tokio::task::spawn_blocking(move || {
            let tasks = LocalSet::new();
            // If the stream cannot be moved, treat the connection as closed.
            let _ = tasks.block_on(&self.runtime, connection.serve(stream, true));
            // Guests may continue after their response.
            self.runtime.block_on(tasks);
            drop(self.place);
        });
    }
}

/// What serving one connection needs.
struct Connection<S> {
    http: http1::Builder,
    phase: watch::Receiver<Phase>,
    service: S,
    /// Dropped when the connection need not be waited for any more.
    open: watch::Receiver<()>,
}

impl<S: Service> Connection<S> {
    async fn serve(self, stream: TcpStream, is_alone: bool) -> io::Result<()> {
        let stream = stream.into_std()?;
        let client = Client {
            socket: Arc::new(stream.try_clone()?),
            exchange: Arc::default(),
            is_alone,
        };
        let stream = TcpStream::from_std(stream)?;
        let exchange = Arc::clone(&client.exchange);
        let mut phase = self.phase.clone();
        let last_words = async {
            reached(&mut phase, Phase::Ending).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = self.talk(stream, client) => {}
            () = last_words => {}
        }
        exchange.end();
        Ok(())
    }

    async fn talk(mut self, stream: TcpStream, client: Client) {
        let exchange = Arc::clone(&client.exchange);
        let wire = Wire {
            stream,
            exchange: Arc::clone(&exchange),
        };
        let socket = Arc::clone(&client.socket);
        let outcome = {
            let service = service_fn(|request: Request<Incoming>| {
                client.exchange.begin(!request.body().is_end_stream());
                let response = self.service.handle(request, client.clone());
                async move { Ok::<_, Infallible>(response.await) }
            });
            let mut connection = pin!(self.http.serve_connection(TokioIo::new(wire), service));
            tokio::select! {
                biased;
                outcome = connection.as_mut() => outcome,
                () = reached(&mut self.phase, Phase::Finishing) => {
                    // hyper would wait for the rest of a head.
                    if exchange.is_idle() {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
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
        linger(&socket).await;
    }
}

/// The response that hyper has sent to an invalid request.
fn answer_to(error: &hyper::Error) -> Option<StatusCode> {
    // A client that disconnects is not an event: its request is in the access log. A client that
    // speaks HTTP/2 gets no response.
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

/// Read and discard what the client still sends, until it closes its half too.
async fn linger(socket: &std::net::TcpStream) {
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
    let _ = tokio::time::timeout(LINGER, drain).await;
}
