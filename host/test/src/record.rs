//! What a call answered and did, and the assertions about it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use millpond_pool::PoolStats;

use crate::app::App;
use crate::compare;
use crate::fault::normal;
use crate::journal::{Entry, Journal};
use crate::recorder::Leftovers;

/// What a guest did during one call, besides its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The call, for messages: `GET /notes`.
    pub name: String,
    /// What the guest asked of its databases.
    pub journal: Journal,
    /// What it had not finished when its connections were returned.
    pub left: Leftovers,
    /// The faults that never happened, and where they were meant to. Every assertion fails then.
    pub unused_faults: Vec<String>,
    /// What it printed.
    pub stdout: String,
    /// What it printed on its standard error.
    pub stderr: String,
    /// Why it failed: it trapped (with its backtrace), took too long, or set no valid response.
    pub failure: Option<String>,
    /// The first database that it asked for but was not granted.
    pub unknown_database: Option<String>,
    /// Each database's pool counters after the call.
    pub stats: BTreeMap<String, PoolStats>,
    pub(crate) app: App,
}

/// The answer to an HTTP request, and what the guest did.
///
/// Each assertion also fails if the guest failed after its response, or a fault never happened. It
/// panics with what was expected, what was answered, what the guest printed, and, if it trapped,
/// its backtrace. It returns the answer, so that assertions can be chained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status: 500 if the guest failed, 504 if it took too long, and 499 if the client went
    /// away ([`Fault::client_leaves`](crate::Fault::client_leaves)).
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What the guest did.
    pub record: Record,
}

/// How a command ended, and what the guest did. Its assertions are like those of [`Answer`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exit {
    /// The exit code: 134 if the guest trapped or took too long, and 141 if its client went away.
    pub code: i32,
    /// What the guest did, and what it printed.
    pub record: Record,
}

impl Record {
    /// Why the guest left something open; `None` if it did not.
    pub(crate) fn leaves_something(&self) -> Option<String> {
        let Leftovers {
            statements,
            cursors,
            transactions,
            unreturned,
            ..
        } = &self.left;
        let mut text = String::new();
        for (what, list) in [
            ("a statement that was not dropped", statements),
            ("rows that were not read to the end", cursors),
            ("a transaction that was not ended, after", transactions),
            (
                "a statement that did not stop, on a connection to",
                unreturned,
            ),
        ] {
            for sql in list {
                _ = writeln!(text, "  {what}: {}", normal(sql));
            }
        }
        (!text.is_empty()).then(|| format!("the guest left open:\n{text}"))
    }

    /// Why the end of the request had to return connections; `None` if it had not.
    pub(crate) fn keeps_connections(&self) -> Option<String> {
        let Leftovers {
            connections,
            unreturned,
            ..
        } = &self.left;
        let names = [connections.as_slice(), unreturned].concat().join(", ");
        (!names.is_empty())
            .then(|| format!("the end of the request returned connections to: {names}\n"))
    }

    /// Why the test's faults had no effect; `None` if all happened.
    pub(crate) fn misses_faults(&self) -> Option<String> {
        let mut text = String::new();
        for fault in &self.unused_faults {
            _ = writeln!(text, "the fault did not happen: {fault}");
        }
        if !text.is_empty() {
            text.push_str("the guest ran:\n");
            self.list_statements(&mut text);
        }
        (!text.is_empty()).then_some(text)
    }

    pub(crate) fn exceeds_statements(&self, most: usize) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let entries = self.journal.entries().iter();
        for sql in entries.flat_map(Entry::sql_statements) {
            *counts.entry(normal(sql)).or_default() += 1;
        }
        let total = counts.values().sum::<usize>() + self.journal.omitted_statements;
        if total <= most {
            return None;
        }
        let mut text = format!("the guest ran {total} statements, more than {most}");
        let mut repeated: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
        repeated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if repeated.is_empty() {
            text.push_str(":\n");
            self.list_statements(&mut text);
        } else {
            text.push_str("; repeated:\n");
        }
        for (sql, count) in repeated {
            _ = writeln!(text, "  {count} times: {sql}");
        }
        Some(text)
    }

    fn list_statements(&self, text: &mut String) {
        const MOST: usize = 20;
        let entries = self.journal.entries().iter();
        let mut statements = entries.flat_map(Entry::sql_statements);
        for sql in statements.by_ref().take(MOST) {
            _ = writeln!(text, "  {}", normal(sql));
        }
        let more = statements.count() + self.journal.omitted_statements;
        if more > 0 {
            _ = writeln!(text, "  and {more} more");
        }
    }

    /// What helps to understand a failure: how the guest ended, and what it printed.
    pub(crate) fn context(&self) -> String {
        let mut text = String::new();
        if let Some(failure) = &self.failure {
            _ = writeln!(text, "the guest failed: {}", failure.trim_end());
        }
        if let Some(name) = &self.unknown_database {
            _ = writeln!(
                text,
                "the guest asked for the database `{name}`: add it to the test, with \
                 `databases.{name}` or `AppBuilder::database`"
            );
        }
        for (what, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in output.lines() {
                _ = writeln!(text, "guest's {what}: {line}");
            }
        }
        text
    }

    #[track_caller]
    fn must(&self, problem: Option<String>) {
        let problems = [problem, self.misses_faults()];
        let problem: String = problems.into_iter().flatten().collect();
        if !problem.is_empty() {
            let (name, context) = (&self.name, self.context());
            panic!("{name}: {}\n{context}", problem.trim_end());
        }
    }
}

