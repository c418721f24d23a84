//! Group commit: the holder of the turn runs single statements of guests that wait for the turn at
//! the same time in one transaction, and they are acknowledged when it is committed. They share the
//! largest costs: the disk, and handing over the turn.
//!
//! Each runs under its own rights, limits and last inserted rowid, in its own savepoint. A
//! statement that fails, or might behave differently than alone, is undone, and its owner runs it
//! again when its turn comes, which is next: no owner sees an error that another's statement
//! caused. The same happens to all of them if the whole transaction ends before its commit, because
//! of a full disk or an interrupted statement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_pool::engine::Rights;
use millpond_pool::{Parameters, Rows, clock};

use super::run::columns_of;
use super::{Db, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw;
use crate::ffi::statement::StatementId;
use crate::policy::Control;
use crate::session::cache::{Compiled, MAX_KEPT_SQL_BYTES};
use crate::text::begins_with;
use crate::writers::job::{Answer, Job, Wants};
use crate::writers::queue::{Taken, Turn};

/// The first keywords of statements that change rows and nothing else.
const VERBS: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];
/// The maximum number of others' statements that are committed with one's own.
const MAX_JOBS: usize = 64;
/// How long to take others' statements: one's own is only acknowledged afterwards.
const TAKING_TIME: Duration = Duration::from_millis(3);
/// How long to lead further groups of others' statements after one's own is committed.
const STAYING_TIME: Duration = Duration::from_micros(200);
/// How long each may take, by the coarse clock. A longer one ends the group.
const JOB_TIME: Duration = Duration::from_millis(10);
/// The minimum time that the leader of a group must have left for its own statement.
const LEADING_TIME: Duration = Duration::from_millis(100);
/// The maximum size of the parameters of a statement that others may run, in bytes: they are
/// copied.
const MAX_PARAMETER_BYTES: usize = 64 * 1024;

impl Db {
    /// The statement as a job for another connection, if it would behave the same there.
    pub(crate) fn job(&self, sql: &str, parameters: &Parameters, wants: Wants) -> Option<Job> {
        let plain = (1..=MAX_KEPT_SQL_BYTES).contains(&sql.len())
            && begins_with(sql, VERBS)
            && parameters.as_bytes().len() <= MAX_PARAMETER_BYTES;
        if !plain || !self.is_plain() {
            return None;
        }
        let (until, steps) = self.watch.bounds();
        Some(Job {
            sql: sql.into(),
            parameters: parameters.clone(),
            wants,
            rights: Arc::clone(self.cache.rights()),
            time: Duration::from_nanos(until.saturating_sub(clock::now())),
            steps,
            told: self.told(),
            answer: None,
        })
    }

    /// Like [`job`](Db::job), for a statement that a handle keeps open.
    pub(crate) fn job_open(
        &self,
        key: usize,
        parameters: &Parameters,
        wants: Wants,
    ) -> Option<Job> {
        let open = self.statements.get(key)?;
        self.job(open.compiled.sql(), parameters, wants)
    }

