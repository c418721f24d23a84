//! One lent connection at work: statements, transactions and the turn to write.
//!
//! Everything here runs on the calling thread and waits for nobody: a call that needs the turn
//! to write, and cannot have it at once, ends with [`Stop::Turn`] and changes nothing, so that
//! its caller can wait without holding the connection, and try again.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use slab::Slab;

use crate::builder::Settings;
use crate::cache::{Compiled, StatementCache};
use crate::cells::check_utf8;
use crate::error::{Error, ErrorKind, Result};
use crate::open::Opened;
use crate::policy::{Control, Seen};
use crate::raw::{self, RawStatement, Step};
use crate::turn::{NoTurn, RequestId, Turn, TurnQueue};
use crate::value::{Cells, Column, Parameters, Summary, Table, Value, ValueRef};
use crate::watch::Watch;

/// What a connection is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads. Never waits for a writer, and refuses every write.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

/// How a transaction begins (<https://sqlite.org/lang_transaction.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionMode {
    /// Reads a snapshot, and becomes a writer at its first write.
    Deferred,
    /// A writer from the start: waits its turn.
    Immediate,
}

/// Why a call did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another request writes: wait for the turn, and call again.
    Turn,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// The result of a call that may need the turn to write.
pub(crate) type Attempt<T> = std::result::Result<T, Stop>;

#[derive(Debug)]
pub(crate) struct Db {
    // Statements before the connection: they are dropped in this order, as `raw` asks.
    statements: Slab<Open>,
    cache: StatementCache,
    turn: Option<Turn>,
    turns: Arc<TurnQueue>,
    request: RequestId,
    access: Access,
    /// How many transactions of this connection have ended: a handle to an earlier one is stale.
    ended: u64,
    /// SQLite ended the last transaction, and its owner has not yet ended it too.
    aborted: bool,
    /// The file failed under this connection.
    unhealthy: bool,
    /// `PRAGMA query_only` as it stands.
    query_only: bool,
    max_result_bytes: u64,
    max_page_bytes: u64,
    seen: Arc<Seen>,
    watch: Arc<Watch>,
    conn: Connection,
}

/// A statement that a handle keeps open.
#[derive(Debug)]
struct Open {
    compiled: Compiled,
    /// Whether the statement's own handle still exists.
    held: bool,
    /// How often it has been run. A cursor belongs to one run.
    run: u64,
    /// Whether a cursor over the current run exists.
    cursor: bool,
    /// The statement stands on a row that has not been read.
    on_row: bool,
}

impl Db {
    pub(crate) fn new(opened: Opened, settings: &Settings, turns: Arc<TurnQueue>) -> Db {
        Db {
            statements: Slab::new(),
            cache: StatementCache::new(settings.statement_cache),
            turn: None,
            turns,
            request: RequestId::new(),
            access: Access::ReadWrite,
            ended: 0,
            aborted: false,
            unhealthy: false,
            query_only: false,
            max_result_bytes: settings.max_result_bytes,
            max_page_bytes: settings.max_page_bytes,
            seen: opened.seen,
            watch: opened.watch,
            conn: opened.conn,
        }
    }

    // ----- lending -----

    /// Whether it can be lent for `access` as it is.
    pub(crate) fn suits(&self, access: Access) -> bool {
        self.query_only == (access == Access::ReadOnly)
    }

    /// Get ready for a new borrower. Returns the lending's number.
    pub(crate) fn lend(&mut self, request: RequestId, access: Access) -> Result<u64> {
        if !self.suits(access) {
            let query_only = access == Access::ReadOnly;
            self.trusted(&format!("PRAGMA query_only = {}", u8::from(query_only)))?;
            self.query_only = query_only;
        }
        self.request = request;
        self.access = access;
        Ok(self.watch.lend())
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.watch.set_deadline(deadline);
    }

