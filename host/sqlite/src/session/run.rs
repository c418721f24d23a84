//! Runs statements that are given as text.

use millpond_pool::{Column, Parameters, ResultSet, Rows, Summary};

use super::compile::First;
use super::time::Aborted;
use super::{Attempt, Db, Stop};
use crate::deadline::Pace;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::statement::{RawStatement, Step};
use crate::session::cache::Compiled;
use crate::text::{SqlText, blank};
use crate::writers::job::{Answer, Wants};

impl Db {
    pub(crate) fn execute(&mut self, sql: &str, parameters: &Parameters) -> Attempt<Summary> {
        self.with_compiled(sql, |db, compiled| {
            db.execute_compiled(compiled, parameters)
        })
    }

    pub(super) fn execute_compiled(
        &mut self,
        compiled: &mut Compiled,
        parameters: &Parameters,
    ) -> Attempt<Summary> {
        self.bind(compiled, parameters)?;
        if !self.admit(compiled)? {
            return Ok(self.summary_since(self.conn.total_changes()));
        }
        let summary = self.run(compiled.kind(), |db| {
            match db
                .run_in_group(compiled, Wants::Summary)?
                .and_then(Answer::into_summary)
            {
                Some(summary) => Ok(summary),
                None => db.run_to_end(compiled),
            }
        });
        self.look_again(compiled, parameters);
        summary
    }

