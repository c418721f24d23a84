//! Watches a call that runs SQL, and tells how it ended, once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::{Event, StatementResult, TransactionEnd, TurnEnd};
use super::notes::CallNotes;
use super::reporter::next_number;
use crate::engine::Outcome;
use crate::error::{ErrorKind, Result};
use crate::lent::Lent;
use crate::value::{Rows, Summary};

/// What a call returned, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) changes: u64,
}

impl Figures {
    pub(crate) fn of_summary(summary: &Summary) -> Figures {
        Figures {
            changes: summary.changes,
            ..Figures::default()
        }
    }

    pub(crate) fn of_rows(rows: &Rows) -> Figures {
        Figures {
            rows: rows.len() as u64,
            bytes: rows.size(),
            ..Figures::default()
        }
    }
}

/// A call under way. If this is dropped before it [ends](CallWatch::end), the call was cancelled.
#[derive(Debug)]
#[must_use = "a call that is not ended was cancelled"]
pub(crate) struct CallWatch<'a> {
    watched: Option<Watched<'a>>,
}

#[derive(Debug)]
struct Watched<'a> {
    lent: &'a Lent,
    of: Of<'a>,
    since: Instant,
    notes: Arc<CallNotes>,
}

/// What the call belongs to.
#[derive(Debug)]
enum Of<'a> {
    Sql(&'a str),
    Prepare(&'a str),
    Statement(&'a Arc<str>),
    Cursor(&'a CursorWatch),
}

/// What the calls of a cursor have done so far.
#[derive(Debug)]
pub(crate) struct CursorWatch {
    sql: Arc<str>,
    /// The number of the call that returned it.
    call: u64,
    /// `None` once the observer was told.
    so_far: Mutex<Option<SoFar>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SoFar {
    time: Duration,
    turn_wait: Duration,
    figures: Figures,
    wrote: bool,
}

impl<'a> CallWatch<'a> {
    /// A call of which the observer is not told.
    pub(crate) const NONE: CallWatch<'static> = CallWatch { watched: None };

    /// Watch a call of this text, if there is an observer.
    pub(crate) fn new(lent: &'a Lent, sql: &'a str) -> CallWatch<'a> {
        CallWatch::start(lent, Of::Sql(sql))
    }

    /// Like [`new`](CallWatch::new), for a `prepare`, of which the observer is only told if it
    /// fails.
    pub(crate) fn of_prepare(lent: &'a Lent, sql: &'a str) -> CallWatch<'a> {
        CallWatch::start(lent, Of::Prepare(sql))
    }

    /// Like [`new`](CallWatch::new), for a prepared statement, which has its text if there is an
    /// observer.
    pub(crate) fn of_statement(lent: &'a Lent, sql: Option<&'a Arc<str>>) -> CallWatch<'a> {
        match sql {
            Some(sql) => CallWatch::start(lent, Of::Statement(sql)),
            None => CallWatch { watched: None },
        }
    }

    pub(crate) fn of_cursor(lent: &'a Lent, cursor: Option<&'a CursorWatch>) -> CallWatch<'a> {
        match cursor {
            Some(cursor) => CallWatch::start(lent, Of::Cursor(cursor)),
            None => CallWatch { watched: None },
        }
    }

    fn start(lent: &'a Lent, of: Of<'a>) -> CallWatch<'a> {
        let borrower = lent.borrower();
        CallWatch {
            watched: borrower.map(|_| Watched::start(lent, of)),
        }
    }

    /// Where to note what happens during the call; `None` if the observer is not told of it.
    pub(crate) fn notes(&self) -> Option<&Arc<CallNotes>> {
        self.watched.as_ref().map(|watched| &watched.notes)
    }

    /// The call has ended.
    pub(crate) fn end<T>(mut self, result: &Result<T>, figures: impl FnOnce(&T) -> Figures) {
        if let Some(watched) = self.watched.take() {
            let (figures, result) = match result {
                Ok(value) => (figures(value), StatementResult::Done),
                Err(error) => (Figures::default(), StatementResult::Failed(error.kind())),
            };
            watched.end(figures, result);
        }
    }

    /// The call has ended. If it succeeded, tell only what was noted, because it ran no statement.
    pub(crate) fn end_unless_done<T>(mut self, result: &Result<T>) {
        if result.is_err() {
            return self.end(result, |_| Figures::default());
        }
        if let Some(watched) = self.watched.take() {
            watched.tell_notes(watched.sql(), watched.since.elapsed(), None);
        }
    }

    /// The call has returned its first rows, and a cursor for the rest.
    pub(crate) fn into_cursor(mut self, figures: Figures) -> Option<Box<CursorWatch>> {
        let watched = self.watched.take()?;
        let Of::Statement(sql) = watched.of else {
            return None;
        };
        let so_far = watched.so_far(figures);
        watched.tell_notes(sql, so_far.time, None);
        Some(Box::new(CursorWatch {
            sql: Arc::clone(sql),
            call: watched.notes.call,
            so_far: Mutex::new(Some(so_far)),
        }))
    }
}

