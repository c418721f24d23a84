//! `millpond test`: runs tests that are described in files, for guests in any language.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Args;
use millpond_test::suite::{self, Options};

use crate::failure::Failure;
use crate::output::{print, say};

/// Test a component with the requests in a folder
///
/// Runs the tests in the files `*.toml` of DIR, each with databases of its own: the migrations in
/// DIR/migrations and the SQL in DIR/seed.sql, unless the file names others. Writes the results to
/// stdout as TAP 14, which most test runners read.
#[derive(Args)]
#[command(after_help = "\
Example of a file:

  [[test]]
  name = \"a note is listed\"

  [[test.step]]
  request = \"POST /api/notes\"
  headers = { content-type = \"application/json\" }
  body = '{\"title\": \"Tea\"}'
  expect.status = 201

  [[test.step]]
  request = \"GET /api/notes\"
  expect.status = 200
  expect.json = '{\"notes\": [{\"id\": 1, \"title\": \"Tea\", \"created\": \"…\"}]}'
  expect.max_statements = 2
  expect.no_full_scan = true
  expect.leaves_nothing = true

Of a file:      now, env, databases.NAME.{migrations, seeds, read_only}, test
Of a test:      name, now, seed_sql, step
Of a step:      request, headers, body or body_file; or run (arguments), stdin; fault, expect
Of a fault:     error (a kind such as \"busy-snapshot\"), delay_ms or client_leaves = true;
                call (a number), sql (a part) or pattern (a regular expression); times
Of an expect:   status, headers, body or body_file, json (the string \"…\" means any value),
                contains, matches (a regular expression); exit_code, stdout, stderr;
                max_statements, no_full_scan, may_scan (tables), leaves_nothing,
                returns_connections, journal (a file)

Write a step without `expect`, run --update, and review what it has written.

Exit status: 0 if all tests passed, 1 if one failed, 2 for a mistake in the command line or in a
file.")]
pub(crate) struct Test {
    /// The component's file.
    component: PathBuf,

    /// The folder with the test files, or a single test file.
    #[arg(value_name = "DIR")]
    tests: PathBuf,

    /// Run only tests whose `FILE: NAME` contains TEXT.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// How many tests run at the same time, 1 to 256. [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// Write what was answered into the test files, instead of failing. Comments stay.
    #[arg(long)]
    update: bool,

    /// Write the results into FILE too, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Test {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let jobs = self.jobs.map(usize::from);
        let mut options = Options::new(&self.component, &self.tests);
        options.jobs = jobs.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        options.filter = self.filter;
        options.update = self.update;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::mistake)?;
        let begin = |tests| print(&format!("TAP version 14\n1..{tests}\n"));
        let report = runtime.block_on(suite::run(&options, begin, |number, result| {
            print(&result.tap(number));
        }));
        let report = report.map_err(Failure::mistake)?;
        for path in &report.updated {
            say(format_args!("updated {}", path.display()));
        }
        if let Some(path) = &self.junit {
            fs::write(path, report.junit()).map_err(|error| Failure::about(path, error))?;
        }
        Ok(ExitCode::from(report.exit_code()))
    }
}
