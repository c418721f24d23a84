//! Accepts connections and speaks HTTP/1 on them, until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::watch;

/// How long a client may take to send a request's head: a slow one holds a connection, no more.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the system refuses a connection, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serve `listener`, which must be non-blocking. The future is over once the sender of `stopped`
/// is dropped and every connection has finished the request it was at.
pub(super) fn serve<H, F, B>(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    handle: H,
) -> io::Result<impl Future<Output = ()> + Send>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    Ok(async move {
        let connections = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.changed() => break,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // A small response must not wait for the client to acknowledge the one before.
            let _ = stream.set_nodelay(true);
            let handle = handle.clone();
            let service = service_fn(move |request| {
                let response = handle(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let connection = http1.serve_connection(TokioIo::new(stream), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                // A client that breaks off is no event: what it asked for is in the access log.
                let _ = connection.await;
            });
        }
        drop(listener);
        connections.shutdown().await;
    })
}
