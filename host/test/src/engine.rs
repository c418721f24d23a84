//! The engine of a test's pool: delegates to SQLite's, records every call, and makes calls fail.

use std::future::pending;
use std::sync::Arc;

use millpond_pool::clock;
use millpond_pool::engine::{Call, Engine, Limits, Opening, Rights, Session, Step, Stop, StopFlag};
use millpond_pool::{Access, Error, Parameters, PoolStats, Result};

use crate::fault::{Effect, Failure, Situation};
use crate::journal::{Action, Entry, Outcome};
use crate::lent::{Asked, Lent, UnderWay};
use crate::recorder::Calls;
use crate::sql::Verb;

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

/// What happens to a call after its faults were checked.
enum Fate {
    Runs(UnderWay),
    /// It does not run now. If it is still under way, the pool makes it again.
    Stops(Stop, Option<UnderWay>),
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
        let in_transaction = self.session.in_transaction();
        let fate = match lent.under_way.take().filter(|_| !is_new) {
            Some(mut under_way) => match under_way.delays.take() {
                Some(fault) => {
                    call.outcome = None;
                    self.strike(&mut lent, (under_way, fault), asked, &call)
                }
                None => Fate::Runs(under_way),
            },
            None => self.begin(&mut lent, asked, &call),
        };
        let step = match fate {
            Fate::Runs(under_way) => self.go_on(&mut lent, under_way, call, work, count),
            Fate::Stops(stop, under_way) => {
                lent.under_way = under_way;
                Err(stop)
            }
        };
        if step.is_ok() && self.session.in_transaction() {
            lent.note(asked, !in_transaction);
        }
        self.lent = Some(lent);
        step
    }

    /// Record a call that is new, and let the faults happen that are due.
    fn begin(&mut self, lent: &mut Lent, asked: &Asked<'_>, call: &Call) -> Fate {
        let entry = self.entry(lent, asked, Outcome::Unfinished);
        let at = lent.situation(asked, self.session.in_transaction());
        let sql = asked.fault_sql();
        let begun = lent.recorder.begin(entry, &sql, &at);
        lent.last_sql = sql;
        let under_way = UnderWay {
            index: begun.index,
            loses: None,
            delays: (!begun.delay.is_zero()).then_some(begun.fault),
        };
        match under_way.delays {
            Some(_) => {
                let wait = Stop::wait(tokio::time::sleep(begun.delay));
                Fate::Stops(wait, Some(under_way))
            }
            None => self.strike(lent, (under_way, begun.fault), asked, call),
        }
    }

    /// Let a fault happen, after its delay.
    fn strike(
        &mut self,
        lent: &mut Lent,
        (mut under_way, fault): (UnderWay, Option<Effect>),
        asked: &Asked<'_>,
        call: &Call,
    ) -> Fate {
        match fault {
            None | Some(Effect::Delay(_)) => Fate::Runs(under_way),
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
                lent.snapshot.is_outdated |= failure == Failure::BusySnapshot;
                let error = self.fail(lent, failure, asked, call);
                lent.recorder.end(under_way.index, failed(&error));
                Fate::Stops(Stop::Error(error), None)
            }
        }
    }

    /// The error of a call that fails, after what the failure does to the open transaction.
    fn fail(&mut self, lent: &Lent, failure: Failure, asked: &Asked<'_>, call: &Call) -> Error {
        let error = failure.error();
        if asked.action == Action::Commit {
            // The contract promises that it has been rolled back.
            for transaction in &lent.transactions {
                self.session.drop_transaction(*transaction);
            }
        } else if !failure.ends_transaction() || !self.session.in_transaction() {
            return error;
        } else if asked.commits() {
            // Its owner knows now that the transaction has ended, and can begin another.
            let again = Call {
                now: call.now,
                hold_until: call.hold_until,
                aside: call.aside,
                at_once: call.at_once,
                left: None,
                outcome: None,
            };
            let rolled_back = self.session.execute(again, "ROLLBACK", &Parameters::NONE);
            if rolled_back.is_err() {
                self.end_transaction();
            }
        } else if asked.has(Verb::Write) {
            self.end_transaction();
        } else {
            return error;
        }
        error.with_rolled_back()
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

    /// Record that the connection is back, and what the guest has left open.
    pub(crate) fn record_return(&mut self) {
        let Some(lent) = self.lent.take() else {
            return;
        };
        let by_guest = !lent.recorder.has_ended();
        let asked = Asked::new(Action::Return { by_guest }, "", 0);
        let outcome = Outcome::Done {
            rows: 0,
            changes: 0,
        };
        let entry = self.entry(&lent, &asked, outcome);
        lent.recorder.begin(entry, "", &Situation::default());
        let is_open = self.session.in_transaction();
        let database = self.database.to_string();
        let Lent {
            recorder,
            connection,
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
        recorder.returns(connection);
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

impl Drop for Recorded {
    /// The pool drops a session that it does not reset, such as one that it had to abandon.
    fn drop(&mut self) {
        self.record_return();
    }
}

pub(crate) fn failed(error: &Error) -> Outcome {
    Outcome::Failed {
        kind: error.kind(),
        rolled_back: error.rolled_back(),
    }
}
