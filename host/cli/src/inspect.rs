//! `millpond inspect`: what a component needs, and whether this host provides it.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millpond_server::printable::one_line;
use millpond_server::{Instances, Support};
use millpond_wasmtime::InstanceLimits;
use wasmtime::WasmBacktraceDetails;

use crate::failure::{Failure, MISTAKE};
use crate::output::{print, terminal};

/// Show what a component imports and exports, and whether it can run here
///
/// Reads the component, but runs none of its code.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond inspect notes.wasm

Exit status: 0 if `millpond run` or `millpond serve` can run the component; 2 if not.
`millpond:sqlite` is always provided. The guest reaches the databases that `--db` grants, or
none. `traps` marks an interface of Spin that the host does not provide: the guest runs, and traps
if it calls one of its functions.")]
pub(crate) struct Inspect {
    /// The component's file.
    component: PathBuf,
}

impl Inspect {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let loaded = millpond_server::load(
            &self.component,
            Instances::One,
            &InstanceLimits::new(),
            WasmBacktraceDetails::Disable,
            &terminal(),
        )?;
        let (imports, exports) = (loaded.imports(), loaded.exports());
        let roles = loaded.roles();
        let linked = loaded.link();

        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |line: std::fmt::Arguments<'_>| _ = writeln!(text, "{line}");
        line(format_args!("{}", self.component.display()));
        for role in &roles {
            line(format_args!("  {}", role.describe()));
        }
        if roles.is_empty() {
            line(format_args!(
                "  neither a command nor an HTTP handler: this host cannot run it by itself"
            ));
        }
        line(format_args!("imports"));
        for import in &imports {
            let mark = match import.support {
                Support::Provided => "provided",
                Support::Traps => "traps   ",
                _ => "missing ",
            };
            line(format_args!("  {mark}  {}", one_line(&import.name)));
        }
        line(format_args!("exports"));
        for export in &exports {
            line(format_args!("  {}", one_line(export)));
        }
        if let Err(reason) = &linked {
            line(format_args!("cannot run: {}", one_line(reason)));
        }
        print(&text);
        match linked.is_ok() && !roles.is_empty() {
            true => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::from(MISTAKE)),
        }
    }
}
