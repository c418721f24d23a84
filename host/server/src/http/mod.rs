//! An HTTP server that handles each request in an instance of a guest: a new one, unless
//! [`max_instance_reuse`](config::Server::max_instance_reuse) allows more requests.
//!
//! Each guest runs on its own thread (see `handler`), which is also its connection's, unless there
//! are many connections (see `listener`): statements, and a guest's own computing, block no other
//! client.

mod access_log;
mod admin;
mod answer;
mod bounds;
mod call;
mod compression;
mod connection;
mod disconnect;
mod exchange;
mod guest_output;
mod handler;
mod http2;
mod instances;
mod listener;
mod request;
mod tls;
mod upload;
mod wire;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::admin::ForOperator;
use self::bounds::Connections;
use self::handler::{Handler, Requests};
use self::listener::{Phase, Service, Settings};
use self::tls::Identity;
use crate::admin::{Admin, State, Watch};
use crate::config::{self, Address, Config};
use crate::databases::Databases;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::site::{Compiled, Site};

/// The maximum number of client connections with their own thread, which uses five descriptors
/// each.
const CONNECTION_THREADS: usize = 64;

/// How long a shutdown continues after its grace: time for the threads to notice.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// A configuration that is ready to be served, with its components compiled. No database is open yet.
pub struct Server {
    config: Config,
    compiled: Compiled,
    /// The certificates of the listeners that have one, in their order.
    identities: Vec<Option<Arc<Identity>>>,
    log: Arc<dyn Log>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The sockets of a server.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sockets {
    /// Of each of the configuration's listeners, in their order.
    pub listeners: Vec<TcpListener>,
    /// Of the admin server, if there is one.
    pub admin: Option<TcpListener>,
}

impl Server {
    /// Read the certificates of `config`, compile its components, and check that they can be served.
    /// Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// The first certificate or component that cannot be: the message begins with its file.
    pub fn load(config: Config, log: Arc<dyn Log>) -> Result<Server> {
        let listeners = config.listeners.iter();
        let identities = listeners.map(|listener| {
            let tls = listener.tls.as_ref();
            tls.map(|files| Identity::load(files, &*log)).transpose()
        });
        let identities = identities.collect::<Result<_>>()?;
        let compiled = Compiled::new(&config, &log)?;
        Ok(Server {
            config,
            compiled,
            identities,
            log,
        })
    }

