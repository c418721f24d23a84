//! Reads test files, and checks them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use regex_lite::Regex;
use toml::Spanned;
use toml::value::Datetime;

use super::form::{Expect, FaultForm, FileForm, StepForm};
use crate::app::App;
use crate::database::Database;
use crate::error::{Mistake, did_you_mean};
use crate::fault::{Failure, Fault};

/// A test file, checked.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// Its name without the folder.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) tests: Vec<Arc<Test>>,
}

/// One test.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) line: usize,
    pub(super) name: String,
    databases: BTreeMap<String, Database>,
    env: BTreeMap<String, String>,
    now: Option<SystemTime>,
    pub(super) steps: Vec<Step>,
}

/// One request, or one run of a command.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    /// Where lines can be added to it: after the line of its last key.
    pub(super) end: usize,
    pub(super) folder: PathBuf,
    pub(super) does: Does,
    pub(super) faults: Vec<Fault>,
    pub(super) expect: Option<Expect>,
}

#[derive(Debug)]
pub(super) enum Does {
    Request { request: http::Request<Vec<u8>> },
    Run { args: Vec<String>, stdin: String },
}

/// Where in the file a mistake is.
struct Places<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Places<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    fn mistake(&self, at: Range<usize>, message: impl std::fmt::Display) -> Mistake {
        let start = self.text[..at.start].rfind('\n').map_or(0, |end| end + 1);
        let column = self.text[start..at.start].chars().count() + 1;
        let (path, line) = (self.path.display(), self.line(at.start));
        Mistake::new(format!("{path}:{line}:{column}: {message}"))
    }

    /// A mistake that `toml` found, with a suggestion for a key that is not known.
    fn of_toml(&self, error: &toml::de::Error) -> Mistake {
        let message = error.message();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let suggestion = match (message.starts_with("unknown field"), quoted.next()) {
            (true, Some(key)) => did_you_mean(key, &quoted.collect::<Vec<_>>()),
            _ => String::new(),
        };
        self.mistake(
            error.span().unwrap_or(0..0),
            format_args!("{message}{suggestion}"),
        )
    }
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, Mistake> {
        let text = fs::read_to_string(path).map_err(|error| Mistake::about(path, error))?;
        let places = Places { path, text: &text };
        let form: FileForm = toml::from_str(&text).map_err(|error| places.of_toml(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let databases = databases(&form, folder);
        let now = form
            .now
            .as_ref()
            .map(|now| moment(now, &places))
            .transpose()?;
        let mut tests: Vec<Arc<Test>> = Vec::new();
        for test in form.test {
            let name = test.name.get_ref().clone();
            if tests.iter().any(|other| other.name == name) {
                let message = format!("there is another test named {name:?}");
                return Err(places.mistake(test.name.span(), message));
            }
            if test.step.is_empty() {
                let message = "the test has no [[test.step]]";
                return Err(places.mistake(test.name.span(), message));
            }
            let mut databases = databases.clone();
            if let Some(sql) = test.seed_sql {
                let default = databases.remove("default").unwrap_or_default();
                databases.insert("default".to_owned(), default.seed_sql(sql));
            }
            let steps = test.step.into_iter();
            let steps = steps.map(|step| step.check(folder, &places, test.name.span()));
            let own = test.now.as_ref().map(|now| moment(now, &places));
            tests.push(Arc::new(Test {
                line: places.line(test.name.span().start),
                name,
                databases,
                env: form.env.clone(),
                now: own.transpose()?.or(now),
                steps: steps.collect::<Result<_, _>>()?,
            }));
        }
        if tests.is_empty() {
            return Err(Mistake::about(path, "the file has no [[test]]"));
        }
        let name = path.file_name().unwrap_or_default();
        Ok(File {
            path: path.to_owned(),
            name: name.to_string_lossy().into_owned(),
            tests,
            text,
        })
    }
}

/// The databases of a file: those that it names, and `default` with the migrations and seed that
/// lie beside it.
fn databases(form: &FileForm, folder: &Path) -> BTreeMap<String, Database> {
    let named = form.databases.iter().map(|(name, form)| {
        let mut database = Database::new();
        if let Some(migrations) = &form.migrations {
            database = database.migrations(folder.join(migrations));
        }
        for seed in &form.seeds {
            database = database.seed(folder.join(seed));
        }
        if form.read_only {
            database = database.read_only();
        }
        (name.clone(), database)
    });
    let mut databases: BTreeMap<_, _> = named.collect();
    databases.entry("default".to_owned()).or_insert_with(|| {
        let (migrations, seed) = (folder.join("migrations"), folder.join("seed.sql"));
        let mut database = Database::new();
        if migrations.is_dir() {
            database = database.migrations(migrations);
        }
        if seed.is_file() {
            database = database.seed(seed);
        }
        database
    });
    databases
}

impl Test {
    /// A component and databases of the test's own.
    pub(super) fn app(&self, component: &Path) -> Result<App, Mistake> {
        let mut app = App::builder(component);
        for (name, database) in &self.databases {
            app = app.database(name, database.clone());
        }
        for (name, value) in &self.env {
            app = app.env(name, value);
        }
        if let Some(now) = self.now {
            app = app.now(now);
        }
        app.build()
    }
}

impl StepForm {
    fn check(
        self,
        folder: &Path,
        places: &Places<'_>,
        test: Range<usize>,
    ) -> Result<Step, Mistake> {
        let ends = [
            self.request.as_ref().map(Spanned::span),
            self.body.as_ref().map(Spanned::span),
            self.body_file.as_ref().map(Spanned::span),
            self.run.as_ref().map(Spanned::span),
            self.stdin.as_ref().map(Spanned::span),
            // Not of a table with a header of its own: lines after it would be its.
            self.headers
                .as_ref()
                .map(Spanned::span)
                .filter(|span| places.text[span.clone()].starts_with('{')),
        ];
        let end = ends
            .iter()
            .flatten()
            .map(|span| span.end)
            .max()
            .unwrap_or(0);
        let end = places.text[end..]
            .find('\n')
            .map_or(places.text.len(), |at| end + at + 1);
        let at = match (&self.request, &self.run) {
            (Some(request), None) => request.span(),
            (None, Some(run)) => run.span(),
            (Some(_), Some(run)) => {
                return Err(places.mistake(run.span(), "a step has `request` or `run`, not both"));
            }
            (None, None) => {
                let message = "each [[test.step]] of this test needs `request = \"GET /path\"` \
                               or `run = [\"ARG\"]`";
                return Err(places.mistake(test, message));
            }
        };
        let faults = self.fault.iter();
        let faults = faults.map(|fault| fault.get_ref().check(places, fault.span()));
        let faults = faults.collect::<Result<_, _>>()?;
        if let Some(expect) = &self.expect {
            expect.check(places, at.clone(), self.run.is_some())?;
        }
        Ok(Step {
            line: places.line(at.start),
            end,
            folder: folder.to_owned(),
            does: match self.run {
                Some(run) => Does::Run {
                    args: run.into_inner(),
                    stdin: self.stdin.map(Spanned::into_inner).unwrap_or_default(),
                },
                None => Does::Request {
                    request: request(
                        &self.request,
                        self.headers,
                        (self.body, self.body_file),
                        folder,
                    )
                    .map_err(|message| places.mistake(at, message))?,
                },
            },
            faults,
            expect: self.expect,
        })
    }
}

fn request(
    line: &Option<Spanned<String>>,
    headers: Option<Spanned<BTreeMap<String, String>>>,
    (body, body_file): (Option<Spanned<String>>, Option<Spanned<PathBuf>>),
    folder: &Path,
) -> Result<http::Request<Vec<u8>>, String> {
    let line = line.as_ref().map(|line| line.get_ref().as_str());
    let (method, path) = line
        .and_then(|line| line.split_once(' '))
        .filter(|(_, path)| path.starts_with('/'))
        .ok_or("write a request as \"GET /path\"")?;
    let body = match (body, body_file) {
        (Some(_), Some(_)) => return Err("a step has `body` or `body_file`, not both".to_owned()),
        (None, Some(file)) => {
            let file = folder.join(file.get_ref());
            fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        (body, None) => body
            .map(Spanned::into_inner)
            .unwrap_or_default()
            .into_bytes(),
    };
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers.map(Spanned::into_inner).unwrap_or_default() {
        request = request.header(name, value);
    }
    request.body(body).map_err(|error| error.to_string())
}

impl FaultForm {
    fn check(&self, places: &Places<'_>, at: Range<usize>) -> Result<Fault, Mistake> {
        let fault = match (&self.error, self.delay_ms, self.client_leaves) {
            (Some(error), None, false) => {
                let failure = error.get_ref().parse::<Failure>();
                Fault::error(failure.map_err(|mistake| places.mistake(error.span(), mistake))?)
            }
            (None, Some(delay), false) => Fault::delay(Duration::from_millis(delay)),
            (None, None, true) => Fault::client_leaves(),
            _ => {
                let message = "a fault has one of `error`, `delay_ms` and `client_leaves = true`";
                return Err(places.mistake(at, message));
            }
        };
        let fault = match (self.call, &self.sql, &self.pattern) {
            (None, None, None) => fault,
            (Some(call), None, None) => fault.at_call(call),
            (None, Some(sql), None) => fault.on_sql(sql),
            (None, None, Some(pattern)) => fault
                .on_pattern(pattern.get_ref())
                .map_err(|mistake| places.mistake(pattern.span(), mistake))?,
            _ => {
                let message = "a fault has at most one of `call`, `sql` and `pattern`";
                return Err(places.mistake(at, message));
            }
        };
        Ok(fault.times(self.times.unwrap_or(1)))
    }
}

impl Expect {
    /// Check what the types do not.
    fn check(
        &self,
        places: &Places<'_>,
        at: Range<usize>,
        is_command: bool,
    ) -> Result<(), Mistake> {
        if let Some(json) = &self.json {
            serde_json::from_str::<serde_json::Value>(json.get_ref())
                .map_err(|error| places.mistake(json.span(), format_args!("not JSON: {error}")))?;
        }
        if let Some(pattern) = &self.matches {
            Regex::new(pattern.get_ref()).map_err(|error| places.mistake(pattern.span(), error))?;
        }
        let of_request = self.status.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.body_file.is_some()
            || self.json.is_some();
        let of_command = self.exit_code.is_some() || self.stdout.is_some() || self.stderr.is_some();
        let message = match is_command {
            true if of_request => "`expect` of a `run` has `exit_code`, `stdout` and `stderr`",
            false if of_command => "`expect` of a `request` has `status`, `headers` and `body`",
            _ => return Ok(()),
        };
        Err(places.mistake(at, message))
    }
}

/// A time with an offset from UTC.
fn moment(time: &Spanned<Datetime>, places: &Places<'_>) -> Result<SystemTime, Mistake> {
    let Datetime {
        date: Some(date),
        time: Some(clock),
        offset: Some(offset),
    } = time.get_ref()
    else {
        let message = "write a time with its offset, such as 2026-01-31T12:00:00Z";
        return Err(places.mistake(time.span(), message));
    };
    let offset = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(*minutes) * 60,
    };
    let clock_seconds = i64::from(clock.hour) * 3600
        + i64::from(clock.minute) * 60
        + i64::from(clock.second.unwrap_or(0));
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let seconds = days * 86_400 + clock_seconds - offset;
    let seconds = u64::try_from(seconds)
        .map_err(|_| places.mistake(time.span(), "the time must not be before 1970"))?;
    let nanos = clock.nanosecond.unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// In the Gregorian calendar. Years begin in March here, so that a leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}
