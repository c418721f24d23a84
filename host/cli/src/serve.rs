//! `millpond serve`: an HTTP server that handles each request in a new instance of a guest.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use millpond_server::{Databases, HttpSettings, Server};

use crate::arguments::{self, Address};
use crate::databases::{Borrowers, DatabaseOptions};
use crate::failure::Failure;
use crate::guest::GuestOptions;
use crate::output::{say, terminal};
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

impl HttpOptions {
    fn settings(&self) -> HttpSettings {
        let mut settings = HttpSettings::default();
        settings.request_timeout = self.request_timeout;
        settings.max_requests = self.max_requests;
        settings.head_timeout = self.head_timeout;
        settings.grace = self.grace;
        settings.max_output_size = self.max_output_size;
        settings.access_log = !self.no_access_log;
        settings
    }
}

impl Serve {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        // Databases last: a mistake in anything else must not create a file.
        let listener = bind("--listen", &self.http.listen)?;
        let stats = self.http.stats.as_ref();
        let stats = stats.map(|address| bind("--stats", address)).transpose()?;
        let server = Server::load(
            &self.component,
            self.guest.settings(),
            self.guest.lines(),
            self.http.settings(),
            terminal(),
        )?;
        let databases = self.databases.open(Borrowers::Many)?;

        let runtime = server.runtime().map_err(Failure::mistake)?;
        let outcome = runtime.block_on(self.serve(server, databases, listener, stats));
        // A guest's thread that did not notice in time ends with the process.
        runtime.shutdown_background();
        outcome.map(|()| ExitCode::SUCCESS)
    }

    async fn serve(
        &self,
        server: Server,
        databases: Databases,
        listener: TcpListener,
        stats: Option<TcpListener>,
    ) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let mut serving = server
            .serve(listener, databases)
            .map_err(Failure::mistake)?;
        say(format_args!(
            "Serving HTTP on http://{}/",
            serving.address()
        ));
        if let Some(listener) = stats {
            let address = listener.local_addr().map_err(Failure::mistake)?;
            serving.serve_counters(listener).map_err(Failure::mistake)?;
            say(format_args!("Serving pool counters on http://{address}/"));
        }

        signals.next().await;
        say(format_args!(
            "Shutting down: waiting up to {:?} for running requests (Ctrl-C again to stop now)",
            self.http.grace
        ));
        serving.shut_down(signals.next()).await;
        for line in stats::to_table(&serving.databases().stats_json()).lines() {
            say(format_args!("{line}"));
        }
        Ok(())
    }
}

fn bind(flag: &str, address: &Address) -> Result<TcpListener, Failure> {
    let addresses = address.resolve();
    addresses
        .and_then(|addresses| TcpListener::bind(&*addresses))
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
