//! What only a session knows, noted for the pool to tell once the session is unlocked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::event::TransactionEnd;

/// How many notes of one call are kept: further ones are not told. One call makes a few.
const MAX_NOTES: usize = 64;

/// Where a session notes what happened, for observers. The pool tells it after the call.
#[derive(Debug, Default)]
pub struct Notes {
    wrote: AtomicBool,
    list: Mutex<Vec<Note>>,
}

/// Something that a session noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Group(u32, Duration),
    Checkpoint(Checkpoint),
    TransactionEnded(TransactionEnd),
    /// By the pool.
    Abandoned,
}

/// The outcome of a checkpoint: see [`Event::Checkpointed`](crate::observe::Event::Checkpointed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many pages of the log are in the database file now.
    pub pages: u32,
    /// Whether these are all.
    pub is_complete: bool,
    /// How long it took.
    pub time: Duration,
}

/// The outcome of upkeep: see [`Event::Maintained`](crate::observe::Event::Maintained).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// How many tables it measured for the query planner.
    pub analyzed_tables: u32,
    /// How many free pages it gave back to the disk.
    pub freed_pages: u32,
    /// Whether it did all that was due.
    pub is_complete: bool,
    /// How long it took.
    pub time: Duration,
}

impl Notes {
    /// The call begins to run a statement that writes.
    pub fn wrote(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }

    /// The session has committed this many statements together; the commit took `time`.
    pub fn committed_group(&self, statements: u32, time: Duration) {
        self.add(Note::Group(statements, time));
    }

    /// The session has made a checkpoint.
    pub fn checkpointed(&self, checkpoint: Checkpoint) {
        self.add(Note::Checkpoint(checkpoint));
    }

    /// The open transaction was rolled back: by the session, because it was open for too long, or
    /// by the engine. Not for [`Session::reset`](crate::engine::Session::reset), which returns
    /// that.
    pub fn ended_transaction(&self, was_overdue: bool) {
        self.add(Note::TransactionEnded(match was_overdue {
            true => TransactionEnd::TransactionTime,
            false => TransactionEnd::Engine,
        }));
    }

    pub(crate) fn add(&self, note: Note) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < MAX_NOTES {
            list.push(note);
        }
    }

    /// Take the notes: that of an abandoned statement only `with_statement`, which its caller
    /// knows.
    pub(crate) fn take(&self, with_statement: bool) -> Vec<Note> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left = |note: &Note| *note == Note::Abandoned && !with_statement;
        let (left, taken) = list.drain(..).partition(is_left);
        *list = left;
        taken
    }

    pub(crate) fn take_wrote(&self) -> bool {
        self.wrote.swap(false, Ordering::Relaxed)
    }
}
