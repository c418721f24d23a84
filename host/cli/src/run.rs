//! `millpond run`: one guest, from its start to its exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::{p2, p3};

use crate::databases::DatabaseOptions;
use crate::engine::{self, Instances};
use crate::failure::Failure;
use crate::guest::{Guest, GuestOptions};
use crate::interfaces::{self, Role};
use crate::values;

/// Runs a command component
///
/// It has this command's standard streams, the arguments after its name and the databases that
/// are granted; no files and no network.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond run --db app.db import.wasm people.csv
  millpond run --db app.db --db-read-only geo=geo.db report.wasm
  millpond run --db :memory: --env LOG=debug try.wasm

Exit status: the guest's own; 134 where it trapped, or ran for longer than
--max-run-time; 2 for a mistake in the command line, a
file or a setting.")]
pub(crate) struct Run {
    /// The component's file.
    component: PathBuf,

    /// The guest's arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,

    /// How long the guest may run, to its exit. [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    max_run_time: Option<Duration>,

    #[command(flatten)]
    guest: GuestOptions,

    #[command(flatten)]
    databases: DatabaseOptions,
}

impl Run {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let loaded = engine::load(&self.component, Instances::One)?;
        let roles = interfaces::roles(&loaded.exports());
        let is_command = |role: &&Role| matches!(role, Role::Command02 | Role::Command03);
        let role = *roles.iter().find(is_command).ok_or_else(|| {
            Failure::about(
                &self.component,
                match roles.is_empty() {
                    true => "not a command: it does not export wasi:cli/run",
                    false => "an HTTP handler, not a command: run it with `millpond serve`",
                },
            )
        })?;
        let pre = loaded
            .check_memory(self.guest.max_memory_size)
            .and_then(|()| loaded.link())
            .map_err(|reason| Failure::about(&self.component, reason))?;
        let databases = self.databases.open()?;

        // Nobody looks at the clock of a guest that may run for ever.
        let deadline = self.max_run_time.and_then(|time| {
            loaded.start_ticking();
            Instant::now().checked_add(time)
        });
        let name = self
            .component
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let mut wasi = self.guest.wasi();
        wasi.arg(name).args(&self.args).inherit_stdio();
        let mut store = self.guest.store(
            &loaded.engine,
            wasi.build(),
            databases.grant_alone(deadline),
        );

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(Failure::mistake)?;
        let outcome = runtime.block_on(async {
            let outcome = match deadline {
                None => call(&mut store, &pre, role).await,
                Some(deadline) => {
                    let call = call(&mut store, &pre, role);
                    let ended = tokio::time::timeout_at(deadline.into(), call).await;
                    ended.unwrap_or_else(|_| Err(wasmtime::format_err!("it ran for too long")))
                }
            };
            drop(store); // The connections that the guest still held are back now.
            databases.close(Duration::ZERO).await;
            outcome
        });
        // A thread may still be reading stdin for the guest: nobody waits for it.
        runtime.shutdown_background();
        exit_code(outcome)
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

fn exit_code(outcome: wasmtime::Result<Result<(), ()>>) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(())) => Ok(ExitCode::FAILURE),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            // As the system does with the code of a process, all but the lowest byte is lost.
            Some(I32Exit(code)) => Ok(ExitCode::from((code & 0xff) as u8)),
            None => Err(Failure::trapped(&error)),
        },
    }
}
