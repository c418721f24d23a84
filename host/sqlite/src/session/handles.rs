//! Statements and cursors that handles keep open.

use millpond_pool::engine::RawValue;
use millpond_pool::{Column, Description, Parameters, Rows, Summary};

use super::compile::bare;
use super::run::columns_of;
use super::{Attempt, Db, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw;
use crate::ffi::statement::{RawStatement, Step};
use crate::policy::Control;
use crate::session::cache::Compiled;
use crate::text::begins_with;
use crate::writers::job::{Answer, Wants};

/// A statement that a handle keeps open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) compiled: Compiled,
    /// Whether the statement's own handle still exists.
    held: bool,
    /// The number of its run. A cursor belongs to one run.
    run: u64,
    /// Whether a cursor over the current run exists.
    cursor: bool,
    /// Whether the statement is on a row that has not been read.
    on_row: bool,
    /// Whether to read the rest of its rows on the connection's own thread.
    aside: bool,
    /// Whether another connection has run it last.
    elsewhere: bool,
    /// The size of this run's last page, in bytes: the next will be similar.
    page: usize,
}

impl Open {
    /// Whether its cursor keeps a write open: SQLite commits that at its last row.
    fn is_writing(&self) -> bool {
        self.cursor && !self.compiled.read_only
    }

    /// The page; if there is none, end the run.
    fn unless_failed<T>(&mut self, page: Attempt<T>) -> Attempt<T> {
        if page.is_err() {
            self.on_row = false;
            self.compiled.raw.reset();
        }
        page
    }
}

impl Db {
    pub(crate) fn prepare(&mut self, sql: &str) -> Attempt<usize> {
        // Statements that end a transaction may be prepared, to acknowledge one that has been
        // rolled back.
        if let Some(aborted) = self.aborted
            && !begins_with(sql, &["COMMIT", "END", "ROLLBACK"])
        {
            return Err(aborted.into_error().into());
        }
        let compiled = self.compile(sql)?;
        Ok(self.statements.insert(Open {
            compiled,
            held: true,
            run: 0,
            cursor: false,
            on_row: false,
            aside: false,
            elsewhere: false,
            page: 0,
        }))
    }

    /// Describe a statement, with the columns of its last rows, or of those that it would yield
    /// now.
    pub(crate) fn describe(&mut self, key: usize) -> Attempt<Description> {
        if !self.is_aside()
            && let Some(open) = self.statements.get(key)
            && open.compiled.takes_long_to_name()
        {
            return Err(Stop::Aside);
        }
        let may_differ = |open: &Open| open.run == 0 || open.elsewhere;
        // A statement that no longer compiles keeps its last columns: its next run reports why.
        if self.statements.get(key).is_some_and(may_differ)
            && let Err(Stop::Aside) = self.refresh_open(key)
        {
            return Err(Stop::Aside);
        }
        let open = self
            .statements
            .get(key)
            .ok_or_else(Error::stale_connection)?;
        let raw = &open.compiled.raw;
        let name = |index| raw.parameter_name(index).map(bare).map(str::to_owned);
        Ok(Description {
            columns: columns_of(raw),
            parameter_names: (1..=raw.parameter_count()).map(name).collect(),
            read_only: open.compiled.read_only,
        })
    }

    /// Another connection has run one of this connection's statements: its columns may differ from
    /// what they would be here.
    pub(crate) fn note_run_elsewhere(&mut self) {
        for (_, open) in &mut self.statements {
            open.elsewhere = true;
        }
    }

    /// Compile a statement again, against the current schema.
    fn refresh_open(&mut self, key: usize) -> Attempt<()> {
        self.on_open(key, |db, open| {
            // Statements that trust the schema are always compiled against the newest.
            if !open.compiled.trusts_schema {
                db.refresh_schema()?;
            }
            let compiled = db.compile_anew(open.compiled.sql())?;
            open.compiled = compiled;
            Ok(())
        })
    }

    /// Whether a cursor other than that of the current call keeps a write open.
    pub(super) fn has_writing_cursors(&self) -> bool {
        let mut statements = self.statements.iter();
        statements.any(|(_, open)| open.is_writing()) && self.is_writing()
    }

    /// Whether a write has begun, and has not been committed or undone.
    pub(super) fn is_writing(&self) -> bool {
        raw::transaction_state(&self.conn) == raw::TransactionState::Write
    }

    /// End the cursors that write, because SQLite has undone what they wrote: a read that runs out
    /// of memory beside them does that, outside a transaction too. To the end of their rows they
    /// would look complete.
    pub(super) fn end_writing_cursors(&mut self) {
        let statements = self.statements.iter_mut();
        for (_, open) in statements.filter(|(_, open)| open.is_writing()) {
            open.compiled.raw.reset();
            open.cursor = false;
            open.run = 0;
        }
    }

