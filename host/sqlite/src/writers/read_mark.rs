//! A read mark that the pool holds, so that its readers need not lock one.
//!
//! A reader locks a read mark, which says how much of the log it reads, and unlocks it at the end
//! (<https://sqlite.org/walformat.html#the_wal_index_file_format>): two system calls, which take
//! longer than finding a row. SQLite skips both if another connection of the process has locked the
//! same mark. So while there are many reads between two commits, the pool's own connection keeps
//! the newest mark locked, with a transaction that reads.
//!
//! Like every reader, it blocks checkpoints: `checkpoint` releases it before its own, and at least
//! once in [`KEEP_TIME`] for those of other processes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

/// How long a mark is held at a time.
pub(crate) const KEEP_TIME: Duration = Duration::from_secs(1);
/// How many reads of a connection lie between two checks whether to hold the mark. High enough to
/// cost nothing, and so that taking the mark, which costs as much as some dozen reads, pays off.
const MANY: u64 = 64;

/// Shared by the readers, the writers and the thread that holds the mark.
///
/// None of it needs to be exact: a mark older than the last commit is useless, but harmless.
#[derive(Debug, Default)]
pub(crate) struct ReadMark {
    /// The number of commits.
    commits: AtomicU64,
    /// One more than `commits` when the mark was taken; 0 if none is held.
    kept: AtomicU64,
    /// Whether a reader has used it.
    used: AtomicBool,
    /// Whether it has been requested, and the thread has not reacted yet.
    wanted: AtomicBool,
}

/// One connection's reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    number: u64,
    /// The number of commits when it last checked.
    commits: u64,
}

impl ReadMark {
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection begins to read. Returns whether to request the mark now.
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

    /// The request has been received: a reader that wants the mark must request it again.
    pub(crate) fn acknowledge(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// Whether a reader has used it since the last call.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) != 0
    }

    /// Take the newest mark, with a connection that has no transaction. If this fails, close the
    /// connection.
    pub(crate) fn keep(&self, conn: &Connection) -> rusqlite::Result<()> {
        let commits = self.commits.load(Ordering::Relaxed);
        conn.execute_batch("BEGIN")?;
        // The first statement that reads takes the mark.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        self.kept.store(commits + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Release the mark, with the same connection. If this fails, close the connection.
    pub(crate) fn let_go(&self, conn: &Connection) -> rusqlite::Result<()> {
        if self.kept.swap(0, Ordering::Relaxed) == 0 {
            return Ok(());
        }
        conn.execute_batch("COMMIT")
    }

    /// The connection that held it, if any did, is closed.
    pub(crate) fn forget(&self) {
        self.kept.store(0, Ordering::Relaxed);
        self.acknowledge();
    }
}
