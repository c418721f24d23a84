//! One statement, once for each row of many, all or none.

use millpond_pool::engine::{Reader, hand_over};
use millpond_pool::{Error, ErrorKind, Result, Rows, Summary};

use super::Core;
use super::core::{Aborted, Risk, Txn};
use super::parameters::check_width;
use super::run::{LONG, alone};
use crate::hrana::reply::{Answers, BatchResult, Effects};
use crate::hrana::request::{ASK_INDEX, Batch, Condition, Pipeline, Stmt, Text};
use crate::sql::{Control, Effect, Script, Statement};

/// How many rows, and about how many bytes, are sent at once.
const MAX_ROWS: usize = 20_000;
const MAX_BYTES: usize = 8 << 20;
/// The longest text that a server keeps for a stream.
const MAX_STORED: usize = 4_500;
/// The number under which it does.
const STORED: u32 = 1;
/// Within a transaction, what undoes the rows and nothing before them.
const SAVEPOINT: &str = "SAVEPOINT millpond_many";
const RELEASE: &str = "RELEASE millpond_many";
const ROLLBACK_TO: &str = "ROLLBACK TO millpond_many";

/// Where the requests of a part are in its pipeline.
#[derive(Clone, Copy, Debug)]
struct Part {
    requests: usize,
    batch: usize,
    autocommit: usize,
    /// The steps of its rows.
    first: u32,
    end: u32,
    /// The step that commits, or releases the savepoint.
    last: Option<u32>,
}

impl Core {
    pub(super) async fn execute_many(
        &mut self,
        id: u64,
        sql: &str,
        rows: &Rows,
    ) -> Result<Summary> {
        let statement = Script::only(sql)?;
        if statement.control != Control::None {
            return Err(Error::new(
                ErrorKind::Sql,
                "a transaction statement does not run once a row",
            ));
        }
        check_width(&statement, rows)?;
        self.start_run(id);
        if !self.admit(&statement).await? || rows.is_empty() {
            return Ok(Summary::default());
        }
        if rows.size() > LONG as u64 {
            hand_over();
        }
        self.check_sizes(rows.raw_values())?;
        let mut values = rows.raw_values();
        let mut left = rows.len();
        let mut total = Effects::default();
        let own_transaction = self.txn == Txn::None;
        let mut is_first = true;
        while left > 0 {
            let part = self.send_part(
                &statement,
                &mut values,
                &mut left,
                (own_transaction, is_first),
            );
            let effects = part.await;
            self.note_run(&statement);
            let effects = effects?;
            total.changes += effects.changes;
            total.last_insert_rowid = effects.last_insert_rowid.or(total.last_insert_rowid);
            total.index = effects.index;
            is_first = false;
        }
        self.note_effects(&statement, total);
        Ok(self.summary(total))
    }

