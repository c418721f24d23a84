//! What a call answered and did, and the assertions about it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use millpond_pool::PoolStats;

use crate::app::App;
use crate::compare;
use crate::error::Mistake;
use crate::fault::normal;
use crate::journal::Journal;
use crate::plan::{FullScan, Planner};
use crate::recorder::Left;

/// What a guest did during one call, besides its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The call, for messages: `GET /notes`.
    pub name: String,
    /// Everything that the guest asked of its databases.
    pub journal: Journal,
    /// What it had not finished when its connections were returned.
    pub left: Left,
    /// What it printed.
    pub stdout: String,
    /// What it printed on its standard error.
    pub stderr: String,
    /// Why it failed, with its backtrace, if it trapped, took too long, or set no response.
    pub trap: Option<String>,
    /// The first database that it asked for but was not granted.
    pub unknown_database: Option<String>,
    /// Each database's pool counters after the call.
    pub stats: BTreeMap<String, PoolStats>,
    pub(crate) app: App,
}

/// The answer to an HTTP request, and what the guest did.
///
/// Each assertion panics with what was expected, what was answered, what the guest printed, and,
/// if it trapped, its backtrace. It returns the answer, so that assertions can be chained.
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
    /// Every statement's full scans of tables, without an index.
    ///
    /// # Errors
    ///
    /// A database's file cannot be opened.
    pub fn full_scans(&self) -> Result<Vec<FullScan>, Mistake> {
        let mut scans: Vec<FullScan> = Vec::new();
        for opened in &self.app.inner.databases {
            let statements = self.journal.statements();
            let mut sql: Vec<&str> = statements
                .filter(|entry| entry.database == opened.name)
                .map(|entry| &*entry.sql)
                .collect();
            sql.sort_unstable();
            sql.dedup();
            if !sql.is_empty() {
                let planner = Planner::open(&opened.path)?;
                scans.extend(sql.iter().flat_map(|sql| planner.full_scans(sql)));
            }
        }
        Ok(scans)
    }

    /// Why the guest left something open; `None` if it did not.
    pub(crate) fn leaves_something(&self) -> Option<String> {
        let Left {
            statements,
            cursors,
            transactions,
            ..
        } = &self.left;
        let mut text = String::new();
        for (what, list) in [
            ("a statement that was not dropped", statements),
            ("rows that were not read to the end", cursors),
            ("a transaction that was not ended, after", transactions),
        ] {
            for sql in list {
                _ = writeln!(text, "  {what}: {}", normal(sql));
            }
        }
        (!text.is_empty()).then(|| format!("the guest leaves open:\n{text}"))
    }

    /// Why the end of the request had to return connections; `None` if it had not.
    pub(crate) fn keeps_connections(&self) -> Option<String> {
        let names = self.left.connections.join(", ");
        (!names.is_empty())
            .then(|| format!("the end of the request returned connections to: {names}\n"))
    }

    pub(crate) fn exceeds_statements(&self, most: usize) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.journal.statements() {
            *counts.entry(normal(&entry.sql)).or_default() += 1;
        }
        let total: usize = counts.values().sum();
        if total <= most {
            return None;
        }
        let mut text = format!("the guest ran {total} statements, more than {most}");
        let mut repeated: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
        repeated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        text.push_str(if repeated.is_empty() {
            "\n"
        } else {
            "; repeated:\n"
        });
        for (sql, count) in repeated {
            _ = writeln!(text, "  {count} times: {sql}");
        }
        Some(text)
    }

    /// Why a table is scanned; `None` if none is, except those of `except`.
    pub(crate) fn scans(&self, except: &[impl AsRef<str>]) -> Result<Option<String>, Mistake> {
        let mut scans = self.full_scans()?;
        scans.retain(|scan| except.iter().all(|table| table.as_ref() != scan.table));
        let mut text = String::new();
        for FullScan { sql, table, plan } in scans {
            _ = writeln!(text, "the guest scans all of `{table}`: {sql}");
            plan.lines().for_each(|line| _ = writeln!(text, "  {line}"));
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// What helps to understand a failure: how the guest ended, and what it printed.
    pub(crate) fn context(&self) -> String {
        let mut text = String::new();
        if let Some(trap) = &self.trap {
            _ = writeln!(text, "the guest failed: {}", trap.trim_end());
        }
        if let Some(name) = &self.unknown_database {
            _ = writeln!(
                text,
                "it asked for the database `{name}`, which the test does not have"
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
        if let Some(problem) = problem {
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
                self.record.must(self.record.leaves_something());
                self
            }

            /// Assert that the guest returned every connection itself. Guests that use the shared
            /// connection of their library, such as `db()` in Rust, leave that to the end of the
            /// request, which is as good.
            #[track_caller]
            pub fn returns_connections(&self) -> &Self {
                self.record.must(self.record.keeps_connections());
                self
            }

            /// Assert that the guest ran at most this many statements. A guest that runs one for
            /// each row of another's result runs more of them when there is more data.
            #[track_caller]
            pub fn at_most_statements(&self, most: usize) -> &Self {
                self.record.must(self.record.exceeds_statements(most));
                self
            }

            /// Assert that no statement reads a whole table without an index.
            ///
            /// Asks SQLite for the plan of each statement, now, on a connection of its own.
            /// Statements of temporary tables, and scripts after their first statement, are not
            /// checked.
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
                    Ok(problem) => self.record.must(problem),
                    Err(mistake) => panic!("{mistake}"),
                }
                self
            }

            /// Assert that the journal is this text, and show the difference if not. Leading and
            /// trailing white space of lines does not count.
            #[track_caller]
            pub fn journal_is(&self, expected: &str) -> &Self {
                let actual = self.record.journal.to_string();
                let difference = compare::lines(&compare::trimmed(expected), &actual);
                let problem = difference.map(|text| format!("the journal differs:\n{text}"));
                self.record.must(problem);
                self
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
        let value = serde_json::from_slice(&self.body);
        value.unwrap_or_else(|error| {
            let problem = format!("the body is not JSON: {error}: {}", self.text());
            self.record.must(Some(problem));
            serde_json::Value::Null
        })
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
        self.record.must((actual != status).then(problem));
        self
    }

    /// Assert that the body is this text.
    #[track_caller]
    pub fn body_is(&self, expected: &str) -> &Self {
        let difference = compare::lines(expected, &self.text());
        let problem = difference.map(|text| format!("the body differs:\n{text}"));
        self.record.must(problem);
        self
    }

    /// Assert that the body is JSON of this value. A string `…` in it means any value.
    #[track_caller]
    pub fn json_is(&self, expected: &serde_json::Value) -> &Self {
        let difference = compare::json(expected, &self.json());
        let problem = difference.map(|text| format!("the body differs:\n{text}"));
        self.record.must(problem);
        self
    }
}

impl Exit {
    /// Assert the exit code.
    #[track_caller]
    pub fn is(&self, code: i32) -> &Self {
        let problem = || format!("the exit code is {}, not {code}", self.code);
        self.record.must((self.code != code).then(problem));
        self
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
        self.record.must(problem);
        self
    }
}
