//! Compiled statements and cursors, as handles that may outlive their connection's return.

use std::sync::Arc;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::{Lent, unless_stale};
use crate::observe::{CallWatch, CursorWatch, Figures};
use crate::value::{Column, Parameters, Rows, Summary};

/// A compiled statement of one connection. Dropping it keeps the statement in the cache, and does
/// not affect a cursor over its rows.
#[derive(Debug)]
pub struct Statement {
    lent: Arc<Lent>,
    key: usize,
    /// Its text, if there is an observer.
    sql: Option<Arc<str>>,
}

/// The first rows of a result, and a cursor for the rest.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page {
    /// The columns, in order. `None` if not asked for.
    pub columns: Option<Vec<Column>>,
    /// The rows.
    pub rows: Rows,
    /// `None` when `rows` holds every row.
    pub rest: Option<Cursor>,
}

/// A statement's columns and parameters, without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The columns of its rows: those of its last run, or, before the first run, those that it
    /// would yield now. Empty for a statement that yields no rows.
    pub columns: Vec<Column>,
    /// The parameters' names without prefix, `None` for a bare `?`, in the order of
    /// [positional](Parameters::positional) values.
    pub parameter_names: Vec<Option<String>>,
    /// Whether the statement does not write to the database
    /// (<https://sqlite.org/c3ref/stmt_readonly.html>).
    pub read_only: bool,
}

/// The rest of a result. Dropping it before the end resets the statement.
#[derive(Debug)]
pub struct Cursor {
    lent: Arc<Lent>,
    key: usize,
    run: u64,
    watch: Option<Box<CursorWatch>>,
}

impl Statement {
    pub(crate) fn new(lent: Arc<Lent>, key: usize, sql: &str) -> Statement {
        let sql = lent.borrower().map(|_| sql.into());
        Statement { lent, key, sql }
    }

    fn watch(&self) -> CallWatch<'_> {
        CallWatch::of_statement(&self.lent, self.sql.as_ref())
    }

    /// Describe the statement. Before its first run this may compile it again.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle).
    pub async fn describe(&self) -> Result<Description> {
        let key = self.key;
        let describe = move |session: &mut dyn Session, call: Call| session.describe(call, key);
        self.lent
            .attempt(describe, || describe, &CallWatch::NONE)
            .await
    }

    /// Run for its effect. Rows that it yields are discarded. An open cursor of this statement
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
        let watch = self.watch();
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end(&result, Figures::of_summary);
        result
    }

    /// Run once for each row of `rows`, all or none, and sum their changes. A row has as many
    /// values as the statement has parameters. Waits its turn to write once for all rows.
    ///
    /// # Errors
    ///
    /// [`Parameters`](crate::ErrorKind::Parameters): the statement has none, or the rows have
    /// another width; any error of a row, after which the changes of all rows are undone.
    pub async fn execute_many(&self, rows: &Rows) -> Result<Summary> {
        let key = self.key;
        let aside = || {
            let rows = rows.clone();
            move |session: &mut dyn Session, call| session.execute_many(call, key, &rows)
        };
        let work = |session: &mut dyn Session, call| session.execute_many(call, key, rows);
        let watch = self.watch();
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end(&result, Figures::of_summary);
        result
    }

    /// Run, and return up to `max_rows` rows. With 0, there is no such bound. A page also ends at
    /// the engine's limit (for SQLite, `max_page_bytes`). An open cursor of this statement becomes
    /// stale. `with_columns` asks for the columns of this run too.
    ///
    /// A statement that writes waits its turn to write, and keeps it until its cursor is read to
    /// the end or dropped.
    ///
    /// # Errors
    ///
    /// As [`execute`](Statement::execute); [`NotUtf8`](crate::ErrorKind::NotUtf8), which does not
    /// undo what the statement has written.
    pub async fn query(
        &self,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Result<Page> {
        let key = self.key;
        let aside = || {
            let parameters = parameters.clone();
            move |session: &mut dyn Session, call| {
                session.query_prepared(call, key, &parameters, max_rows, with_columns)
            }
        };
        let work = |session: &mut dyn Session, call| {
            session.query_prepared(call, key, parameters, max_rows, with_columns)
        };
        let watch = self.watch();
        let result = self.lent.attempt(work, aside, &watch).await;
        let cursor_watch = match &result {
            Ok((rows, _, Some(_))) => watch.into_cursor(Figures::of_rows(rows)),
            result => {
                watch.end(result, |(rows, ..)| Figures::of_rows(rows));
                None
            }
        };
        let (rows, columns, run) = result?;
        let rest = run.map(|run| Cursor {
            lent: Arc::clone(&self.lent),
            key: self.key,
            run,
            watch: cursor_watch,
        });
        Ok(Page {
            columns,
            rows,
            rest,
        })
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
    /// Return up to `max_rows` more rows, under the rules of [`Statement::query`]; no rows at the
    /// end and after it. Waits only if the engine is across a network.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle): the connection was returned, or the
    /// statement was run again. [`NotUtf8`](crate::ErrorKind::NotUtf8). Any error ends the result.
    pub async fn next(&self, max_rows: u32) -> Result<Rows> {
        let (key, run) = (self.key, self.run);
        let next =
            move |session: &mut dyn Session, call: Call| session.next(call, key, run, max_rows);
        let watch = CallWatch::of_cursor(&self.lent, self.watch.as_deref());
        let result = self.lent.attempt(next, || next, &watch).await;
        watch.end(&result, Figures::of_rows);
        result
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        unless_stale(
            self.lent
                .with(|session| session.drop_cursor(self.key, self.run)),
            (),
        );
        if let Some(watch) = &self.watch {
            watch.dropped(&self.lent);
        }
    }
}
