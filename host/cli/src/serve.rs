//! `millpond serve`: an HTTP server that handles each request in a new instance of a guest.
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

use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::arguments::{self, Address};
use crate::databases::{Borrowers, DatabaseOptions};
use crate::engine::{self, Instances};
use crate::failure::{Failure, reason};
use crate::guest::GuestOptions;
use crate::interfaces::{self, Role};
use crate::output::say;
use crate::serve::handler::{Counters, Handler, Requests};
use crate::serve::listener::Phase;
use crate::stats;

/// Serve an HTTP component
///
/// Every request gets a new instance and its own grant of the databases. When it ends, however it
/// ends, everything it holds is returned to the pool. The guest has no files and no network.
/// SIGTERM or Ctrl-C shuts down gracefully; a second one stops immediately.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond serve --db notes.db --migrations migrations notes.wasm
  millpond serve --listen 127.0.0.1:0 --db :memory: notes.wasm
  millpond serve --db app.db --pool-size 8 --stats 127.0.0.1:9090 app.wasm

Responses of the host: 503 with Retry-After if --max-requests are already running; 504 after
--request-timeout; 500 if the guest trapped or set no response (stderr gets the reason, and the
backtrace of a trap); 400, 414, 417, 421, 431 and 501 for requests that HTTP requires a server to
refuse. A client may close its sending half and wait for its response.

Exit status: 0 after a signal; 2 for a mistake in the command line, a file or a setting.")]
pub(crate) struct Serve {
    /// The component's file.
    component: PathBuf,

    #[command(flatten)]
    http: HttpOptions,

    #[command(flatten)]
    guest: GuestOptions,

    #[command(flatten)]
    databases: DatabaseOptions,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
struct HttpOptions {
    /// Address and port to listen on, such as 127.0.0.1:8080, localhost:8080, or :8080 for all
    /// addresses of this machine. Port 0 chooses a free port; the first line on stderr shows it.
    #[arg(
        long,
        alias = "addr",
        value_name = "SOCKADDR",
        default_value = "127.0.0.1:8080",
        value_parser = arguments::address
    )]
    listen: Address,

    /// How long a request may take, until the end of its response: more than 0, to 10000h.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = arguments::positive_duration
    )]
    request_timeout: Duration,

    /// Maximum number of requests that run at the same time, each with a thread and an instance: 1
    /// to 4096.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    max_requests: u32,

    /// How long a request's head may take to arrive: more than 0, to 1h.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = arguments::positive_timeout
    )]
    head_timeout: Duration,

    /// How long a graceful shutdown waits for running requests: 0 to 10000h.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = arguments::duration)]
    grace: Duration,

    /// Serve every database's pool counters, as JSON, at this address.
    #[arg(long, value_name = "SOCKADDR", value_parser = arguments::address)]
    stats: Option<Address>,

    /// How much a guest may write to its stdout and stderr for one request, in bytes or with a
    /// unit: up to 1GiB. The rest is dropped.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64KiB",
        value_parser = max_output,
        hide_short_help = true
    )]
    max_output_size: usize,

    /// Do not write a line on stderr for each request.
    #[arg(long)]
    no_access_log: bool,
}

fn max_output(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 0..=1 << 30, "0", "1GiB")
}

/// The maximum number of client connections with their own thread, which uses five descriptors
/// each.
const CONNECTION_THREADS: usize = 64;

/// How long a shutdown continues after `--grace`: time for the threads to notice.
const LAST_GRACE: Duration = Duration::from_secs(2);

impl Serve {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        // Databases last: a mistake in anything else must not create a file.
        let server = bind("--listen", &self.http.listen)?;
        let stats_server = self
            .http
            .stats
            .as_ref()
            .map(|address| bind("--stats", address));
        let stats_server = stats_server.transpose()?;
        let handler = self.load()?;
        let databases = self.databases.open(Borrowers::Many)?;

