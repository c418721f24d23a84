//! An HTTP server that handles each request in a new instance of a guest.
//!
//! Each guest runs on its own thread (see `handler`), which is also its connection's, unless there
//! are many connections (see `listener`): statements, and a guest's own computing, block no other
//! client.

mod access_log;
mod answer;
mod disconnect;
mod exchange;
mod guest_output;
mod handler;
mod listener;
mod request;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use wasmtime::{Engine, WasmBacktraceDetails};
use wasmtime_wasi_http::handler::ProxyPre;

use self::handler::{Counters, Handler, Requests};
use self::listener::Phase;
use crate::component::{self, Instances};
use crate::databases::Databases;
use crate::error::{Error, Result};
use crate::failure::reason;
use crate::guest::{Guest, GuestSettings};
use crate::interfaces::Role;
use crate::log::Log;

/// How requests are served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpSettings {
    /// How long a request may take, until the end of its response. Defaults to 30 s.
    pub request_timeout: Duration,
    /// The maximum number of requests that run at the same time, each with a thread and an
    /// instance: 1 to 4096. Others are refused with the status 503. Defaults to 128.
    pub max_requests: u32,
    /// How long a request's head may take to arrive. Defaults to 30 s.
    pub head_timeout: Duration,
    /// How long a graceful shutdown waits for running requests. Defaults to 10 s.
    pub grace: Duration,
    /// How many bytes a guest may write to its stdout and stderr for one request. The rest is
    /// dropped. Defaults to 64 KiB.
    pub max_output_size: usize,
    /// Whether to report each request to the log. Defaults to true.
    pub access_log: bool,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            request_timeout: Duration::from_secs(30),
            max_requests: 128,
            head_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            max_output_size: 64 << 10,
            access_log: true,
        }
    }
}

/// The maximum number of client connections with their own thread, which uses five descriptors
/// each.
const CONNECTION_THREADS: usize = 64;

/// How long a shutdown continues after its grace: time for the threads to notice.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// A component that is ready to be served.
pub struct Server {
    engine: Engine,
    pre: ProxyPre<Guest>,
    guest: GuestSettings,
    http: HttpSettings,
    log: Arc<dyn Log>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Load the component in the file `component`, and check that it can be served. Blocks while it
    /// compiles.
    ///
    /// # Errors
    ///
    /// The file is not a component, no HTTP handler, or it imports what the host does not provide.
    pub fn load(
        component: &Path,
        guest: GuestSettings,
        lines: WasmBacktraceDetails,
        http: HttpSettings,
        log: Arc<dyn Log>,
    ) -> Result<Server> {
        let instances = Instances::Pooled(http.max_requests);
        let loaded = component::load(component, instances, &guest.limits, lines, &log)?;
        let roles = loaded.roles();
        let is_http = |role: &&Role| matches!(role, Role::Http02 | Role::Http03);
        let role = *roles.iter().find(is_http).ok_or_else(|| {
            Error::about(
                component,
                match roles.is_empty() {
                    true => {
                        "not an HTTP handler: it exports neither wasi:http/incoming-handler@0.2 \
                         nor wasi:http/handler@0.3"
                    }
                    false => "a command, not an HTTP handler: run it with `millpond run`",
                },
            )
        })?;
        let pre = loaded
            .check_memory(guest.limits.memory_size())
            .and_then(|()| loaded.link())
            .map_err(|reason| Error::about(component, reason))?;
        let pre =
            handler::proxy(role, pre).map_err(|error| Error::about(component, reason(&error)))?;
        loaded.start_epochs()?;
        Ok(Server {
            engine: loaded.engine().clone(),
            pre,
            guest,
            http,
            log,
        })
    }

    /// A tokio runtime that suits [`serve`](Server::serve): one with a thread for each request, and
    /// for each of some connections.
    ///
    /// # Errors
    ///
    /// The system has no more threads or descriptors.
    pub fn runtime(&self) -> io::Result<Runtime> {
        /// Threads for the runtime's own blocking work, in addition to those of the guests.
        const SPARE_THREADS: usize = 8;
        /// After how many polls, each of which a guest can make take 10 ms, the runtime looks for due
        /// timers and sockets. With 1, a task that yields runs before all others.
        const EVENT_INTERVAL: u32 = 8;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .max_blocking_threads(
                self.http.max_requests as usize + CONNECTION_THREADS + SPARE_THREADS,
            )
            .build()
    }

    /// Accept connections at once. Must be called within a tokio runtime, such as
    /// [`runtime`](Server::runtime).
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn serve(self, listener: TcpListener, databases: Databases) -> io::Result<Serving> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (phase, phases) = watch::channel(Phase::Serving);
        let http = self.http;
        let handler = Handler::new(
            self.engine,
            self.pre,
            self.guest,
            databases,
            &http,
            self.log,
        );
        let handler = Arc::new(handler);
        let requests = listener::serve(
            listener,
            phases,
            CONNECTION_THREADS,
            http.head_timeout,
            Requests(Arc::clone(&handler)),
        )?;
        let requests = tokio::spawn(requests);
        tokio::spawn({
            let handler = Arc::clone(&handler);
            async move { handler.watch_clients().await }
        });
        Ok(Serving {
            address,
            http,
            handler,
            phase,
            requests,
        })
    }
}

/// A server that accepts requests. Dropping it does not stop it: see
/// [`shut_down`](Serving::shut_down).
pub struct Serving {
    address: SocketAddr,
    http: HttpSettings,
    handler: Arc<Handler>,
    phase: watch::Sender<Phase>,
    requests: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Serving {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The databases.
    pub fn databases(&self) -> &Databases {
        self.handler.databases()
    }

    /// Serve the counters of the pools, as JSON, on another listener, until the server shuts down.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn serve_counters(&self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let service = Counters(Arc::clone(&self.handler));
        let phases = self.phase.subscribe();
        let counters = listener::serve(listener, phases, 0, self.http.head_timeout, service)?;
        tokio::spawn(counters);
        Ok(())
    }

    /// Shut down gracefully: accept no new requests, wait for those that run, for up to
    /// [`grace`](HttpSettings::grace) or until `now` completes, end the others, and close the
    /// databases.
    pub async fn shut_down(&mut self, now: impl Future<Output = ()>) {
        self.phase.send_replace(Phase::Finishing);
        let (requests, handler) = (&mut self.requests, &self.handler);
        let mut finish = pin!(async {
            // The first completes when all connections have ended, the second when all guests have.
            let _ = requests.await;
            handler.finished().await;
        });
        let finished = tokio::select! {
            finished = tokio::time::timeout(self.http.grace, &mut finish) => finished.is_ok(),
            () = now => false,
        };
        handler.end_all();
        self.phase.send_replace(Phase::Ending);
        let close = async {
            handler.databases().close(Duration::ZERO).await;
            if !finished {
                finish.await;
            }
        };
        let _ = tokio::time::timeout(LAST_GRACE, close).await;
    }
}
