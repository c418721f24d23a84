//! The spans that are open.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tracing::field::Empty;
use ::tracing::{Span, debug_span};

use crate::observe::event::{Event, Source, StatementResult};

/// The number of locks: with several, calls on several threads rarely wait for each other.
const SHARDS: usize = 16;

/// The spans of connections, by the number of their lending, and of statements, by the number of
/// their call. The two have no number in common. There is one for each caller that waits for a
/// connection, each connection that is lent, and each statement or cursor that runs.
#[derive(Debug, Default)]
pub(super) struct Spans {
    open: [Mutex<HashMap<u64, Span>>; SHARDS],
}

impl Spans {
    pub(super) fn open_connection(&self, source: &Source<'_>) {
        let span = debug_span!(
            target: "millpond::spans",
            "connection",
            db.system.name = "sqlite",
            db.namespace = source.database,
            millpond.tenant = source.tenant,
            millpond.guest = source.guest,
            millpond.request = source.request,
            error.type = Empty,
        );
        self.put(source.lending, span);
    }

    pub(super) fn open_statement(&self, source: &Source<'_>, text: Option<&str>) {
        let open = || {
            debug_span!(
                target: "millpond::spans",
                "statement",
                otel.kind = "client",
                db.system.name = "sqlite",
                db.namespace = source.database,
                db.query.text = text,
                db.response.returned_rows = Empty,
                error.type = Empty,
                millpond.turn_wait = Empty,
                millpond.changes = Empty,
                millpond.wrote = Empty,
            )
        };
        let span = match self.get(source.lending) {
            Some(connection) => connection.in_scope(open),
            None => open(),
        };
        self.put(source.call, span);
    }

    /// The innermost span that something happened in.
    pub(super) fn of(&self, source: &Source<'_>) -> Option<Span> {
        self.get(source.call).or_else(|| self.get(source.lending))
    }

    /// Close the span that this event ends, if it ends one.
    pub(super) fn end(&self, source: &Source<'_>, event: &Event<'_>) {
        match *event {
            Event::StatementFinished {
                turn_wait,
                rows,
                changes,
                wrote,
                result,
                ..
            } => {
                let Some(span) = self.take(source.call) else {
                    return;
                };
                span.record("db.response.returned_rows", rows);
                span.record("millpond.turn_wait", turn_wait.as_secs_f64());
                span.record("millpond.changes", changes);
                span.record("millpond.wrote", wrote);
                match result {
                    StatementResult::Done => {}
                    StatementResult::Failed(kind) => drop(span.record("error.type", kind.name())),
                    StatementResult::Cancelled => drop(span.record("error.type", "cancelled")),
                }
            }
            Event::ConnectionNotGot { why, .. } => {
                if let Some(span) = self.take(source.lending) {
                    span.record("error.type", why.name());
                }
            }
            Event::ConnectionReset { .. } => drop(self.take(source.lending)),
            _ => {}
        }
    }

    fn put(&self, number: Option<u64>, span: Span) {
        if let Some(number) = number
            && !span.is_disabled()
        {
            self.shard(number).insert(number, span);
        }
    }

    fn get(&self, number: Option<u64>) -> Option<Span> {
        let number = number?;
        self.shard(number).get(&number).cloned()
    }

    /// Take a span out. Dropping it closes it, which calls the subscriber: do that without the
    /// lock.
    fn take(&self, number: Option<u64>) -> Option<Span> {
        let number = number?;
        self.shard(number).remove(&number)
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Span>> {
        let shard = &self.open[number as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
