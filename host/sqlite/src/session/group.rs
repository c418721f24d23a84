//! Group commit: single statements of guests that wait for their turn at the same time are run in
//! one transaction, by the one whose turn it is, and are acknowledged when that is committed. What
//! costs most, the disk and handing over the turn, is shared by all of them.
//!
//! Each runs under its own rights, limits and last inserted rowid, and in a savepoint of its own.
//! One that fails, or could do otherwise than by itself, is undone, and its owner runs it again
//! when its turn comes, which is next: nobody is told of an error that another one caused. So it is
//! for all of them where the whole transaction ends before its commit, by a full disk or a
//! statement that was interrupted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_pool::engine::Rights;
use millpond_pool::{Parameters, Rows, clock};

use super::Db;
use super::run::columns_of;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::raw;
use crate::ffi::statement::StatementId;
use crate::policy::Control;
use crate::session::cache::{Compiled, MAX_KEPT_SQL_BYTES};
use crate::text::begins_with;
use crate::writers::job::{Answer, Job, Wants};
use crate::writers::queue::{Taken, Turn};

/// What statements begin with that change rows and nothing else.
const VERBS: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];
/// The most statements of others that one commits with its own.
const MAX_JOBS: usize = 64;
/// How long it goes on taking them: its own is acknowledged only afterwards.
const TAKING_TIME: Duration = Duration::from_millis(3);
/// How long it goes on leading groups of others' statements, its own being committed.
const STAYING_TIME: Duration = Duration::from_micros(200);
/// How long any of them may take, by the rough clock. A longer one ends the group.
const JOB_TIME: Duration = Duration::from_millis(10);
/// How much time whoever leads a group must have left for its own statement.
const LEADING_TIME: Duration = Duration::from_millis(100);
/// The most bytes of parameters of a statement that others may run: they are copied.
const MAX_PARAMETER_BYTES: usize = 64 * 1024;

impl Db {
    /// The statement for somebody else to run, if it does the same there.
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
            until,
            steps,
            told: self.told(),
            answer: None,
        })
    }

    /// As [`job`](Db::job), for a statement that a handle keeps open.
    pub(crate) fn job_open(
        &self,
        key: usize,
        parameters: &Parameters,
        wants: Wants,
    ) -> Option<Job> {
        let open = self.statements.get(key)?;
        self.job(open.compiled.sql(), parameters, wants)
    }

    /// Whether a statement does the same on any connection: no transaction or cursor is open,
    /// nothing temporary stands before the database's own tables, and nothing was set that a commit
    /// ends.
    fn is_plain(&self) -> bool {
        self.aborted.is_none()
            && self.conn.is_autocommit()
            && raw::transaction_state(&self.conn) == raw::TransactionState::None
            && !self.seen.temporary()
            && !self.seen.is_set_for_transaction()
    }

    /// Run a statement together with those that others wait for, where there are any, and commit
    /// them. `None` where it is still to be run, by itself.
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
            // Others must not wait for what may be abandoned.
            && !self.aside
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
        // Others are quicker to come again than the next of them is to wake up and lead.
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

    /// Run `own` (`statements` statements) and the jobs of others in one transaction.
    /// Returns how many jobs there were, or `None` where nothing of it all is kept.
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
        // Another process may have the database locked: by itself the statement would wait once
        // more.
        self.control("BEGIN IMMEDIATE")?;
        let before = self.told();
        let mut taken = Vec::new();
        if let Ok(done) = own(self) {
            self.run_jobs(&mut taken);
            // Unless a job that was interrupted, or the disk, has ended it.
            let told = self.told();
            if !self.conn.is_autocommit() && !self.unhealthy && self.commit_timed().is_ok() {
                // Full-text search writes, and counts, as it commits.
                self.set_told(told);
                let jobs = taken.len();
                if let Some(turn) = &self.turn {
                    turn.answer(taken, statements);
                }
                return Ok(Some((done, jobs)));
            }
        }
        if !self.conn.is_autocommit() {
            let undone = self.undo(|db| db.control("ROLLBACK"));
            self.must_have_undone(undone);
        }
        self.set_told(before);
        // What is run again begins to count anew.
        self.watch.start_writing(raw::pages_written(&self.conn));
        self.watch.forget_indexed();
        self.watch.take_deferred();
        // The first that was taken is to be the first in line again.
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

    /// Run what others wait for, one after the other. What did not succeed goes back to its owner
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
                // Whoever is about to come gets the processor for a moment: at least once, or those
                // who share this one would be left behind.
                std::thread::yield_now();
                waited = true;
                continue;
            };
            // One that fails is first in line again as it is dropped: nobody overtakes it.
            match next.job_mut().map(|job| self.run_job(job)) {
                Some(Ok(())) => taken.push(next),
                _ => break,
            }
        }
        self.set_bounds(bounds);
        self.use_rights(&own.0);
        self.set_told(own.1);
    }

    fn run_job(&mut self, job: &mut Job) -> Result<()> {
        self.use_rights(&job.rights);
        self.set_told(job.told);
        self.set_bounds((job.until.min(clock::after(JOB_TIME)), job.steps));
        self.watch.start_writing(raw::pages_written(&self.conn));
        self.control("SAVEPOINT millpond")?;
        let result = self.run_job_within(job);
        // Whatever fails here, its owner runs it again: nothing of it may be committed.
        let result = result.and_then(|()| self.control("RELEASE millpond"));
        if result.is_err() && !self.conn.is_autocommit() {
            let undone = self.undo(Db::roll_back_savepoint);
            self.unhealthy |= undone.is_err();
        }
        if let Err(error) = &result {
            self.unhealthy |= error.is_unhealthy();
            // Nor is it for the one who leads.
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
                // In a savepoint: nothing of it is kept where it fails.
                self.watch.start_statement(true, steps);
                let before = self
                    .running
                    .begin(compiled.raw.id(), compiled.kind().is_long);
                let result = self
                    .bind(&mut compiled, &job.parameters)
                    .and_then(|()| self.answer(&mut compiled, job.wants));
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
            Wants::Table { with_columns } => {
                self.read_table(compiled, with_columns).map(Answer::Table)
            }
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
                    // Its cursor is to be its owner's.
                    Ok(true) => Err(by_itself()),
                    Err(error) => Err(error),
                }
            }
        };
        compiled.raw.reset();
        let answer = answer?;
        // One that is checked only at the commit would fail everybody's.
        match raw::constraints_hold(&self.conn) {
            true => Ok(answer),
            false => Err(by_itself()),
        }
    }

    fn use_rights(&mut self, rights: &Arc<Rights>) {
        if !Arc::ptr_eq(self.cache.rights(), rights) {
            self.seen.set_rights(rights);
            self.cache.set_rights(rights);
        }
    }
}

/// For the group: the one whose statement it is never sees it.
fn by_itself() -> Error {
    Error::new(ErrorKind::Other, "the statement is to run by itself")
}
