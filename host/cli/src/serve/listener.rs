//! Accepts connections and speaks HTTP/1 on them, until told to stop.
//!
//! A connection has a thread of its own, where one is to be had: between the arrival of a request and its
//! response, nothing is handed from one thread to another, which takes longer than a quick guest does.
//! Where there are more connections than that, the others share the runtime's threads.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::LocalSet;

/// How long a client may take to send a request's head: a slow one holds a connection, no more.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the system refuses a connection, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whom a request came from.
#[derive(Clone, Debug)]
pub(super) enum Client {
    /// One of many on the runtime's threads.
    Shared,
    /// The only one on this thread, in a [`LocalSet`]; and its socket, to look at from another.
    Alone(Arc<std::net::TcpStream>),
}

/// Serve `listener`, which must be non-blocking; up to `threads` connections at once have a thread each.
/// The future is over once the sender of `stopped` is dropped and every connection has finished the request
/// it was at.
pub(super) fn serve<H, F, B>(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    threads: usize,
    handle: H,
) -> io::Result<impl Future<Output = ()> + Send>
where
    H: Fn(Request<Incoming>, Client) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let threads = Arc::new(Semaphore::new(threads));
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
            let (handle, watcher) = (handle.clone(), connections.watcher());
            match Thread::new(&threads) {
                Some(thread) => thread.serve(stream, watcher, handle),
                None => {
                    tokio::spawn(speak(stream, Client::Shared, watcher, handle));
                }
            }
        }
        drop(listener);
        connections.shutdown().await;
    })
}

/// A thread for a connection, with what it takes to wait for that alone.
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

    fn serve<H, F, B>(self, stream: tokio::net::TcpStream, watcher: Watcher, handle: H)
    where
        H: Fn(Request<Incoming>, Client) -> F + Send + 'static,
        F: Future<Output = Response<B>> + Send,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        tokio::task::spawn_blocking(move || {
            let tasks = LocalSet::new();
            // A stream that cannot be moved is as good as one that the client has closed.
            let _ = tasks.block_on(&self.runtime, async {
                let stream = stream.into_std()?;
                let client = Client::Alone(Arc::new(stream.try_clone()?));
                let stream = tokio::net::TcpStream::from_std(stream)?;
                speak(stream, client, watcher, handle).await;
                io::Result::Ok(())
            });
            // Guests that have something to do after their response.
            self.runtime.block_on(tasks);
            drop(self.place);
        });
    }
}

async fn speak<H, F, B>(stream: tokio::net::TcpStream, client: Client, watcher: Watcher, handle: H)
where
    H: Fn(Request<Incoming>, Client) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + 'static,
{
    let service = service_fn(move |request| {
        let response = handle(request, client.clone());
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off is no event: what it asked for is in the access log.
    let _ = watcher.watch(connection).await;
}
