//! A read mark that the pool keeps, so that its readers need not lock one.
//!
//! Whoever begins to read locks a read mark, which says how much of the log it reads, and unlocks it at the
//! end (<https://sqlite.org/walformat.html#the_wal_index_file_format>): two system calls, which take longer
//! than it takes to find a row. SQLite makes neither where another connection of the process has locked the
//! same mark. So where much is read between two commits, the pool's own connection keeps the newest one
//! locked, as a transaction that reads.
//!
//! It is in the way of checkpoints, as every reader is: `checkpoint` lets go of it before its own, and at
//! least once in [`KEEP_TIME`] for those of other processes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

/// How long a mark is kept at a time.
pub(crate) const KEEP_TIME: Duration = Duration::from_secs(1);
/// How often a connection reads before it looks whether the mark should be kept: seldom enough to cost
/// nothing, and so that taking it, which costs as much as some dozen reads, pays.
const MANY: u64 = 64;

/// What those who read, those who commit and the one who keeps the mark have in common.
///
/// None of it needs to be exact: a mark that is older than the last commit helps nobody, and harms nobody
/// either.
#[derive(Debug, Default)]
pub(crate) struct ReadMark {
    /// How many commits there have been.
    commits: AtomicU64,
    /// One more than there had been when the mark was taken; 0 where none is kept.
    kept: AtomicU64,
    /// Somebody made use of it.
    used: AtomicBool,
    /// It has been asked for, and nobody has seen to it yet.
    wanted: AtomicBool,
}

/// How much a connection has read.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    number: u64,
    /// How many commits there had been when it last looked.
    commits: u64,
}

impl ReadMark {
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection begins to read. True where the mark should be taken now.
    pub(crate) fn read(&self, reads: &mut Reads) -> bool {
        reads.number += 1;
        if !reads.number.is_multiple_of(MANY) {
            return false;
        }
        let commits = self.commits.load(Ordering::Relaxed);
        let none_since = std::mem::replace(&mut reads.commits, commits) == commits;
        if self.kept.load(Ordering::Relaxed) == commits + 1 {
            if !self.used.load(Ordering::Relaxed) {
                self.used.store(true, Ordering::Relaxed);
            }
            return false;
        }
        none_since && !self.wanted.swap(true, Ordering::Relaxed)
    }

    /// Whoever wants it now is to ask again.
    pub(crate) fn acknowledge(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// Whether anybody made use of it since the last time.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) != 0
    }

    /// Keep the newest mark, by a connection without a transaction, which is to be closed where that fails.
    pub(crate) fn keep(&self, conn: &Connection) -> rusqlite::Result<()> {
        let commits = self.commits.load(Ordering::Relaxed);
        conn.execute_batch("BEGIN")?;
        // The mark is taken by the first statement that reads.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        self.kept.store(commits + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Let go of it, by the same connection, which is to be closed where that fails.
    pub(crate) fn let_go(&self, conn: &Connection) -> rusqlite::Result<()> {
        if self.kept.swap(0, Ordering::Relaxed) == 0 {
            return Ok(());
        }
        conn.execute_batch("COMMIT")
    }

    /// The connection that kept it, if any did, is closed.
    pub(crate) fn forget(&self) {
        self.kept.store(0, Ordering::Relaxed);
        self.acknowledge();
    }
}
