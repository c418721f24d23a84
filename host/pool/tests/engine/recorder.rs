//! An observer that records what it is told, in short.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use millpond_pool::observe::{Event, Observer, Source, StatementResult};

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) database: String,
    pub(crate) tenant: Option<String>,
    pub(crate) guest: Option<String>,
    pub(crate) request: Option<String>,
    /// The event without its times.
    pub(crate) what: String,
    /// The longest of its times.
    pub(crate) time: Duration,
    /// Of a statement: how long it waited for its turn.
    #[allow(dead_code, reason = "not every suite waits for turns")]
    pub(crate) turn_wait: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    told: Mutex<Vec<Told>>,
    more: Condvar,
}

impl Observer for Recorder {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        // Those that follow have the same numbers.
        if matches!(event, Event::ConnectionAsked | Event::StatementBegun { .. }) {
            return;
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (what, time) = short(event);
        let turn_wait = match event {
            Event::StatementFinished { turn_wait, .. } => *turn_wait,
            _ => Duration::ZERO,
        };
        self.told.lock().expect("no panic").push(Told {
            database: source.database.to_owned(),
            tenant: owned(source.tenant),
            guest: owned(source.guest),
            request: owned(source.request),
            what,
            time,
            turn_wait,
        });
        self.more.notify_all();
    }
}

impl Recorder {
    /// What was told since the last call.
    pub(crate) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().expect("no panic"))
    }

    /// The same, in short.
    pub(crate) fn events(&self) -> Vec<String> {
        self.take().into_iter().map(|told| told.what).collect()
    }

    /// Wait until something is told that begins like this, for a minute at most, and return all
    /// that was told since the last call.
    #[allow(dead_code, reason = "not every suite waits")]
    pub(crate) fn wait(&self, beginning: &str) -> Vec<Told> {
        let is_missing =
            |told: &mut Vec<Told>| !told.iter().any(|told| told.what.starts_with(beginning));
        let (mut told, _) = self
            .more
            .wait_timeout_while(self.told.lock().expect("no panic"), MINUTE, is_missing)
            .expect("no panic");
        assert!(!is_missing(&mut told), "no {beginning}: {told:?}");
        std::mem::take(&mut *told)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn short(event: &Event<'_>) -> (String, Duration) {
    let none = Duration::ZERO;
    match event {
        Event::PoolOpened { time, .. } => ("pool opened".to_owned(), *time),
        Event::PoolClosed => ("pool closed".to_owned(), none),
        Event::ConnectionOpened { time, .. } => ("opened".to_owned(), *time),
        Event::ConnectionGot { waited, is_new, .. } => {
            let new = if *is_new { " new" } else { "" };
            (format!("got{new}"), *waited)
        }
        Event::ConnectionNotGot { waited, why, .. } => {
            (format!("not got: {}", why.name()), *waited)
        }
        Event::ConnectionReturned { held, why, .. } => (why.name().to_owned(), *held),
        Event::ConnectionReset {
            time,
            is_clean,
            rolled_back,
            ..
        } => {
            let clean = if *is_clean { "reset" } else { "reset in vain" };
            let rolled_back = if *rolled_back { ", rolled back" } else { "" };
            (format!("{clean}{rolled_back}"), *time)
        }
        Event::ConnectionClosed { why, .. } => (format!("closed: {}", why.name()), none),
        Event::StatementFinished {
            sql,
            time,
            turn_wait,
            rows,
            bytes,
            changes,
            wrote,
            result,
            ..
        } => {
            assert!(turn_wait <= time);
            assert_eq!(*rows > 0, *bytes > 0);
            let mut what = format!("`{sql}`");
            if *wrote {
                what += " wrote";
            }
            if *rows > 0 {
                what += &format!(" {rows} rows");
            }
            if *changes > 0 {
                what += &format!(" {changes} changes");
            }
            match result {
                StatementResult::Done => {}
                result => what += &format!(" {result:?}"),
            }
            (what, *time)
        }
        Event::TurnWaited { waited, end, .. } => (format!("turn: {}", end.name()), *waited),
        Event::GroupCommitted {
            statements, time, ..
        } => (format!("group of {statements}"), *time),
        Event::Checkpointed {
            pages,
            is_complete,
            time,
            ..
        } => {
            assert!(*pages > 0 || !is_complete);
            let complete = if *is_complete { "complete" } else { "partial" };
            (format!("checkpoint: {complete}"), *time)
        }
        Event::UpkeepDone {
            analyzed_tables,
            freed_pages,
            is_complete,
            time,
            ..
        } => {
            let complete = if *is_complete { "complete" } else { "partial" };
            let done = format!("{analyzed_tables} tables, {freed_pages} pages");
            (format!("upkeep: {complete}, {done}"), *time)
        }
        Event::TransactionEnded { why, .. } => (format!("ended: {}", why.name()), none),
        Event::StatementAbandoned { sql, time, .. } => (format!("abandoned `{sql}`"), *time),
        other => panic!("a new event: {other:?}"),
    }
}
