//! Spans and events for the crate `tracing`.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use millpond_pool::Settings;
//! use millpond_pool::observe::tracing::TracingObserver;
//!
//! let settings = Settings::new(8, Duration::from_secs(2))
//!     .name("notes")
//!     .observer(Some(Arc::new(TracingObserver::new())));
//! ```
//!
//! Two spans are opened, with the target `millpond::spans` and the level `debug`:
//!
//! - `connection`: from when a caller asks for a connection until the connection was returned and
//!   reset. Its parent is the caller's current span. If the caller does not get a connection, the
//!   span has the field `error.type`.
//! - `statement`: each call that runs SQL, including its cursor, but not `prepare`. Its parent is
//!   the `connection`, or the current span if the connection was returned already. When it closes,
//!   it has the fields of the event `statement`, except the time.
//!
//! No span is entered while a call runs or waits, so a span's time is that from its opening to its
//! closing. Subscribers that do not want spans turn off their target.
//!
//! Each event becomes an event of `tracing`, with the target `millpond`. It is in the `statement`
//! or the `connection` that it belongs to, or else in the current span of the thread where it
//! happened. It is told at its end, with its time.
//!
//! Fields have the names of OpenTelemetry's conventions for database clients
//! (<https://opentelemetry.io/docs/specs/semconv/database/>) where these fit: `db.system.name` is
//! always `sqlite`, also on a libSQL server, `db.namespace` is the database's name, and times are
//! in seconds. `millpond.tenant`, `millpond.guest` and `millpond.request` say where, if set.
//! `reason` is the name of why something happened, like [`NotGot::name`].
//!
//! - `error`: statements that fail because the file is damaged or the disk fails.
//! - `warn`: connections not got because of the pool's timeout or a failure, connections closed
//!   because something was wrong, abandoned statements, and statements that fail because of time,
//!   another writer, a quota or the server.
//! - `info`: pools opened and closed, transactions that the pool or the engine ended.
//! - `debug`: statements, waits for the turn, group commits, checkpoints, connections opened and
//!   closed, and what is left of the above.
//! - `trace`: connections got, returned and reset.
//!
//! A guest can cause any of these as often as it makes calls: limit what a subscriber writes.

mod spans;

use std::sync::Arc;

use ::tracing::Level;

use self::spans::Spans;
use super::Observer;
use super::event::{Close, Event, NotGot, Source, StatementResult, TransactionEnd};
use crate::error::ErrorKind;

/// An observer that passes on what it is told to `tracing`. See [above](self).
///
/// Clones share the spans that are open.
#[derive(Clone, Debug, Default)]
pub struct TracingObserver {
    query_text: bool,
    spans: Arc<Spans>,
}

impl TracingObserver {
    /// Without SQL text.
    pub fn new() -> TracingObserver {
        TracingObserver::default()
    }

    /// Whether to include SQL text, as `db.query.text`: its first 4,096 bytes. It may contain
    /// values as literals. Defaults to false.
    #[must_use]
    pub fn query_text(mut self, included: bool) -> TracingObserver {
        self.query_text = included;
        self
    }

    fn text<'a>(&self, sql: &'a str) -> Option<&'a str> {
        /// A guest may send megabytes.
        const MAX_TEXT: usize = 4_096;
        self.query_text
            .then(|| &sql[..sql.floor_char_boundary(MAX_TEXT)])
    }
}

/// Tell an event at a level that is only known when it happens.
macro_rules! tell {
    ($level:expr, $source:expr, $message:literal $(, $($field:tt)*)?) => {{
        let (level, source): (Level, &Source<'_>) = ($level, $source);
        macro_rules! at {
            ($of:expr) => {
                ::tracing::event!(
                    target: "millpond",
                    $of,
                    db.system.name = "sqlite",
                    db.namespace = source.database,
                    millpond.tenant = source.tenant,
                    millpond.guest = source.guest,
                    millpond.request = source.request,
                    $($($field)*,)?
                    $message
                )
            };
        }
        match level {
            Level::ERROR => at!(Level::ERROR),
            Level::WARN => at!(Level::WARN),
            Level::INFO => at!(Level::INFO),
            Level::DEBUG => at!(Level::DEBUG),
            Level::TRACE => at!(Level::TRACE),
        }
    }};
}

impl Observer for TracingObserver {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        match *event {
            Event::ConnectionAsked => self.spans.open_connection(source),
            Event::StatementBegun { sql } => self.spans.open_statement(source, self.text(sql)),
            // The span is entered only while the event is told, on this thread.
            _ => match self.spans.of(source) {
                Some(span) => span.in_scope(|| self.tell(source, event)),
                None => self.tell(source, event),
            },
        }
        self.spans.end(source, event);
    }
}

impl TracingObserver {
    fn tell(&self, source: &Source<'_>, event: &Event<'_>) {
        match event {
            Event::PoolOpened { .. }
            | Event::PoolClosed
            | Event::ConnectionOpened { .. }
            | Event::ConnectionGot { .. }
            | Event::ConnectionNotGot { .. }
            | Event::ConnectionReturned { .. }
            | Event::ConnectionReset { .. }
            | Event::ConnectionClosed { .. } => of_pool(source, event),
            _ => self.of_statement(source, event),
        }
    }
}

