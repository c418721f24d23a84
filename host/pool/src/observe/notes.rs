//! What only a session knows, noted for the pool to tell once the session is unlocked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::TransactionEnd;

/// How many notes of one call are kept: further ones are not told. One call makes a few.
const MAX_NOTES: usize = 64;

/// Where a session notes what happened, for observers. After each call the pool takes the notes
/// while the session is locked, and tells them later.
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

/// The outcome of upkeep: see [`Event::UpkeepDone`](crate::observe::Event::UpkeepDone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// How many tables it analyzed for the query planner.
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

    fn add(&self, note: Note) {
        let mut list = lock(&self.list);
        if list.len() < MAX_NOTES {
            list.push(note);
        }
    }

    /// Take the notes. The session must be locked: otherwise they may be those of its next
    /// borrower.
    pub(crate) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut lock(&self.list))
    }
}

/// What happened during one call, until the observer is told.
#[derive(Debug)]
pub(crate) struct CallNotes {
    /// The number of the call, for observers.
    pub(super) call: u64,
    wrote: AtomicBool,
    /// How long the call has waited for its turn to write, in nanoseconds.
    turn_wait: AtomicU64,
    list: Mutex<Vec<Note>>,
}

impl CallNotes {
    pub(super) fn new(call: u64) -> CallNotes {
        CallNotes {
            call,
            wrote: AtomicBool::new(false),
            turn_wait: AtomicU64::new(0),
            list: Mutex::default(),
        }
    }

    /// Take what the session has noted. The session must be locked: otherwise it may already be
    /// lent to another borrower, or run another call.
    pub(crate) fn take_from(&self, notes: &Notes) {
        self.take_wrote_from(notes);
        let mut noted = lock(&notes.list);
        if !noted.is_empty() {
            lock(&self.list).append(&mut noted);
        }
    }

    /// Like [`take_from`](CallNotes::take_from), for a call that still runs: only whether it
    /// writes.
    pub(crate) fn take_wrote_from(&self, notes: &Notes) {
        if notes.wrote.swap(false, Ordering::Relaxed) {
            self.wrote();
        }
    }

    /// The call has run a statement that writes.
    pub(crate) fn wrote(&self) {
        self.wrote.store(true, Ordering::Relaxed);
    }

    /// The call was abandoned.
    pub(crate) fn abandoned(&self) {
        lock(&self.list).push(Note::Abandoned);
    }

    pub(crate) fn waited_for_turn(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.turn_wait.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    pub(crate) fn turn_wait(&self) -> Duration {
        Duration::from_nanos(self.turn_wait.load(Ordering::Relaxed))
    }

    pub(crate) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut lock(&self.list))
    }
}

fn lock(list: &Mutex<Vec<Note>>) -> MutexGuard<'_, Vec<Note>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
