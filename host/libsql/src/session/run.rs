//! Runs one statement, and reads the server's answer.

use bytes::Bytes;
use millpond_pool::engine::{RawValue, hand_over};
use millpond_pool::{Error, ErrorKind, Parameters, Result, ResultSet, Rows, Summary};

use super::Core;
use super::core::{Aborted, Risk, Txn};
use super::parameters::pick;
use crate::error::of_server;
use crate::hrana::reply::{Answers, Effects, ServerError, StmtResult, Unusable};
use crate::hrana::request::{Condition, Pipeline, Stmt, Text};
use crate::hrana::wire::Wire;
use crate::sql::{Control, Effect, Pragma, Script, Statement};

/// An answer longer than this takes milliseconds to read.
pub(super) const LONG: usize = 256 * 1024;

/// The answer to a statement, and where in it its result is.
#[derive(Debug)]
pub(super) struct Ran {
    body: Bytes,
    requests: usize,
    step: Option<u32>,
}

impl Ran {
    /// Read the result.
    pub(super) fn result(&self) -> Wire<StmtResult<'_>> {
        const NONE: crate::hrana::wire::Malformed =
            crate::hrana::wire::Malformed("a statement has no result");
        if self.body.len() > LONG {
            hand_over();
        }
        let answers = Answers::read(&self.body, self.requests)?;
        match self.step {
            None => answers.execute(0)?.map_err(|_| NONE),
            Some(step) => {
                let batch = answers.batch(0)?.map_err(|_| NONE)?;
                batch.step(step).ok_or(NONE)?.map_err(|_| NONE)
            }
        }
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }
}

impl Core {
    pub(super) async fn execute(&mut self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        let statement = Script::only(sql)?;
        let values = pick(&statement, parameters)?;
        self.execute_statement(&statement, &values).await
    }

