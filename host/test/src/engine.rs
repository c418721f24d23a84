//! The engine of a test's pool: delegates to SQLite's, records every call, and makes calls fail.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use millpond_pool::clock;
use millpond_pool::engine::{Call, Engine, Limits, Opening, Reset, Rights, Step, Stop, StopFlag};
use millpond_pool::engine::{Session, Terms};
use millpond_pool::{
    Access, Column, Description, Error, Parameters, PoolStats, Result, ResultSet, Rows, Summary,
    TransactionMode,
};

use crate::fault::{Effect, Failure};
use crate::journal::{Action, Entry, Outcome};
use crate::recorder::{Begun, Calls, Recorder};

/// SQLite, with a recorder in front.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) database: Arc<str>,
    pub(crate) calls: Arc<Calls>,
}

impl Engine for Recording {
    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Opening<'_> {
        Box::pin(async move {
            let session: Box<dyn Session> = Box::new(Recorded {
                session: self.engine.open(Arc::clone(&stop), until).await?,
                stop,
                database: Arc::clone(&self.database),
                calls: Arc::clone(&self.calls),
                lent: None,
            });
            Ok(session)
        })
    }

    fn check(&self, access: Access, rights: &Rights, limits: &Limits) -> Result<()> {
        self.engine.check(access, rights, limits)
    }

    fn name(&self) -> &str {
        self.engine.name()
    }

    fn count(&self, stats: &mut PoolStats) {
        self.engine.count(stats);
    }

    fn close(&self) {
        self.engine.close();
    }

    fn finish(&self) {
        self.engine.finish();
    }
}

#[derive(Debug)]
struct Recorded {
    session: Box<dyn Session>,
    stop: Arc<StopFlag>,
    database: Arc<str>,
    calls: Arc<Calls>,
    /// `None` while it is not lent to a guest.
    lent: Option<Lent>,
}

/// One lending to a guest, and what the guest has open.
#[derive(Debug)]
struct Lent {
    recorder: Arc<Recorder>,
    connection: u32,
    /// The call that waits, or runs elsewhere.
    under_way: Option<UnderWay>,
    statements: BTreeMap<usize, String>,
    dropped: BTreeSet<usize>,
    cursors: BTreeMap<(usize, u64), String>,
    transactions: BTreeSet<u64>,
    last_sql: String,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    index: usize,
    /// The result will be replaced by this error.
    loses: Option<Failure>,
    /// The delay of a fault, which the session knows nothing of.
    delays: bool,
}

/// What a call asks for, as it is recorded.
struct Asked<'a> {
    action: Action,
    sql: &'a str,
    parameters: usize,
}

impl Recorded {
    fn entry(&self, lent: &Lent, asked: &Asked<'_>, outcome: Outcome) -> Entry {
        Entry {
            database: self.database.to_string(),
            connection: lent.connection,
            action: asked.action,
            sql: asked.sql.to_owned(),
            parameters: asked.parameters,
            outcome,
            waits: 0,
            fault: false,
        }
    }

    /// Make a call, and record it. `count` counts the rows and the changes of its result.
    fn run<T>(
        &mut self,
        mut call: Call,
        asked: &Asked<'_>,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T>,
        count: impl FnOnce(&T) -> (usize, u64),
    ) -> Step<T> {
        let Some(mut lent) = self.lent.take() else {
            return work(&mut *self.session, call);
        };
        // The pool makes a call again, with an outcome or on another thread, until it is done.
        let is_new = call.outcome.is_none() && !call.aside;
        let step = match lent.under_way.take().filter(|_| !is_new) {
            Some(mut under_way) => {
                if std::mem::take(&mut under_way.delays) {
                    call.outcome = None;
                }
                self.go_on(&mut lent, under_way, call, work, count)
            }
            None => {
                let sql = fault_sql(asked);
                let entry = self.entry(&lent, asked, Outcome::Unfinished);
                let begun = lent.recorder.begin(entry, &sql);
                lent.last_sql = sql;
                match self.fault(&lent, begun, asked) {
                    Ok(under_way) => self.go_on(&mut lent, under_way, call, work, count),
                    Err((stop, under_way)) => {
                        lent.under_way = under_way;
                        Err(stop)
                    }
                }
            }
        };
        self.lent = Some(lent);
        step
    }

