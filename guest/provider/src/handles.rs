//! Statements and cursors that handles keep open.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use crate::authorizer::Control;
use crate::compile::{Compiled, bind, bind_one, columns_of};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::HEADER;
use crate::run::read_row;
use crate::session::Session;
use crate::text::begins_with;
use crate::value::{Column, Parameters, RawValue, Rows, Summary};

/// The size of a page from which it ends, in bytes.
const MAX_PAGE_BYTES: u64 = 1 << 20;

/// A statement behind a handle.
pub(crate) struct Open {
    /// `None` once the connection was returned.
    compiled: Option<Compiled>,
    /// The number of its run. A cursor belongs to one run.
    run: u64,
    /// Whether a cursor over the current run exists.
    cursor: bool,
    /// The row after the last page: without reading it, the page would not know whether it is the
    /// last one.
    ahead: Option<Result<Rows>>,
}

/// The first rows of a result, its columns if asked for, and its run's number if there are more.
pub(crate) type Page = (Rows, Option<Vec<Column>>, Option<u64>);

impl Open {
    fn compiled(&mut self) -> Result<&mut Compiled> {
        self.compiled.as_mut().ok_or_else(Error::stale_connection)
    }

    /// The connection is returned.
    pub(crate) fn end(&mut self) {
        self.compiled = None;
        self.ahead = None;
    }

    /// Its connection is abandoned: the statement must not even be finalised.
    pub(crate) fn abandon(&mut self) {
        mem::forget(self.compiled.take());
        self.ahead = None;
    }

    /// End the current run, whose cursor becomes stale.
    pub(crate) fn end_run(&mut self, next: u64) {
        if let Some(compiled) = &mut self.compiled {
            compiled.reset();
        }
        (self.run, self.cursor, self.ahead) = (next, false, None);
    }

    /// Whether it has a cursor and writes.
    pub(crate) fn is_writing(&self) -> bool {
        let writes = |compiled: &Compiled| !compiled.kind.read_only;
        self.cursor && self.compiled.as_ref().is_some_and(writes)
    }

    /// Read rows until there are `max_rows` of them (no bound if 0) or a page is full. Returns
    /// whether there are more.
    fn read_page(&mut self, max_rows: u32, page: &mut Rows) -> Result<bool> {
        let mut ahead = self.ahead.take();
        let more = self.compiled()?.with(|statement| {
            let mut rows = statement.raw_query();
            loop {
                let row = match ahead.take() {
                    Some(row) => row,
                    None => match rows.next()? {
                        Some(row) => {
                            let mut one = Rows::new();
                            read_row(row, &mut one, "row", 0).map(|()| one)
                        }
                        None => return Ok(false),
                    },
                };
                if (max_rows > 0 && page.len() == max_rows as usize)
                    || page.size() >= MAX_PAGE_BYTES
                {
                    ahead = Some(row);
                    // Dropping them would reset the statement, which continues with the next page.
                    mem::forget(rows);
                    return Ok(true);
                }
                append(page, row?);
            }
        });
        self.ahead = ahead;
        more
    }
}

/// Append the one row of `row`.
fn append(page: &mut Rows, row: Rows) {
    if page.is_empty() {
        *page = row;
    } else {
        page.bytes.extend_from_slice(&row.bytes[HEADER..]);
        page.rows += 1;
    }
}

impl Session {
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<Rc<RefCell<Open>>> {
        // Statements that end a transaction may be prepared, to acknowledge one that has been
        // rolled back.
        if !begins_with(sql, &["COMMIT", "END", "ROLLBACK"]) {
            self.check_aborted()?;
        }
        let open = Rc::new(RefCell::new(Open {
            compiled: Some(self.compile(sql)?),
            run: 0,
            cursor: false,
            ahead: None,
        }));
        self.opened.push(Rc::downgrade(&open));
        Ok(open)
    }

