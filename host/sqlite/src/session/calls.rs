//! The session's implementation of the pool's calls.

use std::time::Instant;

use millpond_pool::engine::{self, Call, Reset, Session, Step, Terms};
use millpond_pool::{
    Access, Column, Description, Parameters, ResultSet, Rows, Summary, TransactionMode,
};

use super::{Attempt, Db, Stop};
use crate::error::{Error, ErrorKind};
use crate::ffi::raw::{self, TransactionState};
use crate::writers::job::{Answer, Job, Wants};

impl Db {
    /// Run `work` within a call's time.
    fn call<T>(&mut self, call: &Call, work: impl FnOnce(&mut Db) -> Attempt<T>) -> Attempt<T> {
        let _scope = self.enter();
        self.aside_since = call.aside.then(Instant::now);
        self.at_once = call.at_once;
        self.start_call(call.now, call.hold_until, call.left);
        let attempt = match self.at_once && self.turn.is_none() {
            // It has waited, but not for the turn, or lost that: it has to wait for room.
            true => Err(Stop::Aside),
            false => work(self),
        };
        match attempt {
            // The call continues on the connection's own thread, and keeps the turn. It may have
            // ended a cursor that writes, which has committed: others must know.
            Err(Stop::Aside) => {
                let state = raw::transaction_state(&self.conn);
                if state == TransactionState::None {
                    self.watch.end_reading();
                }
                self.record_transaction(state);
            }
            // A turn that turned out not to be needed must not stay here.
            _ if self.turn.is_some() => self.settle(),
            _ => {}
        }
        self.end_call();
        attempt
    }

    fn attempt<T>(&mut self, call: Call, work: impl FnOnce(&mut Db) -> Attempt<T>) -> Step<T> {
        self.attempt_or(call, work, |_| None, |_| None)
    }

    /// Like [`attempt`](Db::attempt), for work that the holder of the turn may do for this
    /// connection (`job`, whose answer `from_answer` converts).
    fn attempt_or<T>(
        &mut self,
        mut call: Call,
        work: impl FnOnce(&mut Db) -> Attempt<T>,
        job: impl FnOnce(&Db) -> Option<Job>,
        from_answer: impl FnOnce(Answer) -> Option<T>,
    ) -> Step<T> {
        if let Some(outcome) = call.outcome.take()
            && let Some(answer) = self.end_wait(outcome)?
        {
            let other = || Error::new(ErrorKind::Other, "another statement was answered");
            return from_answer(answer).ok_or_else(|| engine::Stop::Error(other().into()));
        }
        self.call(&call, work).map_err(|stop| {
            let stop = match stop {
                // What may not stop in time must not run in another writer's group.
                Stop::Turn if call.aside => self.wait_turn(None, call.hold_until),
                Stop::Turn => self.wait_turn(job(self), call.hold_until),
                Stop::Gate => self.wait_gate(),
                Stop::Aside => engine::Stop::Aside {
                    // Others may wait for the turn that this connection has.
                    at_once: self.turn.is_some(),
                    left: None,
                },
                Stop::Error(error) => return engine::Stop::Error(error.into()),
            };
            stop.with_left(self.left())
        })
    }
}

impl Session for Db {
    fn suits(&self, access: Access) -> bool {
        self.suits(access)
    }

    fn lend(&mut self, terms: &Terms<'_>) -> millpond_pool::Result<()> {
        Ok(self.lend(terms)?)
    }

    fn reset(&mut self) -> Reset {
        self.reset()
    }

    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary> {
        self.attempt_or(
            call,
            |db| db.execute(sql, parameters),
            |db| db.job(sql, parameters, Wants::Summary),
            Answer::into_summary,
        )
    }

    fn query(
        &mut self,
        call: Call,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Step<ResultSet> {
        self.attempt_or(
            call,
            |db| db.query(sql, parameters, with_columns),
            |db| db.job(sql, parameters, Wants::ResultSet { with_columns }),
            Answer::into_result_set,
        )
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        self.attempt(call, |db| db.execute_script(sql, start))
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        self.attempt(call, |db| db.prepare(sql))
    }

    fn describe(&mut self, call: Call, statement: usize) -> Step<Description> {
        self.attempt(call, |db| db.describe(statement))
    }

    fn execute_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
    ) -> Step<Summary> {
        self.attempt_or(
            call,
            |db| db.execute_open(statement, parameters),
            |db| db.job_open(statement, parameters, Wants::Summary),
            Answer::into_summary,
        )
    }

    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary> {
        self.attempt(call, |db| db.execute_many(statement, rows))
    }

    fn query_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)> {
        let wants = Wants::Page {
            max_rows,
            with_columns,
        };
        self.attempt_or(
            call,
            |db| db.query_open(statement, parameters, (max_rows, with_columns)),
            |db| db.job_open(statement, parameters, wants),
            |answer| {
                let page = answer.into_page();
                page.map(|(rows, columns)| (rows, columns, None))
            },
        )
    }

    fn next(&mut self, call: Call, statement: usize, cursor: u64, max_rows: u32) -> Step<Rows> {
        self.attempt(call, |db| db.next_page(statement, cursor, max_rows))
    }

    fn begin(&mut self, call: Call, mode: TransactionMode) -> Step<u64> {
        self.attempt(call, |db| db.begin(mode))
    }

    fn commit(&mut self, call: Call, transaction: u64) -> Step<()> {
        self.attempt(call, |db| db.commit(transaction))
    }

    // Not within a call's time, which may be over.
    fn rollback(&mut self, _: Call, transaction: u64) -> Step<()> {
        let _scope = self.enter();
        self.rollback(transaction)
            .map_err(|error| engine::Stop::Error(error.into()))
    }

    fn in_transaction(&self) -> bool {
        self.in_transaction()
    }

    fn drop_statement(&mut self, statement: usize) {
        let _scope = self.enter();
        self.drop_statement(statement);
    }

    fn drop_cursor(&mut self, statement: usize, cursor: u64) {
        let _scope = self.enter();
        self.drop_cursor(statement, cursor);
    }

    fn drop_transaction(&mut self, transaction: u64) {
        let _scope = self.enter();
        // After a commit or rollback the session finds that it has ended, and does nothing.
        let _ = self.rollback(transaction);
    }

    fn end_overdue(&mut self) {
        let _scope = self.enter();
        self.end_overdue();
    }

    fn finish(&mut self, until: u64) {
        // A failure leaves the log to the next process that opens the database: nothing is lost.
        let _ = self.checkpoint(until);
    }
}