    /// Whether a statement behaves the same on any connection: no transaction or cursor is open, no
    /// temporary object hides the database's own tables, and no setting is active that a commit
    /// resets.
    fn is_plain(&self) -> bool {
        self.aborted.is_none()
            && self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) == raw::TransactionState::None
            && !self.authorizer.temporary()
            && !self.authorizer.is_set_for_transaction()
    }

    /// Run a statement together with those of waiting connections, if any, and commit them. Returns
    /// `None` if the statement must still be run, alone.
    pub(super) fn run_in_group(
        &mut self,
        compiled: &mut Compiled,
        wants: Wants,
    ) -> Result<Option<Answer>> {
        match self.leads(compiled) {
            true => self.lead(compiled, wants),
            false => {
                if let Some(turn) = &self.turn {
                    turn.expect_jobs(0, Duration::ZERO);
                }
                Ok(None)
            }
        }
    }

    fn leads(&self, compiled: &Compiled) -> bool {
        let Some(turn) = &self.turn else { return false };
        let (until, _) = self.watch.bounds();
        compiled.control == Control::None
            && !compiled.read_only
            // Others must not wait for a call that may be abandoned.
            && !self.is_aside()
            && (turn.has_job() || turn.expected_jobs() > 0)
            && self.is_plain()
            && until > clock::after(LEADING_TIME)
            && begins_with(compiled.sql(), VERBS)
    }

    fn lead(&mut self, compiled: &mut Compiled, wants: Wants) -> Result<Option<Answer>> {
        let since = Instant::now();
        let Some((answer, did)) = self.commit_group(1, |db| db.answer(compiled, wants))? else {
            return Ok(None);
        };
        let mut most = did;
        // The others return sooner than the next of them could wake up and lead.
        while since.elapsed() < STAYING_TIME && self.turn.as_ref().is_some_and(Turn::has_job) {
            match self.commit_group(0, |_| Ok(())) {
                Ok(Some(((), did))) => most = most.max(did),
                _ => break,
            }
        }
        if let Some(turn) = &self.turn {
            turn.expect_jobs(most, self.commit_time);
        }
        Ok(Some(answer))
    }

    /// Run `own` (`statements` statements) and the jobs of others in one transaction. Returns the
    /// number of jobs, or `None` if none of it is kept.
    fn commit_group<T>(
        &mut self,
        statements: usize,
        own: impl FnOnce(&mut Db) -> Result<T>,
    ) -> Result<Option<(T, usize)>> {
        self.grouped = true;
        let result = self.commit_grouped(statements, own);
        self.grouped = false;
        result
    }

    fn commit_grouped<T>(
        &mut self,
        statements: usize,
        own: impl FnOnce(&mut Db) -> Result<T>,
    ) -> Result<Option<(T, usize)>> {
        // If another process has the database locked, the statement will wait again when it runs
        // alone.
        self.control("BEGIN IMMEDIATE")?;
        let before = self.told();
        let mut taken = Vec::new();
        if let Ok(done) = own(self) {
            self.run_jobs(&mut taken);
            // Unless an interrupted job, or the disk, has ended it.
            let told = self.told();
            if !self.conn.is_autocommit() && !self.unhealthy && self.commit_timed().is_ok() {
                // Full-text search writes, and counts, during the commit.
                self.set_told(told);
                let jobs = taken.len();
                if let Some(turn) = &self.turn {
                    turn.answer(taken, statements);
                }
                if jobs + statements > 1
                    && let Some(notes) = self.watch.stop_flag().notes()
                {
                    notes.committed_group((jobs + statements) as u32, self.commit_time);
                }
                return Ok(Some((done, jobs)));
            }
        }
        if !self.conn.is_autocommit() {
            let undone = self.undo(|db| db.control("ROLLBACK"));
            self.must_have_undone(undone);
        }
        self.set_told(before);
        // A statement that runs again counts from zero again.
        self.watch.start_writing(raw::pages_written(&self.conn));
        self.watch.forget_indexed();
        self.watch.take_deferred();
        // In reverse, so that the first that was taken is the first in the queue again.
        while taken.pop().is_some() {}
        match self.aborted {
            Some(aborted) => Err(aborted.into_error()),
            None => Ok(None),
        }
    }

    fn commit_timed(&mut self) -> Result<()> {
        let since = Instant::now();
        let result = self.control("COMMIT");
        self.commit_time = since.elapsed();
        result
    }

    /// Run the waiting jobs, one after the other. A job that does not succeed returns to its owner
    /// at once.
    fn run_jobs(&mut self, taken: &mut Vec<Taken<Job>>) {
        let since = Instant::now();
        let bounds = self.watch.bounds();
        let own = (Arc::clone(self.cache.rights()), self.told());
        let expected = self.turn.as_ref().map_or(0, Turn::expected_jobs);
        let patience = TAKING_TIME.min(self.commit_time / 4);
        let mut waited = false;
        while taken.len() < MAX_JOBS && since.elapsed() < TAKING_TIME {
            let Some(mut next) = self.turn.as_ref().and_then(Turn::take_job) else {
                if taken.len() >= expected || (waited && since.elapsed() >= patience) {
                    break;
                }
                // Let threads that are about to queue run first: at least once, or those that share
                // this processor would be left behind.
                std::thread::yield_now();
                waited = true;
                continue;
            };
            // Dropping a failed job puts its owner at the front of the queue: no one overtakes it.
            match next.job_mut().map(|job| self.run_job(job, &own.0)) {
                Some(Ok(())) => taken.push(next),
                _ => break,
            }
        }
        self.set_bounds(bounds);
        self.unhealthy |= self.use_rights(&own.0).is_err();
        self.set_told(own.1);
    }

    /// `own` are the leader's rights.
    fn run_job(&mut self, job: &mut Job, own: &Arc<Rights>) -> Result<()> {
        // A module keeps statements that read with the rights of one, and would run them for the
        // other. What it writes at the commit, to its shadow tables, has the leader's rights: if
        // they do not suffice, each statement of the group runs alone.
        let has_others = job.rights != *own;
        if has_others && self.authorizer.has_inner_statements() {
            return Err(by_itself());
        }
        if let Err(error) = self.use_rights(&job.rights) {
            self.unhealthy = true;
            return Err(error);
        }
        self.set_told(job.told);
        self.set_bounds((clock::after(job.time.min(JOB_TIME)), job.steps));
        self.watch.start_writing(raw::pages_written(&self.conn));
        self.control("SAVEPOINT millpond")?;
        let mut result = self.run_job_within(job);
        if has_others && self.authorizer.has_inner_statements() {
            result = result.and(Err(by_itself()));
        }
        // If this fails, nothing of it may be committed: its owner runs it again.
        let result = result.and_then(|()| self.control("RELEASE millpond"));
        if result.is_err() && !self.conn.is_autocommit() {
            let undone = self.undo(Db::roll_back_savepoint);
            self.unhealthy |= undone.is_err();
        }
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
            // The failed job must not defer the leader's own statement.
            self.watch.take_deferred();
        }
        result
    }

    fn run_job_within(&mut self, job: &mut Job) -> Result<()> {
        // What is compiled now is not the leader's statement.
        let before = self.running.begin(StatementId::NONE, false);
        let compiled = self.compile(&job.sql);
        self.running.end(before);
        let mut compiled = compiled.map_err(|_| by_itself())?;
        let result = match compiled.control {
            Control::None if !compiled.read_only && !compiled.is_for_aside() => {
                let steps = compiled.get_ready(false);
                // In a savepoint: nothing of it is kept if it fails.
                self.watch.start_statement(true, steps);
                let before = self
                    .running
                    .begin(compiled.raw.id(), compiled.kind().compiles_aside());
                self.authorizer.begin_run(compiled.kind().analyzes);
                let result = self
                    .bind(&mut compiled, &job.parameters)
                    .map_err(Stop::into_error)
                    .and_then(|()| self.answer(&mut compiled, job.wants));
                self.authorizer.end_run();
                self.running.end(before);
                result
            }
            _ => Err(by_itself()),
        };
        self.cache.put(compiled);
        job.answer = Some(result?);
        job.told = self.told();
        Ok(())
    }

    /// Run a statement in the group's transaction, and leave nothing of it open.
    fn answer(&mut self, compiled: &mut Compiled, wants: Wants) -> Result<Answer> {
        let answer = match wants {
            Wants::Summary => self.run_to_end(compiled).map(Answer::Summary),
            Wants::ResultSet { with_columns } => self
                .read_result_set(compiled, with_columns)
                .map(Answer::ResultSet),
            Wants::Page {
                max_rows,
                with_columns,
            } => {
                let mut rows = Rows::with_capacity(0);
                match self.read_rows(compiled, &mut false, max_rows, &mut rows) {
                    Ok(false) => Ok(Answer::Page(
                        rows,
                        with_columns.then(|| columns_of(&compiled.raw)),
                    )),
                    // Its cursor must belong to its owner.
                    Ok(true) => Err(by_itself()),
                    Err(error) => Err(error),
                }
            }
        };
        compiled.raw.reset();
        let answer = answer?;
        // A constraint that is only checked at the commit would fail all statements of the group.
        match raw::constraints_hold(&self.conn) {
            true => Ok(answer),
            false => Err(by_itself()),
        }
    }
}

/// Only used within a group: the statement's owner never sees it.
fn by_itself() -> Error {
    Error::new(ErrorKind::Other, "the statement must run alone")
}