    /// The columns, the names of the parameters, and whether the statement only reads.
    pub(crate) fn describe(
        &mut self,
        open: &mut Open,
    ) -> Result<(Vec<Column>, Vec<Option<String>>, bool)> {
        // A statement that no longer compiles keeps its columns: its next run reports why.
        if open.run == 0
            && let sql = open.compiled()?.sql.clone()
            && let Ok(compiled) = self.compile_anew(&sql)
        {
            open.compiled = Some(compiled);
        }
        let compiled = open.compiled()?;
        Ok((
            compiled.columns(),
            compiled.parameter_names(),
            compiled.kind.read_only,
        ))
    }

    pub(crate) fn execute_open(
        &mut self,
        open: &mut Open,
        parameters: &Parameters,
    ) -> Result<Summary> {
        self.restart(open);
        let result = self.execute_compiled(open.compiled()?, parameters);
        open.compiled()?.reset();
        result
    }

    pub(crate) fn execute_many(&mut self, open: &mut Open, rows: &Rows) -> Result<Summary> {
        self.restart(open);
        let compiled = open.compiled()?;
        let kind = compiled.kind;
        if kind.control != Control::None {
            let message = "a transaction statement cannot run once per row";
            return Err(Error::new(ErrorKind::Sql, message));
        }
        compiled.with(|statement| {
            let width = statement.parameter_count();
            check_width(rows, width)?;
            if !self.admit(kind)? {
                return Ok(Summary::default());
            }
            self.tracked(kind, |session| {
                session.atomically(|session| {
                    let mut changes = 0;
                    let mut values = rows.raw_values();
                    for _ in 0..rows.len() {
                        for index in 1..=width {
                            let value = values.next().unwrap_or(RawValue::Null);
                            bind_one(statement, index, value)?;
                        }
                        changes += session.run_to_end(statement)?.changes;
                    }
                    Ok(Summary {
                        changes,
                        last_insert_rowid: session.conn.last_insert_rowid(),
                    })
                })
            })
        })
    }

    /// Run a statement and read its first rows.
    pub(crate) fn query_open(
        &mut self,
        open: &mut Open,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Result<Page> {
        self.restart(open);
        let compiled = open.compiled()?;
        let kind = compiled.kind;
        compiled.with(|statement| bind(statement, parameters))?;
        if !self.admit(kind)? {
            return Ok((Rows::new(), with_columns.then(Vec::new), None));
        }
        let mut rows = Rows::with_capacity(0);
        let yields_rows = compiled.with(|statement| statement.column_count() > 0);
        let read = |_: &mut Session| open.read_page(max_rows, &mut rows);
        let more = match yields_rows {
            true => self.run_open(kind, read),
            false => self.run(kind, read),
        };
        open.cursor = matches!(more, Ok(true));
        let more = more?;
        // After a step, so that a changed schema has been noticed.
        let columns = match with_columns {
            true => Some(open.compiled()?.with(|statement| columns_of(statement))),
            false => None,
        };
        Ok((rows, columns, more.then_some(open.run)))
    }

    /// Read on. Returns no rows once the end has been reached.
    pub(crate) fn next_page(&mut self, open: &mut Open, run: u64, max_rows: u32) -> Result<Rows> {
        self.check_aborted()?;
        let kind = open.compiled()?.kind;
        if open.run != run {
            let message = "the statement has been run again";
            return Err(Error::new(ErrorKind::StaleHandle, message));
        }
        let mut rows = Rows::new();
        if open.cursor {
            let more = self.tracked(kind, |_| open.read_page(max_rows, &mut rows));
            open.cursor = matches!(more, Ok(true));
            more?;
        }
        Ok(rows)
    }

    /// A cursor's handle was dropped.
    pub(crate) fn drop_cursor(&mut self, open: &mut Open, run: u64) {
        if open.run == run && open.cursor {
            open.end_run(run);
            self.settle();
        }
    }

    fn restart(&mut self, open: &mut Open) {
        // Count per connection, not per statement: an old cursor must not read a later run's rows.
        self.runs += 1;
        open.end_run(self.runs);
        self.settle();
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