    /// Make the connection as new. Returns whether a transaction was open, and whether it
    /// succeeded: if not, the connection is to be discarded.
    pub(crate) fn reset(&mut self) -> (bool, bool) {
        // Nothing that was meant to stop the borrower may stop what follows.
        self.watch.lend();
        for mut open in self.statements.drain() {
            // A statement under way would keep its snapshot, and ROLLBACK from succeeding.
            open.compiled.raw.reset();
            self.cache.put(open.compiled);
        }
        let open = !self.conn.is_autocommit();
        let rolled_back = open && self.trusted("ROLLBACK").is_ok();
        let clean = self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) == raw::TransactionState::None
            && self.drop_temporary().is_ok()
            && !self.unhealthy;
        raw::set_last_insert_rowid(&self.conn, 0);
        self.ended += 1;
        self.aborted = false;
        self.turn = None;
        (rolled_back || (open && !clean), clean)
    }

    /// Drop every temporary table, view, index and trigger: the next borrower would find them
    /// in front of the database's own. Changing where they are stored deletes them all
    /// (<https://sqlite.org/pragma.html#pragma_temp_store>).
    fn drop_temporary(&mut self) -> Result<()> {
        if !self.seen.temporary() {
            return Ok(());
        }
        self.trusted("PRAGMA temp_store = FILE; PRAGMA temp_store = MEMORY;")?;
        let left: i64 = self.seen.trusting(|| {
            self.conn
                .query_row("SELECT count(*) FROM temp.sqlite_schema", [], |row| {
                    row.get(0)
                })
        })?;
        if left > 0 {
            return Err(Error::new(ErrorKind::Other, "temporary objects are left"));
        }
        self.seen.forget_temporary();
        Ok(())
    }

    /// Write the log into the database and empty it, so that closing leaves the file alone.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        self.trusted("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn trusted(&self, sql: &str) -> Result<()> {
        Ok(self.seen.trusting(|| self.conn.execute_batch(sql))?)
    }

    // ----- the turn to write -----

    /// Keep a turn that was waited for. It is given on as soon as it proves not to be needed.
    pub(crate) fn take_turn(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Everything that must hold before a statement may run. False where there is nothing to
    /// run: a `ROLLBACK` of what SQLite has rolled back already.
    fn admit(&mut self, compiled: &Compiled) -> Attempt<bool> {
        if self.aborted {
            return match compiled.control {
                Control::Rollback => {
                    self.aborted = false;
                    Ok(false)
                }
                Control::Commit => {
                    self.aborted = false;
                    Err(aborted().into())
                }
                _ => Err(aborted().into()),
            };
        }
        if compiled.read_only {
            return Ok(true);
        }
        if self.access == Access::ReadOnly {
            return Err(Error::sqlite(
                rusqlite::ffi::SQLITE_READONLY,
                "the connection is read-only: take one with read-write access",
                None,
            )
            .into());
        }
        if self.turn.is_none() {
            self.turn = Some(match self.turns.try_take(self.request) {
                Ok(turn) => turn,
                Err(NoTurn::Taken) => return Err(Stop::Turn),
                Err(NoTurn::Own) => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "another connection of this request is writing: waiting for it would never end",
                    )
                    .into());
                }
                Err(NoTurn::Closed) => return Err(Error::closed().into()),
            });
        }
        Ok(true)
    }

    /// Give the turn on as soon as nothing is being written any more.
    fn settle(&mut self) {
        if self.turn.is_some() && raw::transaction_state(&self.conn) != raw::TransactionState::Write
        {
            self.turn = None;
        }
    }

    // ----- running -----

    /// Run `work` and keep the books: whether a transaction ended, who ended it, whether the
    /// file is still sound, whether the turn can go on.
    fn tracked<T>(
        &mut self,
        control: Control,
        work: impl FnOnce(&mut Db) -> Result<T>,
    ) -> Result<T> {
        let was_open = !self.conn.is_autocommit();
        let mut result = work(self).map_err(|error| self.explain(error));
        if was_open && self.conn.is_autocommit() {
            self.ended += 1;
            if let Err(error) = result {
                result = Err(error.with_rolled_back());
                // The guest that asked for the end knows of it; any other must be told, until
                // it has ended the transaction too.
                self.aborted = !matches!(control, Control::Commit | Control::Rollback);
            }
        }
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
        }
        self.settle();
        result
    }

    /// Say what SQLite does not know: why the authorizer or the progress handler refused.
    fn explain(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::DeadlineExceeded if self.watch.is_stopped() => error
                .with_kind(ErrorKind::PoolClosed)
                .with_message("the pool is closing"),
            ErrorKind::DeadlineExceeded => {
                error.with_message("the statement ran past its deadline")
            }
            ErrorKind::NotAuthorized => match self.seen.take_refusal() {
                Some(what) => error.with_message(format!("not allowed here: {what}")),
                None => error,
            },
            _ => error,
        }
    }

    /// The one statement of `sql`.
    fn compile(&mut self, sql: &str) -> Result<Compiled> {
        if let Some(compiled) = self.cache.take(sql) {
            return Ok(compiled);
        }
        check_text(sql)?;
        let Some((compiled, read)) = self.compile_first(sql)? else {
            return Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds no statement",
            ));
        };
        match self.compile_first(&sql[read..]) {
            Ok(None) => Ok(compiled),
            Ok(Some(_)) | Err(_) => Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds more than one statement: run them one by one, or as a script",
            )
            .at(read)),
        }
    }

    /// The first statement of `sql` and where it ends; `None` where there is none at all.
    fn compile_first(&mut self, sql: &str) -> Result<Option<(Compiled, usize)>> {
        let mut start = 0;
        while start < sql.len() {
            self.seen.start();
            let text = &sql[start..];
            let (raw, read) = RawStatement::prepare(&self.conn, text)
                .map_err(|error| self.explain(error).shifted(start))?;
            match raw {
                Some(raw) => {
                    let compiled = Compiled::new(raw, self.seen.control(), &sql[..start + read]);
                    return Ok(Some((compiled, start + read)));
                }
                // An empty statement, as in `;;`, ends where it is read to.
                None if read == 0 => return Ok(None),
                None => start += read,
            }
        }
        Ok(None)
    }

    fn bind(&self, compiled: &mut Compiled, parameters: &Parameters) -> Result<()> {
        let raw = &mut compiled.raw;
        let count = raw.parameter_count();
        match parameters {
            Parameters::Positional(values) => {
                if values.len() != count {
                    return Err(Error::new(
                        ErrorKind::Parameters,
                        format!(
                            "the statement has {count} parameters, and {} values were given",
                            values.len()
                        ),
                    ));
                }
                for (index, value) in values.iter().enumerate() {
                    raw.bind(&self.conn, index + 1, value.into())?;
                }
            }
            Parameters::Named(values) => bind_named(&self.conn, raw, values)?,
        }
        Ok(())
    }

    /// Step to the end, and sum up.
    fn run_to_end(&mut self, compiled: &mut Compiled) -> Result<Summary> {
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

    fn summary_since(&self, total_changes_before: u64) -> Summary {
        // `changes` keeps its value over statements that change nothing, so it counts only if
        // the total moved.
        let changed = self.conn.total_changes() != total_changes_before;
        Summary {
            changes: if changed { self.conn.changes() } else { 0 },
            last_insert_rowid: self.conn.last_insert_rowid(),
        }
    }

    /// Run `work` so that all or nothing of it is kept, inside a transaction or outside.
    fn atomically<T>(&mut self, work: impl FnOnce(&mut Db) -> Result<T>) -> Result<T> {
        self.control("SAVEPOINT millpond")?;
        let result = work(self).and_then(|value| {
            self.control("RELEASE millpond")?;
            Ok(value)
        });
        // SQLite may have rolled back everything by itself, the savepoint with it.
        if result.is_err() && !self.conn.is_autocommit() {
            self.control("ROLLBACK TO millpond")?;
            self.control("RELEASE millpond")?;
        }
        result
    }

    fn control(&mut self, sql: &str) -> Result<()> {
        let mut compiled = self.compile(sql)?;
        let result = self.run_to_end(&mut compiled);
        self.cache.put(compiled);
        result.map(|_| ())
    }

    /// Compile `sql`, hand it to `work`, and keep it for the next time.
    fn with_compiled<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&mut Db, &mut Compiled) -> Attempt<T>,
    ) -> Attempt<T> {
        let mut compiled = self.compile(sql)?;
        let result = work(self, &mut compiled);
        self.cache.put(compiled);
        // A statement that failed half-way wrote until it was reset just now.
        self.settle();
        result
    }

    pub(crate) fn execute(&mut self, sql: &str, parameters: &Parameters) -> Attempt<Summary> {
        self.with_compiled(sql, |db, compiled| {
            db.execute_compiled(compiled, parameters)
        })
    }

    fn execute_compiled(
        &mut self,
        compiled: &mut Compiled,
        parameters: &Parameters,
    ) -> Attempt<Summary> {
        self.bind(compiled, parameters)?;
        if !self.admit(compiled)? {
            return Ok(self.summary_since(self.conn.total_changes()));
        }
        Ok(self.tracked(compiled.control, |db| db.run_to_end(compiled))?)
    }

    pub(crate) fn query(&mut self, sql: &str, parameters: &Parameters) -> Attempt<Table> {
        self.with_compiled(sql, |db, compiled| {
            db.bind(compiled, parameters)?;
            if !db.admit(compiled)? {
                return Ok(Table {
                    columns: Vec::new(),
                    rows: Vec::new(),
                });
            }
            // A result that cannot be had whole must not leave half of the work behind.
            let undoable = !compiled.read_only && compiled.raw.column_count() > 0;
            Ok(db.tracked(compiled.control, |db| {
                if undoable {
                    db.atomically(|db| {
                        let table = db.read_table(compiled);
                        compiled.raw.reset();
                        table
                    })
                } else {
                    db.read_table(compiled)
                }
            })?)
        })
    }

    fn read_table(&mut self, compiled: &mut Compiled) -> Result<Table> {
        let raw = &mut compiled.raw;
        let mut rows = Vec::new();
        let mut size = 0;
        while raw.step(&self.conn)? == Step::Row {
            let row = (0..raw.column_count())
                .map(|column| owned(raw.column(column), column))
                .collect::<Result<Vec<Value>>>()?;
            size += row.iter().map(value_size).sum::<u64>();
            if size > self.max_result_bytes {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!(
                        "the result is larger than {} bytes: read it page by page",
                        self.max_result_bytes
                    ),
                ));
            }
            rows.push(row);
        }
        // After the last step: a schema that changed has been seen by now.
        Ok(Table {
            columns: columns_of(raw),
            rows,
        })
    }

    /// Run a script from `*start` on, which moves past each statement that ran.
    pub(crate) fn execute_script(&mut self, sql: &str, start: &mut usize) -> Attempt<()> {
        check_text(sql)?;
        loop {
            let base = *start;
            let first = self
                .compile_first(&sql[base..])
                .map_err(|error| error.shifted(base))?;
            let Some((mut compiled, read)) = first else {
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
            if self.admit(&compiled)? {
                self.tracked(compiled.control, |db| db.run_to_end(&mut compiled))
                    .map_err(|error| error.shifted(base))?;
            }
            *start = base + read;
        }
    }

    // ----- statements held by handles -----

    pub(crate) fn prepare(&mut self, sql: &str) -> Result<usize> {
        if self.aborted {
            return Err(aborted());
        }
        let compiled = self.compile(sql)?;
        Ok(self.statements.insert(Open {
            compiled,
            held: true,
            run: 0,
            cursor: false,
            on_row: false,
        }))
    }

    pub(crate) fn columns(&self, key: usize) -> Vec<Column> {
        self.statements
            .get(key)
            .map_or_else(Vec::new, |open| columns_of(&open.compiled.raw))
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
        slot.compiled.raw.reset();
        slot.run += 1;
        (slot.cursor, slot.on_row) = (false, false);
        self.settle();
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
            Ok(db.tracked(Control::None, |db| {
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
            })?)
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
            if !db.admit(&open.compiled)? {
                return Ok((Cells::default(), None));
            }
            let control = open.compiled.control;
            let (cells, more) = db.tracked(control, |db| db.read_page(open, max_rows))?;
            open.cursor = more;
            Ok((cells, more.then_some(open.run)))
        })
    }

    /// Read on. No rows once the end has been reached.
    pub(crate) fn next_page(&mut self, key: usize, run: u64, max_rows: u32) -> Result<Cells> {
        if self.aborted {
            return Err(aborted());
        }
        let page = self.on_open(key, |db, open| {
            if open.run != run {
                return Err(
                    Error::new(ErrorKind::StaleHandle, "the statement has been run again").into(),
                );
            }
            if !open.cursor {
                return Ok(Cells::default());
            }
            let page = db.tracked(open.compiled.control, |db| db.read_page(open, max_rows));
            open.cursor = matches!(page, Ok((_, true)));
            Ok(page?.0)
        });
        page.map_err(|stop| match stop {
            Stop::Error(error) => error,
            // Reading on writes nothing new: the first step had the turn already.
            Stop::Turn => Error::new(ErrorKind::Busy, "another request is writing"),
        })
    }

    /// Read rows until there are `max_rows` of them (no bound if 0) or a page is full. Returns
    /// whether there are more.
    fn read_page(&mut self, open: &mut Open, max_rows: u32) -> Result<(Cells, bool)> {
        let result = self.read_rows(open, max_rows);
        if !matches!(result, Ok((_, true))) {
            open.on_row = false;
            open.compiled.raw.reset();
        }
        result
    }

    fn read_rows(&mut self, open: &mut Open, max_rows: u32) -> Result<(Cells, bool)> {
        let raw = &mut open.compiled.raw;
        let mut cells = Cells::default();
        let mut rows = 0;
        loop {
            if !open.on_row {
                if raw.step(&self.conn)? == Step::Done {
                    return Ok((cells, false));
                }
                open.on_row = true;
            }
            if (max_rows > 0 && rows == max_rows) || cells.size() >= self.max_page_bytes {
                return Ok((cells, true));
            }
            for column in 0..raw.column_count() {
                cells.push(raw.column(column), column)?;
            }
            open.on_row = false;
            rows += 1;
        }
    }

    pub(crate) fn drop_statement(&mut self, key: usize) {
        if let Some(open) = self.statements.get_mut(key) {
            open.held = false;
            self.drop_unused(key);
        }
    }

    pub(crate) fn drop_cursor(&mut self, key: usize, run: u64) {
        if let Some(open) = self.statements.get_mut(key)
            && open.run == run
            && open.cursor
        {
            open.cursor = false;
            open.on_row = false;
            open.compiled.raw.reset();
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

    // ----- transactions held by handles -----

    /// Begin a transaction. Returns its number.
    pub(crate) fn begin(&mut self, mode: TransactionMode) -> Attempt<u64> {
        let sql = match mode {
            TransactionMode::Deferred => "BEGIN",
            TransactionMode::Immediate => "BEGIN IMMEDIATE",
        };
        self.execute(sql, &Parameters::NONE)?;
        Ok(self.ended)
    }

    pub(crate) fn commit(&mut self, number: u64) -> Result<()> {
        self.check_transaction(number)?;
        let result = self.tracked(Control::Commit, |db| db.control("COMMIT"));
        if result.is_err() && !self.conn.is_autocommit() {
            // The handle is gone with this call: nobody could roll back later.
            self.end()?;
            return result.map_err(Error::with_rolled_back);
        }
        result
    }

    pub(crate) fn rollback(&mut self, number: u64) -> Result<()> {
        match self.check_transaction(number) {
            Ok(()) => self.end(),
            Err(error) if error.rolled_back() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.tracked(Control::Rollback, |db| db.control("ROLLBACK"))
    }

    /// Whether transaction `number` is the one that is open.
    fn check_transaction(&mut self, number: u64) -> Result<()> {
        if self.ended == number && !self.conn.is_autocommit() {
            return Ok(());
        }
        if self.aborted && self.ended == number + 1 {
            // Its owner knows now.
            self.aborted = false;
            return Err(aborted());
        }
        Err(Error::new(
            ErrorKind::StaleHandle,
            "the transaction has ended",
        ))
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.aborted || !self.conn.is_autocommit()
    }
}

fn aborted() -> Error {
    Error::new(
        ErrorKind::StaleHandle,
        "SQLite has rolled the transaction back: end it before anything else",
    )
    .with_rolled_back()
}

/// SQLite reads text up to the first NUL; what follows would silently not run.
fn check_text(sql: &str) -> Result<()> {
    match sql.bytes().position(|byte| byte == 0) {
        None => Ok(()),
        Some(offset) => {
            Err(Error::new(ErrorKind::Sql, "the SQL text holds a NUL character").at(offset))
        }
    }
}

fn bind_named(conn: &Connection, raw: &mut RawStatement, values: &[(String, Value)]) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Parameters, message));
    let mut used = vec![false; values.len()];
    for index in 1..=raw.parameter_count() {
        let Some(name) = raw.parameter_name(index).map(bare).map(str::to_owned) else {
            return wrong(format!("parameter {index} has no name: bind by position"));
        };
        let mut given = values
            .iter()
            .enumerate()
            .filter(|(_, (known, _))| bare(known) == name);
        match (given.next(), given.next()) {
            (Some((at, (_, value))), None) => {
                used[at] = true;
                raw.bind(conn, index, value.into())?;
            }
            (Some(_), Some(_)) => {
                return wrong(format!("the parameter {name} was given more than once"));
            }
            (None, _) => return wrong(format!("the parameter {name} was not given")),
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => wrong(format!("the statement has no parameter {}", values[at].0)),
        None => Ok(()),
    }
}

/// A parameter's name without its prefix.
fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}

fn columns_of(raw: &RawStatement) -> Vec<Column> {
    (0..raw.column_count())
        .map(|index| Column {
            name: raw.column_name(index),
            declared_type: raw.column_declared_type(index),
        })
        .collect()
}

fn owned(value: ValueRef<'_>, column: usize) -> Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => Value::Text(check_utf8(value, column)?.to_owned()),
        ValueRef::Blob(value) => Value::Blob(value.to_owned()),
    })
}

/// What a value takes in a result: its bytes, and its place in the row.
fn value_size(value: &Value) -> u64 {
    let bytes = match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
        Value::Text(value) => value.len(),
        Value::Blob(value) => value.len(),
    };
    (bytes + size_of::<Value>()) as u64
}
