//! The command, as a part of another program. What a guest is built with compiles natively too.

use millpond_guest as _;

fn main() -> std::process::ExitCode {
    millpond::main_from(std::env::args_os())
}
