//! Statements and cursors that handles keep open.

use super::compile::bare;
use super::run::columns_of;
use super::{Attempt, Db, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw::Step;
use crate::policy::Control;
use crate::session::cache::Compiled;
use crate::text::begins_with;
use crate::writers::job::Wants;
use millpond_pool::engine::Lengths;
use millpond_pool::{Cells, Column, Parameters, Summary};

/// A statement that a handle keeps open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) compiled: Compiled,
    /// Whether the statement's own handle still exists.
    held: bool,
    /// How often it has been run. A cursor belongs to one run.
    run: u64,
    /// Whether a cursor over the current run exists.
    cursor: bool,
    /// The statement stands on a row that has not been read.
    on_row: bool,
    /// Read the rest of its rows aside.
    aside: bool,
    /// Another connection has run it last.
    elsewhere: bool,
    /// What the last page of this run took: the next will be much the same.
    page: Lengths,
}

impl Open {
    /// The page; nothing is left under way where there is none.
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
        // What ends a transaction may be prepared, to end the one that is no more.
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
            page: Lengths::default(),
        }))
    }

    /// The columns of a statement's rows: of those that it yielded last, or would yield now.
    pub(crate) fn columns(&mut self, key: usize) -> Attempt<Vec<Column>> {
        if self
            .statements
            .get(key)
            .is_some_and(|open| open.run == 0 || open.elsewhere)
            && let Err(Stop::Aside) = self.refresh_open(key)
        {
            return Err(Stop::Aside);
        }
        // What does not compile any more has the columns that it had.
        let open = self.statements.get(key);
        Ok(open.map_or_else(Vec::new, |open| columns_of(&open.compiled.raw)))
    }

    /// Another connection has run a statement of this one: what that yielded may have other columns
    /// than it would here.
    pub(crate) fn note_run_elsewhere(&mut self) {
        for (_, open) in &mut self.statements {
            open.elsewhere = true;
        }
    }

    /// Compile a statement once more, against the schema as it is now.
    fn refresh_open(&mut self, key: usize) -> Attempt<()> {
        self.on_open(key, |db, open| {
            // What trusts the schema is compiled against the newest anyhow.
            if !open.compiled.trusts_schema {
                db.refresh_schema()?;
            }
            let compiled = db.compile_anew(open.compiled.sql())?;
            open.compiled = compiled;
            Ok(())
        })
    }

    pub(crate) fn parameter_names(&self, key: usize) -> Vec<Option<String>> {
        let Some(open) = self.statements.get(key) else {
            return Vec::new();
        };
        let raw = &open.compiled.raw;
        (1..=raw.parameter_count())
            .map(|index| raw.parameter_name(index).map(bare).map(str::to_owned))
            .collect()
    }

    pub(crate) fn is_read_only(&self, key: usize) -> bool {
        self.statements
            .get(key)
            .is_none_or(|open| open.compiled.read_only)
    }

    /// Run the statement behind `key` through `work`, from the start: an open cursor is stale.
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
        // Of the connection, not of the statement: a statement's place is used again, and an
        // old cursor must not take a later one's rows.
        self.runs += 1;
        slot.run = self.runs;
        (slot.cursor, slot.on_row, slot.elsewhere) = (false, false, false);
        slot.page = Lengths::default();
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

    pub(crate) fn execute_many(&mut self, key: usize, cells: &Cells) -> Attempt<Summary> {
        self.with_open(key, |db, open| {
            let compiled = &mut open.compiled;
            if compiled.control != Control::None {
                return Err(Error::new(
                    ErrorKind::Sql,
                    "a transaction statement does not run once a row",
                )
                .into());
            }
            let width = compiled.raw.parameter_count();
            let mut rows = cells.rows(width)?;
            if !db.admit(compiled)? {
                return Ok(Summary::default());
            }
            db.run(compiled.kind(), |db| {
                db.atomically(|db| {
                    let mut changes = 0;
                    while !rows.is_at_end() {
                        for index in 1..=width {
                            compiled.raw.bind(&db.conn, index, rows.next())?;
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

    /// Run a statement and read its first rows. Returns the run's number where there are more.
    pub(crate) fn query_open(
        &mut self,
        key: usize,
        parameters: &Parameters,
        max_rows: u32,
    ) -> Attempt<(Cells, Option<u64>)> {
        self.with_open(key, |db, open| {
            db.bind(&mut open.compiled, parameters)?;
            if !db.admit(&mut open.compiled)? {
                return Ok((Cells::default(), None));
            }
            let page = db.run(open.compiled.kind(), |db| {
                let wants = Wants::Page { max_rows };
                match db.run_in_group(&mut open.compiled, wants)? {
                    Some(answer) => Ok((answer.into_cells().unwrap_or_default(), false)),
                    None => db.read_page(open, max_rows),
                }
            });
            let (cells, more) = open.unless_failed(page)?;
            open.cursor = more;
            // What is under way cannot begin anew elsewhere.
            open.aside = db.aside || open.compiled.may_be_deferred();
            Ok((cells, more.then_some(open.run)))
        })
    }

    /// Read on. No rows once the end has been reached.
    pub(crate) fn next_page(&mut self, key: usize, run: u64, max_rows: u32) -> Attempt<Cells> {
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
                return Ok(Cells::default());
            }
            if open.aside && !db.aside {
                return Err(Stop::Aside);
            }
            db.watch
                .start_statement(false, open.compiled.get_ready(db.aside));
            let page = db.run(open.compiled.kind(), |db| db.read_page(open, max_rows));
            // It has begun: it cannot do so again.
            let page = page.map_err(|stop| stop.into_error().into());
            let page = open.unless_failed(page);
            open.cursor = matches!(page, Ok((_, true)));
            Ok(page?.0)
        })
    }

    /// Read rows until there are `max_rows` of them (no bound if 0) or a page is full. Returns
    /// whether there are more.
    fn read_page(&mut self, open: &mut Open, max_rows: u32) -> Result<(Cells, bool)> {
        let mut cells = Cells::with_capacity(open.page);
        let more = self.read_rows(&mut open.compiled, &mut open.on_row, max_rows, &mut cells);
        open.page = cells.lengths();
        let result = more.map(|more| (cells, more));
        if !matches!(result, Ok((_, true))) {
            open.on_row = false;
            open.compiled.raw.reset();
        }
        result
    }

    /// As [`read_page`](Db::read_page), without what follows its end. Whether the statement stands
    /// on a row that has not been read is `on_row`.
    pub(super) fn read_rows(
        &mut self,
        compiled: &mut Compiled,
        on_row: &mut bool,
        max_rows: u32,
        cells: &mut Cells,
    ) -> Result<bool> {
        let mut rows = 0;
        loop {
            if !*on_row {
                if compiled.raw.step(&self.conn)? == Step::Done {
                    return Ok(false);
                }
                *on_row = true;
            }
            if (max_rows > 0 && rows == max_rows) || cells.size() >= self.max_page_bytes {
                return Ok(true);
            }
            let raw = &compiled.raw;
            let mut size = 0;
            for column in 0..raw.column_count() {
                let value = raw.column(column);
                self.check_value(value.length(), column)?;
                size += value.size();
                self.check_result("row", size)?;
                cells.push(value, column)?;
            }
            *on_row = false;
            rows += 1;
        }
    }

    /// End what a statement is doing. Outside a transaction that commits what it has written, which
    /// is to succeed or fail whatever time is left.
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

    /// Make every open cursor stale. What a statement has written outside a transaction is
    /// committed by that.
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
