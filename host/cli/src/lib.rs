//! The `millpond` command as a library: call [`main_from`].
//!
//! There is one file per subcommand. `databases` and `guest` have the options that they share;
//! `databases` opens the databases. `new` writes the files in `templates`. What serves a component
//! is in the crate `millpond-server`.

mod arguments;
mod backup;
mod bundle;
mod check;
mod configuration;
mod databases;
mod failure;
mod granted;
mod guest;
mod init;
mod inspect;
mod keeping;
mod migrate;
mod new;
mod operator;
mod output;
mod ready;
mod restore;
mod run;
mod serve;
mod servers;
mod service_manager;
mod stats;
mod stdio;
mod tenants;
mod test;
mod top;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::Failure;

/// Run and serve WebAssembly components that use pooled SQLite connections
#[derive(Parser)]
#[command(name = "millpond", version, propagate_version = true, after_help = EXAMPLES)]
struct Millpond {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Serve(serve::Serve),
    Migrate(migrate::Migrate),
    Inspect(inspect::Inspect),
    Init(init::Init),
    Check(check::Check),
    New(new::New),
    Stats(stats::Stats),
    Ready(ready::Ready),
    Tenants(tenants::Tenants),
    Test(test::Test),
    Top(top::Top),
    Bundle(bundle::Bundle),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Verify(verify::Verify),
}

const EXAMPLES: &str = "\
Examples:
  millpond serve --db notes.db --migrations migrations notes.wasm
  millpond run --db app.db import.wasm people.csv
  millpond inspect notes.wasm
  millpond test notes.wasm tests
  millpond new --lang rust shortener

Exit status: 0 done; 2 a mistake in the command line, a file or a setting, in one line on stderr.
`test` exits with 1 if a test failed, `ready` if the server is not ready, `serve` if it cannot start
for a reason that may pass, and `backup`, `restore` and `verify` if the database is damaged. `run`
passes the guest's own exit code on (see `millpond run --help`), and exits with 134 where the guest
trapped.";

/// Run the command with `args`, whose first element is the program's name.
///
/// Blocks until the command is done; for `serve`, until a signal. Prints failures on stderr, each
/// in one line, and a guest's trap with its backtrace. Returns the exit code.
pub fn main_from(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    output::print_warnings();
    let outcome = parse(args).and_then(|parsed| match parsed {
        Parsed::Command(command) => execute(*command),
        Parsed::Help(help) => {
            // If stdout is closed, its reader has read enough.
            let _ = help.print();
            Ok(ExitCode::SUCCESS)
        }
    });
    outcome.unwrap_or_else(|failure| {
        output::say(format_args!("millpond: {failure}"));
        failure.exit_code()
    })
}

enum Parsed {
    Command(Box<Command>),
    /// The output of `--help` or `--version`.
    Help(clap::Error),
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    use clap::error::ErrorKind;
    let args: Vec<OsString> = args.into_iter().collect();
    match Millpond::try_parse_from(&args) {
        Ok(millpond) => Ok(Parsed::Command(Box::new(millpond.command))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Help(error)),
            kind => {
                let (command, path) = named_in(&args);
                let reason = match kind {
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                        let names = command.get_subcommands().map(clap::Command::get_name);
                        format!("name a command: {}", names.collect::<Vec<_>>().join(", "))
                    }
                    _ => {
                        let reason = in_one_line(&error.to_string());
                        let hint = unexpected_file(&error, &command);
                        without_passwords(reason + &hint.unwrap_or_default(), &args)
                    }
                };
                let message = format_args!("{reason} (see `{path} --help`)");
                Err(Failure::mistake(message))
            }
        },
    }
}

/// The command that the arguments name, as far as they do, and how to write it.
fn named_in(args: &[OsString]) -> (clap::Command, String) {
    let mut command = Millpond::command();
    let mut path = "millpond".to_owned();
    for arg in args.iter().skip(1) {
        let Some(named) = command.find_subcommand(arg) else {
            break;
        };
        path = format!("{path} {}", named.get_name());
        command = named.clone();
    }
    (command, path)
}

/// What to write for a file that a command does not take as an argument, if it may be a database.
fn unexpected_file(error: &clap::Error, command: &clap::Command) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let takes_database = command.get_arguments().any(|arg| arg.get_id() == "db");
    if error.kind() != ErrorKind::UnknownArgument || !takes_database {
        return None;
    }
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(arg) if !arg.starts_with('-') => {
            Some(format!("; for a database, write --db {arg}"))
        }
        _ => None,
    }
}

/// Messages quote what they refuse: hide what the arguments have before the `@` of a URL. Passwords
/// may contain anything, unescaped too.
fn without_passwords(message: String, args: &[OsString]) -> String {
    let urls = args
        .iter()
        .filter_map(|arg| arg.to_str()?.split_once("://"));
    urls.filter_map(|(_, rest)| Some(&rest[..=rest.rfind('@')?]))
        .fold(message, |message, secret| message.replace(secret, "…@"))
}