    /// Listen on the addresses of the configuration. Blocks while it looks up names.
    ///
    /// # Errors
    ///
    /// The system refuses an address: the message says which.
    pub fn bind(&self) -> Result<Sockets> {
        let listeners = self.config.listeners.iter();
        let mut listeners = listeners
            .map(|listener| bind(&listener.address))
            .collect::<Result<Vec<_>>>()?;
        if listeners.is_empty() {
            listeners.push(bind(&config::Listener::default().address)?);
        }
        let admin = self.config.admin.address.as_ref();
        Ok(Sockets {
            listeners,
            admin: admin.map(bind).transpose()?,
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
                self.config.server.max_requests as usize + CONNECTION_THREADS + SPARE_THREADS,
            )
            .build()
    }

    /// Open the databases, and accept connections at once. The admin server does so before: it says
    /// that the server is starting. Blocks while migrations run. Must be called within a tokio
    /// runtime, such as [`runtime`](Server::runtime).
    ///
    /// # Errors
    ///
    /// A database cannot be opened, cannot enforce what a grant says, or the system refuses a socket.
    pub fn serve(self, sockets: Sockets) -> Result<Serving> {
        set_process_memory_limit(&self.config);
        let watch = Watch::new(&self.config, self.log);
        let operator = Operator::serve(sockets.admin, &self.config, &watch)?;
        let databases = match watch.observer() {
            Some(observer) => Databases::open_observed(&self.config, observer)?,
            None => Databases::open(&self.config)?,
        };
        watch.set_databases(&databases);
        let (site, site_in_use) = Site::new(&self.config, self.compiled, databases)?;
        let (phase, _) = watch::channel(Phase::Serving);
        let handler = Arc::new(Handler::new(site, Arc::clone(&watch)));
        let log = Arc::clone(&watch) as Arc<dyn Log>;
        let connections = Connections::new(self.config.server.max_requests, Arc::clone(&log));
        let mut serving = Serving {
            addresses: Vec::new(),
            operator,
            config: self.config,
            watch,
            handler,
            site_in_use,
            phase,
            requests: JoinSet::new(),
        };
        let mut identities = self.identities.into_iter();
        let mut watched = Vec::new();
        for (index, socket) in sockets.listeners.into_iter().enumerate() {
            let requests = Requests(Arc::clone(&serving.handler));
            let listener = serving.config.listeners.get(index);
            let http2 = listener.is_none_or(|listener| listener.http2);
            let identity = identities.next().flatten();
            let tls = identity.as_ref().map(|identity| identity.acceptor(http2));
            watched.extend(identity.clone());
            let settings = Settings::new(
                &serving.config.server,
                bounds::connection_threads(CONNECTION_THREADS),
                http2,
                tls.transpose()?,
                connections.clone(),
            );
            let address = serving.listen(socket, settings, requests)?;
            serving.addresses.push(address);
        }
        tokio::spawn(tls::watch(watched, log));
        let handler = Arc::clone(&serving.handler);
        tokio::spawn(async move { handler.watch_clients().await });
        serving.watch.set_state(State::Serving);
        Ok(serving)
    }
}

/// The admin server, if there is one. It serves until a shutdown is complete.
struct Operator {
    address: Option<SocketAddr>,
    phase: watch::Sender<Phase>,
    serving: JoinSet<()>,
}

impl Operator {
    fn serve(socket: Option<TcpListener>, config: &Config, watch: &Arc<Watch>) -> Result<Operator> {
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut operator = Operator {
            address: None,
            phase,
            serving: JoinSet::new(),
        };
        let Some(socket) = socket else {
            return Ok(operator);
        };
        let name = config.admin.address.as_ref().map_or("", Address::host);
        let admin = ForOperator(Arc::new(Admin::new(Arc::clone(watch), name)));
        let listen = || {
            let address = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            // Its own, so that clients cannot take them.
            let connections = Connections::new(1, Arc::clone(watch) as Arc<dyn Log>);
            let settings = Settings::new(&config.server, 0, false, None, connections);
            let serving = listener::serve(socket, phases, settings, admin)?;
            operator.serving.spawn(serving);
            Ok(address)
        };
        operator.address = Some(listen().map_err(|error: io::Error| Error::new(error))?);
        Ok(operator)
    }
}

/// SQLite counts its memory for the whole process.
fn set_process_memory_limit(config: &Config) {
    let limit = config.server.max_sqlite_memory.bytes();
    millpond_sqlite::set_process_memory_limit(usize::try_from(limit).unwrap_or(usize::MAX));
}

/// Which settings differ that have no effect on a running server.
fn only_at_start(before: &Config, after: &Config) -> Vec<&'static str> {
    let (one, other) = (&before.server, &after.server);
    let differing = [
        ("listeners", before.listeners != after.listeners),
        ("admin", before.admin != after.admin),
        (
            "server.max-requests",
            one.max_requests != other.max_requests,
        ),
        (
            "server.head-timeout",
            one.head_timeout != other.head_timeout,
        ),
        (
            "server.max-head-size",
            one.max_head_size != other.max_head_size,
        ),
        ("server.max-headers", one.max_headers != other.max_headers),
        ("server.log-format", one.log_format != other.log_format),
        (
            "server.slow-statement-time",
            one.slow_statement_time != other.slow_statement_time,
        ),
    ];
    let differing = differing.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key).collect()
}

fn bind(address: &Address) -> Result<TcpListener> {
    let addresses = address.resolve();
    let listener = addresses.and_then(|addresses| TcpListener::bind(&*addresses));
    listener.map_err(|error| Error::new(format_args!("cannot listen on {address}: {error}")))
}

