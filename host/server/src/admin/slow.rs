//! Writes slow statements to the log, with their plans, on a thread of its own.
//!
//! Guests choose how many statements are slow, and what their text is. So there is a bound on how
//! many are logged, on the length of a text, and on the time that plans take.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use millpond_wasmtime::pool::observe::{Event, Source, StatementResult};

use super::Watch;
use super::plan::plan;
use crate::log::SlowStatement;
use crate::printable::start_of;

/// How many wait to be logged. Further ones are only counted.
const MAX_WAITING: usize = 32;
/// The shortest time between two lines of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// How much longer than it took to get a plan, no other is asked for.
const PLAN_PAUSES: u32 = 20;
/// How much of a text is logged.
const MAX_SQL_CHARS: usize = 2000;

/// Takes the slow statements of all pools.
#[derive(Debug)]
pub(super) struct SlowStatements {
    /// What is slow.
    pub(super) time: Duration,
    queue: SyncSender<Slow>,
    waiting: Mutex<Option<Receiver<Slow>>>,
    counts: Arc<SlowCounts>,
}

#[derive(Debug, Default)]
struct SlowCounts {
    total: AtomicU64,
    waiting: AtomicUsize,
    unlogged: AtomicU64,
}

/// A slow statement that waits to be logged.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) database: Box<str>,
    pub(super) tenant: Option<Box<str>>,
    component: Box<str>,
    request: Option<u64>,
    /// The whole text, if it may have a plan.
    pub(super) to_explain: Option<Box<str>>,
    sql: String,
    is_whole: bool,
    time: Duration,
    turn_wait: Duration,
    rows: u64,
    bytes: u64,
    changes: u64,
    pub(super) wrote: bool,
    result: &'static str,
}

impl SlowStatements {
    /// Statements that run at least this long are slow.
    pub(super) fn new(time: Duration) -> SlowStatements {
        let (queue, waiting) = sync_channel(MAX_WAITING);
        SlowStatements {
            time,
            queue,
            waiting: Mutex::new(Some(waiting)),
            counts: Arc::default(),
        }
    }

    /// Start the thread that logs. It ends when `watch`, and with it this, is dropped.
    pub(super) fn start(&self, watch: &Arc<Watch>) {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(waiting) = waiting else { return };
        let (watch, counts) = (Arc::downgrade(watch), Arc::clone(&self.counts));
        thread::spawn(move || write(&waiting, &watch, &counts));
    }

    /// Take note of an event. Returns whether it is a slow statement of a guest.
    pub(super) fn observe(&self, source: &Source<'_>, event: &Event<'_>) -> bool {
        let Event::StatementFinished { time, .. } = event else {
            return false;
        };
        // The server's own statements have no guest.
        let Some(component) = source.guest else {
            return false;
        };
        if *time < self.time {
            return false;
        }
        self.counts.total.fetch_add(1, Ordering::Relaxed);
        // Before anything is copied: there may be very many.
        let has_room = self.counts.waiting.load(Ordering::Relaxed) < MAX_WAITING;
        let slow = has_room
            .then(|| Slow::new(source, component, event))
            .flatten();
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if slow.is_none_or(|slow| self.queue.try_send(slow).is_err()) {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.unlogged.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// How many there were.
    pub(super) fn total(&self) -> u64 {
        self.counts.total.load(Ordering::Relaxed)
    }
}

impl Slow {
    fn new(source: &Source<'_>, component: &str, event: &Event<'_>) -> Option<Slow> {
        let Event::StatementFinished {
            sql,
            time,
            turn_wait,
            rows,
            bytes,
            changes,
            wrote,
            result,
            ..
        } = event
        else {
            return None;
        };
        let is_whole = sql.chars().nth(MAX_SQL_CHARS).is_none();
        Some(Slow {
            database: source.database.into(),
            tenant: source.tenant.map(Box::from),
            component: component.into(),
            request: source.request.and_then(|request| request.parse().ok()),
            to_explain: is_whole.then(|| Box::from(*sql)),
            sql: start_of(sql, MAX_SQL_CHARS),
            is_whole,
            time: *time,
            turn_wait: *turn_wait,
            rows: *rows,
            bytes: *bytes,
            changes: *changes,
            wrote: *wrote,
            result: match result {
                StatementResult::Done => "ok",
                StatementResult::Failed(kind) => kind.name(),
                _ => "cancelled",
            },
        })
    }
}

/// Write what waits, until nothing can come any more.
fn write(waiting: &Receiver<Slow>, watch: &Weak<Watch>, counts: &SlowCounts) {
    let mut next_plan = Instant::now();
    while let Ok(slow) = waiting.recv() {
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        let Some(watch) = watch.upgrade() else { return };
        let mut lines = Vec::new();
        let since = Instant::now();
        if since >= next_plan {
            lines = plan(&watch.databases(), &slow);
            next_plan = Instant::now() + since.elapsed() * PLAN_PAUSES;
        }
        watch.log_slow(&SlowStatement {
            request: slow.request,
            component: &slow.component,
            database: &slow.database,
            tenant: slow.tenant.as_deref(),
            sql: &slow.sql,
            is_whole: slow.is_whole,
            time: slow.time,
            turn_wait: slow.turn_wait,
            rows: slow.rows,
            bytes: slow.bytes,
            changes: slow.changes,
            result: slow.result,
            plan: &lines,
            unlogged: counts.unlogged.swap(0, Ordering::Relaxed),
        });
        drop(watch);
        thread::sleep(PAUSE);
    }
}
