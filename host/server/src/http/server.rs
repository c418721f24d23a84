//! A configuration with its components compiled, and the sockets that it is served on.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::background::max_blocking_threads;
use super::bounds::Connections;
use super::handler::{Handler, Requests};
use super::listener::{Phase, Settings};
use super::operator::Operator;
use super::serving::Serving;
use super::sockets::Sockets;
use super::tls::{self, Identity};
use crate::admin::{State, Watch};
use crate::config::Config;
use crate::databases::Databases;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::site::{self, Compiled, Programs, Site};

/// How often to look how much space is free on the databases' disks.
const LOOK_AT_DISKS_EVERY: Duration = Duration::from_secs(1);

/// A configuration that is ready to be served, with its components compiled. No database is open
/// yet.
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

impl Server {
    /// Read the certificates of `config`, compile its components, and check that they can be
    /// served. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// The first certificate or component that cannot be: the message begins with its file.
    pub fn load(config: Config, log: Arc<dyn Log>) -> Result<Server> {
        let identities = identities(&config, &log)?;
        site::check_tenants(&config)?;
        let compiled = Compiled::new(
            &config,
            config.server.max_requests,
            &Programs::default(),
            &log,
        )?;
        Ok(Server {
            config,
            compiled,
            identities,
            log,
        })
    }

    /// A tokio runtime that suits [`serve`](Server::serve): the slow statement of every request can
    /// hand its worker over to another thread.
    ///
    /// # Errors
    ///
    /// The system has no more threads or descriptors.
    pub fn runtime(&self) -> io::Result<Runtime> {
        /// After how many polls, each of which a guest can make take 2 ms, the runtime looks for
        /// due timers and sockets. With 1, a task that yields runs before all others.
        const EVENT_INTERVAL: u32 = 8;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .max_blocking_threads(max_blocking_threads(self.config.server.max_requests))
            .build()
    }

    /// Open the databases, and accept connections at once. The admin server does so before: it says
    /// that the server is starting. Blocks while migrations run. Must be called within a tokio
    /// runtime, such as [`runtime`](Server::runtime). In a current-thread runtime, a statement that
    /// takes long holds up everything else.
    ///
    /// Call [`Serving::shut_down`] before you drop the runtime. Guests that compute run on a second
    /// one, and dropping yours does not wait for it.
    ///
    /// # Errors
    ///
    /// A database cannot be opened, or cannot enforce what a grant says; or the system refuses a
    /// socket, or has no more threads or descriptors.
    pub fn serve(self, sockets: Sockets) -> Result<Serving> {
        let watch = Watch::new(&self.config, self.log);
        let operator = Operator::serve(sockets.admin, &self.config, &watch)?;
        let none = Databases::observed(watch.observer());
        let databases = none.reopen_without_backups(&self.config)?;
        watch.set_databases(&databases);
        watch.start_telemetry();
        let (site, site_in_use) = Site::new(&self.config, self.compiled, databases)?;
        site.databases.start_backups()?;
        let (phase, _) = watch::channel(Phase::Serving);
        let handler = Handler::new(site, Arc::clone(&watch)).map_err(|error| {
            Error::new(format_args!("the threads for guests that compute: {error}"))
        })?;
        let handler = Arc::new(handler);
        let log = Arc::clone(&watch) as Arc<dyn Log>;
        let connections = Connections::new(self.config.server.max_requests, Arc::clone(&log));
        let mut serving = Serving {
            addresses: Vec::new(),
            operator,
            started: self.config.clone(),
            config: self.config,
            watch,
            handler,
            site_in_use,
            closing: None,
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
                http2,
                tls.transpose()?,
                connections.clone(),
            );
            let address = serving.listen(socket, settings, requests)?;
            serving.addresses.push(address);
        }
        tokio::spawn(tls::watch(watched, log));
        let handler = Arc::clone(&serving.handler);
        tokio::spawn(async move { handler.look_for_leftovers().await });
        tokio::spawn(look_at_disks(Arc::downgrade(&serving.watch)));
        serving.watch.set_state(State::Serving);
        Ok(serving)
    }
}

/// Look at the disks of the databases now and again, until the server is dropped.
async fn look_at_disks(watch: Weak<Watch>) {
    while let Some(watch) = watch.upgrade() {
        // A disk may be on another machine, so looking can block for long.
        let _ = tokio::task::spawn_blocking(move || watch.look_at_disks()).await;
        tokio::time::sleep(LOOK_AT_DISKS_EVERY).await;
    }
}

/// The certificates of the listeners that have one, in their order.
pub(super) fn identities(
    config: &Config,
    log: &Arc<dyn Log>,
) -> Result<Vec<Option<Arc<Identity>>>> {
    let listeners = config.listeners.iter();
    let identities = listeners.map(|listener| {
        let tls = listener.tls.as_ref();
        tls.map(|files| Identity::load(files, &**log)).transpose()
    });
    identities.collect()
}
