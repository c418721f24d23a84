//! What a session waits for without being locked: its turn to write, or the gate before reads.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use millpond_pool::engine::{self, Outcome, StopFlag};
use tokio::time::timeout_at;

use super::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::writers::job::{Answer, Job};
use crate::writers::queue::{TurnQueue, Waited};

/// How long a waiter spins if its job should finish within that time.
const SPIN_TIME: Duration = Duration::from_micros(300);

impl Db {
    /// Wait for the turn to write, or for another writer to do the job.
    pub(super) fn wait_turn(&self, job: Option<Job>) -> engine::Stop {
        let (turns, request, timeout) = (Arc::clone(&self.turns), self.request, self.timeout);
        let stop = Arc::clone(self.watch.stop_flag());
        engine::Stop::wait(async move {
            let since = Instant::now();
            let until = since + timeout;
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
            let had = unless_over(&stop, until, &mut waited).await;
            let gave_up = had.is_none() && waited.leave();
            // Disconnected clients do not mean that a writer takes too long.
            counted.timed_out = gave_up && !stop.is_interrupted();
            match had {
                Some(waited) => Ok(waited),
                None if gave_up => Err(Error::new(
                    ErrorKind::Busy,
                    format!(
                        "another writer held the database for {:.1?}",
                        since.elapsed()
                    ),
                )),
                // A job that another is writing now must not be reported as failed. It takes no
                // longer than a group may.
                None => Ok(waited.await),
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
        let Ok(waited) = outcome.downcast::<Result<Waited<Job>>>() else {
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
