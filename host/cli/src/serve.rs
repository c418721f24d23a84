//! `millpond serve`: an HTTP server that handles each request in a new instance of a guest.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millpond_server::config::{Address, Config, Listener, LogFormat, Reload, Size};
use millpond_server::{Event, FileChanges, Log, Server, Serving, Sockets};

use crate::arguments;
use crate::configuration;
use crate::databases::{Borrowers, DatabaseOptions};
use crate::failure::Failure;
use crate::guest::GuestOptions;
use crate::output::{self, print};
use crate::service_manager::{ServiceManager, passed_sockets};
use crate::stats;

/// Serve an HTTP component
///
/// Every request gets a new instance, unless --max-instance-reuse is more than 1, and its own grant
/// of the databases. When it ends, however it ends, everything it holds is returned to the pool.
/// The guest has no files and no network. SIGTERM or Ctrl-C shuts down gracefully; a second one
/// stops immediately. SIGHUP reads the configuration and the component again: running requests
/// continue, new ones see the change. If something is wrong with it, stderr says what, and the
/// server goes on as before.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond serve --db notes.db --migrations migrations notes.wasm
  millpond serve --listen 127.0.0.1:0 --db :memory: notes.wasm
  millpond serve --db app.db --pool-size 8 --stats 127.0.0.1:9090 app.wasm
  millpond serve --config millpond.toml

Responses of the host: 503 with Retry-After if --max-requests are already running; 504 after
--request-timeout; 500 if the guest trapped or set no response (stderr gets the reason, and the
backtrace of a trap); 400, 414, 417, 421, 431 and 501 for requests that HTTP requires a server to
refuse. With a configuration also 404 where no route fits or there is no such tenant, 401 without a
valid token, 413 for a body beyond max-body-size, and 429 with Retry-After for a client or tenant
that has as many requests as it may. A client may close its sending half and wait for its response.

Exit status: 0 after a signal; 1 if it cannot start for a reason that may pass, such as an address in
use, a locked database or a libSQL server that does not answer; 2 for a mistake in the command line,
a file or a setting.")]
pub(crate) struct Serve {
    /// The component's file.
    #[arg(required_unless_present = "config")]
    component: Option<PathBuf>,

    /// Serve the components, routes and databases in this file instead (see `millpond init`). It
    /// takes the place of all other options.
    #[arg(long, value_name = "FILE", exclusive = true)]
    config: Option<PathBuf>,

    /// Print the configuration file that the options mean, and do nothing else. Environment
    /// variables' values are in it.
    #[arg(long)]
    print_config: bool,

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

    /// How long a request may take, until its client has taken the whole response: more than 0, to
    /// 10000h.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = arguments::positive_duration
    )]
    request_timeout: Duration,

    /// Maximum number of requests that run at the same time: 1 to 4096. Each has an instance, and
    /// one whose statement takes long also has a thread.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    max_requests: u32,

    /// How many requests one instance may handle, one after another: 1 to 1000000
    ///
    /// With 1, each request gets a new instance. With more, the guest's memory stays from one
    /// request to the next, which may be another client's. Connections, statements and transactions
    /// do not. An instance handles no other request if it traps, times out, reaches a limit, does
    /// not respond or does not read the request's body, if its client disconnects, or if it has
    /// more than half of
    /// --max-memory-size or --max-handles.
    #[arg(
        long,
        alias = "max-instance-reuse-count",
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    max_instance_reuse: u32,

    /// How long an instance waits for another request before it is dropped: more than 0, to 1h.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1s",
        value_parser = arguments::positive_timeout,
        hide_short_help = true
    )]
    idle_instance_timeout: Duration,

    /// How long a request's head may take to arrive, and how long a connection may stay open
    /// without a request: more than 0, to 1h.
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

    /// Serve an operator at this address: a page, /metrics for Prometheus, /healthz, /readyz, and
    /// every database's pool counters as JSON at /stats. See `millpond top` and `millpond stats`.
    #[arg(long, value_name = "SOCKADDR", value_parser = arguments::address)]
    stats: Option<Address>,

    /// How much of a guest's stdout and stderr is logged for one request, in bytes or with a unit:
    /// up to 1GiB. Each line counts as 100 bytes more than its text. The rest is dropped.
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
    fn configure(&self, config: &mut Config) {
        let server = &mut config.server;
        server.request_timeout = self.request_timeout;
        server.max_requests = self.max_requests;
        server.max_instance_reuse = self.max_instance_reuse;
        server.idle_instance_timeout = self.idle_instance_timeout;
        server.head_timeout = self.head_timeout;
        server.grace = self.grace;
        server.max_output_size = Size(self.max_output_size as u64);
        server.access_log = !self.no_access_log;
        let mut listener = Listener::default();
        listener.address = self.listen.clone();
        config.listeners.push(listener);
        config.admin.address = self.stats.clone();
        // The operator wrote the address.
        let is_loopback = self.stats.as_ref().is_none_or(Address::is_loopback);
        config.admin.allow_other_machines = !is_loopback;
    }
}

