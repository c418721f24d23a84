//! `millpond run`: one guest, from its start to its exit code.

use std::ffi::OsString;
use std::future::pending;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use millpond_server::config::Config;
use millpond_server::{Databases, Grants, Guest, GuestSettings, Instances, Reached, Role};
use tokio::sync::Notify;
use wasmtime::component::InstancePre;
use wasmtime::{Store, WasmBacktraceDetails};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::{p2, p3};

use crate::arguments;
use crate::configuration;
use crate::databases::{Borrowers, DatabaseOptions};
use crate::failure::Failure;
use crate::granted::how_to_grant;
use crate::guest::GuestOptions;
use crate::output::{say, terminal};
use crate::stdio::{self, GuestStream, Stream};

/// Run a command component
///
/// The guest gets this command's standard streams, the arguments after the component, and the
/// databases that are granted; no files and no network.
#[derive(Args)]
#[command(
    override_usage = "millpond run [OPTIONS] <COMPONENT> [ARGS]...",
    after_help = "\
Examples:
  millpond run --db app.db import.wasm people.csv
  millpond run --db app.db --db-read-only geo=geo.db report.wasm --help
  millpond run --db :memory: --env LOG=debug try.wasm

A statement is stopped after --max-statement-time, the guest after --max-run-time.

Exit status: the guest's own: 0 or 1 with `exit` of WASI 0.2, which most languages' `exit(3)` calls;
0 to 255 with `exit-with-code` (since 0.2.12, and in 0.3); 1 if its `run` returned an error, which a
line on stderr says. 134 if the guest trapped, with a backtrace on stderr, or exceeded
--max-run-time; 141 if the reader of its output closed the pipe; 2 for a mistake in the command
line, a file or a setting."
)]
pub(crate) struct Run {
    /// The component's file, and the guest's arguments: everything after the file is passed to the
    /// guest, even `--help` and `--`.
    #[arg(value_name = "COMPONENT", required = true, num_args = 1.., trailing_var_arg = true)]
    command: Vec<OsString>,

    /// How long the guest may run, until its exit: more than 0, to 10000h. [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = arguments::positive_duration)]
    max_run_time: Option<Duration>,

    #[command(flatten)]
    guest: GuestOptions,

    #[command(flatten)]
    databases: DatabaseOptions,
}

impl Run {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let file = Path::new(&self.command[0]);
        let mut component = self.guest.component(file);
        component.args = self.args()?;
        let mut config = Config::default();
        let databases = &self.databases;
        databases.configure(&mut config, &mut component, Borrowers::One)?;
        let config = configuration::of_flags(config, component.clone())?;
        let guest = GuestSettings::new(&component)?;
        let lines = match component.source_lines {
            true => WasmBacktraceDetails::Enable,
            false => WasmBacktraceDetails::Disable,
        };
        let loaded =
            millpond_server::load(file, Instances::One, &guest.limits, lines, &terminal())?;
        let roles = loaded.roles();
        let is_command = |role: &&Role| matches!(role, Role::Command02 | Role::Command03);
        let role = *roles.iter().find(is_command).ok_or_else(|| {
            Failure::about(
                file,
                match roles.is_empty() {
                    true => "not a command: it does not export wasi:cli/run",
                    false => "an HTTP handler, not a command: run it with `millpond serve`",
                },
            )
        })?;
        let pre = loaded
            .check_memory(guest.limits.memory_size())
            .and_then(|()| loaded.link())
            .map_err(|reason| Failure::about(file, reason))?;
        let databases = Databases::open(&config)?;
        let grants = Grants::new("guest", &component, &databases)?;

        // A guest without a time limit needs no epochs.
        if self.max_run_time.is_some() {
            loaded.start_epochs()?;
        }
        let deadline = self
            .max_run_time
            .and_then(|time| Instant::now().checked_add(time));
        let broken = Arc::new(Notify::new());
        let stream = |stream| GuestStream::new(stream, Arc::clone(&broken));
        let mut wasi = guest.wasi();
        wasi.inherit_stdin()
            .stdout(stream(Stream::Stdout))
            .stderr(stream(Stream::Stderr));
        // There are no tenants, whose databases would be waited for.
        let context = millpond_pool::block_on(grants.context(1, deadline, None));
        let context = context.map_err(Failure::mistake)?;
        let mut store = guest.store(loaded.engine(), wasi.build(), context);

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(Failure::mistake)?;
        let outcome = runtime.block_on(async {
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => pending().await,
                }
            };
            let outcome = tokio::select! {
                biased;
                outcome = call(&mut store, &pre, role) => outcome,
                () = broken.notified() => Err(stdio::broken_pipe()),
                () = over => Err(wasmtime::format_err!("it ran for longer than --max-run-time")),
            };
            let outcome = outcome.map_err(|error| store.data_mut().explain(error));
            let failed = matches!(outcome, Ok(Err(())));
            let reached = store.data().reached().filter(|_| failed);
            let unknown = store.data().unknown_database().map(how_to_grant);
            drop(store); // The connections that the guest still held are back now.
            databases.close(Duration::ZERO).await;
            if let Some(how) = unknown {
                say(format_args!("millpond: {how}"));
            }
            if let Some(reached) = reached {
                say(format_args!("millpond: the guest {reached}"));
            }
            outcome
        });
        // A thread may still be reading stdin for the guest: do not wait for it.
        runtime.shutdown_background();
        let is_handler = |role: &Role| matches!(role, Role::Http02 | Role::Http03);
        let hint = match roles.iter().any(is_handler) {
            true => "; it is an HTTP handler too: run that with `millpond serve`",
            false => "",
        };
        exit_code(outcome, hint)
    }

    /// WASI's arguments are text.
    fn args(&self) -> Result<Vec<String>, Failure> {
        let args = self.command[1..].iter();
        args.map(|arg| {
            let refusal = || format!("the guest's argument {} is not UTF-8", arg.display());
            let arg = arg.to_str().ok_or_else(|| Failure::mistake(refusal()))?;
            Ok(arg.to_owned())
        })
        .collect()
    }
}

async fn call(
    store: &mut Store<Guest>,
    pre: &InstancePre<Guest>,
    role: Role,
) -> wasmtime::Result<Result<(), ()>> {
    match role {
        Role::Command03 => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let command = p3::bindings::Command::new(&mut *store, &instance)?;
            let run =
                store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await);
            run.await?
        }
        _ => {
            let command = p2::bindings::CommandPre::new(pre.clone())?;
            let command = command.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(store).await
        }
    }
}

/// `hint` is added to a failure.
fn exit_code(outcome: wasmtime::Result<Result<(), ()>>, hint: &str) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(())) => {
            say(format_args!(
                "millpond: the guest's `run` returned an error: exit code 1 is the guest's own"
            ));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => match error.downcast_ref::<I32Exit>() {
            // Keep only the lowest byte, as the system does with an exit code.
            Some(I32Exit(code)) => {
                if let Some(reached) = error.downcast_ref::<Reached>()
                    && *code != 0
                {
                    say(format_args!("millpond: the guest {reached}"));
                }
                Ok(ExitCode::from((code & 0xff) as u8))
            }
            None => Err(Failure::trapped(&error, hint)),
        },
    }
}
