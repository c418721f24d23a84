//! What a session waits for without being locked: its turn to write, or the gate before reads.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use millpond_pool::clock;
use millpond_pool::engine::{self, Outcome, StopFlag};
use tokio::time::{timeout, timeout_at};

use super::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::writers::job::{Answer, Job};
use crate::writers::queue::{TurnQueue, Waited};

/// How long a waiter spins if its job should finish within that time.
const SPIN_TIME: Duration = Duration::from_micros(300);
/// How often a waiter whose time is over, while another does its job, tries to leave.
const RETRY_LEAVE: Duration = Duration::from_millis(5);

/// The outcome of waiting for the turn.
type TurnResult = Result<Waited<Job>>;

impl Db {
    /// Wait for the turn to write, or for another writer to run the job. Stops waiting at
    /// `hold_until`, at the deadline or after the pool's timeout, except while another writer is
    /// running the job.
    pub(super) fn wait_turn(&self, job: Option<Job>, hold_until: u64) -> engine::Stop {
        let (turns, request, max_wait) = (Arc::clone(&self.turns), self.request, self.timeout);
        let stop = Arc::clone(self.watch.stop_flag());
        engine::Stop::wait_for_turn(async move {
            let since = Instant::now();
            let hold_left = Duration::from_nanos(hold_until.saturating_sub(clock::now()));
            let until = since + max_wait.min(hold_left);
            let until = stop
                .deadline()
                .map_or(until, |deadline| deadline.min(until));
            let is_quick = job.is_some() && turns.is_quick(SPIN_TIME);
            let mut counted = Counted {
                turns: &turns,
                since,
                timed_out: false,
            };
            let mut waited = turns.wait(request, job);
            if is_quick {
                waited.spin(SPIN_TIME);
            }
            let mut had = unless_over(&stop, until, &mut waited).await;
            while had.is_none() && !waited.leave() {
                // A job that another is writing now must not be reported as failed. It takes no
                // longer than a group may; but if the group fails, the job is back in the line.
                had = timeout(RETRY_LEAVE, &mut waited).await.ok();
            }
            let Some(had) = had else {
                // Disconnected clients do not mean that a writer takes too long.
                counted.timed_out = !stop.is_interrupted();
                let message = format!(
                    "another writer held the database for {:.1?}",
                    since.elapsed()
                );
                return Outcome::in_vain::<TurnResult>(Err(Error::new(ErrorKind::Busy, message)));
            };
            match had {
                Waited::Done(_) => Outcome::of_run::<TurnResult>(Ok(had)),
                Waited::Turn(_) => Outcome::new::<TurnResult>(Ok(had)),
                Waited::Closed => Outcome::in_vain::<TurnResult>(Ok(had)),
            }
        })
    }

    /// Wait until new readers are no longer held back, or the time is over: the retry then fails.
    pub(super) fn wait_gate(&self) -> engine::Stop {
        /// Longer than it ever takes.
        const ENOUGH: Duration = Duration::from_secs(10);
        let checkpoints = Arc::clone(&self.checkpoints);
        let stop = Arc::clone(self.watch.stop_flag());
        engine::Stop::wait(async move {
            let until = stop.deadline().unwrap_or_else(|| Instant::now() + ENOUGH);
            let opened = pin!(checkpoints.gate().opened());
            unless_over(&stop, until, opened).await;
        })
    }

    /// The outcome of a wait: an answer, if another writer has done the job.
    pub(super) fn end_wait(&mut self, outcome: Outcome) -> engine::Step<Option<Answer>> {
        let Ok(waited) = outcome.downcast::<TurnResult>() else {
            // The gate has no outcome.
            return Ok(None);
        };
        match waited.map_err(|error| engine::Stop::Error(error.into()))? {
            Waited::Turn(turn) => {
                self.take_turn(turn);
                Ok(None)
            }
            Waited::Closed => Err(engine::Stop::Error(Error::closed().into())),
            Waited::Done(job) => {
                let _scope = self.enter();
                let (answer, told) = job.into_answer();
                self.set_told(told);
                self.note_run_elsewhere();
                Ok(answer)
            }
        }
    }
}

/// Await `wanted`, until a time or until the request is interrupted: checked whenever this is
/// polled.
async fn unless_over<F: Future + Unpin>(
    stop: &StopFlag,
    until: Instant,
    mut wanted: F,
) -> Option<F::Output> {
    let had = poll_fn(|context| match Pin::new(&mut wanted).poll(context) {
        Poll::Ready(had) => Poll::Ready(Some(had)),
        Poll::Pending if stop.is_interrupted() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    timeout_at(until.into(), had).await.ok().flatten()
}

/// Counts a wait for the turn, even if dropping it ends it.
struct Counted<'a> {
    turns: &'a Arc<TurnQueue<Job>>,
    since: Instant,
    timed_out: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.turns.count_wait(self.since.elapsed(), self.timed_out);
    }
}
