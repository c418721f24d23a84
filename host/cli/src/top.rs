//! `millpond top`: what a server does now, in the terminal.

mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::print;

use self::screen::Screen;
use self::view::{Order, view};

/// Watch the components, pools, disks and slow statements of a running server
///
/// Shows the same as the page of `millpond serve --stats`. Keys: s sorts by name, rate or time; q
/// quits. Prints once, and ends, if stdout is not a terminal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond top 127.0.0.1:9090
  millpond top --once 127.0.0.1:9090

Rates and times are those of the last second; with --once, those since the server's start. A time is
the upper bound of a bucket: p99 5ms means that 99 of 100 took at most 5 ms. LOW means that less is
free on the disk than `min-free-disk`. Of the last upkeep, TABLES were analyzed and PAGES freed.")]
pub(crate) struct Top {
    /// The address given to `serve --stats`, or of `[admin]` in its configuration, with or without
    /// `http://`.
    #[arg(value_name = "ADDR")]
    address: String,

    /// Print once, for scripts.
    #[arg(long)]
    once: bool,
}

/// How often the server is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// Columns if the output is not a terminal.
const PLAIN_WIDTH: usize = 160;

impl Top {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let server = Operator::new(&self.address)?;
        let first = snapshot(&server)?;
        if self.once || !io::stdout().is_terminal() {
            for line in view(&server.address, &first, None, Order::Name) {
                let line: String = line.chars().take(PLAIN_WIDTH).collect();
                print(&format!("{}\n", line.trim_end()));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let screen = Screen::open().map_err(Failure::mistake)?;
        watch(&server, first, &screen);
        Ok(ExitCode::SUCCESS)
    }
}

fn snapshot(server: &Operator) -> Result<Value, Failure> {
    let answer = server.get("/snapshot")?;
    let answer = answer.filter(|answer| answer["components"].is_object());
    answer.ok_or_else(|| server.is_another())
}

/// Show the server until the user quits.
fn watch(server: &Operator, first: Value, screen: &Screen) {
    let (mut before, mut now) = (None, first);
    let (mut order, mut problem) = (Order::Name, None);
    let mut due = Instant::now() + PERIOD;
    loop {
        let mut lines = view(&server.address, &now, before.as_ref(), order);
        if let Some(problem) = &problem {
            lines.insert(0, format!("{problem}: trying again"));
        }
        screen.show(&lines);
        match screen.key(due.saturating_duration_since(Instant::now())) {
            Some(b'q' | b'Q' | 3 | 4) => return,
            Some(b's' | b'S') => order = order.next(),
            Some(_) => {}
            None => {
                due = Instant::now() + PERIOD;
                match snapshot(server) {
                    Ok(next) => {
                        problem = None;
                        before = Some(std::mem::replace(&mut now, next));
                    }
                    Err(error) => problem = Some(error),
                }
            }
        }
    }
}