    /// Run the statement behind `key` from the start, with `work`: its cursor becomes stale.
    fn with_open<T>(
        &mut self,
        key: usize,
        work: impl FnOnce(&mut Db, &mut Open) -> Attempt<T>,
    ) -> Attempt<T> {
        // Taken out, because `work` needs the connection too; put back under the same key.
        let slot = self
            .statements
            .get_mut(key)
            .ok_or_else(Error::stale_connection)?;
        if slot.cursor {
            slot.cursor = false;
            self.finish(key)?;
            // The time of a cursor is not that of the next.
            self.record_transaction(raw::transaction_state(&self.conn));
        }
        let slot = self
            .statements
            .get_mut(key)
            .ok_or_else(Error::stale_connection)?;
        slot.compiled.raw.reset();
        if slot.compiled.trusts_schema {
            self.refresh_open(key)?;
        }
        let slot = self
            .statements
            .get_mut(key)
            .ok_or_else(Error::stale_connection)?;
        // Count per connection, not per statement: a statement's slot is reused, and an old cursor
        // must not read a later statement's rows.
        self.runs += 1;
        slot.run = self.runs;
        (slot.cursor, slot.on_row, slot.elsewhere) = (false, false, false);
        slot.page = 0;
        self.on_open(key, work)
    }

    fn on_open<T>(
        &mut self,
        key: usize,
        work: impl FnOnce(&mut Db, &mut Open) -> Attempt<T>,
    ) -> Attempt<T> {
        let mut statements = std::mem::take(&mut self.statements);
        let result = match statements.get_mut(key) {
            Some(open) => work(self, open),
            None => Err(Error::stale_connection().into()),
        };
        self.statements = statements;
        result
    }

    pub(crate) fn execute_open(&mut self, key: usize, parameters: &Parameters) -> Attempt<Summary> {
        self.with_open(key, |db, open| {
            db.execute_compiled(&mut open.compiled, parameters)
        })
    }

    pub(crate) fn execute_many(&mut self, key: usize, rows: &Rows) -> Attempt<Summary> {
        self.with_open(key, |db, open| {
            let compiled = &mut open.compiled;
            if compiled.control != Control::None {
                return Err(Error::new(
                    ErrorKind::Sql,
                    "a transaction statement cannot run once per row",
                )
                .into());
            }
            let width = compiled.raw.parameter_count();
            check_width(rows, width)?;
            if !db.admit(compiled)? {
                return Ok(Summary::default());
            }
            db.run(compiled.kind(), |db| {
                db.atomically(|db| {
                    let mut changes = 0;
                    let mut values = rows.raw_values();
                    for _ in 0..rows.len() {
                        for index in 1..=width {
                            let value = values.next().unwrap_or(RawValue::Null);
                            compiled.raw.bind(&db.conn, index, value)?;
                        }
                        changes += db.run_to_end(compiled)?.changes;
                    }
                    Ok(Summary {
                        changes,
                        last_insert_rowid: db.conn.last_insert_rowid(),
                    })
                })
            })
        })
    }

    /// Run a statement and read its first rows. Returns the run's number if there are more.
    pub(crate) fn query_open(
        &mut self,
        key: usize,
        parameters: &Parameters,
        (max_rows, with_columns): (u32, bool),
    ) -> Attempt<(Rows, Option<Vec<Column>>, Option<u64>)> {
        self.with_open(key, |db, open| {
            db.bind(&mut open.compiled, parameters)?;
            if !db.admit(&mut open.compiled)? {
                return Ok((Rows::new(), with_columns.then(Vec::new), None));
            }
            let mut rows = Rows::with_capacity(0);
            let mut columns = None;
            let more = db.run(open.compiled.kind(), |db| {
                let wants = Wants::Page {
                    max_rows,
                    with_columns,
                };
                let answer = db.run_in_group(&mut open.compiled, wants)?;
                if let Some((answer, its_columns)) = answer.and_then(Answer::into_page) {
                    (rows, columns) = (answer, its_columns);
                    return Ok(false);
                }
                let more = db.read_page(open, max_rows, &mut rows)?;
                // After a step, so that a changed schema has been noticed.
                columns = with_columns.then(|| columns_of(&open.compiled.raw));
                Ok(more)
            });
            db.look_again(&mut open.compiled, parameters);
            let more = open.unless_failed(more)?;
            open.cursor = more;
            // A started run cannot restart on another thread.
            open.aside = db.is_aside() || open.compiled.may_be_deferred();
            Ok((rows, columns, more.then_some(open.run)))
        })
    }

