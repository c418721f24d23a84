//! The `millpond` command.

use std::process::ExitCode;

/// Makes instances and requests cheaper than the system's allocator does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millpond::main_from(std::env::args_os())
}
