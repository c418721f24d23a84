//! Statements that begin and end transactions, given as text.

use millpond_pool::{Access, Error, ErrorKind, Result};

use super::Core;
use super::core::{Risk, Txn};
use super::run::{Ran, alone};
use crate::hrana::reply::{Answers, Effects};
use crate::hrana::request::{ASK_INDEX, Condition, Pipeline, Stmt};
use crate::sql::{Control, Statement};

impl Core {
    pub(super) async fn run_control(
        &mut self,
        statement: &Statement<'_>,
    ) -> Result<Option<(Ran, Effects)>> {
        let refused = |message: &str| {
            let error = Error::new(ErrorKind::Sql, message).with_code(1);
            Err(error.at(statement.start))
        };
        match (statement.control, self.txn) {
            (Control::Begin, Txn::Pending(_) | Txn::Open) => {
                refused("cannot start a transaction within a transaction")
            }
            (Control::Commit, Txn::None) => refused("cannot commit - no transaction is active"),
            (Control::Rollback, Txn::None) => refused("cannot rollback - no transaction is active"),
            // Nothing of it has reached the server.
            (Control::Commit | Control::Rollback, Txn::Pending(_)) => {
                self.end_transaction();
                Ok(None)
            }
            (Control::Commit, Txn::Open) => {
                // Streams of rows end with it.
                self.end_streaming();
                self.run_ending(statement, Risk::Kept).await
            }
            (Control::Rollback, Txn::Open) => {
                self.roll_back().await;
                Ok(None)
            }
            (Control::Release, Txn::Open) => self.run_ending(statement, Risk::Kept).await,
            (Control::Begin | Control::Savepoint, Txn::None) => self.run_beginning(statement).await,
            (Control::Release | Control::RollbackTo, Txn::None) => refused("no such savepoint"),
            (
                Control::Savepoint | Control::Release | Control::RollbackTo,
                Txn::Pending(_) | Txn::Open,
            ) => {
                let stmt = Stmt::plain(statement.sql);
                self.run_in_transaction(&stmt).await.map(Some)
            }
            (Control::None, _) => Ok(None),
        }
    }

    /// Run what begins a transaction.
    async fn run_beginning(&mut self, statement: &Statement<'_>) -> Result<Option<(Ran, Effects)>> {
        let mut pipeline = Pipeline::new(self.shared.index());
        pipeline
            .execute(&Stmt::plain(statement.sql))
            .get_autocommit();
        // Where its answer is cut off, the transaction ends with the stream. It is not sent again:
        // that stream may hold what the next one would wait for.
        let body = self.exchange(pipeline, 2, Risk::Undone).await?;
        let answers = Answers::read(&body, 2).map_err(|wrong| self.lost(wrong))?;
        let autocommit = answers.autocommit(1).map_err(|wrong| self.lost(wrong))?;
        let result = answers.execute(0).map_err(|wrong| self.lost(wrong))?;
        if !autocommit {
            self.txn = Txn::Open;
        }
        match result {
            Ok(_) => Ok(None),
            Err(error) => Err(alone(error, Risk::Nothing)),
        }
    }

    /// Run what may end the transaction, for good.
    async fn run_ending(
        &mut self,
        statement: &Statement<'_>,
        risk: Risk,
    ) -> Result<Option<(Ran, Effects)>> {
        let mut pipeline = Pipeline::new(self.shared.index());
        pipeline
            .batch(|batch| {
                batch.step(
                    Some(Condition::in_transaction()),
                    &Stmt::plain(statement.sql),
                );
            })
            .get_autocommit();
        let writes = self.borrower.access == Access::ReadWrite;
        if writes {
            pipeline.execute(&Stmt::plain(ASK_INDEX));
        }
        let requests = 2 + usize::from(writes);
        let body = self.exchange(pipeline, requests, risk).await?;
        let answers = Answers::read(&body, requests).map_err(|wrong| self.lost(wrong))?;
        let autocommit = answers.autocommit(1).map_err(|wrong| self.lost(wrong))?;
        if writes && let Ok(Ok(result)) = answers.execute(2) {
            self.saw(result);
        }
        let batch = answers.batch(0).map_err(|wrong| self.lost(wrong))?;
        let step = match &batch {
            Ok(batch) => batch.step(0),
            Err(error) => Some(Err(*error)),
        };
        match step {
            Some(Ok(_)) => {
                if autocommit {
                    self.end_transaction();
                }
                Ok(None)
            }
            Some(Err(error)) => Err(self.failed_in_transaction(error, autocommit)),
            None => {
                self.lose_transaction(super::core::Aborted::Server);
                Err(super::core::Aborted::Server.into_error())
            }
        }
    }
}