    /// Let a fault happen. Returns an error if the statement does not run now.
    #[expect(clippy::type_complexity, reason = "used once, below")]
    fn fault(
        &mut self,
        lent: &Lent,
        begun: Begun,
        asked: &Asked<'_>,
    ) -> std::result::Result<UnderWay, (Stop, Option<UnderWay>)> {
        let mut under_way = UnderWay {
            index: begun.index,
            loses: None,
            delays: false,
        };
        match begun.fault {
            None => Ok(under_way),
            Some(Effect::Delay(delay)) => {
                under_way.delays = true;
                Err((Stop::wait(tokio::time::sleep(delay)), Some(under_way)))
            }
            Some(Effect::ClientLeaves) => {
                lent.recorder.leave.notify_one();
                Err((Stop::wait(pending::<()>()), None))
            }
            Some(Effect::Error(Failure::OutcomeUnknown)) => {
                under_way.loses = Some(Failure::OutcomeUnknown);
                Ok(under_way)
            }
            Some(Effect::Error(Failure::RolledBack)) => {
                match self.session.in_transaction() {
                    true => self.end_transaction(),
                    false => lent.recorder.without_fault(begun.index),
                }
                Ok(under_way)
            }
            Some(Effect::Error(failure)) => {
                let mut error = failure.error();
                if asked.action == Action::Commit {
                    // The contract promises that it has been rolled back.
                    for transaction in &lent.transactions {
                        self.session.drop_transaction(*transaction);
                    }
                    error = error.with_rolled_back();
                } else if failure.ends_transaction()
                    && writes(asked)
                    && self.session.in_transaction()
                {
                    self.end_transaction();
                    error = error.with_rolled_back();
                }
                lent.recorder.end(begun.index, failed(&error));
                Err((Stop::Error(error), None))
            }
        }
    }

    /// Have the session end its transaction, as if that had been open for too long.
    fn end_transaction(&mut self) {
        self.stop.set_transaction_until(clock::now());
        self.session.end_overdue();
    }

    fn go_on<T>(
        &mut self,
        lent: &mut Lent,
        under_way: UnderWay,
        call: Call,
        work: impl FnOnce(&mut dyn Session, Call) -> Step<T>,
        count: impl FnOnce(&T) -> (usize, u64),
    ) -> Step<T> {
        let step = work(&mut *self.session, call);
        let step = match (step, under_way.loses) {
            (Ok(_), Some(failure)) => Err(Stop::Error(failure.error())),
            (step, _) => step,
        };
        match &step {
            Ok(done) => {
                let (rows, changes) = count(done);
                let outcome = Outcome::Done { rows, changes };
                lent.recorder.end(under_way.index, outcome);
            }
            Err(Stop::Error(error)) => lent.recorder.end(under_way.index, failed(error)),
            Err(Stop::Wait(_)) => {
                lent.recorder.waits(under_way.index);
                lent.under_way = Some(under_way);
            }
            Err(Stop::Aside { .. }) => lent.under_way = Some(under_way),
        }
        step
    }

    /// The SQL of a prepared statement.
    fn sql_of(&self, statement: usize) -> String {
        let lent = self.lent.as_ref();
        let sql = lent.and_then(|lent| lent.statements.get(&statement));
        sql.cloned().unwrap_or_default()
    }

    fn on_lent(&mut self, work: impl FnOnce(&mut Lent)) {
        if let Some(lent) = &mut self.lent {
            work(lent);
        }
    }
}

fn failed(error: &Error) -> Outcome {
    Outcome::Failed {
        kind: error.kind(),
        rolled_back: error.rolled_back(),
    }
}

/// What faults are matched with.
fn fault_sql(asked: &Asked<'_>) -> String {
    match asked.action {
        Action::Begin(TransactionMode::Deferred) => "BEGIN".to_owned(),
        Action::Begin(TransactionMode::Immediate) => "BEGIN IMMEDIATE".to_owned(),
        Action::Commit => "COMMIT".to_owned(),
        Action::Rollback => "ROLLBACK".to_owned(),
        _ => asked.sql.to_owned(),
    }
}

/// Whether a statement may write, by its first word.
fn writes(asked: &Asked<'_>) -> bool {
    let first = asked.sql.split_whitespace().next().unwrap_or_default();
    let reads = ["SELECT", "EXPLAIN", "VALUES"];
    asked.action.runs_statement() && !reads.iter().any(|verb| first.eq_ignore_ascii_case(verb))
}

