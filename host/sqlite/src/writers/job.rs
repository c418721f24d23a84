//! A statement that another connection may run, so that both are committed together.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::engine::Rights;
use millpond_pool::{Column, Parameters, ResultSet, Rows, Summary};

use crate::ffi::changes::Told;

/// A statement that writes, outside a transaction, for the holder of the turn to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sql: Box<str>,
    pub(crate) parameters: Parameters,
    pub(crate) wants: Wants,
    pub(crate) rights: Arc<Rights>,
    /// How long it may run, and for how many calls of the progress handler. Waiting does not count.
    pub(crate) time: Duration,
    pub(crate) steps: u64,
    /// What its owner's connection reports, before it runs and then after.
    pub(crate) told: Told,
    pub(crate) answer: Option<Answer>,
}

/// What to collect from a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// Only its summary.
    Summary,
    /// Its rows, if they fit one page.
    Page { max_rows: u32, with_columns: bool },
    /// All of its rows.
    ResultSet { with_columns: bool },
}

/// The outcome of a statement.
#[derive(Debug)]
pub(crate) enum Answer {
    Summary(Summary),
    Page(Rows, Option<Vec<Column>>),
    ResultSet(ResultSet),
}

impl Answer {
    pub(crate) fn into_summary(self) -> Option<Summary> {
        match self {
            Answer::Summary(summary) => Some(summary),
            _ => None,
        }
    }

    pub(crate) fn into_page(self) -> Option<(Rows, Option<Vec<Column>>)> {
        match self {
            Answer::Page(rows, columns) => Some((rows, columns)),
            _ => None,
        }
    }

    pub(crate) fn into_result_set(self) -> Option<ResultSet> {
        match self {
            Answer::ResultSet(result) => Some(result),
            _ => None,
        }
    }
}

impl Job {
    /// The outcome, and what its owner's connection must report from now on.
    pub(crate) fn into_answer(self) -> (Option<Answer>, Told) {
        (self.answer, self.told)
    }
}