        let runtime = self.runtime()?;
        let handler = Arc::new(handler(databases));
        let outcome = runtime.block_on(self.serve(handler, server, stats_server));
        // A guest's thread that did not notice in time ends with the process.
        runtime.shutdown_background();
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// Load the component, and check that it can be served. The result only needs the databases.
    fn load(&self) -> Result<impl FnOnce(crate::databases::Databases) -> Handler, Failure> {
        let instances = Instances::Pooled(self.http.max_requests);
        let loaded = engine::load(
            &self.component,
            instances,
            &self.guest.limits(),
            self.guest.lines(),
        )?;
        let roles = interfaces::roles(&loaded.exports());
        let is_http = |role: &&Role| matches!(role, Role::Http02 | Role::Http03);
        let role = *roles.iter().find(is_http).ok_or_else(|| {
            Failure::about(
                &self.component,
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
            .check_memory(self.guest.max_memory_size)
            .and_then(|()| loaded.link())
            .map_err(|reason| Failure::about(&self.component, reason))?;
        let pre = handler::proxy(role, pre)
            .map_err(|error| Failure::about(&self.component, reason(&error)))?;
        loaded.start_epochs()?;
        let (guest, http) = (self.guest.clone(), self.http.clone());
        Ok(move |databases| Handler::new(loaded.engine, pre, guest, databases, http))
    }

    fn runtime(&self) -> Result<Runtime, Failure> {
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
            .map_err(Failure::mistake)
    }

    async fn serve(
        &self,
        handler: Arc<Handler>,
        server: TcpListener,
        stats_server: Option<TcpListener>,
    ) -> Result<(), Failure> {
        let (phase, phases) = watch::channel(Phase::Serving);
        let head_timeout = self.http.head_timeout;
        let mut signals = Signals::new()?;

        let address = server.local_addr().map_err(Failure::mistake)?;
        let service = Requests(Arc::clone(&handler));
        let requests = listener::serve(
            server,
            phases.clone(),
            CONNECTION_THREADS,
            head_timeout,
            service,
        )
        .map_err(Failure::mistake)?;
        let requests = tokio::spawn(requests);
        tokio::spawn({
            let handler = Arc::clone(&handler);
            async move { handler.watch_clients().await }
        });
        say(format_args!("Serving HTTP on http://{address}/"));
        if let Some(server) = stats_server {
            let address = server.local_addr().map_err(Failure::mistake)?;
            let service = Counters(Arc::clone(&handler));
            let counters = listener::serve(server, phases, 0, head_timeout, service)
                .map_err(Failure::mistake)?;
            tokio::spawn(counters);
            say(format_args!("Serving pool counters on http://{address}/"));
        }

        signals.next().await;
        say(format_args!(
            "Shutting down: waiting up to {:?} for running requests (Ctrl-C again to stop now)",
            self.http.grace
        ));
        phase.send_replace(Phase::Finishing);
        let mut finish = pin!(async {
            // The first completes when all connections have ended, the second when all guests have.
            let _ = requests.await;
            handler.finished().await;
        });
        let finished = tokio::select! {
            finished = tokio::time::timeout(self.http.grace, &mut finish) => finished.is_ok(),
            () = signals.next() => false,
        };
        handler.end_all();
        phase.send_replace(Phase::Ending);
        let close = async {
            handler.databases().close(Duration::ZERO).await;
            if !finished {
                finish.await;
            }
        };
        let _ = tokio::time::timeout(LAST_GRACE, close).await;
        for line in stats::to_table(&handler.databases().stats()).lines() {
            say(format_args!("{line}"));
        }
        Ok(())
    }
}

fn bind(flag: &str, address: &Address) -> Result<TcpListener, Failure> {
    let addresses = address.resolve();
    addresses
        .and_then(|addresses| TcpListener::bind(&*addresses))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| {
            Failure::mistake(format_args!(
                "cannot listen on {address}: {error}: choose another address by {flag}"
            ))
        })
}

/// The signals that end the server. Listened for from the start: otherwise an early signal would
/// kill the process.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Signals, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::mistake)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::mistake)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Signals, Failure> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