impl Drop for CallWatch<'_> {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.end(Figures::default(), StatementResult::Cancelled);
        }
    }
}

impl<'a> Watched<'a> {
    #[cold]
    fn start(lent: &'a Lent, of: Of<'a>) -> Watched<'a> {
        let notes = CallNotes::new(match of {
            Of::Cursor(cursor) => cursor.call,
            _ => next_number(),
        });
        let begun = match of {
            Of::Sql(sql) => Some(sql),
            Of::Statement(sql) => Some(&**sql),
            Of::Prepare(_) | Of::Cursor(_) => None,
        };
        if let Some(sql) = begun {
            lent.tell(Some(notes.call), Event::StatementBegun { sql });
        }
        Watched {
            lent,
            of,
            since: Instant::now(),
            notes: Arc::new(notes),
        }
    }

    fn so_far(&self, figures: Figures) -> SoFar {
        SoFar {
            time: self.since.elapsed(),
            turn_wait: self.notes.turn_wait(),
            figures,
            wrote: self.notes.has_written(),
        }
    }

    fn sql(&self) -> &'a str {
        match self.of {
            Of::Sql(sql) | Of::Prepare(sql) => sql,
            Of::Statement(sql) => sql,
            Of::Cursor(cursor) => &cursor.sql,
        }
    }

    fn tell_notes(&self, sql: &str, time: Duration, end: Option<TransactionEnd>) {
        let notes = self.notes.take();
        let statement = (sql, time, self.notes.call);
        self.lent.tell_notes(notes, end, Some(statement));
    }

    #[cold]
    fn end(self, figures: Figures, result: StatementResult) {
        let so_far = self.so_far(figures);
        let end = match result {
            StatementResult::Failed(ErrorKind::DeadlineExceeded) => Some(TransactionEnd::Deadline),
            StatementResult::Cancelled => Some(TransactionEnd::Unfinished),
            _ => None,
        };
        let sql = self.sql();
        self.tell_notes(sql, so_far.time, end);
        match self.of {
            Of::Sql(_) | Of::Prepare(_) | Of::Statement(_) => {
                so_far.tell(self.lent, self.notes.call, sql, result);
            }
            Of::Cursor(cursor) => {
                let is_last = result != StatementResult::Done || figures.rows == 0;
                cursor.add(self.lent, so_far, is_last.then_some(result));
            }
        }
    }
}

impl CursorWatch {
    /// Add what a call has done; if there is a `result`, it was the last.
    fn add(&self, lent: &Lent, more: SoFar, result: Option<StatementResult>) {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sum) = &mut *so_far else { return };
        sum.time += more.time;
        sum.turn_wait += more.turn_wait;
        sum.figures.rows += more.figures.rows;
        sum.figures.bytes += more.figures.bytes;
        sum.wrote |= more.wrote;
        let Some(result) = result else { return };
        let told = so_far.take();
        drop(so_far);
        if let Some(told) = told {
            told.tell(lent, self.call, &self.sql, result);
        }
    }

    /// The cursor is dropped: tell, unless that was done at its end.
    pub(crate) fn dropped(&self, lent: &Lent) {
        self.add(lent, SoFar::default(), Some(StatementResult::Done));
    }
}

impl SoFar {
    fn tell(self, lent: &Lent, call: u64, sql: &str, result: StatementResult) {
        let Figures {
            rows,
            bytes,
            changes,
        } = self.figures;
        let event = Event::StatementFinished {
            sql,
            time: self.time,
            turn_wait: self.turn_wait,
            rows,
            bytes,
            changes,
            wrote: self.wrote,
            result,
        };
        lent.tell(Some(call), event);
    }
}

/// A wait for the turn to write. If this is dropped before it [ends](TurnWatch::end), its future
/// was.
#[derive(Debug)]
pub(crate) struct TurnWatch<'a> {
    watched: Option<(&'a Lent, &'a CallNotes, Instant)>,
}

impl<'a> TurnWatch<'a> {
    /// Watch the wait of the call with these notes, if there are any.
    pub(crate) fn new(lent: &'a Lent, notes: Option<&'a Arc<CallNotes>>) -> TurnWatch<'a> {
        TurnWatch {
            watched: notes.map(|notes| (lent, &**notes, Instant::now())),
        }
    }

    pub(crate) fn end(mut self, outcome: &Outcome) {
        self.tell(match outcome {
            outcome if outcome.has_run() => TurnEnd::Grouped,
            outcome if outcome.is_in_vain() => TurnEnd::InVain,
            _ => TurnEnd::Got,
        });
    }

    fn tell(&mut self, end: TurnEnd) {
        let Some((lent, notes, since)) = self.watched.take() else {
            return;
        };
        let waited = since.elapsed();
        notes.waited_for_turn(waited);
        if end == TurnEnd::Grouped {
            notes.wrote();
        }
        lent.tell(Some(notes.call), Event::TurnWaited { waited, end });
    }
}

impl Drop for TurnWatch<'_> {
    fn drop(&mut self) {
        self.tell(TurnEnd::Cancelled);
    }
}