    pub(crate) fn query(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Attempt<ResultSet> {
        self.with_compiled(sql, |db, compiled| {
            db.bind(compiled, parameters)?;
            if !db.admit(compiled)? {
                return Ok(ResultSet {
                    columns: Vec::new(),
                    rows: Rows::new(),
                });
            }
            // If the whole result cannot be returned, none of the changes may be kept.
            let undoable = !compiled.read_only && compiled.raw.column_count() > 0;
            let result = db.run(compiled.kind(), |db| {
                let answer = db.run_in_group(compiled, Wants::ResultSet { with_columns })?;
                if let Some(result) = answer.and_then(Answer::into_result_set) {
                    Ok(result)
                } else if undoable {
                    db.atomically(|db| {
                        let result = db.read_result_set(compiled, with_columns);
                        compiled.raw.reset();
                        result
                    })
                } else {
                    db.read_result_set(compiled, with_columns)
                }
            });
            db.look_again(compiled, parameters);
            result
        })
    }

    pub(super) fn read_result_set(
        &mut self,
        compiled: &mut Compiled,
        with_columns: bool,
    ) -> Result<ResultSet> {
        let raw = &mut compiled.raw;
        let mut rows = Rows::with_capacity(0);
        while raw.step(&self.conn)? == Step::Row {
            self.read_row(raw, &mut rows, "result", 0)?;
        }
        // After the last step, so that a changed schema has been noticed.
        Ok(ResultSet {
            columns: match with_columns {
                true => columns_of(raw),
                false => Vec::new(),
            },
            rows,
        })
    }

    /// A statement may handle longer values than it may yield.
    #[inline]
    pub(super) fn check_value(&self, size: u64, column: usize) -> Result<()> {
        match size <= self.max_value_bytes {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the value in column {} has {size} bytes, but at most {} can be read at \
                     once: read it in parts, with `substr`",
                    column + 1,
                    self.max_value_bytes
                ),
            )),
        }
    }

    pub(super) fn check_result(&self, what: &str, size: u64) -> Result<()> {
        if size > self.max_result_bytes {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the {what} is larger than {} bytes: select less at a time",
                    self.max_result_bytes
                ),
            ));
        }
        Ok(())
    }

    /// Run a script from `*start`, and advance `*start` past each statement that has run.
    pub(crate) fn execute_script(&mut self, sql: &str, start: &mut usize) -> Attempt<()> {
        let text = SqlText::new(sql)?;
        loop {
            let base = *start;
            let Some(First { mut compiled, end }) = self.compile_next(&text, base)? else {
                return Ok(());
            };
            if compiled.raw.parameter_count() > 0 {
                return Err(Error::new(
                    ErrorKind::Parameters,
                    "a script's statements take no parameters",
                )
                .at(base)
                .into());
            }
            // Not cached: a script usually runs once.
            if self.admit(&mut compiled)? {
                let done = self.run(compiled.kind(), |db| db.run_to_end(&mut compiled));
                done.map_err(|stop| match stop {
                    Stop::Error(error) => Stop::Error(error.shifted(base)),
                    stop => stop,
                })?;
            }
            *start = end;
            // A later statement of the script does not change the result of this one.
            self.watch.stop_flag().end_commit();
            let rest = text.rest(end);
            // The next may not stop in time, and others do not wait for this connection any more.
            if self.at_once && self.turn.is_none() && blank(rest) < rest.len() {
                return Err(Stop::Aside);
            }
        }
    }

    /// Step to the end, and return the summary.
    pub(super) fn run_to_end(&mut self, compiled: &mut Compiled) -> Result<Summary> {
        let before = self.conn.total_changes();
        let result = loop {
            match compiled.raw.step(&self.conn) {
                Ok(Step::Row) => {}
                Ok(Step::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        compiled.raw.reset();
        result?;
        Ok(self.summary_since(before))
    }

    pub(super) fn summary_since(&self, total_changes_before: u64) -> Summary {
        // `changes` keeps its value over statements that change nothing, so it only counts if the
        // total moved.
        let changed = self.conn.total_changes() != total_changes_before;
        Summary {
            changes: if changed { self.conn.changes() } else { 0 },
            last_insert_rowid: self.conn.last_insert_rowid(),
        }
    }

    /// Run `work` so that all or nothing of it is kept, inside or outside a transaction.
    pub(super) fn atomically<T>(&mut self, work: impl FnOnce(&mut Db) -> Result<T>) -> Result<T> {
        let outermost = self.conn.is_autocommit();
        self.control("SAVEPOINT millpond")?;
        let result = work(self).and_then(|value| {
            self.control("RELEASE millpond")?;
            Ok(value)
        });
        // Before undoing it, which forgets why it failed.
        let result = result.map_err(|error| self.explain(error));
        // SQLite may have rolled back everything itself, including the savepoint.
        if result.is_err() && !self.conn.is_autocommit() {
            let undone = self.undo(|db| match outermost {
                true => db.control("ROLLBACK"),
                false => db.roll_back_savepoint(),
            });
            if undone.is_ok() && !outermost {
                self.watch.note_unchanged();
            }
            self.must_have_undone(undone);
        }
        result
    }

    /// If the changes of a transaction or a savepoint could not be undone, refuse everything else
    /// in it: it would be acknowledged, and then lost.
    pub(crate) fn must_have_undone(&mut self, undone: Result<()>) {
        if undone.is_err() {
            self.unhealthy = true;
            if self.aborted.replace(Aborted::Sqlite).is_none() {
                self.note_ended_transaction(false);
            }
        }
    }

    pub(super) fn roll_back_savepoint(&mut self) -> Result<()> {
        self.control("ROLLBACK TO millpond")?;
        self.control("RELEASE millpond")
    }

    pub(super) fn control(&mut self, sql: &str) -> Result<()> {
        // The host's own statements contain nothing that takes long.
        self.at_pace(Pace::Free, |db| {
            let mut compiled = db.compile(sql).map_err(Stop::into_error)?;
            let before = db.running.begin(compiled.raw.id(), false);
            let result = db.run_to_end(&mut compiled);
            db.running.end(before);
            db.cache.put(compiled);
            result.map(|_| ())
        })
    }

    /// Compile `sql`, pass it to `work`, and cache it.
    pub(super) fn with_compiled<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&mut Db, &mut Compiled) -> Attempt<T>,
    ) -> Attempt<T> {
        let mut compiled = self.compile(sql)?;
        let result = work(self, &mut compiled);
        self.cache.put(compiled);
        result
    }
}

pub(super) fn columns_of(raw: &RawStatement) -> Vec<Column> {
    (0..raw.column_count())
        .map(|index| Column {
            name: raw.column_name(index),
            declared_type: raw.column_declared_type(index),
        })
        .collect()
}
