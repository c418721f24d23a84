//! Accepts connections, until told to stop.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::http::answer::Outgoing;
use crate::http::bounds::Connections;
use crate::http::connection::{self, Connection};
use crate::http::exchange::Client;

/// How long to wait when the system refuses a connection, usually because it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The phases of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Accept no new requests; finish those that are running.
    Finishing,
    /// Do not wait for any request.
    Ending,
}

pub(super) async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
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

/// How a listener serves its connections.
pub(super) struct Settings {
    pub(super) http2: bool,
    pub(super) tls: Option<TlsAcceptor>,
    /// How long a request's head may take to arrive, how long what precedes the first one may take,
    /// and how long a connection may be without a request.
    pub(super) head_timeout: Duration,
    pub(super) max_head_size: u32,
    pub(super) http1: http1::Builder,
    pub(super) connections: Connections,
}

impl Settings {
    pub(super) fn new(
        server: &config::Server,
        http2: bool,
        tls: Option<TlsAcceptor>,
        connections: Connections,
    ) -> Settings {
        // At most 1 MiB.
        let max_head_size = u32::try_from(server.max_head_size.bytes()).unwrap_or(u32::MAX);
        Settings {
            http2,
            head_timeout: server.head_timeout,
            max_head_size,
            http1: connection::http1(server, max_head_size, tls.is_some()),
            tls,
            connections,
        }
    }
}

/// Serve `listener`, which must be non-blocking. The future completes once the phase is
/// [`Finishing`](Phase::Finishing) and every connection has finished its requests, or shortly after
/// the phase is [`Ending`](Phase::Ending).
pub(super) fn serve(
    listener: TcpListener,
    mut phase: watch::Receiver<Phase>,
    settings: Settings,
    service: impl Service,
) -> io::Result<impl Future<Output = ()> + Send> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let settings = Arc::new(settings);
    Ok(async move {
        // Closed when no connection has a receiver any more.
        let (connections, open) = watch::channel(());
        loop {
            let accepting = async {
                let place = settings.connections.place().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                accepted = accepting => accepted,
                () = reached(&mut phase, Phase::Finishing) => break,
            };
            let Ok((stream, client)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(place) = settings.connections.admit(place, client.ip()) else {
                continue;
            };
            // A small response must not wait for the client to acknowledge the previous one.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                settings: Arc::clone(&settings),
                address: client.ip(),
                phase: phase.clone(),
                service: service.clone(),
                open: open.clone(),
                _place: place,
            };
            tokio::spawn(connection.serve(stream));
        }
        drop((listener, open));
        connections.closed().await;
    })
}
