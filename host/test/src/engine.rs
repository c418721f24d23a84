//! The engine of a test's pool: delegates to SQLite's, records every call, and makes calls fail.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use millpond_pool::clock;
use millpond_pool::engine::{Call, Engine, Limits, Opening, Rights, Session, Step, Stop, StopFlag};
use millpond_pool::{Access, Error, PoolStats, Result, TransactionMode};

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
pub(crate) struct Recorded {
    pub(crate) session: Box<dyn Session>,
    stop: Arc<StopFlag>,
    pub(crate) database: Arc<str>,
    pub(crate) calls: Arc<Calls>,
    /// `None` while it is not lent to a guest.
    pub(crate) lent: Option<Lent>,
}

/// One lending to a guest, and what the guest has open.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) connection: u32,
    /// The call that waits, or runs elsewhere.
    pub(crate) under_way: Option<UnderWay>,
    pub(crate) statements: BTreeMap<usize, String>,
    pub(crate) dropped: BTreeSet<usize>,
    pub(crate) cursors: BTreeMap<(usize, u64), String>,
    pub(crate) transactions: BTreeSet<u64>,
    pub(crate) last_sql: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    index: usize,
    /// The result will be replaced by this error.
    loses: Option<Failure>,
    /// The delay of a fault, which the session knows nothing of.
    delays: bool,
}

/// What happens to a call after its faults were checked.
enum Fate {
    Runs(UnderWay),
    /// It does not run now. If it is still under way, the pool makes it again.
    Stops(Stop, Option<UnderWay>),
}

/// What a call asks for, as it is recorded.
pub(crate) struct Asked<'a> {
    action: Action,
    sql: &'a str,
    parameters: usize,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(action: Action, sql: &'a str, parameters: usize) -> Asked<'a> {
        Asked {
            action,
            sql,
            parameters,
        }
    }
}

impl Recorded {
    pub(crate) fn entry(&self, lent: &Lent, asked: &Asked<'_>, outcome: Outcome) -> Entry {
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
    pub(crate) fn run<T>(
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
                let in_transaction = self.session.in_transaction();
                let begun = lent.recorder.begin(entry, &sql, in_transaction);
                lent.last_sql = sql;
                match self.fault(&lent, begun, asked) {
                    Fate::Runs(under_way) => self.go_on(&mut lent, under_way, call, work, count),
                    Fate::Stops(stop, under_way) => {
                        lent.under_way = under_way;
                        Err(stop)
                    }
                }
            }
        };
        self.lent = Some(lent);
        step
    }

    /// Let a fault happen.
    fn fault(&mut self, lent: &Lent, begun: Begun, asked: &Asked<'_>) -> Fate {
        let mut under_way = UnderWay {
            index: begun.index,
            loses: None,
            delays: false,
        };
        match begun.fault {
            None => Fate::Runs(under_way),
            Some(Effect::Delay(delay)) => {
                under_way.delays = true;
                Fate::Stops(Stop::wait(tokio::time::sleep(delay)), Some(under_way))
            }
            Some(Effect::ClientLeaves) => {
                lent.recorder.leave.notify_one();
                Fate::Stops(Stop::wait(pending::<()>()), None)
            }
            Some(Effect::Error(Failure::OutcomeUnknown)) => {
                under_way.loses = Some(Failure::OutcomeUnknown);
                Fate::Runs(under_way)
            }
            Some(Effect::Error(Failure::RolledBack)) => {
                self.end_transaction();
                Fate::Runs(under_way)
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
                Fate::Stops(Stop::Error(error), None)
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
    pub(crate) fn sql_of(&self, statement: usize) -> String {
        let lent = self.lent.as_ref();
        let sql = lent.and_then(|lent| lent.statements.get(&statement));
        sql.cloned().unwrap_or_default()
    }

    pub(crate) fn on_lent(&mut self, work: impl FnOnce(&mut Lent)) {
        if let Some(lent) = &mut self.lent {
            work(lent);
        }
    }
}

pub(crate) fn failed(error: &Error) -> Outcome {
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
