//! A session that records each call and delegates to SQLite's session.

use std::cell::Cell;

use millpond_pool::engine::{Call, Reset, Session, Step, Stop, Terms};
use millpond_pool::{
    Access, Column, Description, Parameters, Result, ResultSet, Rows, Summary, TransactionMode,
};

use crate::engine::{Recorded, failed};
use crate::fault::{Effect, Situation};
use crate::journal::{Action, Outcome};
use crate::lent::{Asked, Lent};

impl Session for Recorded {
    fn suits(&self, access: Access) -> bool {
        self.session.suits(access)
    }

    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        let Some(recorder) = self.calls.get(terms.request) else {
            return self.session.lend(terms);
        };
        let lent = Lent::new(recorder);
        let asked = Asked::new(Action::Get(terms.access), "", 0);
        let entry = self.entry(&lent, &asked, Outcome::Unfinished);
        let begun = lent.recorder.begin(entry, "", &Situation::default());
        let result = match begun.fault {
            Some(Effect::Error(failure)) => Err(failure.error()),
            _ => self.session.lend(terms),
        };
        let outcome = match &result {
            Ok(()) => Outcome::Done {
                rows: 0,
                changes: 0,
            },
            Err(error) => failed(error),
        };
        lent.recorder.end(begun.index, outcome);
        if result.is_ok() {
            lent.recorder.lends(lent.connection, &self.database);
            self.lent = Some(lent);
        }
        result
    }

    fn reset(&mut self) -> Reset {
        self.record_return();
        self.session.reset()
    }

    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary> {
        let asked = Asked::new(Action::Execute, sql, parameters.len());
        self.run(
            call,
            &asked,
            |session, call| session.execute(call, sql, parameters),
            |summary| (0, summary.changes),
        )
    }

    fn query(
        &mut self,
        call: Call,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Step<ResultSet> {
        let asked = Asked::new(Action::Query, sql, parameters.len());
        self.run(
            call,
            &asked,
            |session, call| session.query(call, sql, parameters, with_columns),
            |result| (result.rows.len(), 0),
        )
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        let asked = Asked::new(Action::Script, sql, 0);
        self.run(
            call,
            &asked,
            |session, call| session.execute_script(call, sql, start),
            |()| (0, 0),
        )
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        let asked = Asked::new(Action::Prepare, sql, 0);
        let statement = self.run(
            call,
            &asked,
            |session, call| session.prepare(call, sql),
            |_| (0, 0),
        )?;
        self.on_lent(|lent| {
            lent.dropped.remove(&statement);
            lent.statements.insert(statement, sql.to_owned());
        });
        Ok(statement)
    }

    fn describe(&mut self, call: Call, statement: usize) -> Step<Description> {
        let sql = self.sql_of(statement);
        let asked = Asked::new(Action::Describe, &sql, 0);
        self.run(
            call,
            &asked,
            |session, call| session.describe(call, statement),
            |_| (0, 0),
        )
    }

    fn execute_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
    ) -> Step<Summary> {
        let sql = self.sql_of(statement);
        let asked = Asked::new(Action::Execute, &sql, parameters.len());
        self.run(
            call,
            &asked,
            |session, call| session.execute_prepared(call, statement, parameters),
            |summary| (0, summary.changes),
        )
    }

    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary> {
        let sql = self.sql_of(statement);
        let asked = Asked::new(Action::ExecuteMany { rows: rows.len() }, &sql, rows.width());
        self.run(
            call,
            &asked,
            |session, call| session.execute_many(call, statement, rows),
            |summary| (0, summary.changes),
        )
    }

    fn query_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)> {
        let sql = self.sql_of(statement);
        let asked = Asked::new(Action::Query, &sql, parameters.len());
        let cursor = Cell::new(None);
        let page = self.run(
            call,
            &asked,
            |session, call| {
                let page =
                    session.query_prepared(call, statement, parameters, max_rows, with_columns);
                cursor.set(page.as_ref().ok().and_then(|page| page.2));
                page
            },
            |(rows, ..)| (rows.len(), 0),
        );
        if page.is_err()
            && let Some(cursor) = cursor.get()
        {
            // The result is lost, so the guest cannot drop it.
            self.session.drop_cursor(statement, cursor);
        }
        let page = page?;
        self.on_lent(|lent| {
            // A new run ends the statement's former cursor.
            lent.cursors.retain(|(of, _), _| *of != statement);
            if let Some(cursor) = page.2 {
                lent.cursors.insert((statement, cursor), sql);
            }
        });
        Ok(page)
    }

    fn next(&mut self, call: Call, statement: usize, cursor: u64, max_rows: u32) -> Step<Rows> {
        let sql = self.sql_of(statement);
        let asked = Asked::new(Action::Next, &sql, 0);
        let step = self.run(
            call,
            &asked,
            |session, call| session.next(call, statement, cursor, max_rows),
            |rows| (rows.len(), 0),
        );
        let is_over = match &step {
            Ok(rows) => rows.is_empty(),
            Err(stop) => matches!(stop, Stop::Error(_)),
        };
        if is_over {
            self.on_lent(|lent| _ = lent.cursors.remove(&(statement, cursor)));
        }
        step
    }

    fn begin(&mut self, call: Call, mode: TransactionMode) -> Step<u64> {
        let asked = Asked::new(Action::Begin(mode), "", 0);
        let begun = self.run(
            call,
            &asked,
            |session, call| session.begin(call, mode),
            |_| (0, 0),
        )?;
        self.on_lent(|lent| _ = lent.transactions.insert(begun));
        Ok(begun)
    }

    fn commit(&mut self, call: Call, transaction: u64) -> Step<()> {
        let asked = Asked::new(Action::Commit, "", 0);
        let step = self.run(
            call,
            &asked,
            |session, call| session.commit(call, transaction),
            |()| (0, 0),
        );
        if !self.session.in_transaction() {
            self.on_lent(|lent| _ = lent.transactions.remove(&transaction));
        }
        step
    }

    fn rollback(&mut self, call: Call, transaction: u64) -> Step<()> {
        let asked = Asked::new(Action::Rollback, "", 0);
        let step = self.run(
            call,
            &asked,
            |session, call| session.rollback(call, transaction),
            |()| (0, 0),
        );
        if !self.session.in_transaction() {
            self.on_lent(|lent| _ = lent.transactions.remove(&transaction));
        }
        step
    }

    fn in_transaction(&self) -> bool {
        self.session.in_transaction()
    }

    fn drop_statement(&mut self, statement: usize) {
        self.on_lent(|lent| _ = lent.dropped.insert(statement));
        self.session.drop_statement(statement);
    }

    fn drop_cursor(&mut self, statement: usize, cursor: u64) {
        self.on_lent(|lent| _ = lent.cursors.remove(&(statement, cursor)));
        self.session.drop_cursor(statement, cursor);
    }

    fn drop_transaction(&mut self, transaction: u64) {
        if let Some(mut lent) = self.lent.take() {
            if lent.transactions.remove(&transaction) && self.session.in_transaction() {
                let asked = Asked::new(Action::DropTransaction, "", 0);
                let outcome = Outcome::Done {
                    rows: 0,
                    changes: 0,
                };
                let entry = self.entry(&lent, &asked, outcome);
                lent.recorder.begin(entry, "", &Situation::default());
            }
            self.lent = Some(lent);
        }
        self.session.drop_transaction(transaction);
    }

    fn end_overdue(&mut self) {
        self.session.end_overdue();
    }

    fn finish(&mut self, until: u64) {
        self.session.finish(until);
    }
}
