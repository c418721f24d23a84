//! Faults on purpose: what fails, how, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use millpond_pool::{Error, ErrorKind};
use regex_lite::Regex;

use crate::error::Mistake;

/// A failure of the database, by the name of the contract's kind.
///
/// The statement does not run, except with [`OutcomeUnknown`](Failure::OutcomeUnknown). As with
/// SQLite itself, [`DeadlineExceeded`](Failure::DeadlineExceeded),
/// [`QuotaExceeded`](Failure::QuotaExceeded) and [`Io`](Failure::Io) roll back the open transaction
/// of a statement that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// `busy`: another writer held the database for too long.
    Busy,
    /// `busy-snapshot`: others have written since the transaction first read.
    BusySnapshot,
    /// `pool-timeout`, when the guest gets a connection: all were in use for too long.
    PoolTimeout,
    /// `deadline-exceeded`: the statement took too long.
    DeadlineExceeded,
    /// `quota-exceeded`: the database, or the disk, is full.
    QuotaExceeded,
    /// `rolled-back`: the host rolls back the open transaction before the statement, which then
    /// fails with `stale-handle`. Only happens in a transaction.
    RolledBack,
    /// `outcome-unknown`: the statement runs, but its result does not reach the guest.
    OutcomeUnknown,
    /// `unavailable`: the engine could not be reached.
    Unavailable,
    /// `io`: the disk failed.
    Io,
    /// `corrupt`: the file is damaged.
    Corrupt,
}

impl Failure {
    const ALL: [(&str, Failure); 10] = [
        ("busy", Failure::Busy),
        ("busy-snapshot", Failure::BusySnapshot),
        ("pool-timeout", Failure::PoolTimeout),
        ("deadline-exceeded", Failure::DeadlineExceeded),
        ("quota-exceeded", Failure::QuotaExceeded),
        ("rolled-back", Failure::RolledBack),
        ("outcome-unknown", Failure::OutcomeUnknown),
        ("unavailable", Failure::Unavailable),
        ("io", Failure::Io),
        ("corrupt", Failure::Corrupt),
    ];

    /// The error that the guest gets, with SQLite's result code.
    pub(crate) fn error(self) -> Error {
        let (kind, code) = match self {
            Failure::Busy => (ErrorKind::Busy, 5),
            Failure::BusySnapshot => (ErrorKind::BusySnapshot, 517),
            Failure::PoolTimeout => {
                let (waited, in_use) = (Duration::from_secs(10), 5);
                (ErrorKind::PoolTimeout { waited, in_use }, 0)
            }
            Failure::DeadlineExceeded => (ErrorKind::DeadlineExceeded, 9),
            Failure::QuotaExceeded => (ErrorKind::QuotaExceeded, 13),
            Failure::RolledBack => (ErrorKind::StaleHandle, 0),
            Failure::OutcomeUnknown => (ErrorKind::OutcomeUnknown, 0),
            Failure::Unavailable => (ErrorKind::Unavailable, 0),
            Failure::Io => (ErrorKind::Io, 10),
            Failure::Corrupt => (ErrorKind::Corrupt, 11),
        };
        Error::new(kind, format!("{self}, a fault of the test")).with_code(code)
    }

    /// Whether it rolls back the transaction of a statement that writes.
    pub(crate) fn ends_transaction(self) -> bool {
        matches!(
            self,
            Failure::DeadlineExceeded | Failure::QuotaExceeded | Failure::Io
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Failure::ALL.iter().find(|(_, failure)| failure == self);
        f.write_str(named.map_or("failure", |(name, _)| name))
    }
}

impl FromStr for Failure {
    type Err = Mistake;

