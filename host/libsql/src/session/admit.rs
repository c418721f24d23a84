//! Decides, before a statement is sent, whether its grant and its transaction allow it.

use millpond_pool::{Access, Error, ErrorKind, Result};

use super::Core;
use super::core::Txn;
use crate::sql::{Control, Effect, Pragma, Statement};

/// SQLite's code for a write on a read-only connection.
const SQLITE_READONLY: i32 = 8;

impl Core {
    /// Check a statement before it is sent. Returns false if there is nothing to send.
    pub(super) async fn admit(&mut self, statement: &Statement<'_>) -> Result<bool> {
        if let Some(aborted) = self.aborted {
            return match statement.control {
                Control::Rollback => {
                    self.aborted = None;
                    Ok(false)
                }
                Control::Commit => {
                    self.aborted = None;
                    Err(aborted.into_error())
                }
                _ => Err(aborted.into_error()),
            };
        }
        if self.shared.settings.trusted {
            return Ok(true);
        }
        statement.check()?;
        let at = |error: Error| Err(error.at(statement.start));
        if statement.defines && !self.borrower.may_define {
            let message = "the grant does not allow changes of the schema";
            return at(Error::new(ErrorKind::NotAuthorized, message));
        }
        if self.borrower.access == Access::ReadOnly {
            let reads = match statement.effect {
                Effect::Reads => true,
                Effect::Writes => false,
                Effect::Unsure => self.description(statement.sql).await?.read_only,
            };
            if !reads {
                let message = "the connection is read-only: take one with read-write access";
                let error = Error::new(ErrorKind::NotAuthorized, message);
                return at(error.with_code(SQLITE_READONLY));
            }
        }
        self.check_streaming()?;
        self.check_functions(statement)?;
        self.check_writing(statement).await?;
        Ok(statement.pragma != Pragma::Holds)
    }

    /// Refuse a write that would wait for its own request.
    async fn check_writing(&mut self, statement: &Statement<'_>) -> Result<()> {
        if statement.effect == Effect::Reads {
            return Ok(());
        }
        if self.check_writer().is_err()
            && statement.effect == Effect::Unsure
            && self.description(statement.sql).await?.read_only
        {
            return Ok(());
        }
        self.check_writer()
            .map_err(|error| error.at(statement.start))?;
        // A `BEGIN IMMEDIATE` too; one that fails leaves no transaction, which `settle` sees.
        if self.txn != Txn::None || statement.control == Control::Begin {
            self.note_writer();
        }
        Ok(())
    }

    /// `last_insert_rowid()`, `changes()` and `total_changes()` describe the stream, on which
    /// earlier borrowers may have written. Replace such a stream, or refuse the functions.
    fn check_functions(&mut self, statement: &Statement<'_>) -> Result<()> {
        let functions = statement.functions;
        let history = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.has_history());
        let tells_of_others = history
            && (functions.total_changes
                || functions.changes && !self.borrower.wrote
                || functions.last_insert_rowid && !self.borrower.inserted);
        if !tells_of_others {
            return Ok(());
        }
        if self.txn == Txn::Open || functions.total_changes && self.borrower.wrote {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a libSQL server has no `changes()`, `total_changes()` or `last_insert_rowid()` of a \
                 borrower alone: call the first of them before writing, or read the call's summary",
            ));
        }
        self.close_stream();
        Ok(())
    }
}
