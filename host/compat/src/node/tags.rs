//! Statements by their template: `SQLTagStore`.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::failure::{Failure, Result};
use super::opened::Opened;
use super::options::Options;
use super::statement::Statement;

/// The most statements that a store keeps.
const MAX_CAPACITY: u32 = 1_000;

/// The last statements that a guest has run by their templates.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it")]
pub struct TagStore {
    opened: Weak<Opened>,
    options: Options,
    capacity: usize,
    /// The last that was used is at the end.
    statements: VecDeque<Statement>,
}

impl TagStore {
    pub(super) fn new(opened: &Arc<Opened>, options: Options, capacity: f64) -> Result<TagStore> {
        let most = f64::from(MAX_CAPACITY);
        if capacity.fract() != 0.0 || !(1.0..=most).contains(&capacity) {
            return Err(Failure::out_of_range(format!(
                "a tag store keeps 1 to {MAX_CAPACITY} statements"
            )));
        }
        Ok(TagStore {
            opened: Arc::downgrade(opened),
            options,
            capacity: capacity as usize,
            statements: VecDeque::new(),
        })
    }

    fn opened(&self) -> Result<Arc<Opened>> {
        self.opened.upgrade().ok_or_else(Failure::not_open)
    }

    /// The statement of a template, whose values stand between its parts.
    pub(super) async fn statement(&mut self, parts: &[String]) -> Result<&Statement> {
        let opened = self.opened()?;
        let sql = parts.join("?");
        let place = self
            .statements
            .iter()
            .position(|statement| statement.prepared().is_ok_and(|kept| kept.sql == sql));
        let statement = match place.and_then(|place| self.statements.remove(place)) {
            Some(statement) => statement,
            None => {
                // First, to make room for the new one.
                if self.statements.len() == self.capacity {
                    self.statements.pop_front();
                }
                Statement::prepare(&opened, sql, self.options).await?
            }
        };
        self.statements.push_back(statement);
        self.statements.back().ok_or_else(Failure::finalized)
    }

    pub(super) fn size(&self) -> f64 {
        self.statements.len() as f64
    }

    pub(super) fn capacity(&self) -> f64 {
        self.capacity as f64
    }

    pub(super) fn clear(&mut self) {
        self.statements.clear();
    }
}
