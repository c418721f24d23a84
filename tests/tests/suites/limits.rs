//! Every limit that a host may choose has a flag of the command, which has an effect and bounds.

use std::collections::BTreeSet;

use millpond_tests::component;

use crate::process::{MISTAKE, Server, here, millpond, output_of_run, text};

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
const TWO: &str = "SELECT zeroblob(50000) UNION ALL SELECT zeroblob(50001)";
const SORT: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)
    SELECT max(a) FROM (SELECT randomblob(100) a FROM n ORDER BY a)";
/// Stands for an argument of 90,000 bytes.
const LONG: &str = "a long statement";

/// A flag, its value, a statement, and what a guest gets for it.
const EFFECTS: &[(&str, &str, &str, &str)] = &[
    (
        "--max-statement-time",
        "50ms",
        ENDLESS,
        "ErrorKind::DeadlineExceeded",
    ),
    (
        "--max-statement-steps",
        "1000",
        ENDLESS,
        "ErrorKind::DeadlineExceeded",
    ),
    (
        "--max-value-size",
        "64KiB",
        "SELECT zeroblob(65537)",
        "ErrorKind::TooLarge",
    ),
    (
        "--max-value-size",
        "2MiB",
        "SELECT length(zeroblob(2000000))",
        "answered",
    ),
    ("--max-result-size", "64KiB", TWO, "ErrorKind::TooLarge"),
    (
        "--max-connection-memory",
        "4MiB",
        SORT,
        "ErrorKind::QuotaExceeded",
    ),
    (
        "--max-sqlite-memory",
        "4MiB",
        SORT,
        "ErrorKind::QuotaExceeded",
    ),
];

/// A flag and a value that deny a guest something that it needs from the start, and the guest's
/// arguments.
const DENIALS: &[(&str, &str, &[&str])] = &[
    ("--max-connections", "0", &["query", "SELECT 1"]),
    ("--max-statements", "0", &["pages"]),
    ("--max-cursors", "0", &["pages"]),
    ("--max-transactions", "0", &["order", "0"]),
    ("--max-handles", "1", &["query", "SELECT 1"]),
    ("--max-call-size", "64KiB", &["query", LONG]),
    ("--max-tables", "1", &["query", "SELECT 1"]),
    ("--max-table-entries", "1", &["query", "SELECT 1"]),
    ("--max-instances", "1", &["query", "SELECT 1"]),
];

/// A flag, values that it accepts, and values that it does not.
const BOUNDS: &[(&str, &[&str], &[&str])] = &[
    ("--pool-size", &["1", "1024"], &["0", "1025"]),
    ("--timeout", &["0", "1h"], &["61m"]),
    ("--max-idle", &["0", "5"], &["6"]),
    ("--busy-timeout", &["0", "1h"], &["61m"]),
    ("--cache-size", &["64KiB", "32MiB"], &["63KiB", "2GiB"]),
    ("--mmap-size", &["0", "64GiB"], &["65GiB"]),
    ("--statement-cache", &["0", "10000"], &["10001"]),
    ("--upkeep-after", &["0", "1h"], &["61m"]),
    (
        "--max-connection-memory",
        &["4MiB", "64GiB"],
        &["3MiB", "65GiB"],
    ),
    ("--max-sqlite-memory", &["64MiB"], &["3MiB", "16385GiB"]),
    (
        "--max-database-size",
        &["1MiB", "16384GiB"],
        &["1023KiB", "16385GiB"],
    ),
    (
        "--max-transaction-size",
        &["1MiB", "16384GiB"],
        &["1023KiB", "16385GiB"],
    ),
    (
        "--max-value-size",
        &["64KiB", "1023MiB"],
        &["63KiB", "1GiB"],
    ),
    ("--max-result-size", &["64KiB", "1GiB"], &["63KiB", "2GiB"]),
    ("--max-page-size", &["1KiB", "64MiB"], &["1023", "65MiB"]),
    ("--max-connections", &["1", "1024"], &["1025"]),
    ("--max-statements", &["1", "1000000"], &["1000001"]),
    ("--max-cursors", &["1", "1000000"], &["1000001"]),
    ("--max-transactions", &["1", "1000000"], &["1000001"]),
    ("--max-statement-time", &["10s", "10000h"], &["0", "10001h"]),
    ("--max-statement-steps", &["1000000"], &["0"]),
    ("--max-transaction-time", &["10s", "10000h"], &["10001h"]),
    ("--max-hold-time", &["1s", "10000h"], &["10001h"]),
    ("--max-memory-size", &["16MiB", "4GiB"], &["63KiB", "5GiB"]),
    ("--max-memories", &["1", "16"], &["0", "17"]),
    ("--max-tables", &["8", "64"], &["0", "65"]),
    (
        "--max-table-entries",
        &["1000", "1000000"],
        &["0", "1000001"],
    ),
    ("--max-instances", &["32", "256"], &["0", "257"]),
    ("--max-handles", &["100", "1000000"], &["0", "1000001"]),
    ("--max-stack-size", &["64KiB", "16MiB"], &["63KiB", "17MiB"]),
    ("--max-call-size", &["64KiB", "1GiB"], &["63KiB", "2GiB"]),
    ("--max-random-size", &["64", "1MiB"], &["63", "2MiB"]),
];

