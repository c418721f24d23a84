//! Compiled statements and cursors, as handles that may outlive their connection's return.

use std::sync::Arc;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::{Lent, unless_stale};
use crate::value::{Cells, Column, Parameters, Summary};

/// A compiled statement of one connection. Dropped, it is kept for the next time; a cursor over
/// its rows stays good.
#[derive(Debug)]
pub struct Statement {
    lent: Arc<Lent>,
    key: usize,
}

/// The first rows of a result, and where to get the rest.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub cells: Cells,
    /// `None` when `cells` holds every row.
    pub rest: Option<Cursor>,
}

/// The rest of a result. Dropped before the end, the statement is reset.
#[derive(Debug)]
pub struct Cursor {
    lent: Arc<Lent>,
    key: usize,
    run: u64,
}

impl Statement {
    pub(crate) fn new(lent: Arc<Lent>, key: usize) -> Statement {
        Statement { lent, key }
    }

    /// The columns of its rows: those of its last run, or, before the first, as the schema is now,
    /// which may take as long as preparing it. None where it yields no rows, or once stale.
    pub fn columns(&self) -> Vec<Column> {
        let key = self.key;
        let columns = move |session: &mut dyn Session, call: Call| session.columns(call, key);
        // What fails is what its next run reports.
        self.lent
            .attempt_now(columns, || columns)
            .unwrap_or_default()
    }

    /// The parameters' names without prefix, `None` for a bare `?`; none at all once stale.
    pub fn parameter_names(&self) -> Vec<Option<String>> {
        let key = self.key;
        let names = move |session: &mut dyn Session, call: Call| session.parameter_names(call, key);
        self.lent.attempt_now(names, || names).unwrap_or_default()
    }

    /// Whether the statement leaves the database as it is
    /// (<https://sqlite.org/c3ref/stmt_readonly.html>); true once stale.
    pub fn is_read_only(&self) -> bool {
        let key = self.key;
        let reads = move |session: &mut dyn Session, call: Call| session.is_read_only(call, key);
        self.lent.attempt_now(reads, || reads).unwrap_or(true)
    }

    /// Run for its effect. Rows that it yields are not kept; an open cursor of this statement
    /// becomes stale. A statement that writes waits its turn to write.
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters), [`Busy`](crate::ErrorKind::Busy),
    /// [`BusySnapshot`](crate::ErrorKind::BusySnapshot),
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle).
    pub async fn execute(&self, parameters: &Parameters) -> Result<Summary> {
        let key = self.key;
        let aside = || {
            let parameters = parameters.clone();
            move |session: &mut dyn Session, call| session.execute_prepared(call, key, &parameters)
        };
        let work =
            |session: &mut dyn Session, call| session.execute_prepared(call, key, parameters);
        self.lent.attempt(work, aside).await
    }

    /// Run once a row of `rows`, all or none, and sum up their changes. The width of a row is
    /// the number of the statement's parameters. Waits its turn to write once for all rows.
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters): the statement has none, or `rows` does not
    /// fit; [`NotUtf8`](crate::ErrorKind::NotUtf8); any error of a row, after which no row is kept.
    pub async fn execute_many(&self, rows: &Cells) -> Result<Summary> {
        let key = self.key;
        let aside = || {
            let rows = rows.clone();
            move |session: &mut dyn Session, call| session.execute_many(call, key, &rows)
        };
        let work = |session: &mut dyn Session, call| session.execute_many(call, key, rows);
        self.lent.attempt(work, aside).await
    }

    /// Run, and take up to `max_rows` rows now: fewer where they reach
    /// [`max_page_bytes`](crate::PoolBuilder::max_page_bytes); with 0, as many as that lets
    /// through. An open cursor of this statement becomes stale.
    ///
    /// A statement that writes waits its turn to write, and keeps it until its cursor is read to
    /// the end or dropped.
    ///
    /// # Errors
    ///
    /// As [`execute`](Statement::execute); [`NotUtf8`](crate::ErrorKind::NotUtf8), which does not
    /// undo what the statement has written.
    pub async fn query(&self, parameters: &Parameters, max_rows: u32) -> Result<Page> {
        let key = self.key;
        let aside = || {
            let parameters = parameters.clone();
            move |session: &mut dyn Session, call| {
                session.query_prepared(call, key, &parameters, max_rows)
            }
        };
        let work = |session: &mut dyn Session, call| {
            session.query_prepared(call, key, parameters, max_rows)
        };
        let (cells, run) = self.lent.attempt(work, aside).await?;
        let rest = run.map(|run| Cursor {
            lent: Arc::clone(&self.lent),
            key: self.key,
            run,
        });
        Ok(Page { cells, rest })
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        unless_stale(
            self.lent.with(|session| session.drop_statement(self.key)),
            (),
        );
    }
}

impl Cursor {
    /// Up to `max_rows` more rows, under the rules of [`Statement::query`]; no rows at the end,
    /// and again after the end. Does not wait.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): the connection was returned, or the
    /// statement run again. [`NotUtf8`](crate::ErrorKind::NotUtf8). Any error ends the result.
    pub fn next(&self, max_rows: u32) -> Result<Cells> {
        let (key, run) = (self.key, self.run);
        let next =
            move |session: &mut dyn Session, call: Call| session.next(call, key, run, max_rows);
        self.lent.attempt_now(next, || next)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        unless_stale(
            self.lent
                .with(|session| session.drop_cursor(self.key, self.run)),
            (),
        );
    }
}
