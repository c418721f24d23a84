//! The rows of a run, one by one: what `StatementSync.iterate` returns.

use std::sync::{Arc, Weak};

use millpond_pool::Rows;

use super::failure::{Failure, Result};
use super::opened::{OpenRun, Opened, Progress};
use super::options::Options;
use super::values::{Answer, names};
use super::wit;

/// An iterator that the guest has.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Cursor {
    opened: Weak<Opened>,
    /// The key of its [`OpenRun`].
    key: u64,
    options: Options,
    ended: bool,
}

impl Cursor {
    pub(super) fn new(opened: &Arc<Opened>, key: u64, options: Options) -> Cursor {
        Cursor {
            opened: Arc::downgrade(opened),
            key,
            options,
            ended: false,
        }
    }

    /// The next row. The first call runs the statement.
    pub(super) async fn next(&mut self) -> Result<Option<wit::Row>> {
        if self.ended {
            return Ok(None);
        }
        let opened = self.opened.upgrade().ok_or_else(Failure::finalized)?;
        let run = opened.take_run(self.key);
        let run = run.ok_or_else(|| Failure::state("iterator was invalidated"))?;
        let (rows, columns, rest) = match run.progress {
            Progress::Bound(prepared, parameters) => {
                let compiled = opened.connection.prepare(&prepared.sql).await?;
                let page = compiled.query(&parameters, 1, true).await?;
                let columns = names(page.columns.unwrap_or_default(), self.options);
                (page.rows, columns, page.rest)
            }
            Progress::Reading { columns, rest } => {
                let rows = match &rest {
                    Some(rest) => rest.next(1).await?,
                    None => Rows::new(),
                };
                (rows, columns, rest)
            }
        };
        let Some(row) = rows.iter().next() else {
            self.ended = true;
            return Ok(None);
        };
        let row = Answer::new(self.options).row(row, &columns).await?;
        let progress = Progress::Reading { columns, rest };
        opened.put_run(self.key, OpenRun { progress, ..run })?;
        Ok(Some(row))
    }

    pub(super) fn close(&mut self) {
        self.ended = true;
        if let Some(opened) = self.opened.upgrade() {
            opened.take_run(self.key);
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.close();
    }
}
