//! Tells a pool's events to its observer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::event::{Event, Source, TransactionEnd};
use super::notes::{Checkpoint, Note, Upkeep};
use super::{Observer, SharedObserver};
use crate::request::Request;
use crate::settings::Settings;

/// The name of a database of many, unless it is set: the engine's has the tenant in it.
const OF_TENANTS: &str = "tenants";

/// Tells a pool's events to its observer, if it has one. Clones tell the same one.
#[derive(Clone, Debug)]
pub struct Reporter {
    to: Option<Arc<Target>>,
}

#[derive(Debug)]
struct Target {
    observer: SharedObserver,
    database: Arc<str>,
    tenant: Option<Arc<str>>,
}

/// Who holds a connection, as observers see it.
#[derive(Debug)]
pub(crate) struct Borrower {
    lending: u64,
    guest: Option<Arc<str>>,
    request: Option<Arc<str>>,
    /// Since when it asks for the connection, and then, since when it holds it.
    pub(crate) since: Instant,
    /// How long it waited for it, and whether it was opened for it.
    pub(crate) waited: Duration,
    pub(crate) is_new: bool,
}

impl Borrower {
    pub(crate) fn new(guest: Option<&Arc<str>>, request: &Request) -> Borrower {
        Borrower {
            lending: next_number(),
            guest: guest.cloned(),
            request: request.shared_label().cloned(),
            since: Instant::now(),
            waited: Duration::ZERO,
            is_new: false,
        }
    }

    pub(crate) fn has_got(&mut self, is_new: bool) {
        self.is_new = is_new;
        let now = Instant::now();
        self.waited = now - self.since;
        self.since = now;
    }
}

/// A number that no other lending or call of this process has.
pub(super) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Reporter {
    /// For the pool with these settings, whose engine calls its database `name`.
    pub fn new(settings: &Settings, name: &str) -> Reporter {
        let to = settings.observer.as_ref().map(|observer| {
            let default = settings.tenant.as_ref().map_or(name, |_| OF_TENANTS);
            let database = settings.name.clone();
            Arc::new(Target {
                observer: observer.clone(),
                database: database.unwrap_or_else(|| default.into()),
                tenant: settings.tenant.clone(),
            })
        });
        Reporter { to }
    }

    /// Whether there is an observer. If not, don't read a clock for it.
    pub fn is_on(&self) -> bool {
        self.to.is_some()
    }

    /// Tell of a checkpoint that no session made. Call it without holding locks or the turn to
    /// write.
    pub fn checkpointed(&self, checkpoint: Checkpoint) {
        self.tell(None, Event::checkpointed(checkpoint));
    }

    /// Tell of upkeep. Call it without holding locks or the turn to write.
    pub fn upkeep_done(&self, done: Upkeep) {
        self.tell(
            None,
            Event::UpkeepDone {
                analyzed_tables: done.analyzed_tables,
                freed_pages: done.freed_pages,
                is_complete: done.is_complete,
                time: done.time,
            },
        );
    }

    /// The time now, for [`told_since`](Reporter::told_since); `None` without an observer.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.to.as_ref().map(|_| Instant::now())
    }

    /// Tell something that took as long as it is since then.
    pub(crate) fn told_since(
        &self,
        since: Option<Instant>,
        event: impl FnOnce(Duration) -> Event<'static>,
    ) {
        if let Some(since) = since {
            self.tell(None, event(since.elapsed()));
        }
    }

    /// Call the observer. No lock may be held.
    pub(crate) fn tell(&self, borrower: Option<&Borrower>, event: Event<'_>) {
        self.tell_of_call(borrower, None, event);
    }

    /// Like [`tell`](Reporter::tell), of an event in the call with this number.
    // Kept out of the callers' code, most of which run without an observer.
    #[cold]
    pub(crate) fn tell_of_call(
        &self,
        borrower: Option<&Borrower>,
        call: Option<u64>,
        event: Event<'_>,
    ) {
        let Some(target) = &self.to else { return };
        let source = Source {
            database: &target.database,
            tenant: target.tenant.as_deref(),
            guest: borrower.and_then(|borrower| borrower.guest.as_deref()),
            request: borrower.and_then(|borrower| borrower.request.as_deref()),
            lending: borrower.map(|borrower| borrower.lending),
            call,
        };
        let observer: &dyn Observer = &*target.observer.0;
        if catch_unwind(AssertUnwindSafe(|| observer.observe(&source, &event))).is_err() {
            log::error!(
                "an observer of {} panicked: it misses an event",
                target.database
            );
        }
    }

    /// Tell what a session has noted; `end` is who ended its transaction, if the
    /// engine did, and `statement` what it runs, for how long, and the number of that call.
    pub(crate) fn tell_notes(
        &self,
        borrower: Option<&Borrower>,
        notes: Vec<Note>,
        end: Option<TransactionEnd>,
        statement: Option<(&str, Duration, u64)>,
    ) {
        let call = statement.map(|(_, _, call)| call);
        for note in notes {
            let event = match note {
                Note::Group(statements, time) => Event::GroupCommitted { statements, time },
                Note::Checkpoint(checkpoint) => Event::checkpointed(checkpoint),
                Note::TransactionEnded(by) => Event::TransactionEnded {
                    why: match by {
                        TransactionEnd::Engine => end.unwrap_or(by),
                        by => by,
                    },
                },
                Note::Abandoned => match statement {
                    Some((sql, time, _)) => Event::StatementAbandoned { sql, time },
                    None => continue,
                },
            };
            self.tell_of_call(borrower, call, event);
        }
    }
}

impl Event<'static> {
    fn checkpointed(checkpoint: Checkpoint) -> Event<'static> {
        let Checkpoint {
            pages,
            is_complete,
            time,
        } = checkpoint;
        Event::Checkpointed {
            pages,
            is_complete,
            time,
        }
    }
}
