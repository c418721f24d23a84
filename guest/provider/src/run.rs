//! Runs statements that are given as text, and reads their rows.

use std::rc::Rc;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::ffi::{SQLITE_CONSTRAINT_DATATYPE, SQLITE_NOMEM, SQLITE_TOOBIG};
use rusqlite::{Batch, Statement};

use crate::authorizer::Control;
use crate::compile::{Compiled, Kind, bind, check_text, columns_of};
use crate::database::MAX_VALUE_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Aborted, Session};
use crate::text::blank;
use crate::value::{Parameters, RawValue, ResultSet, Rows, Summary};

/// The largest result, in bytes.
const MAX_RESULT_BYTES: u64 = 16 << 20;

impl Session {
    pub(crate) fn execute(&mut self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        self.with_compiled(sql, |session, compiled| {
            session.execute_compiled(compiled, parameters)
        })
    }

    pub(crate) fn execute_compiled(
        &mut self,
        compiled: &mut Compiled,
        parameters: &Parameters,
    ) -> Result<Summary> {
        compiled.with(|statement| bind(statement, parameters))?;
        if !self.admit(compiled.kind)? {
            return Ok(self.summary_since(self.conn.total_changes()));
        }
        let kind = compiled.kind;
        compiled.with(|statement| self.run(kind, |session| session.run_to_end(statement)))
    }

    pub(crate) fn query(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Result<ResultSet> {
        self.with_compiled(sql, |session, compiled| {
            let kind = compiled.kind;
            compiled.with(|statement| {
                bind(statement, parameters)?;
                if !session.admit(kind)? {
                    return Ok(ResultSet {
                        columns: Vec::new(),
                        rows: Rows::new(),
                    });
                }
                // If the whole result cannot be returned, none of the changes may be kept.
                if !kind.read_only && statement.column_count() > 0 {
                    return session.tracked(kind, |session| {
                        session.atomically(|_| read_all(statement, with_columns))
                    });
                }
                session.run(kind, |_| read_all(statement, with_columns))
            })
        })
    }

    pub(crate) fn execute_script(&mut self, sql: &str) -> Result<()> {
        check_text(sql)?;
        let conn = Rc::clone(&self.conn);
        let mut rest = sql;
        loop {
            rest = &rest[blank(rest)..];
            self.authorizer.start(rest);
            let next = Batch::new(&conn, rest).next().map_err(|error| {
                let error = self.explain(error.into()).shifted(sql.len() - rest.len());
                self.aborted.map_or(error, Aborted::into_error)
            })?;
            let Some(mut statement) = next else {
                return Ok(());
            };
            if statement.parameter_count() > 0 {
                let message = "a script's statements take no parameters";
                return Err(Error::new(ErrorKind::Parameters, message));
            }
            let kind = self.kind_of(rest, &statement);
            // It has no parameters, so this is its own text.
            let text = statement.expanded_sql().ok_or_else(out_of_memory)?;
            rest = rest.get(text.len()..).unwrap_or_default();
            if self.admit(kind)? {
                self.run(kind, |session| session.run_to_end(&mut statement))?;
            }
        }
    }

    /// Compile `sql`, pass it to `work`, and keep it.
    fn with_compiled<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&mut Session, &mut Compiled) -> Result<T>,
    ) -> Result<T> {
        let mut compiled = self.compile(sql)?;
        let result = work(self, &mut compiled);
        compiled.reset();
        self.cache.insert(compiled.sql.clone(), compiled);
        result
    }

    /// Run an admitted statement to its end. What it cannot undo by itself is undone.
    pub(crate) fn run<T>(
        &mut self,
        kind: Kind,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        // No savepoint begins or ends while a statement writes.
        if !self.can_keep_part(kind) || self.has_writing_cursor() {
            return self.run_open(kind, work);
        }
        self.tracked(kind, |session| {
            session.control("SAVEPOINT millpond")?;
            let result = work(session);
            if !session.conn.is_autocommit() {
                if result.as_ref().is_err_and(keeps_part) {
                    session.control("ROLLBACK TO millpond")?;
                }
                session.control("RELEASE millpond")?;
            }
            result
        })
    }

    /// Like [`run`](Session::run), for a statement that may stay open. What it cannot undo by
    /// itself ends the transaction.
    pub(crate) fn run_open<T>(
        &mut self,
        kind: Kind,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let can_keep_part = self.can_keep_part(kind);
        self.tracked(kind, |session| {
            let result = work(session);
            let keeps_part = can_keep_part && result.as_ref().is_err_and(keeps_part);
            if keeps_part && !session.conn.is_autocommit() {
                session.deadline.unset();
                session.control("ROLLBACK")?;
            }
            result
        })
    }

    /// Whether a failed statement may leave a part of its work in its transaction.
    fn can_keep_part(&self, kind: Kind) -> bool {
        !kind.read_only && kind.control == Control::None && !self.conn.is_autocommit()
    }

    /// Run `work` so that all or nothing of it is kept, inside or outside a transaction.
    pub(crate) fn atomically<T>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let outermost = self.conn.is_autocommit();
        if self.writes() && self.has_writing_cursor() {
            let message = "a cursor of a statement that writes is open: read it to the end or drop \
                           it first";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        self.control("SAVEPOINT millpond")?;
        let result = work(self).and_then(|value| {
            self.control("RELEASE millpond")?;
            Ok(value)
        });
        // SQLite may have rolled back everything itself, including the savepoint.
        if result.is_err() && !self.conn.is_autocommit() {
            self.deadline.unset();
            match outermost {
                true => self.control("ROLLBACK")?,
                false => self.control("ROLLBACK TO millpond; RELEASE millpond")?,
            }
        }
        result
    }

    /// Step to the end, and return the summary.
    pub(crate) fn run_to_end(&mut self, statement: &mut Statement<'_>) -> Result<Summary> {
        let before = self.conn.total_changes();
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        drop(rows);
        Ok(self.summary_since(before))
    }

    pub(crate) fn summary_since(&self, total_changes_before: u64) -> Summary {
        // `changes` keeps its value over statements that change nothing, so it only counts if the
        // total moved.
        let changed = self.conn.total_changes() != total_changes_before;
        Summary {
            changes: if changed { self.conn.changes() } else { 0 },
            last_insert_rowid: self.conn.last_insert_rowid(),
        }
    }
}