    /// Send as many rows as go at once, and the end after the last.
    async fn send_part(
        &mut self,
        statement: &Statement<'_>,
        values: &mut Reader<'_>,
        left: &mut usize,
        (own, is_first): (bool, bool),
    ) -> Result<Effects> {
        let (pipeline, part) = self.write_part(statement, values, left, (own, is_first));
        let risk = match part.last {
            Some(_) if own && statement.effect != Effect::Reads => Risk::Kept,
            _ => Risk::Undone,
        };
        let body = self.exchange(pipeline, part.requests, risk).await?;
        let answers = Answers::read(&body, part.requests).map_err(|wrong| self.malformed(wrong))?;
        let not_understood = |wrong| {
            self.flight = Some(risk);
            self.malformed(wrong)
        };
        let read = || {
            let autocommit = answers.autocommit(part.autocommit)?;
            Ok((autocommit, answers.batch(part.batch)?))
        };
        let (autocommit, batch) = read().map_err(not_understood)?;
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                let mapped = self.part_failed(alone(error, risk), own, autocommit);
                return Err(mapped);
            }
        };
        if let Some((_, error)) = batch.first_error() {
            let error = alone(error, Risk::Undone);
            return Err(self.part_failed(error, own, autocommit));
        }
        let whole = part.last.unwrap_or(part.end - 1);
        if batch.step(whole).is_none() {
            // There was no transaction any more.
            return Err(match own {
                true => Error::new(
                    ErrorKind::Busy,
                    "the server has rolled back what was being written: run it again",
                ),
                false => {
                    self.lose_transaction(Aborted::Server);
                    Aborted::Server.into_error()
                }
            });
        }
        if !own {
            self.now_in_transaction(autocommit);
        }
        let mut effects = sum(&batch, part).map_err(|wrong| {
            self.flight = Some(risk);
            self.malformed(wrong)
        })?;
        if let Ok(Ok(result)) = answers.execute(part.requests - 1)
            && let Ok(read) = result.effects()
        {
            effects.index = read.index;
        }
        Ok(effects)
    }

    /// A part has failed, and been undone by its last steps, with all before it.
    fn part_failed(&mut self, error: Error, own: bool, autocommit: bool) -> Error {
        if own {
            if !autocommit {
                // What undoes it did not run: it ends with the stream.
                self.close_stream();
            }
            return error;
        }
        match (self.txn, autocommit) {
            (Txn::Pending(_), true) => error,
            (_, true) => {
                self.lose_transaction(Aborted::Server);
                error.with_rolled_back()
            }
            (_, false) => {
                self.txn = Txn::Open;
                error
            }
        }
    }

    fn write_part(
        &self,
        statement: &Statement<'_>,
        values: &mut Reader<'_>,
        left: &mut usize,
        (own, is_first): (bool, bool),
    ) -> (Pipeline, Part) {
        let mut pipeline = Pipeline::new(self.shared.index());
        let stored = statement.sent().len() <= MAX_STORED && *left > 1;
        let text = match stored {
            true => Text::Stored(STORED),
            false => Text::Sql(statement.sent()),
        };
        if stored {
            pipeline.store_sql(STORED, statement.sent());
        }
        let mut part = Part {
            requests: usize::from(stored) * 2 + 2,
            batch: usize::from(stored),
            autocommit: usize::from(stored) * 2 + 1,
            first: 0,
            end: 0,
            last: None,
        };
        let begin = match own {
            true if statement.effect == Effect::Reads => Some("BEGIN"),
            true => Some("BEGIN IMMEDIATE"),
            false => self.begin_sql(),
        };
        let width = statement.parameters.len();
        let names = statement.names();
        pipeline.batch(|batch| {
            let mut before = match is_first {
                true => write_begin(batch, begin, own),
                false => Condition::in_transaction(),
            };
            part.first = batch.len();
            let mut row = Vec::with_capacity(width);
            while *left > 0 && (batch.len() as usize) < MAX_ROWS && batch.bytes() < MAX_BYTES {
                row.clear();
                row.extend(values.take(width));
                let step = batch.step(Some(before), &Stmt::new(text, names, &row, false));
                before = Condition::Ok(step);
                *left -= 1;
            }
            part.end = batch.len();
            part.last = write_end(batch, own, part.end - 1, *left == 0);
        });
        if stored {
            pipeline.close_sql(STORED);
        }
        pipeline.get_autocommit();
        if part.last.is_some() && own && statement.effect != Effect::Reads {
            pipeline.execute(&Stmt::plain(ASK_INDEX));
            part.requests += 1;
        }
        (pipeline, part)
    }
}

/// The steps before the rows. Returns on what the first row depends.
fn write_begin(batch: &mut Batch<'_>, begin: Option<&str>, own: bool) -> Condition {
    let begun = match begin {
        Some(begin) => Condition::Ok(batch.step(Some(Condition::Autocommit), &Stmt::plain(begin))),
        None => Condition::in_transaction(),
    };
    match own {
        true => begun,
        false => Condition::Ok(batch.step(Some(begun), &Stmt::plain(SAVEPOINT))),
    }
}

/// The steps after the rows, of which `row` is the last: to keep them, or to undo them all.
fn write_end(batch: &mut Batch<'_>, own: bool, row: u32, ends: bool) -> Option<u32> {
    let keep = if own { "COMMIT" } else { RELEASE };
    let last = ends.then(|| batch.step(Some(Condition::Ok(row)), &Stmt::plain(keep)));
    let failed = || {
        let whole = Condition::Ok(last.unwrap_or(row));
        Some(Condition::And(vec![
            Condition::Not(Box::new(whole)),
            Condition::in_transaction(),
        ]))
    };
    match own {
        true => {
            batch.step(failed(), &Stmt::plain("ROLLBACK"));
        }
        false => {
            batch.step(failed(), &Stmt::plain(ROLLBACK_TO));
            batch.step(failed(), &Stmt::plain(RELEASE));
        }
    }
    last
}

/// What the rows of a part did.
fn sum(batch: &BatchResult<'_>, part: Part) -> crate::hrana::wire::Wire<Effects> {
    let mut sum = Effects::default();
    for (step, result) in batch.steps() {
        if (part.first..part.end).contains(&step) {
            let effects = result.effects()?;
            sum.changes += effects.changes;
            if effects.changes > 0 {
                sum.last_insert_rowid = effects.last_insert_rowid.or(sum.last_insert_rowid);
            }
        }
    }
    Ok(sum)
}
