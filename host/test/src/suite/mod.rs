//! Tests in files, for guests in any language: the command `millpond test`.
//!
//! The crate's README describes the files.

mod file;
mod form;
mod report;
mod step;
mod update;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::component;
use crate::error::Mistake;
use file::{File, Test};
use update::Edit;

/// Which tests to run, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The component's file.
    pub component: PathBuf,
    /// The folder with the test files, or a single test file.
    pub tests: PathBuf,
    /// Run only tests whose `FILE: NAME` contains this. Defaults to all.
    pub filter: Option<String>,
    /// How many tests run at the same time: 1 or more; 0 means 1. Defaults to 1.
    pub jobs: usize,
    /// Write what was answered into the files. Defaults to false.
    pub update: bool,
}

impl Options {
    /// Run all tests of a folder, one after the other.
    pub fn new(component: impl Into<PathBuf>, tests: impl Into<PathBuf>) -> Options {
        Options {
            component: component.into(),
            tests: tests.into(),
            filter: None,
            jobs: 1,
            update: false,
        }
    }
}

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestResult {
    /// The file, without its folder.
    pub file: String,
    /// The test's line in it.
    pub line: usize,
    /// The test's name.
    pub name: String,
    /// What is wrong, each with what helps to understand it. Empty if the test passed.
    pub problems: Vec<String>,
    /// Whether the test could not run, because of a mistake in its files.
    pub is_mistaken: bool,
    /// How long it took.
    pub time: Duration,
}

/// The results of all tests, in the order of the files and of the tests in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// One for each test that ran.
    pub results: Vec<TestResult>,
    /// The files that were changed, or created, with [`Options::update`].
    pub updated: Vec<PathBuf>,
}

/// Run the tests. Calls `begin` with their number, then `each` with the number of each test, from
/// 1, and its result, in order, as soon as it is there.
///
/// Needs a multi-thread tokio runtime. Blocks its thread while it reads the files and compiles the
/// component.
///
/// # Errors
///
/// The component cannot be used. A test file cannot be read; the message begins with its name, line
/// and column. Then no test has run.
pub async fn run(
    options: &Options,
    begin: impl FnOnce(usize),
    mut each: impl FnMut(usize, &TestResult),
) -> Result<Report, Mistake> {
    let files = read(&options.tests)?;
    component::compiled(&options.component)?;
    let places = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut running = Vec::new();
    for (number, file) in files.iter().enumerate() {
        for test in &file.tests {
            let wanted = options.filter.as_deref().unwrap_or_default();
            if !format!("{}: {}", file.name, test.name).contains(wanted) {
                continue;
            }
            let run = one(
                Arc::clone(&places),
                options.clone(),
                Arc::clone(file),
                Arc::clone(test),
            );
            running.push((number, tokio::spawn(run)));
        }
    }
    begin(running.len());
    let mut report = Report::default();
    let mut edits: Vec<Vec<Edit>> = vec![Vec::new(); files.len()];
    for (number, test) in running {
        let (result, changes) = test
            .await
            .map_err(|error| Mistake::new(format!("a test panicked: {error}")))?;
        edits[number].extend(changes);
        each(report.results.len() + 1, &result);
        report.results.push(result);
    }
    for (file, edits) in files.iter().zip(edits) {
        report
            .updated
            .extend(update::apply(&file.path, &file.text, edits)?);
    }
    Ok(report)
}

/// Run one test, when there is a place for it.
async fn one(
    places: Arc<Semaphore>,
    options: Options,
    file: Arc<File>,
    test: Arc<Test>,
) -> (TestResult, Vec<Edit>) {
    // The semaphore is never closed.
    let _place = places.acquire_owned().await;
    let since = Instant::now();
    let mut result = TestResult {
        file: file.name.clone(),
        line: test.line,
        name: test.name.clone(),
        problems: Vec::new(),
        is_mistaken: false,
        time: Duration::ZERO,
    };
    let mut edits = Vec::new();
    match test.app(&options.component) {
        Ok(app) => {
            for step in &test.steps {
                let done = step.run(&app, options.update, &mut edits).await;
                result.problems.extend(
                    done.into_iter().map(|problem| {
                        format!("{}:{}: {}", file.name, step.line, problem.trim_end())
                    }),
                );
            }
        }
        Err(mistake) => {
            result.is_mistaken = true;
            result.problems.push(mistake.to_string());
        }
    }
    result.time = since.elapsed();
    (result, edits)
}

fn read(tests: &Path) -> Result<Vec<Arc<File>>, Mistake> {
    let mut paths = Vec::new();
    if tests.is_file() {
        paths.push(tests.to_owned());
    } else {
        let entries = fs::read_dir(tests).map_err(|error| Mistake::about(tests, error))?;
        for entry in entries {
            let path = entry.map_err(|error| Mistake::about(tests, error))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Mistake::about(
            tests,
            "there are no test files (*.toml) in this folder",
        ));
    }
    let files = paths.iter();
    files.map(|path| File::read(path).map(Arc::new)).collect()
}
