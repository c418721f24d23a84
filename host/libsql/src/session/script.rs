//! Scripts: statements one after the other, as many at once as do not depend on what came before.

use millpond_pool::{Error, ErrorKind, Result};

use super::Core;
use super::core::{Aborted, Risk, Txn};
use super::run::alone;
use crate::hrana::reply::Answers;
use crate::hrana::request::{ASK_INDEX, Condition, Pipeline, Stmt};
use crate::sql::{Control, Effect, Script, Statement};

/// How many statements are sent at once.
const MAX_STATEMENTS: usize = 200;

impl Core {
    /// Run a script from the byte `start` on, up to the first statement that fails.
    pub(super) async fn execute_script(&mut self, sql: &str, start: usize) -> Result<()> {
        let mut script = match self.shared.settings.trusted {
            true => Script::of_host(sql, start)?,
            false => Script::new(sql, start)?,
        };
        let mut together = Vec::new();
        loop {
            let next = self.next_of(&mut script).await;
            // What comes before a mistake runs.
            let ready = match next {
                Ok(Some(statement)) if statement.control == Control::None => {
                    together.push(statement);
                    if together.len() < MAX_STATEMENTS {
                        continue;
                    }
                    Ok(None)
                }
                next => next,
            };
            let is_full = together.len() == MAX_STATEMENTS;
            self.run_together(&std::mem::take(&mut together)).await?;
            match ready? {
                Some(control) => {
                    let run = self.run(&control, &[], false).await;
                    run.map_err(|error| error.at(control.start))?;
                }
                None if is_full => {}
                None => return Ok(()),
            }
        }
    }

    /// The next statement that may be sent. One that must run by itself has not been admitted.
    async fn next_of<'a>(&mut self, script: &mut Script<'a>) -> Result<Option<Statement<'a>>> {
        loop {
            let Some(statement) = script.next()? else {
                return Ok(None);
            };
            if !statement.parameters.is_empty() {
                return Err(Error::new(
                    ErrorKind::Parameters,
                    "a script's statements take no parameters",
                )
                .at(statement.start));
            }
            if statement.control != Control::None || self.admit(&statement).await? {
                return Ok(Some(statement));
            }
        }
    }

    async fn run_together(&mut self, statements: &[Statement<'_>]) -> Result<()> {
        let [first, rest @ ..] = statements else {
            return Ok(());
        };
        if rest.is_empty() {
            let run = self.run(first, &[], false).await;
            return run.map(drop).map_err(|error| error.at(first.start));
        }
        let begin = self.begin_sql();
        let is_open = self.txn != Txn::None;
        let mut pipeline = Pipeline::new(self.shared.index());
        let mut base = 0;
        pipeline.batch(|batch| {
            let mut before = match (begin, is_open) {
                (Some(begin), _) => {
                    base = 1;
                    let begun = batch.step(Some(Condition::Autocommit), &Stmt::plain(begin));
                    Some(Condition::Ok(begun))
                }
                (None, true) => Some(Condition::in_transaction()),
                (None, false) => None,
            };
            for statement in statements {
                let step = batch.step(before.take(), &Stmt::plain(statement.sql));
                before = Some(Condition::Ok(step));
            }
        });
        pipeline.get_autocommit();
        let reads = statements
            .iter()
            .all(|statement| statement.effect == Effect::Reads);
        let risk = match (is_open, reads) {
            (true, _) => Risk::Undone,
            (false, true) => Risk::Nothing,
            (false, false) => Risk::Kept,
        };
        let asks_index = risk == Risk::Kept;
        if asks_index {
            pipeline.execute(&Stmt::plain(ASK_INDEX));
        }
        let requests = 2 + usize::from(asks_index);
        let body = self.exchange(pipeline, requests, risk).await;
        statements
            .iter()
            .for_each(|statement| self.note_run(statement));
        let body = body?;
        let answers = Answers::read(&body, requests).map_err(|wrong| self.malformed(wrong))?;
        let read = || Ok((answers.autocommit(1)?, answers.batch(0)?));
        let (autocommit, batch) = read().map_err(|wrong| {
            self.flight = Some(risk);
            self.malformed(wrong)
        })?;
        if asks_index && let Ok(Ok(result)) = answers.execute(2) {
            self.saw(result);
        }
        let batch = match batch {
            Ok(batch) => batch,
            // One that does not parse keeps all from running.
            Err(error) if error.code == "SQL_PARSE_ERROR" => {
                return self.run_one_by_one(statements).await;
            }
            Err(error) if is_open => return Err(self.failed_in_transaction(error, autocommit)),
            Err(error) => return Err(alone(error, risk)),
        };
        for (index, statement) in statements.iter().enumerate() {
            let step = base + index as u32;
            match batch.step(step) {
                Some(Ok(result)) => {
                    let effects = result.effects().map_err(|wrong| self.lost(wrong))?;
                    self.note_effects(statement, effects);
                }
                Some(Err(error)) => {
                    // It may have inserted rows before it failed.
                    if let Some(stream) = &mut self.stream {
                        stream.note_written();
                    }
                    let error = match is_open {
                        true => self.failed_in_transaction(error, autocommit),
                        false => alone(error, Risk::Undone),
                    };
                    return Err(error.at(statement.start));
                }
                None => {
                    return Err(match (batch.first_error(), is_open) {
                        (Some((_, error)), true) => self.failed_in_transaction(error, autocommit),
                        (None, true) => {
                            self.lose_transaction(Aborted::Server);
                            Aborted::Server.into_error()
                        }
                        _ => Error::new(ErrorKind::Other, "the server has not run a statement")
                            .at(statement.start),
                    });
                }
            }
        }
        if is_open {
            self.now_in_transaction(autocommit);
        }
        Ok(())
    }

    async fn run_one_by_one(&mut self, statements: &[Statement<'_>]) -> Result<()> {
        for statement in statements {
            let run = self.run(statement, &[], false).await;
            run.map_err(|error| error.at(statement.start))?;
        }
        Ok(())
    }
}
