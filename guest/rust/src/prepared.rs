//! A statement of the host's, and what is known of it: asked for once, when first needed.

use std::cell::{Cell, OnceCell};

use crate::bindings::connections as wit;
use crate::{Column, Error, ErrorKind, Result};

/// A statement, and what is known of it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) raw: wit::Statement,
    /// Facts that never change, once they have been requested.
    facts: OnceCell<Facts>,
    /// Whether a column has been read by name: further runs then request the columns with their
    /// rows.
    pub(crate) is_named: Cell<bool>,
}

/// What the schema does not affect.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) parameter_names: Vec<Option<String>>,
    pub(crate) read_only: bool,
}

impl Prepared {
    pub(crate) fn new(raw: wit::Statement) -> Prepared {
        Prepared {
            raw,
            facts: OnceCell::new(),
            is_named: Cell::new(false),
        }
    }

    /// Asks the host to describe it. The columns are those of its last run, if there was one.
    pub(crate) fn describe(&self) -> Result<wit::Description> {
        let mut description = self.raw.describe()?;
        let parameter_names = std::mem::take(&mut description.parameter_names);
        let _ = self.facts.set(Facts {
            parameter_names,
            read_only: description.read_only,
        });
        Ok(description)
    }

    pub(crate) fn facts(&self) -> Result<&Facts> {
        if self.facts.get().is_none() {
            self.describe()?;
        }
        let unknown = || Error::new(ErrorKind::Other, "the host did not describe a statement");
        self.facts.get().ok_or_else(unknown)
    }
}

/// The columns of one run's result, requested when first needed: a row that is read by index never
/// needs their names. If a statement's rows have been read by name, its next run requests the
/// columns with the first rows: they may have changed by then.
#[derive(Debug)]
pub(crate) struct Columns<'s> {
    statement: Asked<'s>,
    answer: OnceCell<Vec<Column>>,
}

#[derive(Debug)]
enum Asked<'s> {
    Lent(&'s Prepared),
    Held(Prepared),
    #[cfg(test)]
    NoStatement,
}

impl<'s> Columns<'s> {
    pub(crate) fn of(statement: &'s Prepared, columns: Option<Vec<Column>>) -> Columns<'s> {
        Columns::new(Asked::Lent(statement), columns)
    }

    pub(crate) fn held(statement: Prepared, columns: Option<Vec<Column>>) -> Columns<'s> {
        Columns::new(Asked::Held(statement), columns)
    }

    fn new(statement: Asked<'s>, columns: Option<Vec<Column>>) -> Columns<'s> {
        Columns {
            statement,
            answer: columns.map_or_else(OnceCell::new, OnceCell::from),
        }
    }

    #[cfg(test)]
    pub(crate) fn known(columns: Vec<Column>) -> Columns<'s> {
        Columns {
            statement: Asked::NoStatement,
            answer: OnceCell::from(columns),
        }
    }

    pub(crate) fn get(&self) -> &[Column] {
        self.answer.get_or_init(|| {
            let statement = match &self.statement {
                Asked::Lent(statement) => statement,
                Asked::Held(statement) => statement,
                #[cfg(test)]
                Asked::NoStatement => return Vec::new(),
            };
            statement.is_named.set(true);
            // A stale statement has none.
            let description = statement.describe();
            description.map_or_else(|_| Vec::new(), |description| description.columns)
        })
    }
}