/// The same, one value of each, for flags that only `serve` has.
const BOUNDS_OF_SERVE: &[(&str, &str, &str)] = &[
    ("--head-timeout", "1h", "2h"),
    ("--max-output-size", "0", "2GiB"),
    ("--max-instance-reuse", "1000000", "1000001"),
    ("--max-requests", "4096", "4097"),
];

#[test]
fn every_limit_of_the_help_is_tested() {
    // Tested with the deadlines.
    let mut tested = BTreeSet::from(["--max-run-time"]);
    tested.extend(EFFECTS.iter().map(|(flag, ..)| *flag));
    tested.extend(DENIALS.iter().map(|(flag, ..)| *flag));
    tested.extend(BOUNDS.iter().map(|(flag, ..)| *flag));
    tested.extend(BOUNDS_OF_SERVE.iter().map(|(flag, ..)| *flag));
    tested.retain(|flag| flag.starts_with("--max-"));
    let mut listed = BTreeSet::new();
    for command in ["run", "serve"] {
        let output = millpond().args([command, "--help"]).output();
        let output = output.expect("the command runs");
        let words = text(&output.stdout).split(|c: char| c != '-' && !c.is_ascii_lowercase());
        let flags = words.filter(|word| word.starts_with("--max-"));
        listed.extend(flags.map(str::to_owned));
    }
    assert_eq!(tested, listed.iter().map(String::as_str).collect());
}

#[test]
fn limits_on_a_statement_have_their_effect() {
    let (_folder, database) = here();
    let path = database.to_str().expect("text");
    let guest = component("hostile_does_as_told");
    for (flag, value, sql, expected) in EFFECTS {
        let output = output_of_run(&["--db", path, flag, value], guest, &["query", sql]);
        let said = text(&output.stdout).lines().next();
        assert_eq!(said, Some(*expected), "{flag}: {output:?}");
    }
}

#[test]
fn limits_on_a_guest_have_their_effect() {
    let (_folder, database) = here();
    let path = database.to_str().expect("text");
    let guest = component("hostile_does_as_told");
    let long = format!("SELECT 1{}", " ".repeat(90_000));
    for (flag, value, args) in DENIALS {
        let args = args
            .iter()
            .map(|arg| if *arg == LONG { &long } else { *arg });
        let args: Vec<_> = args.collect();
        let output = output_of_run(&["--db", path, flag, value], guest, &args);
        assert_ne!(output.status.code(), Some(0), "{flag}: {output:?}");
        assert_ne!(output.status.code(), Some(MISTAKE), "{flag}: {output:?}");
    }
}

#[test]
fn limits_have_bounds() {
    let (_folder, database) = here();
    let path = database.to_str().expect("text");
    for (flag, good, bad) in BOUNDS {
        for (values, expected) in [(good, 0), (bad, MISTAKE)] {
            for value in *values {
                let flags = ["--db", path, flag, value];
                let output = output_of_run(&flags, component("cli_counts_visits"), &[]);
                let code = output.status.code();
                assert_eq!(code, Some(expected), "{flag} {value}: {output:?}");
            }
        }
    }
}

#[test]
fn limits_of_a_server_have_bounds() {
    let (_folder, database) = here();
    for (flag, good, bad) in BOUNDS_OF_SERVE {
        let mut command = millpond();
        command.args(["serve", "--listen", "127.0.0.1:0", flag, bad]);
        let output = command.arg(component("hostile_serves")).output();
        let code = output.expect("it runs").status.code();
        assert_eq!(code, Some(MISTAKE), "{flag}");
        // The most requests need more memory than a small machine has.
        if *flag != "--max-requests" {
            let server = Server::of("hostile_serves", &database, &[flag, good]);
            server.ask("GET", "/quick", None).is(200);
        }
    }
}

/// The default itself is not waited for: that would take a minute.
#[test]
fn the_help_states_the_time_limit_of_a_statement() {
    let output = millpond().args(["run", "--help"]).output();
    let output = output.expect("the command runs");
    let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>();
    let help = help.join(" ");
    let (_, flag) = help.split_once("--max-statement-time").expect("the flag");
    let (flag, _) = flag.split_once(']').expect("its default");
    assert!(
        flag.ends_with("[default: 1m for `run`; for `serve`, as --request-timeout"),
        "{flag}"
    );
}