/// SQLite keeps the rows before the one that failed for these two reasons, and for `OR FAIL`, which
/// asks for that.
fn keeps_part(error: &Error) -> bool {
    error.code() == SQLITE_CONSTRAINT_DATATYPE || error.code() & 0xff == SQLITE_TOOBIG
}

fn out_of_memory() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(SQLITE_NOMEM), None)
}

fn read_all(statement: &mut Statement<'_>, with_columns: bool) -> Result<ResultSet> {
    let mut all = Rows::with_capacity(0);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        read_row(row, &mut all, "result", 0)?;
    }
    drop(rows);
    // After the last step, so that a changed schema has been noticed.
    Ok(ResultSet {
        columns: match with_columns {
            true => columns_of(statement),
            false => Vec::new(),
        },
        rows: all,
    })
}

/// Append a row. The bytes added to `rows` since they had `before` may not exceed the limit for a
/// result; `what` names them in the error.
pub(crate) fn read_row(
    row: &rusqlite::Row<'_>,
    rows: &mut Rows,
    what: &str,
    before: u64,
) -> Result<()> {
    let width = row.as_ref().column_count();
    rows.start_row(width);
    for column in 0..width {
        let value = raw(row.get_ref(column)?);
        if value.length() > MAX_VALUE_BYTES as u64 {
            let message = format!("a value has more than {MAX_VALUE_BYTES} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if rows.size() - before + value.size() > MAX_RESULT_BYTES {
            let message = format!(
                "the {what} is larger than {MAX_RESULT_BYTES} bytes: select less at a time"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        rows.push_raw(value, column)?;
    }
    Ok(())
}

fn raw(value: rusqlite::types::ValueRef<'_>) -> RawValue<'_> {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => RawValue::Null,
        ValueRef::Integer(value) => RawValue::Integer(value),
        ValueRef::Real(value) => RawValue::Real(value),
        ValueRef::Text(value) => RawValue::Text(value),
        ValueRef::Blob(value) => RawValue::Blob(value),
    }
}
