//! Compiles SQL text to a statement, and binds its parameters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_pool::Parameters;
use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_AUTH, SQLITE_CORRUPT, SQLITE_ERROR, SQLITE_SCHEMA, SQLITE_TOOBIG};
use rusqlite::limits::Limit;

use super::time::Aborted;
use super::{Attempt, Db, Stop};
use crate::deadline::Pace;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw;
use crate::ffi::statement::{BRIEF_TEXT, RawStatement};
use crate::limits::{MAX_COLUMNS, MAX_COMPOUND, MAX_DEFINITION_BYTES, MAX_DEPTH};
use crate::policy::check_definition;
use crate::session::cache::Compiled;
use crate::session::program::{self, Look};
use crate::text::{MAX_SQL_BYTES, SqlText, begins_with, blank, is_definition, trusts_schema};
use crate::words::has_word;

/// A compiled statement, and where it ends in its text.
pub(super) struct First {
    pub(super) compiled: Compiled,
    pub(super) end: usize,
}

/// A text of up to [`BRIEF_TEXT`] is compiled on the caller's thread, unless its size times the
/// schema's size, in bytes, exceeds this. In the worst case, SQLite scans the whole schema for each
/// name in the text, and for a text with one name several times.
const LEAST_TEXT: u64 = 100;
const BRIEF_WORK: u64 = 32 << 20;

impl Db {
    /// Compile `sql`, which must be one statement.
    pub(super) fn compile(&mut self, sql: &str) -> Attempt<Compiled> {
        match self.cache.take(sql) {
            Some(compiled) => Ok(compiled),
            None => self.compile_anew(sql),
        }
    }