/// clap explains at length, in paragraphs. The first says what is wrong; another may have tips, a
/// line each. Its tip to write `--` before an option that does not exist, in case it was a value,
/// is left out.
fn in_one_line(explanation: &str) -> String {
    let explanation = explanation.replace(
        "the following required arguments were not provided:",
        "missing:",
    );
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (first, rest) = explanation.split_once("\n\n").unwrap_or((&explanation, ""));
    let first = joined(first);
    let reason = first.strip_prefix("error: ").unwrap_or(&first).to_string();
    let is_tip = |line: &&str| line.starts_with("tip:") && !line.contains(" as a value, ");
    match rest.lines().map(str::trim_start).find(is_tip) {
        Some(tip) => format!("{reason}; {tip}"),
        None => reason,
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(run) => run.execute(),
        Command::Serve(serve) => serve.execute(),
        Command::Migrate(migrate) => migrate.execute(),
        Command::Inspect(inspect) => inspect.execute(),
        Command::Init(init) => init.execute(),
        Command::Check(check) => check.execute(),
        Command::New(new) => new.execute(),
        Command::Stats(stats) => stats.execute(),
        Command::Ready(ready) => ready.execute(),
        Command::Tenants(tenants) => tenants.execute(),
        Command::Test(test) => test.execute(),
        Command::Top(top) => top.execute(),
        Command::Bundle(bundle) => bundle.execute(),
        Command::Backup(backup) => backup.execute(),
        Command::Restore(restore) => restore.execute(),
        Command::Verify(verify) => verify.execute(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::MISTAKE;

    #[test]
    fn the_command_line_is_consistent() {
        Millpond::command().debug_assert();
    }

    #[test]
    fn every_mistake_in_the_command_line_is_one_line() {
        for args in [
            &["millpond"][..],
            &["millpond", "fly"],
            &["millpond", "run"],
            &["millpond", "serve", "x.wasm", "--pool-size", "many"],
            &["millpond", "serve", "x.wasm", "--timeout", "soon"],
            &["millpond", "serve", "x.wasm", "--synchronous", "off"],
            &["millpond", "migrate"],
            &["millpond", "run", "--pol-size", "3"],
            &["millpond", "serve", "x.wasm", "--timeout", "2h"],
            &["millpond", "serve", "x.wasm", "--timeout", "-1"],
            &["millpond", "serve", "x.wasm", "--listen", "localhost"],
            &["millpond", "new", "--lang", "cobol", "x"],
            &["millpond", "new", "--lang", "c", "../x"],
        ] {
            let Err(failure) = parse(args.iter().map(OsString::from)) else {
                panic!("{args:?} parsed");
            };
            assert_eq!(failure.to_string().lines().count(), 1, "{args:?}");
            assert_eq!(failure.exit_code(), ExitCode::from(MISTAKE), "{args:?}");
        }
    }

    #[test]
    fn a_mistake_names_what_is_wrong_and_what_helps() {
        for (args, words) in [
            ("run", &["<COMPONENT>", "millpond run --help"][..]),
            ("run --pol-size 3 x.wasm", &["--pol-size", "--pool-size"]),
            ("serve x.wasm --timeout 2h", &["--timeout", "one hour"]),
            ("serve x.wasm --timeout soon", &["--timeout", "10s"]),
            (
                "serve x.wasm --listen 8080",
                &["--listen", "127.0.0.1:8080"],
            ),
            ("serve x.wasm --stats x", &["--stats", "127.0.0.1:8080"]),
            (
                "run --env MILLPOND_NOT_SET x.wasm",
                &["MILLPOND_NOT_SET=VALUE"],
            ),
            ("new --lang cobol x", &["rust, python, js, c"]),
            ("fly", &["fly", "millpond --help"]),
            ("verify app.db", &["--db app.db"]),
        ] {
            let args = ["millpond"].into_iter().chain(args.split(' '));
            let Err(failure) = parse(args.map(OsString::from)) else {
                panic!("it parsed");
            };
            for word in words {
                assert!(failure.to_string().contains(word), "{failure}");
            }
        }
    }

    #[test]
    fn a_mistake_shows_no_password() {
        for url in [
            "postgres://user:secret@db/app",
            "app=mysql://user:sec/secret@db",
            "app=file://user:secret@db/app.db",
        ] {
            for flag in ["--db", "--db-read-only", "--listen", "--timeout"] {
                let args = ["millpond", "serve", flag, url, "x.wasm"];
                let Err(failure) = parse(args.map(OsString::from)) else {
                    panic!("{args:?} parsed");
                };
                let message = failure.to_string();
                assert!(!message.contains("secret"), "{message}");
                assert!(message.contains("…@db"), "{message}");
            }
        }
    }

    #[test]
    fn every_help_is_there() {
        for args in [
            "--help",
            "run --help",
            "serve --help",
            "migrate --help",
            "inspect --help",
            "init --help",
            "check --help",
            "new --help",
            "stats --help",
            "ready --help",
            "tenants --help",
            "tenants migrate --help",
            "test --help",
            "top --help",
            "bundle --help",
            "backup --help",
            "restore --help",
            "verify --help",
        ] {
            let args = ["millpond"].into_iter().chain(args.split(' '));
            assert!(matches!(
                parse(args.map(OsString::from)),
                Ok(Parsed::Help(_))
            ));
        }
    }
}
