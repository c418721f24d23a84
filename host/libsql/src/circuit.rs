//! Keeps calls from a server that cannot be reached. After a failure no one connects for a while,
//! which grows to [`LONGEST`]: calls that would have to wait for up to [`PATIENCE`] if that is
//! enough, and fail at once if not. Then one call tries, and if it succeeds, all may. The times are
//! random within bounds, so that the hosts of a server that starts again do not all come at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millpond_pool::{Error, Result};
use tokio::time::sleep;

use crate::error::unavailable;

/// How long a call waits until it may connect. Enough for the first two failures.
const PATIENCE: Duration = Duration::from_millis(150);
/// How often a call looks whether another one's attempt has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long no one connects, at most: after the first failure, and after many. Each time it is
/// random, from the half of this.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(800);
/// An attempt that was given up after this counts as a failure: its caller had less time than
/// connecting may take.
const SLOW: Duration = Duration::from_secs(1);
/// An attempt that takes longer keeps no one else from trying.
const LONG: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Circuit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u64,
    open: Option<Open>,
}

/// The last attempt has failed.
#[derive(Debug)]
struct Open {
    why: String,
    wait: Duration,
    /// When one call may try.
    until: Instant,
    /// When the one that tries began.
    tried: Option<Instant>,
}

/// The permission to connect. Dropping it gives up.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    circuit: &'a Circuit,
    since: Instant,
    ended: bool,
}

/// Not yet: how long to wait before asking again, and the error if that is too long.
type NotYet = (Duration, Error);

impl Circuit {
    /// Wait until this call may connect.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](millpond_pool::ErrorKind::Unavailable): the server could not be reached, and
    /// is not tried again yet.
    pub(crate) async fn attempt(&self) -> Result<Attempt<'_>> {
        let since = Instant::now();
        loop {
            match self.try_attempt() {
                Ok(attempt) => return Ok(attempt),
                Err((wait, error)) if since.elapsed() + wait > PATIENCE => return Err(error),
                Err((wait, _)) => sleep(wait).await,
            }
        }
    }

    fn try_attempt(&self) -> std::result::Result<Attempt<'_>, NotYet> {
        let since = Instant::now();
        if let Some(open) = &mut self.lock().open {
            // One that is not polled any more must not keep all others from trying.
            let is_tried = open.tried.is_some_and(|tried| since - tried < LONG);
            let wait = match is_tried {
                true => LOOK_EVERY,
                false => open.until.saturating_duration_since(since),
            };
            if wait > Duration::ZERO {
                return Err((wait, unavailable(&open.why)));
            }
            open.tried = Some(since);
        }
        Ok(Attempt {
            circuit: self,
            since,
            ended: false,
        })
    }

    /// Whether the last attempt has failed.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// How many attempts have failed.
    pub(crate) fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// An attempt that began at `since` has failed.
    fn fail(&self, since: Instant, why: &str) {
        let mut state = self.lock();
        state.failures += 1;
        let wait = match &state.open {
            // Several attempts that were under way together fail for one reason.
            Some(open) if open.tried != Some(since) => return,
            Some(open) => LONGEST.min(2 * open.wait),
            None => SHORTEST,
        };
        state.open = Some(Open {
            why: why.to_owned(),
            wait,
            until: Instant::now() + wait.mul_f64(0.5 + fastrand::f64() / 2.0),
            tried: None,
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    pub(crate) fn succeeded(mut self) {
        self.ended = true;
        self.circuit.lock().open = None;
    }

    pub(crate) fn failed(mut self, why: &str) {
        self.ended = true;
        self.circuit.fail(self.since, why);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.since.elapsed() >= SLOW {
            return self.circuit.fail(self.since, "cannot be reached in time");
        }
        // The next may try.
        if let Some(open) = &mut self.circuit.lock().open
            && open.tried == Some(self.since)
        {
            open.tried = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time until someone may try, once it is over.
    fn pass(circuit: &Circuit) -> Duration {
        let mut state = circuit.lock();
        let open = state.open.as_mut().expect("open");
        let now = Instant::now();
        let left = open.until.saturating_duration_since(now);
        open.until = now;
        left
    }

    #[test]
    fn one_call_at_a_time_tries_a_server_that_cannot_be_reached() {
        let circuit = Circuit::default();
        let two = (circuit.try_attempt(), circuit.try_attempt());
        two.0.expect("may").failed("is down");
        assert!(circuit.is_open() && circuit.try_attempt().is_err());
        two.1.expect("was under way").failed("is down");
        assert_eq!(circuit.failures(), 2);
        for wait in [50, 100, 200, 400, 800, 800] {
            let wait = Duration::from_millis(wait);
            let left = pass(&circuit);
            assert!(left <= wait, "{left:?} {wait:?}");
            let attempt = circuit.try_attempt().expect("the first");
            assert!(circuit.try_attempt().is_err(), "only one");
            attempt.failed("is down");
        }
        pass(&circuit);
        circuit.try_attempt().expect("the first").succeeded();
        assert!(!circuit.is_open());
        let all = [circuit.try_attempt(), circuit.try_attempt()];
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn an_attempt_that_is_given_up_lets_the_next_try() {
        let circuit = Circuit::default();
        drop(circuit.try_attempt());
        assert!(!circuit.is_open());
        circuit.try_attempt().expect("may").failed("is down");
        pass(&circuit);
        drop(circuit.try_attempt().expect("the first"));
        let mut slow = circuit.try_attempt().expect("the next");
        slow.since = Instant::now().checked_sub(SLOW).expect("a past");
        circuit.lock().open.as_mut().expect("open").tried = Some(slow.since);
        drop(slow);
        assert_eq!((circuit.failures(), circuit.is_open()), (2, true));
        assert!(circuit.try_attempt().is_err());
    }
}