impl Serve {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let passed = passed_sockets()?;
        let manager = ServiceManager::of_this_process();
        let changes = FileChanges::default();
        let config = self.config_noticing(&changes)?;
        if self.print_config {
            print(&config.to_toml());
            return Ok(ExitCode::SUCCESS);
        }
        let log = match self.config {
            Some(_) => output::log(config.server.log_format),
            None => output::terminal(),
        };
        output::warn_in(&log);
        // First: compiling takes longer.
        let sockets = match passed.is_empty() {
            false => Sockets::bind_with(&config, passed)
                .map_err(|error| Failure::of_start(&error, &error))?,
            true => Sockets::bind(&config).map_err(|error| {
                let how = self.how();
                let message = format_args!("{error}: choose another address by {how}");
                Failure::of_start(&error, message)
            })?,
        };
        let starting = Starting::new()?;
        manager.status("Compiling components");
        let of_start = |error| Failure::of_start(&error, &error);
        let server = Server::load(config, Arc::clone(&log)).map_err(of_start)?;
        let runtime = server.runtime().map_err(Failure::not_now)?;
        let outcome = runtime.block_on(async {
            let signals = Signals::new()?;
            // Blocks while migrations run.
            let serving = server.serve(sockets).map_err(of_start)?;
            drop(starting);
            manager.start_watchdog(Arc::clone(&log), serving.epochs());
            self.serve(serving, signals, &*log, manager, &changes).await;
            Ok::<(), Failure>(())
        });
        // A guest's thread that did not notice in time ends with the process.
        runtime.shutdown_background();
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// The configuration in the file, or that the flags mean.
    fn config(&self) -> Result<Config, Failure> {
        if let Some(file) = &self.config {
            return configuration::read(file);
        }
        // clap requires one of the two.
        let component = self.component.as_deref().unwrap_or(Path::new(""));
        let mut config = Config::default();
        self.http.configure(&mut config);
        let mut component = self.guest.component(component);
        let databases = &self.databases;
        databases.configure(&mut config, &mut component, Borrowers::Many)?;
        configuration::of_flags(config, component)
    }

    /// Like `config`. `changes` notices if a file changes after it was read here.
    fn config_noticing(&self, changes: &FileChanges) -> Result<Config, Failure> {
        let file = self.config.as_deref();
        changes.reading(file);
        let config = self.config()?;
        changes.reading(config.reloaded_files());
        changes.keep_only(file.into_iter().chain(config.reloaded_files()));
        Ok(config)
    }

