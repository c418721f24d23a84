//! `millpond tenants migrate`: migrates all databases of a folder.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use millpond_server::printable::one_line;
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Migrated, MigratedAll};
use serde_json::json;

use super::{InFolder, output};
use crate::failure::Failure;
use crate::output::{print, say};

/// The exit code if not all were migrated.
const NOT_ALL: u8 = 1;
/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// How often the progress is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Apply the migrations to all tenants
///
/// Each database is migrated in its own transactions, several at once, also while servers use them:
/// it waits up to 30 seconds for a writer. A failure does not stop the others. Ctrl-C stops after
/// those that have begun; a second one at once, which undoes their current migrations. Run it again
/// to go on.
#[derive(Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    folder: InFolder,

    /// The migrations: files `NNN-name.sql` in this folder.
    #[arg(long, value_name = "DIR")]
    migrations: PathBuf,

    /// How many databases are migrated at once [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
}

impl Migrate {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let migrations = Migrations::open(&self.migrations).map_err(Failure::mistake)?;
        if migrations.is_empty() {
            return Err(Failure::about(
                &self.migrations,
                "there are no migrations in this folder: their names are NNN-name.sql",
            ));
        }
        let folder = self.folder.open()?.migrations(migrations);
        let threads = self.threads.map_or_else(
            || thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        );
        let is_stopped = stop_on_interrupt()?;
        let mut progress = Progress::new(self.folder.json);
        let result = folder.migrate_all(threads, |migrated| {
            progress.show(migrated);
            match is_stopped.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        progress.erase();
        let all = result.map_err(Failure::mistake)?;
        print(&summary(&all, self.folder.json));
        Ok(match all.failed + all.skipped {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(NOT_ALL),
        })
    }
}

/// Becomes true at the first Ctrl-C. A second one ends the process.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::mistake)?;
    let stopped = Arc::clone(&is_stopped);
    thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if stopped.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
                say(format_args!(
                    "Stopping after those that have begun (Ctrl-C again to stop now)"
                ));
            }
        });
    });
    Ok(is_stopped)
}

/// Shows what is done: a line for each database that was migrated or failed; and on a terminal, a
/// bar.
struct Progress {
    json: bool,
    has_bar: bool,
    drawn: Option<Instant>,
    failed: u64,
}

impl Progress {
    fn new(json: bool) -> Progress {
        Progress {
            json,
            has_bar: io::stderr().is_terminal(),
            drawn: None,
            failed: 0,
        }
    }

    fn show(&mut self, migrated: &Migrated) {
        self.failed += u64::from(migrated.outcome.is_err());
        self.line(migrated);
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
        if self.has_bar && is_due {
            self.draw(migrated.done, migrated.total);
        }
    }

    fn line(&mut self, migrated: &Migrated) {
        let key = migrated.key.as_str();
        match &migrated.outcome {
            Ok(report) if report.applied.is_empty() => {}
            Ok(report) => {
                for warning in &report.warnings {
                    self.erase();
                    say(format_args!("warning: {key}: {warning}"));
                }
                match self.json {
                    true => print(&output::one_object(
                        &json!({ "tenant": key, "applied": report.applied }),
                    )),
                    // The bar shows it.
                    false if self.has_bar => {}
                    false => print(&format!("{key}: applied {}\n", report.applied.join(", "))),
                }
            }
            Err(error) => {
                self.erase();
                let error = one_line(&error.to_string());
                match self.json {
                    true => print(&output::one_object(
                        &json!({ "tenant": key, "error": error }),
                    )),
                    false => say(format_args!("millpond: {key}: {error}")),
                }
            }
        }
    }

    fn draw(&mut self, done: u64, total: u64) {
        const WIDTH: u64 = 30;
        let full = (done * WIDTH / total.max(1)) as usize;
        let bar = "#".repeat(full) + &"-".repeat(WIDTH as usize - full);
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[K[{bar}] {done} of {total}");
        if self.failed > 0 {
            let _ = write!(stderr, ", {} failed", self.failed);
        }
        let _ = stderr.flush();
        self.drawn = Some(Instant::now());
    }

    fn erase(&mut self) {
        if self.has_bar && self.drawn.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn summary(all: &MigratedAll, json: bool) -> String {
    let MigratedAll {
        migrated,
        current,
        failed,
        skipped,
        ..
    } = all;
    match json {
        true => output::one_object(&json!({
            "migrated": migrated, "current": current, "failed": failed, "skipped": skipped,
        })),
        false => format!(
            "{migrated} migrated, {current} were current, {failed} failed, {skipped} skipped\n"
        ),
    }
}