    pub(super) fn compile_anew(&mut self, sql: &str) -> Attempt<Compiled> {
        let text = SqlText::new(sql)?;
        let Some(First { mut compiled, end }) = self.compile_next(&text, 0)? else {
            return Err(Error::new(ErrorKind::Sql, "the SQL text holds no statement").into());
        };
        match self.compile_next(&text, end) {
            Ok(None) => {
                compiled.keep_as(sql);
                Ok(compiled)
            }
            Ok(Some(_)) | Err(Stop::Error(_)) => Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds more than one statement: run them one by one, or as a script",
            )
            .at(end)
            .into()),
            Err(stop) => Err(stop),
        }
    }

    /// Compile the next statement of `sql` from the byte `start`; `None` if there is none.
    pub(super) fn compile_next(
        &mut self,
        sql: &SqlText<'_>,
        start: usize,
    ) -> Attempt<Option<First>> {
        let was_open = !self.conn.is_autocommit() && !self.grouped;
        self.compile_from(sql, start).map_err(|stop| {
            let Stop::Error(error) = stop else {
                return stop;
            };
            if !was_open || !self.conn.is_autocommit() {
                return error.into();
            }
            if self.aborted.is_none() {
                self.note_lost_transaction();
            }
            error.with_rolled_back().into()
        })
    }

    /// Compiling reads the schema; if SQLite runs out of memory there, it ends the transaction. So
    /// it does when it explains a statement.
    fn note_lost_transaction(&mut self) {
        self.ended += 1;
        self.aborted = Some(Aborted::Sqlite);
        self.note_ended_transaction(false);
        self.settle();
    }

    fn compile_from(&mut self, sql: &SqlText<'_>, start: usize) -> Attempt<Option<First>> {
        let pace = self.pace_of_compiling();
        let compiled = self.at_pace(pace, |db| db.compile_first(sql, start));
        // Even if it compiled: it may lack what could not be read.
        match pace == Pace::Compiles && self.watch.take_deferred() {
            true => Err(Stop::Aside),
            false => compiled,
        }
    }

    fn pace_of_compiling(&self) -> Pace {
        match self.watch.pace() {
            Pace::Free => Pace::Free,
            Pace::Compiles | Pace::Runs => Pace::Compiles,
        }
    }

    /// Whether compiling a text may take longer than a call may on the caller's thread.
    fn takes_long_to_compile(&mut self, text: usize) -> bool {
        let free = self.watch.pace() == Pace::Free;
        // Measuring a large schema takes time too, so do it on the connection's own thread.
        if self.hints.has_schema_changed() && (free || !self.is_schema_large(text)) {
            self.schema_used = raw::schema_used(&self.conn);
            self.hints.set_schema_changed(false);
        }
        !free && (text > BRIEF_TEXT || self.is_schema_large(text))
    }

    fn is_schema_large(&self, text: usize) -> bool {
        self.schema_used.saturating_mul(LEAST_TEXT + text as u64) > BRIEF_WORK
    }

    fn compile_first(&mut self, sql: &SqlText<'_>, mut start: usize) -> Attempt<Option<First>> {
        // SQLite returns comments and empty statements one at a time.
        while start < sql.len() {
            // There can be very much space before a statement: skip it once.
            let begun = sql.rest(start);
            let begun = &begun[blank(begun)..];
            if trusts_schema(begun) {
                self.refresh_schema()?;
            }
            let mut compiled = self.compile_at(sql, start, begun);
            if let Err(Stop::Error(error)) = &compiled
                && self.may_be_outdated(error)
            {
                self.refresh_schema()?;
                compiled = self.compile_at(sql, start, begun);
            }
            // Compiling reads the schema, which may be damaged.
            self.unhealthy |= self.failed_unhealthy;
            let (first, end) = compiled?;
            match first {
                Some(compiled) => return Ok(Some(First { compiled, end })),
                None if end == start => return Ok(None),
                None => {
                    start = end;
                    // A text can hold a million empty statements, none of which runs, to be
                    // stopped.
                    self.check_deadline()?;
                }
            }
        }
        Ok(None)
    }

    /// Whether a compilation error may come from an outdated schema. SQLite compiles against the
    /// schema that it has in memory, and checks whether that is current at a statement's first
    /// step, which a statement that does not compile never takes. For each code, from its source:
    ///
    /// - `SQLITE_ERROR`: it checks at once only for unknown tables and columns
    ///   (`sqlite3LocateTable` and `resolveExprStep` set `checkSchema`), but not for the number of
    ///   columns of a table (`sqlite3Insert`), existing objects (`sqlite3StartTable`,
    ///   `sqlite3CreateIndex`, `sqlite3AlterFinishAddColumn`), or the target of a conflict clause
    ///   (`sqlite3UpsertAnalyzeTarget`).
    /// - `SQLITE_AUTH`: it asks the authorizer about what a view or trigger contains
    ///   (`sqlite3AuthCheck` while it expands or codes it), which another connection may have
    ///   replaced.
    /// - `SQLITE_TOOBIG` and `SQLITE_CORRUPT`: it reads the schema while it compiles
    ///   (`sqlite3ReadSchema`), and reports a definition that exceeds the limits for a guest's text
    ///   as damage (`corruptSchema`). Reading it again applies no limits.
    /// - `SQLITE_SCHEMA`: a virtual table read its own tables by another schema than this one
    ///   (`vtabCallConstructor`).
    fn may_be_outdated(&self, error: &Error) -> bool {
        let code = error.code() & 0xff;
        matches!(
            code,
            SQLITE_ERROR | SQLITE_AUTH | SQLITE_TOOBIG | SQLITE_CORRUPT | SQLITE_SCHEMA
        ) && !self.watch.must_stop()
    }

    /// Make SQLite read the schema again, if it has changed, here or in another process. Everything
    /// compiled from now on uses it, and earlier statements are compiled again. In a transaction
    /// that has read, the schema is that of its snapshot.
    pub(super) fn refresh_schema(&mut self) -> Attempt<()> {
        // SQLite checks because it finds no such table. Nothing runs, and no snapshot is held.
        const UNKNOWN: &str = "SELECT 1 FROM \"millpond: no such table\"";
        let pace = self.pace_of_compiling();
        let was_open = !self.conn.is_autocommit() && !self.grouped;
        self.at_pace(pace, |db| {
            db.authorizer.trusting(|| drop(db.conn.prepare(UNKNOWN)));
        });
        // The schema may be different, and larger.
        self.hints.set_schema_changed(true);
        if was_open && self.conn.is_autocommit() {
            self.note_lost_transaction();
            return Err(Aborted::Sqlite.into_error().into());
        }
        match pace == Pace::Compiles && self.watch.take_deferred() {
            true => Err(Stop::Aside),
            false => Ok(()),
        }
    }

    /// Compile the next statement of `sql` from the byte `start`, or return `None` if there is only
    /// space or a comment; and where it ends. `begun` is its beginning, without space and comments.
    fn compile_at(
        &mut self,
        sql: &SqlText<'_>,
        start: usize,
        begun: &str,
    ) -> Attempt<(Option<Compiled>, usize)> {
        self.failed_unhealthy = false;
        // These do much of their work while they are compiled.
        let acts = begins_with(begun, &["PRAGMA", "ALTER"]);
        if self.takes_long_to_compile(sql.len() - start)
            || (acts && self.watch.pace() != Pace::Free)
        {
            return Err(Stop::Aside);
        }
        let authorizer = Arc::clone(&self.authorizer);
        let _compiling = authorizer.start(begun, sql);
        self.hints.start();
        let limits = TextLimits::lower(&self.conn, begun, self.is_aside())?;
        let account = self.memory.account();
        account.start_compiling();
        let prepared = match database_list(begun) {
            Some(length) => SqlText::new(WITHOUT_PATH)
                .and_then(|list| RawStatement::prepare(&self.conn, &list, 0))
                .map(|(list, _)| (list, sql.len() - begun.len() + length)),
            None => RawStatement::prepare(&self.conn, sql, start),
        };
        if account.fetched() {
            self.hints.set_schema_changed(true);
        }
        let (raw, end) = match prepared {
            Ok(compiled) => compiled,
            Err(error) => {
                self.failed_unhealthy = error.is_unhealthy();
                if limits.may_have_refused(&error) {
                    return Err(Stop::Aside);
                }
                let error = self.explain(error);
                // If the transaction has ended, report that instead.
                return Err(self.aborted.map_or(error, Aborted::into_error).into());
            }
        };
        let Some(raw) = raw else {
            return Ok((None, end));
        };
        let text = sql.statement(start, end);
        self.authorizer
            .check_compiled(text)
            .map_err(|refusal| Error::sqlite(SQLITE_AUTH, refusal, None))?;
        check_definition(text).map_err(|error| error.at(start))?;
        if self.authorizer.alters() {
            self.check_altered_schema(text)
                .map_err(|error| error.at(start))?;
        }
        let control = (self.authorizer.control(), self.authorizer.pragma_kind());
        let is_long = text.len() > BRIEF_TEXT || self.is_schema_large(text.len());
        let look = match acts {
            true => Look::ASIDE,
            false => {
                let may_be_slow = self.hints.may_be_slow(text, self.authorizer.defines());
                let is_short = !account.grew_large();
                program::look(&self.conn, &raw, text, may_be_slow, is_short)
                    .map_err(|error| self.explain(error))?
            }
        };
        let compiled = Compiled::new(raw, control, look, is_long, text);
        Ok((Some(compiled), end))
    }

    /// To rename something, or to drop a column, SQLite parses every definition in the schema, in
    /// quadratic time, in one call of a function. Checked again at each run, because the schema may
    /// have changed.
    pub(super) fn check_altered_schema(&self, sql: &str) -> Result<()> {
        const MAX_ALTERED_BYTES: i64 = 4_000;
        if !has_word(sql, &["RENAME", "DROP"]) {
            return Ok(());
        }
        let longest = "SELECT coalesce(max(length(sql)), 0) FROM
             (SELECT sql FROM main.sqlite_schema UNION ALL SELECT sql FROM temp.sqlite_schema)";
        let longest = self
            .trusted_number(longest)
            .map_err(|error| self.explain(error))?;
        match longest <= MAX_ALTERED_BYTES {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a definition in the schema has {longest} characters: with more than \
                     {MAX_ALTERED_BYTES}, rename and drop columns in a migration"
                ),
            )),
        }
    }

    /// Check that the borrower's time is not over.
    pub(super) fn check_deadline(&self) -> Result<()> {
        match self.watch.must_stop() {
            true => Err(self.explain(self.overdue())),
            false => Ok(()),
        }
    }

    pub(super) fn bind(&self, compiled: &mut Compiled, parameters: &Parameters) -> Attempt<()> {
        if parameters.is_named() && !self.is_aside() && compiled.takes_long_to_name() {
            return Err(Stop::Aside);
        }
        let bound = bind(&self.conn, &mut compiled.raw, parameters);
        bound.map_err(|error| self.explain(error).into())
    }

    /// After a run on the connection's own thread: look at what SQLite has compiled again, for
    /// these values or another schema. The next run with the same values may then be on the
    /// caller's thread.
    pub(super) fn look_again(&mut self, compiled: &mut Compiled, parameters: &Parameters) {
        /// Looking compiles it twice more, which SQLite does not stop, and the caller waits.
        const BRIEF_CALL: Duration = Duration::from_millis(5);
        let is_due = |since: Instant| compiled.was_recompiled() && since.elapsed() < BRIEF_CALL;
        if !self.aside_since.is_some_and(is_due) || self.watch.must_stop() {
            return;
        }
        let was_open = !self.conn.is_autocommit();
        if self.is_writing() || (was_open && !compiled.read_only) {
            // If it fails, that undoes what is being written: for a transaction, or a cursor.
            return;
        }
        let authorizer = Arc::clone(&self.authorizer);
        let _compiling = authorizer.start_inspection();
        // If that fails, it runs here the next time too.
        let _ = compiled.look_again(&self.conn, |listing| bind(&self.conn, listing, parameters));
        if was_open && self.conn.is_autocommit() {
            self.note_lost_transaction();
        }
    }
}