    async fn serve(
        &self,
        mut serving: Serving,
        mut signals: Signals,
        log: &dyn Log,
        manager: ServiceManager,
        changes: &FileChanges,
    ) {
        let say = |message: &str| log.event(&Event::Message { message });
        // A reload does not change the form of the log.
        let format = serving.config().server.log_format;
        for url in serving.urls() {
            say(&format!("Serving HTTP on {url}"));
        }
        if let Some(address) = serving.admin_address() {
            say(&format!(
                "Serving metrics and the operator's page on http://{address}/"
            ));
        }
        let serves = serving.urls().map(|url| format!("Serving HTTP on {url}"));
        let serves = serves.collect::<Vec<_>>().join(", ");
        let mut ready = pin!(serving.ready());
        let mut late = pin!(manager.late(&serving, &serves));
        let mut is_ready = !manager.is_there();
        let mut awaits_databases = manager.is_there();
        let mut again = false;
        loop {
            let is_noticed = serving.config().server.reload == Reload::OnChange;
            let told = tokio::select! {
                told = signals.next() => told,
                () = std::future::ready(()), if again => Told::Reload,
                () = changes.changed(), if is_noticed => Told::Reload,
                () = &mut ready, if awaits_databases => {
                    (is_ready, awaits_databases) = (true, false);
                    manager.ready(&serves);
                    continue;
                }
                status = &mut late, if !is_ready => {
                    is_ready = true;
                    manager.ready(&status);
                    continue;
                }
            };
            if told == Told::End {
                break;
            }
            if is_ready {
                manager.reloading();
            }
            // Compiling and migrating may take long. A signal meanwhile may be about what has
            // already been read. A change of a file is noticed afterwards.
            again = false;
            let reload = self.reload(&mut serving, changes);
            let told = tokio::select! {
                told = reload => told,
                () = signals.end(&mut again) => break,
            };
            say(&told);
            if is_ready {
                manager.ready(&format!("{serves}. {told}"));
            }
        }
        let told = format!(
            "Shutting down: waiting up to {:?} for running requests (Ctrl-C again to stop now)",
            serving.grace()
        );
        manager.stopping(&told);
        say(&told);
        serving.shut_down(signals.end(&mut again)).await;
        let stats = serving.databases().stats_json();
        match format {
            LogFormat::Text => stats::to_table(&stats).lines().for_each(say),
            LogFormat::Json => say("Stopped"),
        }
    }

    /// Serve what the file or the flags mean now. If that is wrong, go on as before. Returns what
    /// to tell the operator.
    async fn reload(&self, serving: &mut Serving, changes: &FileChanges) -> String {
        let reloaded = match self.config_noticing(changes) {
            Ok(config) => serving.reload(config).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match reloaded {
            Ok(later) if later.is_empty() => "Reloaded".to_owned(),
            Ok(later) => format!(
                "Reloaded, but these take effect when the server is started again: {}",
                later.join(", ")
            ),
            Err(failure) => format!("Not reloaded, serving as before: {failure}"),
        }
    }

    /// Where the operator wrote the addresses.
    fn how(&self) -> &'static str {
        match (&self.config, &self.http.stats) {
            (Some(_), _) => "`address` in the configuration",
            (None, None) => "--listen",
            (None, Some(_)) => "--listen or --stats",
        }
    }
}

/// A server that starts. Until this is dropped, SIGTERM and Ctrl-C end the process at once: no
/// request runs yet, and a migration that is cut off is rolled back. Without a handler, the first
/// process of a container would ignore the signals.
struct Starting {
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Starting {
    fn new() -> Result<Starting, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::not_now)?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        let (_end, is_started) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("millpond-signals".to_owned());
        let wait = move || {
            // There is nothing to reload yet.
            let mut reload = false;
            runtime.block_on(async {
                tokio::select! {
                    () = signals.end(&mut reload) => std::process::exit(0),
                    _ = is_started => {}
                }
            });
        };
        thread.spawn(wait).map_err(Failure::not_now)?;
        Ok(Starting { _end })
    }
}

/// What a signal tells the server to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Reload,
    End,
}

/// The signals for the server.
#[cfg(unix)]
struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Signals, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            hangup: signal(SignalKind::hangup()).map_err(Failure::not_now)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::not_now)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::not_now)?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::End,
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

    async fn next(&mut self) -> Told {
        let _ = tokio::signal::ctrl_c().await;
        Told::End
    }
}

impl Signals {
    /// Wait until the server is told to end. Sets `reload` if it is told to reload meanwhile.
    async fn end(&mut self, reload: &mut bool) {
        while self.next().await != Told::End {
            *reload = true;
        }
    }
}
