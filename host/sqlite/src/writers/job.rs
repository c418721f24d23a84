//! A statement of one connection that another may run, so that both are committed together.

use std::sync::Arc;

use millpond_pool::engine::Rights;
use millpond_pool::{Column, Parameters, Rows, Summary, Table};

use crate::ffi::changes::Told;

/// A statement that writes, outside of a transaction, for whoever has the turn to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sql: Box<str>,
    pub(crate) parameters: Parameters,
    pub(crate) wants: Wants,
    pub(crate) rights: Arc<Rights>,
    /// When it is to end, by `clock`, and after how many calls of the progress handler.
    pub(crate) until: u64,
    pub(crate) steps: u64,
    /// What its owner's connection tells, before and then after it ran.
    pub(crate) told: Told,
    pub(crate) answer: Option<Answer>,
}

/// What is made of a statement's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// Nothing: what it did.
    Summary,
    /// All of them, where they fit one page.
    Page { max_rows: u32, with_columns: bool },
    /// All of them.
    Table { with_columns: bool },
}

/// What a statement came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Summary(Summary),
    Page(Rows, Option<Vec<Column>>),
    Table(Table),
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

    pub(crate) fn into_table(self) -> Option<Table> {
        match self {
            Answer::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Job {
    /// What it came to, and what its owner's connection is to tell of it.
    pub(crate) fn into_answer(self) -> (Option<Answer>, Told) {
        (self.answer, self.told)
    }
}