    pub(super) async fn execute_statement(
        &mut self,
        statement: &Statement<'_>,
        values: &[RawValue<'_>],
    ) -> Result<Summary> {
        match self.run(statement, values, false).await? {
            Some((_, effects)) => Ok(self.summary(effects)),
            None => Ok(self.summary(Effects::default())),
        }
    }

    pub(super) async fn query(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Result<ResultSet> {
        let statement = Script::only(sql)?;
        let values = pick(&statement, parameters)?;
        let Some((ran, _)) = self.run(&statement, &values, true).await? else {
            return Ok(ResultSet {
                columns: Vec::new(),
                rows: Rows::new(),
            });
        };
        let rows = ran
            .result()
            .map_err(Unusable::from)
            .and_then(|result| result.rows(self.shared.settings.sizes()));
        let (columns, rows) = rows.map_err(|unusable| self.unusable(&statement, unusable))?;
        let columns = if with_columns { columns } else { Vec::new() };
        Ok(ResultSet { columns, rows })
    }

    /// A statement has run, and its result cannot be told. What it wrote in a transaction is
    /// undone, with the transaction; outside of one it has been committed.
    pub(super) fn unusable(&mut self, statement: &Statement<'_>, unusable: Unusable) -> Error {
        let error = match unusable {
            Unusable::Malformed(what) => Error::new(
                ErrorKind::Other,
                format!("the server's answer is not understood: {what}"),
            ),
            Unusable::TooLarge(message) => Error::new(ErrorKind::TooLarge, message),
            Unusable::Refused(error) => error,
        };
        if statement.effect == Effect::Reads {
            return error;
        }
        if self.txn == Txn::Open {
            self.close_stream();
            self.lose_transaction(Aborted::Cut);
            return error.with_rolled_back();
        }
        Error::new(
            ErrorKind::OutcomeUnknown,
            format!("the statement has run, but its result cannot be told: {error}"),
        )
    }

    pub(super) fn summary(&self, effects: Effects) -> Summary {
        Summary {
            changes: effects.changes,
            last_insert_rowid: self.borrower.last_insert_rowid,
        }
    }

    /// Run a statement. `None` where there is nothing to run.
    pub(super) async fn run(
        &mut self,
        statement: &Statement<'_>,
        values: &[RawValue<'_>],
        want_rows: bool,
    ) -> Result<Option<(Ran, Effects)>> {
        if !self.admit(statement).await? {
            return Ok(None);
        }
        if statement.control != Control::None {
            return self.run_control(statement).await;
        }
        self.check_sizes(values.iter().copied())?;
        let stmt = Stmt::new(
            Text::Sql(statement.sent()),
            statement.names(),
            values,
            want_rows,
        );
        let ran = match self.txn {
            Txn::None => self.run_alone(statement, &stmt).await,
            Txn::Pending(_) | Txn::Open => self.run_in_transaction(&stmt).await,
        };
        self.note_run(statement);
        let (ran, effects) = ran?;
        self.note_effects(statement, effects);
        Ok(Some((ran, effects)))
    }

    async fn run_alone(
        &mut self,
        statement: &Statement<'_>,
        stmt: &Stmt<'_>,
    ) -> Result<(Ran, Effects)> {
        let mut pipeline = Pipeline::new(self.shared.index());
        pipeline.execute(stmt);
        let risk = match statement.effect {
            Effect::Reads => Risk::Nothing,
            Effect::Unsure | Effect::Writes => Risk::Kept,
        };
        let ran = Ran {
            body: self.exchange(pipeline, 1, risk).await?,
            requests: 1,
            step: None,
        };
        let answers = Answers::read(&ran.body, 1).map_err(|wrong| self.malformed(wrong))?;
        let result = answers.execute(0).map_err(|wrong| self.malformed(wrong))?;
        let effects = match result.map(StmtResult::effects) {
            Ok(effects) => effects.map_err(|wrong| self.malformed(wrong))?,
            Err(error) => return Err(alone(error, risk)),
        };
        Ok((ran, effects))
    }

    /// Run a statement in the transaction, and nowhere else: its condition keeps it from running
    /// where the server has ended the transaction.
    pub(super) async fn run_in_transaction(&mut self, stmt: &Stmt<'_>) -> Result<(Ran, Effects)> {
        let mut pipeline = Pipeline::new(self.shared.index());
        let begin = self.begin_sql();
        let mut step = 0;
        pipeline.batch(|batch| {
            step = match begin {
                Some(begin) => {
                    let begun = batch.step(Some(Condition::Autocommit), &Stmt::plain(begin));
                    batch.step(Some(Condition::Ok(begun)), stmt)
                }
                None => batch.step(Some(Condition::in_transaction()), stmt),
            };
        });
        pipeline.get_autocommit();
        let body = self.exchange(pipeline, 2, Risk::Undone).await?;
        let ran = Ran {
            body,
            requests: 2,
            step: Some(step),
        };
        let answers = Answers::read(&ran.body, 2).map_err(|wrong| self.malformed(wrong))?;
        let autocommit = answers.autocommit(1).map_err(|wrong| self.lost(wrong))?;
        let batch = match answers.batch(0).map_err(|wrong| self.lost(wrong))? {
            Ok(batch) => batch,
            Err(error) => return Err(self.failed_in_transaction(error, autocommit)),
        };
        match batch.step(step) {
            Some(Ok(result)) => {
                let effects = result.effects().map_err(|wrong| self.lost(wrong))?;
                self.now_in_transaction(autocommit);
                Ok((ran, effects))
            }
            Some(Err(error)) => Err(self.failed_in_transaction(error, autocommit)),
            // It did not run, because the `BEGIN` failed, or there was no transaction any more.
            None => match batch.first_error() {
                Some((_, error)) => Err(self.failed_in_transaction(error, autocommit)),
                None => {
                    self.lose_transaction(Aborted::Server);
                    Err(Aborted::Server.into_error())
                }
            },
        }
    }

    /// What begins the transaction on the server, where it has not begun.
    pub(super) fn begin_sql(&self) -> Option<&'static str> {
        match self.txn {
            Txn::Pending(mode) => Some(super::transactions::begin_sql(mode)),
            Txn::None | Txn::Open => None,
        }
    }

    /// The answer to what ran in a transaction is not understood: the transaction is given up.
    pub(super) fn lost(&mut self, malformed: crate::hrana::wire::Malformed) -> Error {
        self.flight = Some(Risk::Undone);
        self.malformed(malformed)
    }

    /// A statement ran in a transaction that is still open, unless it ended with it.
    pub(super) fn now_in_transaction(&mut self, autocommit: bool) {
        match autocommit {
            false => self.txn = Txn::Open,
            true => self.lose_transaction(Aborted::Server),
        }
    }

    pub(super) fn failed_in_transaction(&mut self, error: &ServerError, autocommit: bool) -> Error {
        let mapped = of_server(error);
        match (self.txn, autocommit) {
            // Its `BEGIN` failed: the next statement tries again.
            (Txn::Pending(_), true) => mapped,
            (_, true) => {
                self.lose_transaction(Aborted::Server);
                match error.code.as_str() {
                    "TRANSACTION_TIMEOUT" => Aborted::Server.into_error(),
                    _ => mapped.with_rolled_back(),
                }
            }
            (_, false) => {
                self.txn = Txn::Open;
                // SQLite does not wait for a lock where waiting could not help: the snapshot is
                // from before a later commit.
                match mapped.kind() {
                    ErrorKind::Busy => mapped.with_kind(ErrorKind::BusySnapshot),
                    _ => mapped,
                }
            }
        }
    }

    /// Take note of the state of the database that a statement left or saw.
    pub(super) fn saw(&self, result: StmtResult<'_>) {
        if let Ok(effects) = result.effects()
            && let Some(index) = effects.index
        {
            self.shared.saw(index);
        }
    }

    /// Take note of what a statement did, that ran.
    pub(super) fn note_effects(&mut self, statement: &Statement<'_>, effects: Effects) {
        if let Some(index) = effects.index {
            self.shared.saw(index);
        }
        // The server always says which row was inserted last on the stream: perhaps by an earlier
        // borrower.
        if let Some(rowid) = effects.last_insert_rowid {
            let stream = self.stream.as_mut();
            let is_other = stream.is_some_and(|stream| stream.update_last_rowid(rowid));
            if is_other || (statement.inserts && effects.changes > 0) {
                self.borrower.last_insert_rowid = rowid;
                self.borrower.inserted = true;
            }
        }
        if statement.pragma == Pragma::Stays
            && let Some(stream) = &mut self.stream
        {
            stream.note_soiled();
        }
    }

    /// Take note that a statement was sent, whatever came of it.
    pub(super) fn note_run(&mut self, statement: &Statement<'_>) {
        if statement.defines {
            self.shared.forget_descriptions();
        }
        if statement.effect != Effect::Reads {
            self.borrower.wrote = true;
            if let Some(notes) = self.stop.notes() {
                notes.wrote();
            }
            if let Some(stream) = &mut self.stream {
                stream.note_written();
            }
        }
    }
}

/// What the server says of a statement outside of a transaction.
pub(super) fn alone(error: &ServerError, risk: Risk) -> Error {
    // A replica that lost its primary meanwhile.
    match (error.code.as_str(), risk) {
        ("PROXY_ERROR", Risk::Kept) => crate::error::outcome_unknown(&error.message),
        // The primary would not have answered with these: it does not know what became of it.
        _ => of_server(error),
    }
}
