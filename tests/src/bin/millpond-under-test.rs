//! The `millpond` command, as a binary of this package, so that cargo builds it for the suites.

use std::process::ExitCode;

/// That of the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millpond::main_from(std::env::args_os())
}
