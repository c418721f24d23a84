//! Waits, during which what has been held for too long is ended.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};

use super::Lending;
use crate::engine::{Outcome, Wait};
use crate::error::{Error, ErrorKind};
use crate::lent::Lent;
use crate::pooled::Pooled;
use crate::request::Request;
use crate::slots::Risk;

/// How often a waiter checks whether what it waits for has been held for too long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Lending {
    pub(super) fn timed_out(&self, since: Instant, request: &Request) -> Error {
        // Disconnected clients do not mean that the pool is too small.
        let in_use = match request.is_interrupted() {
            true => self.slots.stats().in_use,
            false => self.slots.timed_out(),
        };
        let waited = since.elapsed();
        Error::new(
            ErrorKind::PoolTimeout { waited, in_use },
            format!(
                "no connection became free in {waited:.1?}: {in_use} of {} are in use",
                self.settings.max_size
            ),
        )
    }

    /// Await what a session waits for. Meanwhile end transactions that have been open for too long,
    /// which only matters to callers that wait.
    pub(crate) async fn wait_for(&self, wait: Wait) -> Outcome {
        let mut wait = wait.wait;
        loop {
            match timeout(LOOK_AGAIN, wait.as_mut()).await {
                Ok(outcome) => return outcome,
                Err(_) => {
                    for lent in self.in_use() {
                        lent.end_overdue_transaction();
                    }
                }
            }
        }
    }

    /// Await `wanted`, until a time or until `is_over`; then return `None`. Meanwhile call `look`
    /// on the connections in use, to end what has been held for too long.
    ///
    /// Box this future: hardly any call waits, and otherwise every call's future would be as large.
    pub(super) async fn wait<T>(
        &self,
        wanted: impl Future<Output = T>,
        until: Instant,
        is_over: impl Fn() -> bool,
        look: impl Fn(&Lent),
    ) -> Option<T> {
        let mut wanted = pin!(wanted);
        loop {
            let next = until.min(Instant::now() + LOOK_AGAIN);
            match timeout_at(next.into(), wanted.as_mut()).await {
                Ok(had) => return Some(had),
                Err(_) if is_over() || Instant::now() >= until => return None,
                Err(_) => self.in_use().iter().for_each(|lent| look(lent)),
            }
        }
    }

    /// Wait until a call may run on its session's own thread, where it may have to be abandoned:
    /// not after `deadline`, nor after `is_over`, nor for longer than the pool's timeout. Does
    /// not wait if `at_once`.
    pub(crate) async fn may_go_aside(
        &self,
        at_once: bool,
        deadline: Option<Instant>,
        is_over: impl Fn() -> bool,
    ) -> Option<Risk<'_, Box<Pooled>>> {
        if let Some(risk) = self.slots.try_risk(at_once) {
            return Some(risk);
        }
        let mut waiting = self.slots.wait_risk();
        let risk = poll_fn(|cx| match waiting.try_risk(cx.waker()) {
            Some(risk) => Poll::Ready(risk),
            None => Poll::Pending,
        });
        let until = self.wait_until(Instant::now(), deadline);
        let look = |lent: &Lent| lent.end_overdue_transaction();
        Box::pin(self.wait(risk, until, is_over, look)).await
    }

    pub(super) fn wait_until(&self, since: Instant, deadline: Option<Instant>) -> Instant {
        let until = since + self.settings.timeout;
        deadline.map_or(until, |deadline| deadline.min(until))
    }
}