fn bind(conn: &Connection, raw: &mut RawStatement, parameters: &Parameters) -> Result<()> {
    if parameters.is_named() {
        return bind_named(conn, raw, parameters);
    }
    let count = raw.parameter_count();
    if parameters.len() != count {
        return Err(wrong_count(count, parameters.len()));
    }
    for (index, (_, value)) in parameters.raw_values().enumerate() {
        raw.bind(conn, index + 1, value)?;
    }
    Ok(())
}

/// The answer of `PRAGMA database_list` for guests, who must not see paths.
const WITHOUT_PATH: &str = "SELECT 0 AS seq, 'main' AS name, '' AS file";

/// The length of the statement at the beginning of `sql`, if it is that pragma.
fn database_list(sql: &str) -> Option<usize> {
    if !begins_with(sql, &["PRAGMA"]) {
        return None;
    }
    let statement = sql.find(';').map_or(sql, |end| &sql[..=end]);
    let words = statement[blank(statement)..].trim_end_matches(';');
    let mut words = words.split_ascii_whitespace().skip(1);
    let name = words.next()?;
    (name.eq_ignore_ascii_case("database_list") && words.next().is_none())
        .then_some(statement.len())
}

/// Limits while a guest's text is compiled. The schema is the operator's, and is read under
/// SQLite's own limits.
struct TextLimits<'c> {
    conn: &'c Connection,
    /// Whether it is compiled on the caller's thread.
    here: bool,
    /// Whether it is longer than a statement may be.
    long: bool,
    /// Whether it may create a table.
    defines: bool,
}