/// Assertions about the record, for `Answer` and `Exit` alike.
macro_rules! record_assertions {
    ($type:ident) => {
        impl $type {
            /// Assert that the guest finished all that it began: every statement is dropped, every
            /// cursor read to the end or dropped, every transaction ended. Connections may be left
            /// to the end of the request: see
            #[doc = concat!("[`returns_connections`](", stringify!($type), "::returns_connections).")]
            #[track_caller]
            pub fn leaves_nothing(&self) -> &Self {
                self.must(self.record.leaves_something())
            }

            /// Assert that the guest returned every connection itself. Guests that use the shared
            /// connection of their library, such as `db()` in Rust, leave that to the end of the
            /// request, which is as good.
            #[track_caller]
            pub fn returns_connections(&self) -> &Self {
                self.must(self.record.keeps_connections())
            }

            /// Assert that the guest ran at most this many statements. A guest that runs one for
            /// each row of another's result runs more of them when there is more data. Each
            /// statement of a script counts; the begin and the end of a transaction or a savepoint
            /// do not.
            #[track_caller]
            pub fn at_most_statements(&self, most: usize) -> &Self {
                self.must(self.record.exceeds_statements(most))
            }

            /// Assert that no statement reads a whole table without an index.
            ///
            /// Asks SQLite for the plan of each statement, now, on another connection. Statements
            /// of tables that no longer exist are not checked.
            #[track_caller]
            pub fn no_full_scan(&self) -> &Self {
                self.no_full_scan_except(&[])
            }

            /// Like
            #[doc = concat!("[`no_full_scan`](", stringify!($type), "::no_full_scan),")]
            /// but these tables may be read as a whole, for example because they are small. A table
            /// with an alias goes by its alias.
            #[track_caller]
            pub fn no_full_scan_except(&self, tables: &[&str]) -> &Self {
                match self.record.scans(tables) {
                    Ok(problem) => self.must(problem),
                    Err(mistake) => panic!("{mistake}"),
                }
            }

            /// Assert that the journal is this text, and show the difference if not. Leading and
            /// trailing white space of lines does not count.
            #[track_caller]
            pub fn journal_is(&self, expected: &str) -> &Self {
                let actual = self.record.journal.to_string();
                let difference = compare::lines(
                    &compare::trimmed(expected),
                    &compare::trimmed(&actual),
                );
                let problem = difference.map(|text| format!("the journal differs:\n{text}"));
                self.must(problem)
            }
        }
    };
}

record_assertions!(Answer);
record_assertions!(Exit);

impl Answer {
    /// The body as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// It is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            // Not in a closure, which would be the place of the panic.
            Err(error) => {
                let problem = format!("the body is not JSON: {error}: {}", self.text());
                self.must(Some(problem));
                serde_json::Value::Null
            }
        }
    }

    /// A header's first value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Assert the status.
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        let actual = self.status.as_u16();
        let problem = || {
            let body: String = self.text().chars().take(1000).collect();
            format!("the status is {actual}, not {status}\nbody: {body}")
        };
        self.must((actual != status).then(problem))
    }

    /// Why the guest failed although it answered; `None` if it did not, or its status says so.
    pub(crate) fn fails_after(&self) -> Option<String> {
        let is_hidden = self.record.failure.is_some() && !self.status.is_server_error();
        is_hidden.then(|| {
            let status = self.status.as_u16();
            format!("the guest failed after its response, of status {status}\n")
        })
    }

    #[track_caller]
    fn must(&self, problem: Option<String>) -> &Self {
        self.record.must(problem.or_else(|| self.fails_after()));
        self
    }

    /// Assert that the body is this text.
    #[track_caller]
    pub fn body_is(&self, expected: &str) -> &Self {
        let difference = compare::lines(expected, &self.text());
        let problem = difference.map(|text| format!("the body differs:\n{text}"));
        self.must(problem)
    }

    /// Assert that the body is JSON of this value. A string `…` in it means any value.
    #[track_caller]
    pub fn json_is(&self, expected: &serde_json::Value) -> &Self {
        let difference = compare::json(expected, &self.json());
        let problem = difference.map(|text| format!("the body differs:\n{text}"));
        self.must(problem)
    }
}

impl Exit {
    #[track_caller]
    fn must(&self, problem: Option<String>) -> &Self {
        self.record.must(problem);
        self
    }

    /// Assert the exit code.
    #[track_caller]
    pub fn is(&self, code: i32) -> &Self {
        let problem = || format!("the exit code is {}, not {code}", self.code);
        self.must((self.code != code).then(problem))
    }

    /// Assert what the guest printed.
    #[track_caller]
    pub fn stdout_is(&self, expected: &str) -> &Self {
        self.output_is("stdout", expected, &self.record.stdout)
    }

    /// Assert what the guest printed on its standard error.
    #[track_caller]
    pub fn stderr_is(&self, expected: &str) -> &Self {
        self.output_is("stderr", expected, &self.record.stderr)
    }

    #[track_caller]
    fn output_is(&self, what: impl Display, expected: &str, actual: &str) -> &Self {
        let difference = compare::lines(expected, actual);
        let problem = difference.map(|text| format!("{what} differs:\n{text}"));
        self.must(problem)
    }
}