fn of_pool(source: &Source<'_>, event: &Event<'_>) {
    match *event {
        Event::PoolOpened { time } => {
            tell!(
                Level::INFO,
                source,
                "pool opened",
                duration = time.as_secs_f64()
            );
        }
        Event::PoolClosed => tell!(Level::INFO, source, "pool closed"),
        Event::ConnectionOpened { time } => {
            let time = time.as_secs_f64();
            tell!(
                Level::DEBUG,
                source,
                "connection opened",
                db.client.connection.create_time = time
            );
        }
        Event::ConnectionGot { waited, is_new } => {
            let time = waited.as_secs_f64();
            tell!(
                Level::TRACE,
                source,
                "connection got",
                db.client.connection.wait_time = time,
                is_new = is_new
            );
        }
        Event::ConnectionNotGot { waited, why } => {
            let level = match why {
                NotGot::Timeout | NotGot::Failed => Level::WARN,
                _ => Level::DEBUG,
            };
            let time = waited.as_secs_f64();
            tell!(
                level, source, "connection not got",
                db.client.connection.wait_time = time, error.type = why.name()
            );
        }
        Event::ConnectionReturned { held, why } => {
            let time = held.as_secs_f64();
            tell!(
                Level::TRACE,
                source,
                "connection returned",
                db.client.connection.use_time = time,
                reason = why.name()
            );
        }
        Event::ConnectionReset {
            time,
            is_clean,
            rolled_back,
        } => tell!(
            Level::TRACE,
            source,
            "connection reset",
            duration = time.as_secs_f64(),
            is_clean = is_clean,
            rolled_back = rolled_back
        ),
        Event::ConnectionClosed { why } => {
            let level = match why {
                // Its caller's doing, which was told.
                Close::Unfinished => Level::DEBUG,
                why if why.is_discard() => Level::WARN,
                _ => Level::DEBUG,
            };
            tell!(level, source, "connection closed", reason = why.name());
        }
        _ => {}
    }
}

impl TracingObserver {
    fn of_statement(&self, source: &Source<'_>, event: &Event<'_>) {
        match *event {
            Event::StatementFinished {
                sql,
                time,
                turn_wait,
                rows,
                changes,
                wrote,
                result,
                ..
            } => {
                let (level, error) = match result {
                    StatementResult::Done => (Level::DEBUG, None),
                    StatementResult::Failed(kind) => (level_of(kind), Some(kind.name())),
                    StatementResult::Cancelled => (Level::DEBUG, Some("cancelled")),
                };
                tell!(
                    level, source, "statement",
                    db.query.text = self.text(sql),
                    db.client.operation.duration = time.as_secs_f64(),
                    db.response.returned_rows = rows,
                    error.type = error,
                    millpond.turn_wait = turn_wait.as_secs_f64(),
                    millpond.changes = changes,
                    millpond.wrote = wrote
                );
            }
            Event::StatementAbandoned { sql, time } => tell!(
                Level::WARN,
                source,
                "statement abandoned",
                db.query.text = self.text(sql),
                db.client.operation.duration = time.as_secs_f64()
            ),
            Event::TurnWaited { waited, end } => {
                let time = waited.as_secs_f64();
                tell!(
                    Level::DEBUG,
                    source,
                    "turn waited",
                    duration = time,
                    reason = end.name()
                );
            }
            Event::GroupCommitted { statements, time } => tell!(
                Level::DEBUG,
                source,
                "group committed",
                db.operation.batch.size = statements,
                duration = time.as_secs_f64()
            ),
            Event::Checkpointed {
                pages,
                is_complete,
                time,
            } => tell!(
                Level::DEBUG,
                source,
                "checkpointed",
                pages = pages,
                is_complete = is_complete,
                duration = time.as_secs_f64()
            ),
            Event::UpkeepDone {
                analyzed_tables,
                freed_pages,
                is_complete,
                time,
            } => tell!(
                Level::DEBUG,
                source,
                "upkeep done",
                analyzed_tables = analyzed_tables,
                freed_pages = freed_pages,
                is_complete = is_complete,
                duration = time.as_secs_f64()
            ),
            Event::TransactionEnded { why } => {
                let level = match why {
                    TransactionEnd::Returned | TransactionEnd::Dropped => Level::DEBUG,
                    _ => Level::INFO,
                };
                tell!(level, source, "transaction ended", reason = why.name());
            }
            _ => {}
        }
    }
}

/// How much a failure concerns the operator.
fn level_of(kind: ErrorKind) -> Level {
    match kind {
        ErrorKind::Corrupt | ErrorKind::Io => Level::ERROR,
        ErrorKind::Busy
        | ErrorKind::CannotOpen
        | ErrorKind::DeadlineExceeded
        | ErrorKind::OutcomeUnknown
        | ErrorKind::QuotaExceeded
        | ErrorKind::Unavailable => Level::WARN,
        _ => Level::DEBUG,
    }
}
