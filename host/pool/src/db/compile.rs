//! From SQL text to a compiled statement with its parameters bound.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use rusqlite::ffi::SQLITE_AUTH;

use super::time::Aborted;
use super::{Attempt, Db, Stop};
use crate::cache::Compiled;
use crate::error::{Error, ErrorKind, Result};
use crate::program::{self, Look};
use crate::raw::{self, BRIEF_TEXT, RawStatement};
use crate::text::{SqlText, begins_with, has_word};
use crate::value::{Parameters, Value};
use crate::watch::Pace;

/// A statement of a text, and where in the text it ends.
pub(super) struct First {
    pub(super) compiled: Compiled,
    pub(super) end: usize,
}

/// A text of up to [`BRIEF_TEXT`] is compiled where the call is made, unless its bytes times those
/// that the schema takes are more than this. At the worst, SQLite goes through the whole schema for
/// each name in the text, and for a text of one name several times.
const LEAST_TEXT: u64 = 100;
const BRIEF_WORK: u64 = 32 << 20;

impl Db {
    /// The one statement of `sql`.
    pub(super) fn compile(&mut self, sql: &str) -> Attempt<Compiled> {
        if let Some(compiled) = self.cache.take(sql) {
            return Ok(compiled);
        }
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

    /// The next statement of `sql` from the byte `start` on; `None` where there is none.
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
            // Compiling reads the schema, and SQLite ends a transaction in which that gets no
            // memory.
            self.ended += 1;
            self.aborted = Some(Aborted::Sqlite);
            self.settle();
            error.with_rolled_back().into()
        })
    }

    fn compile_from(&mut self, sql: &SqlText<'_>, start: usize) -> Attempt<Option<First>> {
        let pace = match self.watch.pace() {
            Pace::Free => Pace::Free,
            Pace::Compiles | Pace::Runs => Pace::Compiles,
        };
        let compiled = self.at_pace(pace, |db| db.compile_first(sql, start));
        // Even if it was compiled: it may lack what could not be read.
        match pace == Pace::Compiles && self.watch.take_deferred() {
            true => Err(Stop::Aside),
            false => compiled,
        }
    }

    /// Whether a text may take longer to compile than a call may without being watched from another
    /// thread.
    fn takes_long_to_compile(&mut self, text: usize) -> bool {
        let free = self.watch.pace() == Pace::Free;
        // Looking at a large schema takes as long as it is large, and it is looked at aside.
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
        // Comments and empty statements come one at a time.
        while start < sql.len() {
            // These do much of what they do while they are compiled.
            let acts = begins_with(sql.rest(start), &["PRAGMA", "ALTER"]);
            if self.takes_long_to_compile(sql.len() - start)
                || (acts && self.watch.pace() != Pace::Free)
            {
                return Err(Stop::Aside);
            }
            self.seen.start(sql.rest(start));
            self.hints.start();
            let account = self.memory.account();
            account.start_compiling();
            let prepared = RawStatement::prepare(&self.conn, sql, start);
            self.seen.finish();
            if account.fetched() {
                self.hints.set_schema_changed(true);
            }
            let (raw, end) = match prepared {
                Ok(compiled) => compiled,
                Err(error) => {
                    // Compiling reads the schema, which may be what is damaged.
                    self.unhealthy |= error.is_unhealthy();
                    let error = self.explain(error);
                    // If the transaction has ended, report that instead.
                    return Err(self.aborted.map_or(error, Aborted::into_error).into());
                }
            };
            match raw {
                Some(raw) => {
                    let text = sql.statement(start, end);
                    self.seen
                        .check_compiled(text, raw.column_count())
                        .map_err(|refusal| Error::sqlite(SQLITE_AUTH, refusal, None))?;
                    self.check_alteration(text)
                        .map_err(|error| error.at(start))?;
                    let control = self.seen.control();
                    let is_long = text.len() > BRIEF_TEXT || self.is_schema_large(text.len());
                    let look = match acts {
                        true => Look::ASIDE,
                        false => {
                            let may_be_slow = self.hints.may_be_slow(text, self.seen.defines());
                            let is_short = !account.grew_large();
                            program::look(&self.conn, &raw, text, may_be_slow, is_short)
                                .map_err(|error| self.explain(error))?
                        }
                    };
                    let compiled = Compiled::new(raw, control, look, is_long, text);
                    return Ok(Some(First { compiled, end }));
                }
                None if end == start => return Ok(None),
                None => {
                    start = end;
                    // A text can hold a million of them, none of which runs, to be stopped.
                    self.check_deadline()?;
                }
            }
        }
        Ok(None)
    }

    /// To rename something, or to drop a column, SQLite reads every definition in the schema, and
    /// takes time with the square of its length in one call of a function.
    fn check_alteration(&self, sql: &str) -> Result<()> {
        const MAX_DEFINITION_BYTES: i64 = 4_000;
        if !self.seen.alters() || !has_word(sql, &["RENAME", "DROP"]) {
            return Ok(());
        }
        let longest = "SELECT coalesce(max(length(sql)), 0) FROM
             (SELECT sql FROM main.sqlite_schema UNION ALL SELECT sql FROM temp.sqlite_schema)";
        let longest = self
            .trusted_number(longest)
            .map_err(|error| self.explain(error))?;
        match longest <= MAX_DEFINITION_BYTES {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a definition in the schema has {longest} characters: with more than \
                     {MAX_DEFINITION_BYTES}, renaming and dropping columns is for a migration"
                ),
            )),
        }
    }

    /// Whether the borrower's time is not over yet.
    pub(super) fn check_deadline(&self) -> Result<()> {
        match self.watch.must_stop() {
            true => Err(self.explain(self.overdue())),
            false => Ok(()),
        }
    }

    pub(super) fn bind(&self, compiled: &mut Compiled, parameters: &Parameters) -> Result<()> {
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
                    let bound = raw.bind(&self.conn, index + 1, value.into());
                    bound.map_err(|error| self.explain(error))?;
                }
            }
            Parameters::Named(values) => {
                bind_named(&self.conn, raw, values).map_err(|error| self.explain(error))?;
            }
        }
        Ok(())
    }
}

fn bind_named(conn: &Connection, raw: &mut RawStatement, values: &[(String, Value)]) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Parameters, message));
    let mut given = HashMap::with_capacity(values.len());
    for (name, value) in values {
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
        raw.bind(conn, index, (*value).into())?;
    }
    match given.keys().find(|name| !named.contains(*name)) {
        Some(name) => wrong(format!("the statement has no parameter {name}")),
        None => Ok(()),
    }
}

/// A parameter's name without its prefix.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}