    fn from_str(name: &str) -> Result<Failure, Mistake> {
        let named = Failure::ALL.iter().find(|(known, _)| *known == name);
        named.map(|(_, failure)| *failure).ok_or_else(|| {
            let known = Failure::ALL.map(|(known, _)| known);
            Mistake::new(format!(
                "`{name}` is not a failure{}: write one of {}",
                crate::error::did_you_mean(name, &known),
                known.join(", ")
            ))
        })
    }
}

/// What happens at one call of a guest to its database: see [`Call::fault`](crate::Call::fault).
///
/// Without [`at_call`](Fault::at_call), [`on_sql`](Fault::on_sql) or
/// [`on_pattern`](Fault::on_pattern) it happens at the first call. It happens once, unless
/// [`times`](Fault::times) says otherwise.
///
/// ```
/// use millpond_test::{Failure, Fault};
///
/// // The first write of the request finds an outdated snapshot.
/// let conflict = Fault::error(Failure::BusySnapshot).on_sql("UPDATE");
/// # let _ = conflict;
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) effect: Effect,
    when: When,
    left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Error(Failure),
    Delay(Duration),
    ClientLeaves,
}

#[derive(Clone, Debug)]
enum When {
    Call(u32),
    Sql(String),
    Pattern(Regex),
}

impl Fault {
    fn new(effect: Effect) -> Fault {
        Fault {
            effect,
            when: When::Call(1),
            left: 1,
        }
    }

    /// The call fails with this error.
    pub fn error(failure: Failure) -> Fault {
        Fault::new(Effect::Error(failure))
    }

    /// The call takes longer by `delay`, like on a slow disk, and then runs.
    pub fn delay(delay: Duration) -> Fault {
        Fault::new(Effect::Delay(delay))
    }

    /// The client goes away during the call: the request is dropped before the statement runs, and
    /// the answer has the status 499 (for a command, the exit code 141).
    pub fn client_leaves() -> Fault {
        Fault::new(Effect::ClientLeaves)
    }

    /// Happen at the `n`th call of the request that runs something in a database, from 1: a
    /// statement, the next rows of a cursor, the begin or end of a transaction. Not at its
    /// compilation. [`PoolTimeout`](Failure::PoolTimeout) happens at the `n`th get.
    #[must_use]
    pub fn at_call(mut self, n: u32) -> Fault {
        self.when = When::Call(n);
        self
    }

    /// Happen at a call whose SQL contains `text`, without regard to case. A run of white space
    /// counts as one space. Transactions by handle are `BEGIN`, `BEGIN IMMEDIATE`, `COMMIT` and
    /// `ROLLBACK`.
    #[must_use]
    pub fn on_sql(mut self, text: &str) -> Fault {
        self.when = When::Sql(normal(text).to_lowercase());
        self
    }

    /// Like [`on_sql`](Fault::on_sql), for SQL that a regular expression matches.
    ///
    /// # Errors
    ///
    /// The expression is not valid.
    pub fn on_pattern(mut self, pattern: &str) -> Result<Fault, Mistake> {
        let pattern = Regex::new(pattern)
            .map_err(|error| Mistake::new(format!("the pattern {pattern:?}: {error}")))?;
        self.when = When::Pattern(pattern);
        Ok(self)
    }

    /// Happen this many times. Defaults to 1.
    #[must_use]
    pub fn times(mut self, times: u32) -> Fault {
        self.left = times;
        self
    }

    /// Whether it concerns gets, and not statements.
    pub(crate) fn is_of_get(&self) -> bool {
        self.effect == Effect::Error(Failure::PoolTimeout)
    }

    /// Whether it only happens in a transaction.
    pub(crate) fn needs_transaction(&self) -> bool {
        self.effect == Effect::Error(Failure::RolledBack)
    }

    /// Whether it happens at this call; if so, uses up one of its times.
    pub(crate) fn take(&mut self, number: u32, sql: &str) -> bool {
        let is_now = match &self.when {
            // With `times`, also at the calls after the `n`th.
            When::Call(n) => number >= *n,
            When::Sql(text) => normal(sql).to_lowercase().contains(text),
            When::Pattern(pattern) => pattern.is_match(&normal(sql)),
        };
        let happens = is_now && self.left > 0;
        self.left -= u32::from(happens);
        happens
    }
}

/// The text with any white space as one space.
pub(crate) fn normal(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}