/// A server that accepts requests. Dropping it does not stop it: see
/// [`shut_down`](Serving::shut_down).
pub struct Serving {
    addresses: Vec<SocketAddr>,
    operator: Operator,
    config: Config,
    watch: Arc<Watch>,
    handler: Arc<Handler>,
    /// Closed when no request uses the current configuration any more.
    site_in_use: oneshot::Receiver<()>,
    phase: watch::Sender<Phase>,
    requests: JoinSet<()>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Serving {
    fn listen(
        &mut self,
        socket: TcpListener,
        settings: Settings,
        service: impl Service,
    ) -> Result<SocketAddr> {
        let listen = || {
            let address = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            let phases = self.phase.subscribe();
            let serving = listener::serve(socket, phases, settings, service)?;
            self.requests.spawn(serving);
            Ok(address)
        };
        listen().map_err(|error: io::Error| Error::new(error))
    }

    /// The addresses that it listens on, in the order of the configuration's listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URLs that it serves, in the same order: of each address, with the scheme.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let listeners = self.config.listeners.iter().map(Some);
        let addresses = self.addresses.iter();
        addresses
            .zip(listeners.chain(std::iter::repeat(None)))
            .map(|(address, listener)| {
                let has_tls = listener.is_some_and(|listener| listener.tls.is_some());
                let scheme = if has_tls { "https" } else { "http" };
                format!("{scheme}://{address}/")
            })
    }

    /// The address of the admin server, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.operator.address
    }

    /// The databases.
    pub fn databases(&self) -> Databases {
        self.handler.site().databases.clone()
    }

    /// Serve another configuration from now on. Requests that run continue under the one before, whose
    /// databases are closed after the last of them, unless the new one has them with the same
    /// settings. Components are compiled, and migrations run, on another thread.
    ///
    /// Returns the settings that differ, but only take effect when the server is started again.
    ///
    /// # Errors
    ///
    /// As [`Server::load`] and [`Server::serve`]. Then the server continues as before, except that
    /// migrations may have run.
    pub async fn reload(&mut self, config: Config) -> Result<Vec<&'static str>> {
        let (log, open) = (Arc::clone(&self.watch), self.databases());
        let log: Arc<dyn Log> = log;
        let prepare = move || {
            let compiled = Compiled::new(&config, &log)?;
            let databases = open.reopen(&config)?;
            let site = Site::new(&config, compiled, databases.clone());
            Ok((config, databases, site))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (config, databases, site) = prepared.map_err(Error::new)??;
        let (site, in_use) = match site {
            Ok(site) => site,
            Err(error) => {
                let open = self.databases();
                databases.close_except(&open, Duration::ZERO).await;
                return Err(error);
            }
        };
        self.watch.set_databases(&databases);
        self.watch.set_access_log(config.server.access_log);
        let before = self.handler.replace_site(site);
        let is_unused = std::mem::replace(&mut self.site_in_use, in_use);
        let closed = before.databases.clone();
        drop(before);
        tokio::spawn(async move {
            // Ends with an error, when the last request drops the sender.
            let _ = is_unused.await;
            closed.close_except(&databases, Duration::ZERO).await;
        });
        set_process_memory_limit(&config);
        let differing = only_at_start(&self.config, &config);
        self.config = config;
        Ok(differing)
    }

    /// Shut down gracefully: accept no new requests, wait for those that run, for up to the
    /// configuration's `grace` or until `now` completes, end the others, and close the databases.
    pub async fn shut_down(&mut self, now: impl Future<Output = ()>) {
        self.watch.set_state(State::ShuttingDown);
        self.phase.send_replace(Phase::Finishing);
        let handler = Arc::clone(&self.handler);
        let databases = self.databases();
        let mut finish = pin!(async {
            // The first completes when all connections have ended, the second when all guests have.
            while self.requests.join_next().await.is_some() {}
            handler.finished().await;
        });
        let grace = self.config.server.grace;
        let finished = tokio::select! {
            finished = tokio::time::timeout(grace, &mut finish) => finished.is_ok(),
            () = now => false,
        };
        handler.end_all();
        self.phase.send_replace(Phase::Ending);
        let close = async {
            databases.close(Duration::ZERO).await;
            if !finished {
                finish.await;
            }
        };
        let _ = tokio::time::timeout(LAST_GRACE, close).await;
        self.operator.phase.send_replace(Phase::Ending);
        self.operator.serving.shutdown().await;
    }
}