    /// Read on. Returns no rows once the end has been reached.
    pub(crate) fn next_page(&mut self, key: usize, run: u64, max_rows: u32) -> Attempt<Rows> {
        if let Some(aborted) = self.aborted {
            return Err(aborted.into_error().into());
        }
        self.on_open(key, |db, open| {
            if open.run != run {
                return Err(
                    Error::new(ErrorKind::StaleHandle, "the statement has been run again").into(),
                );
            }
            if !open.cursor {
                return Ok(Rows::new());
            }
            if open.aside && !db.is_aside() {
                return Err(Stop::Aside);
            }
            db.watch
                .start_statement(false, open.compiled.get_ready(db.is_aside()));
            let mut rows = Rows::with_capacity(open.page);
            let more = db.run(open.compiled.kind(), |db| {
                db.read_page(open, max_rows, &mut rows)
            });
            // It has started: it cannot restart.
            let more = more.map_err(|stop| stop.into_error().into());
            let more = open.unless_failed(more);
            open.cursor = matches!(more, Ok(true));
            more.map(|_| rows)
        })
    }

    /// Read rows until there are `max_rows` of them (no bound if 0) or a page is full. Returns
    /// whether there are more.
    fn read_page(&mut self, open: &mut Open, max_rows: u32, rows: &mut Rows) -> Result<bool> {
        let more = self.read_rows(&mut open.compiled, &mut open.on_row, max_rows, rows);
        open.page = rows.as_bytes().len();
        if !matches!(more, Ok(true)) {
            open.on_row = false;
            open.compiled.raw.reset();
        }
        more
    }

    /// Like [`read_page`](Db::read_page), without cleaning up at the end. `on_row` is whether the
    /// statement is on a row that has not been read.
    pub(super) fn read_rows(
        &mut self,
        compiled: &mut Compiled,
        on_row: &mut bool,
        max_rows: u32,
        rows: &mut Rows,
    ) -> Result<bool> {
        loop {
            if !*on_row {
                if compiled.raw.step(&self.conn)? == Step::Done {
                    return Ok(false);
                }
                *on_row = true;
            }
            if (max_rows > 0 && rows.len() == max_rows as usize)
                || rows.size() >= self.max_page_bytes
            {
                return Ok(true);
            }
            let before = rows.size();
            self.read_row(&compiled.raw, rows, "row", before)?;
            *on_row = false;
        }
    }

    /// Append the current row. The bytes added to `rows` since they had `before` may not exceed the
    /// limit for a result; `what` names them in the error.
    #[inline]
    pub(super) fn read_row(
        &self,
        raw: &RawStatement,
        rows: &mut Rows,
        what: &str,
        before: u64,
    ) -> Result<()> {
        let width = raw.column_count();
        rows.start_row(width);
        for column in 0..width {
            let value = raw.column(column);
            self.check_value(value.length(), column)?;
            // Checked before copying: one row can be as large as columns times the largest value.
            self.check_result(what, rows.size() - before + value.size())?;
            rows.push_raw(value, column)?;
        }
        Ok(())
    }

    /// End a statement's run. Outside a transaction that commits what it has written, which must
    /// succeed or fail whatever time is left.
    fn finish(&mut self, key: usize) -> Result<()> {
        let bounds = self.watch.bounds();
        self.watch.hand_over_if_slow();
        self.watch.start_unbounded();
        let result = match self.statements.get_mut(key) {
            Some(open) => open.compiled.raw.finish(&self.conn),
            None => Ok(()),
        };
        self.watch.set_bounds(bounds);
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
        }
        result
    }

    pub(crate) fn drop_statement(&mut self, key: usize) {
        if let Some(open) = self.statements.get_mut(key) {
            open.held = false;
            self.drop_unused(key);
        }
    }

    /// Make every open cursor stale. Outside a transaction that commits what their statements have
    /// written.
    pub(super) fn end_cursors(&mut self) {
        let cursors = self.statements.iter().filter(|(_, open)| open.cursor);
        let keys: Vec<_> = cursors.map(|(key, _)| key).collect();
        for key in keys {
            self.runs += 1;
            let open = &mut self.statements[key];
            (open.run, open.cursor, open.on_row) = (self.runs, false, false);
            // No caller waits for the result.
            let _ = self.finish(key);
        }
    }

    pub(crate) fn drop_cursor(&mut self, key: usize, run: u64) {
        if let Some(open) = self.statements.get_mut(key)
            && open.run == run
            && open.cursor
        {
            open.cursor = false;
            open.on_row = false;
            // No caller waits for the result, but a connection whose disk fails is not lent again.
            let _ = self.finish(key);
            self.drop_unused(key);
            self.settle();
        }
    }

    fn drop_unused(&mut self, key: usize) {
        if self
            .statements
            .get(key)
            .is_some_and(|open| !open.held && !open.cursor)
        {
            let open = self.statements.remove(key);
            self.cache.put(open.compiled);
            self.settle();
        }
    }
}

fn check_width(rows: &Rows, width: usize) -> Result<()> {
    let message = match width {
        0 => "the statement has no parameters, so its rows have no width".to_owned(),
        _ if rows.is_empty() || rows.width() == width => return Ok(()),
        _ => format!(
            "a row has {} values, but the statement has {width} parameters",
            rows.width()
        ),
    };
    Err(Error::new(ErrorKind::Parameters, message))
}
