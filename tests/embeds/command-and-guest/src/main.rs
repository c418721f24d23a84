//! A program that includes the command. The guest library compiles natively too.

use millpond_guest as _;

fn main() -> std::process::ExitCode {
    millpond::main_from(std::env::args_os())
}
