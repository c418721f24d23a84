//! The rows of a run, one by one: what `StatementSync.iterate` returns.

use std::sync::{Arc, Weak};

use super::failure::{Failure, Result};
use super::opened::Opened;
use super::options::Options;
use super::values::Answer;
use super::wit;

/// An iterator that the guest has.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct Iterator {
    opened: Weak<Opened>,
    key: u64,
    options: Options,
    ended: bool,
}

impl Iterator {
    pub(super) fn new(opened: &Arc<Opened>, key: u64, options: Options) -> Iterator {
        Iterator {
            opened: Arc::downgrade(opened),
            key,
            options,
            ended: false,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<wit::Row>> {
        if self.ended {
            return Ok(None);
        }
        let opened = self.opened.upgrade().ok_or_else(Failure::finalized)?;
        let iteration = opened.take_iteration(self.key);
        let mut iteration = iteration.ok_or_else(|| Failure::state("iterator was invalidated"))?;
        let row = match (iteration.take_first(), &iteration.rest) {
            (Some(row), _) => Some(row),
            (None, None) => None,
            (None, Some(rest)) => {
                let rows = rest.next(1).await?;
                let row = rows.iter().next();
                let mut answer = Answer::new(self.options);
                row.map(|row| answer.row(row, &iteration.columns))
                    .transpose()?
            }
        };
        match row {
            Some(_) => opened.put_iteration(self.key, iteration)?,
            None => self.ended = true,
        }
        Ok(row)
    }

    pub(super) fn close(&mut self) {
        self.ended = true;
        if let Some(opened) = self.opened.upgrade() {
            opened.take_iteration(self.key);
        }
    }
}

impl Drop for Iterator {
    fn drop(&mut self) {
        self.close();
    }
}
