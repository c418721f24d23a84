//! Statements that handles keep: their texts, which the server compiles again for every run.

use std::sync::Arc;

use millpond_pool::{Description, Parameters, Result, Summary};

use super::Core;
use super::core::{Risk, Txn};
use super::run::alone;
use crate::hrana::reply::Answers;
use crate::hrana::request::Pipeline;
use crate::sql::{Control, Pragma, Script};

/// A statement that a handle keeps.
#[derive(Debug)]
pub(super) struct Prepared {
    /// No other statement of the session ever has it, unlike its number.
    pub(super) id: u64,
    pub(super) sql: Arc<str>,
    /// What it is, where the server said so for this handle.
    pub(super) described: Option<Described>,
}

/// What a statement is, and the [`definitions`](crate::shared::Shared::definitions) before the
/// server said so.
pub(super) type Described = (u64, Arc<Description>);

impl Core {
    /// Have the server compile a statement. Returns its text, and what it is, if that is known to
    /// be so now.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<(Arc<str>, Option<Described>)> {
        let statement = Script::only(sql)?;
        // What ends a transaction may be prepared, to end the one that is no more.
        let ends = matches!(statement.control, Control::Commit | Control::Rollback);
        if let Some(aborted) = self.aborted
            && !ends
        {
            return Err(aborted.into_error());
        }
        statement.check()?;
        let text = Arc::from(statement.sql);
        if ends {
            return Ok((text, None));
        }
        // It compiled before, against the schema as it was then.
        if self.txn == Txn::None && self.shared.description(statement.sql).is_some() {
            return Ok((text, None));
        }
        let definitions = self.shared.definitions();
        let description = self.describe_on_server(statement.sql).await?;
        // It acts as it is compiled.
        if statement.pragma == Pragma::Stays
            && let Some(stream) = &mut self.stream
        {
            stream.note_soiled();
        }
        Ok((text, Some((definitions, description))))
    }

    /// What a statement is: as the server said once, if it did.
    pub(super) async fn description(&mut self, sql: &str) -> Result<Arc<Description>> {
        match self.shared.description(sql) {
            Some(description) => Ok(description),
            None => self.describe_on_server(sql).await,
        }
    }

    pub(super) async fn describe_on_server(&mut self, sql: &str) -> Result<Arc<Description>> {
        self.check_streaming()?;
        let mut pipeline = Pipeline::new(self.shared.index());
        pipeline.describe(sql);
        // Where it is cut off, a transaction is lost with the stream.
        let risk = match self.txn {
            Txn::Open => Risk::Undone,
            Txn::None | Txn::Pending(_) => Risk::Nothing,
        };
        let body = self.exchange(pipeline, 1, risk).await?;
        let answers = Answers::read(&body, 1).map_err(|wrong| self.malformed(wrong))?;
        match answers.describe(0).map_err(|wrong| self.malformed(wrong))? {
            Ok(description) => {
                let description = Arc::new(description);
                // Within a transaction the schema may be its own.
                if self.txn != Txn::Open {
                    self.shared.remember(sql, &description);
                }
                Ok(description)
            }
            Err(error) => Err(alone(error, Risk::Nothing)),
        }
    }

    pub(super) async fn execute_prepared(
        &mut self,
        id: u64,
        sql: &str,
        parameters: &Parameters,
    ) -> Result<Summary> {
        self.start_run(id);
        self.execute(sql, parameters).await
    }
}