impl TextLimits<'_> {
    fn lower<'c>(conn: &'c Connection, sql: &str, aside: bool) -> Result<TextLimits<'c>> {
        let limits = TextLimits {
            conn,
            here: !aside,
            long: sql.len() > MAX_SQL_BYTES,
            defines: is_definition(sql),
        };
        // SQLite recurses for each level, on a stack that may be a guest's: at most 160 KB with
        // these limits in an unoptimised build. Anything deeper is compiled on the connection's own
        // thread. And statements on tables with more columns take ten seconds or more to compile.
        limits.set(100, 50, MAX_SQL_BYTES as i32, 1_000)?;
        Ok(limits)
    }

    fn set(&self, depth: i32, compound: i32, bytes: i32, columns: i32) -> rusqlite::Result<()> {
        if self.defines {
            self.conn.set_limit(Limit::SQLITE_LIMIT_COLUMN, columns)?;
        }
        if self.here {
            self.conn.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, depth)?;
            self.conn
                .set_limit(Limit::SQLITE_LIMIT_COMPOUND_SELECT, compound)?;
        }
        if self.long {
            self.conn.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, bytes)?;
        }
        Ok(())
    }

    /// Whether it may have been refused because these limits are lower than SQLite's own. SQLite
    /// has no code for that; if its messages changed, such a text would always be refused.
    fn may_have_refused(&self, error: &Error) -> bool {
        const WORDS: &[&str] = &[
            "Expression tree is too large",
            "too many terms in compound SELECT",
            "nested too deep",
        ];
        self.here && error.code() == SQLITE_ERROR && WORDS.iter().any(|words| error.says(words))
    }
}

impl Drop for TextLimits<'_> {
    fn drop(&mut self) {
        // Only fails for a closed connection.
        let _ = self.set(MAX_DEPTH, MAX_COMPOUND, MAX_DEFINITION_BYTES, MAX_COLUMNS);
    }
}

#[cold]
fn wrong_count(parameters: usize, values: usize) -> Error {
    Error::new(
        ErrorKind::Parameters,
        format!("the statement has {parameters} parameters, but {values} values were given"),
    )
}

fn bind_named(conn: &Connection, raw: &mut RawStatement, values: &Parameters) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Parameters, message));
    // Checked before building a map: a guest can send very many values.
    if values.len() > raw.parameter_count() {
        return Err(wrong_count(raw.parameter_count(), values.len()));
    }
    let mut given = HashMap::with_capacity(values.len());
    for (name, value) in values.raw_values() {
        let name = name.map_or("", |name| str::from_utf8(name).unwrap_or_default());
        if given.insert(bare(name), value).is_some() {
            return wrong(format!("the parameter {name} was given more than once"));
        }
    }
    let mut named = HashSet::with_capacity(values.len());
    for index in 1..=raw.parameter_count() {
        let Some(name) = raw.parameter_name(index).map(bare) else {
            return wrong(format!("parameter {index} has no name: bind by position"));
        };
        let Some((name, value)) = given.get_key_value(name) else {
            return wrong(format!("the parameter {name} was not given"));
        };
        named.insert(*name);
        raw.bind(conn, index, *value)?;
    }
    match given.keys().find(|name| !named.contains(*name)) {
        Some(name) => wrong(format!("the statement has no parameter {name:.64}")),
        None => Ok(()),
    }
}

/// A parameter's name without its prefix.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}
