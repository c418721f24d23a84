//! The `millpond` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    millpond::main_from(std::env::args_os())
}
