//! A server that accepts requests: its reload and its shutdown.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::epochs::EpochProgress;
use super::handler::Handler;
use super::listener::{self, Phase, Service, Settings};
use super::operator::Operator;
use crate::admin::{Health, State, Watch};
use crate::config::Config;
use crate::databases::Databases;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::site::{Compiled, Site};

/// How long a shutdown continues after its grace: time for guests to end.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// A server that accepts requests. Dropping it does not stop it: see
/// [`shut_down`](Serving::shut_down).
pub struct Serving {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) operator: Operator,
    /// The configuration at the start: some of its settings hold until the end.
    pub(super) started: Config,
    pub(super) config: Config,
    pub(super) watch: Arc<Watch>,
    pub(super) handler: Arc<Handler>,
    /// Closed when no request uses the current configuration any more.
    pub(super) site_in_use: oneshot::Receiver<()>,
    /// Closes what the configurations before had open, in their order.
    pub(super) closing: Option<JoinHandle<()>>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) requests: JoinSet<()>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Serving {
    pub(super) fn listen(
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
        listen().map_err(|error: io::Error| Error::new(error).passing_if(true))
    }

    /// The addresses that it listens on, in the order of the configuration's listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URLs that it serves, in the same order: of each address, with the scheme.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let listeners = self.started.listeners.iter().map(Some);
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

    /// The configuration that it serves. Of a reloaded one, some settings only take effect at the
    /// next start.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Completes once the server is ready: once `/readyz` answers 200. Until then it asks each pool
    /// for a connection, twice a second. It must be polled within the server's tokio runtime.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let watch = Arc::clone(&self.watch);
        async move { Health::default().ready(&watch).await }
    }

    /// The names of the databases whose pools lend no connection within a second. It must be polled
    /// within the server's tokio runtime.
    pub fn unready(&self) -> impl Future<Output = Vec<String>> + Send + 'static {
        let watch = Arc::clone(&self.watch);
        async move { Health::default().unready(&watch).await }
    }

    /// A check whether guests that compute can still be interrupted, also after a reload.
    pub fn epochs(&self) -> EpochProgress {
        EpochProgress::new(Arc::clone(&self.handler))
    }

    /// How long a graceful shutdown waits for running requests.
    pub fn grace(&self) -> Duration {
        self.config.server.grace
    }

    /// The databases.
    pub fn databases(&self) -> Databases {
        self.handler.site().databases.clone()
    }

    /// Serve another configuration from now on. Requests that run continue under the one before,
    /// whose databases are closed after the last of them, unless the new one has them with the same
    /// settings. Components are compiled, and migrations run, on another thread.
    ///
    /// Returns the settings that differ, but only take effect when the server is started again.
    ///
    /// # Errors
    ///
    /// As [`Server::load`](crate::Server::load) and [`Server::serve`](crate::Server::serve). Then
    /// the server continues as before, except that migrations may have run.
    pub async fn reload(&mut self, config: Config) -> Result<Vec<&'static str>> {
        let (log, current) = (Arc::clone(&self.watch), self.handler.site());
        let log: Arc<dyn Log> = log;
        let max_requests = self.started.server.max_requests;
        let prepare = move || {
            let compiled = Compiled::new(&config, max_requests, &current.programs, &log)?;
            let databases = current.databases.reopen_without_backups(&config)?;
            let site = Site::new(&config, compiled, databases.clone());
            let site = site.and_then(|site| databases.start_backups().map(|()| site));
            Ok((config, databases, site))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (config, databases, site) = prepared.map_err(Error::new)??;
        let (site, in_use) = match site {
            Ok(site) => site,
            Err(error) => {
                let open = self.databases();
                databases.close_except(&open, Duration::ZERO).await;
                drop_elsewhere(databases).await;
                return Err(error);
            }
        };
        self.watch.set_databases(&databases);
        self.watch.apply_settings(&config.server);
        let before = self.handler.replace_site(site);
        let is_unused = std::mem::replace(&mut self.site_in_use, in_use);
        let closed = before.databases.clone();
        drop(before);
        let earlier = self.closing.take();
        let (former, kept) = (closed.clone(), databases.clone());
        // The last request may take long to end, and backups of the former settings would remove
        // what those of the new ones must keep.
        let stopped = tokio::task::spawn_blocking(move || former.stop_backups_except(&kept));
        self.closing = Some(tokio::spawn(async move {
            let _ = stopped.await;
            // Requests of an earlier configuration may use a database that this one kept open.
            if let Some(earlier) = earlier {
                let _ = earlier.await;
            }
            // Ends with an error, when the last request drops the sender.
            let _ = is_unused.await;
            closed.close_except(&databases, Duration::ZERO).await;
            drop_elsewhere(closed).await;
        }));
        let differing = only_at_start(&self.started, &config);
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
        let closing = self.closing.take();
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
            if let Some(closing) = closing {
                let _ = closing.await;
            }
        };
        let _ = tokio::time::timeout(LAST_GRACE, close).await;
        self.watch.finish_telemetry().await;
        self.operator.phase.send_replace(Phase::Ending);
        self.operator.serving.shutdown().await;
    }
}

/// Drop databases where that may block: their scheduled backups are stopped.
async fn drop_elsewhere(databases: Databases) {
    let _ = tokio::task::spawn_blocking(move || drop(databases)).await;
}

/// Which settings differ that have no effect on a running server.
fn only_at_start(before: &Config, after: &Config) -> Vec<&'static str> {
    let (one, other) = (&before.server, &after.server);
    let differing = [
        ("listeners", before.listeners != after.listeners),
        ("admin", before.admin != after.admin),
        ("telemetry", before.telemetry != after.telemetry),
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