impl Session for Recorded {
    fn suits(&self, access: Access) -> bool {
        self.session.suits(access)
    }

    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        let Some(recorder) = self.calls.get(terms.request) else {
            return self.session.lend(terms);
        };
        let lent = Lent {
            connection: recorder.next_connection(),
            recorder,
            under_way: None,
            statements: BTreeMap::new(),
            dropped: BTreeSet::new(),
            cursors: BTreeMap::new(),
            transactions: BTreeSet::new(),
            last_sql: String::new(),
        };
        let asked = Asked {
            action: Action::Get(terms.access),
            sql: "",
            parameters: 0,
        };
        let entry = self.entry(&lent, &asked, Outcome::Unfinished);
        let begun = lent.recorder.begin(entry, "");
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
        self.lent = result.is_ok().then_some(lent);
        result
    }

    fn reset(&mut self) -> Reset {
        if let Some(lent) = self.lent.take() {
            let by_guest = !lent.recorder.has_ended();
            let asked = Asked {
                action: Action::Return { by_guest },
                sql: "",
                parameters: 0,
            };
            let outcome = Outcome::Done {
                rows: 0,
                changes: 0,
            };
            let entry = self.entry(&lent, &asked, outcome);
            lent.recorder.begin(entry, "");
            let is_open = self.session.in_transaction();
            let database = self.database.to_string();
            let Lent {
                recorder,
                mut statements,
                dropped,
                cursors,
                last_sql,
                ..
            } = lent;
            statements.retain(|number, _| !dropped.contains(number));
            recorder.leave(|left| {
                left.statements.extend(statements.into_values());
                left.cursors.extend(cursors.into_values());
                left.transactions.extend(is_open.then_some(last_sql));
                left.connections.extend((!by_guest).then_some(database));
            });
        }
        self.session.reset()
    }

    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary> {
        let asked = Asked {
            action: Action::Execute,
            sql,
            parameters: parameters.len(),
        };
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
        let asked = Asked {
            action: Action::Query,
            sql,
            parameters: parameters.len(),
        };
        self.run(
            call,
            &asked,
            |session, call| session.query(call, sql, parameters, with_columns),
            |result| (result.rows.len(), 0),
        )
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        let asked = Asked {
            action: Action::Script,
            sql,
            parameters: 0,
        };
        self.run(
            call,
            &asked,
            |session, call| session.execute_script(call, sql, start),
            |()| (0, 0),
        )
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        let asked = Asked {
            action: Action::Prepare,
            sql,
            parameters: 0,
        };
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
        let asked = Asked {
            action: Action::Describe,
            sql: &self.sql_of(statement),
            parameters: 0,
        };
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
        let asked = Asked {
            action: Action::Execute,
            sql: &self.sql_of(statement),
            parameters: parameters.len(),
        };
        self.run(
            call,
            &asked,
            |session, call| session.execute_prepared(call, statement, parameters),
            |summary| (0, summary.changes),
        )
    }

    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary> {
        let asked = Asked {
            action: Action::ExecuteMany { rows: rows.len() },
            sql: &self.sql_of(statement),
            parameters: rows.width(),
        };
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
        let asked = Asked {
            action: Action::Query,
            sql: &sql,
            parameters: parameters.len(),
        };
        let page = self.run(
            call,
            &asked,
            |session, call| {
                session.query_prepared(call, statement, parameters, max_rows, with_columns)
            },
            |(rows, ..)| (rows.len(), 0),
        )?;
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
        let asked = Asked {
            action: Action::Next,
            sql: &self.sql_of(statement),
            parameters: 0,
        };
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
        let asked = Asked {
            action: Action::Begin(mode),
            sql: "",
            parameters: 0,
        };
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
        let asked = Asked {
            action: Action::Commit,
            sql: "",
            parameters: 0,
        };
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
        let asked = Asked {
            action: Action::Rollback,
            sql: "",
            parameters: 0,
        };
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
                let asked = Asked {
                    action: Action::DropTransaction,
                    sql: "",
                    parameters: 0,
                };
                let outcome = Outcome::Done {
                    rows: 0,
                    changes: 0,
                };
                let entry = self.entry(&lent, &asked, outcome);
                lent.recorder.begin(entry, "");
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
