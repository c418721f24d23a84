//! Checkpoints: writing the log into the database, so that it can start anew
//! (<https://sqlite.org/wal.html#ckpt>).
//!
//! SQLite has whoever commits do it, once the log is long, for as long as it takes. And the log starts
//! anew only at a moment when nobody reads from it, which never comes where readers overlap: it grows
//! without end. Here a thread of the pool does it, beside those who read and write; and then holds back
//! who begins to read for a moment, until those who do have come to their end.
//!
//! The thread starts when there is something to do, and ends when there has been nothing for a while. While
//! much is read, its connection keeps a read mark: see `read_mark`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use millpond_pool::block_on;
use millpond_pool::clock;
use millpond_pool::engine::RequestId;
use tokio::time::timeout_at;

use crate::deadline::Watch;
use crate::error::Result;
use crate::ffi::hooks::LogLength;
use crate::open::settings::Settings;
use crate::open::{Location, Opened};
use crate::writers::gate::Gate;
use crate::writers::job::Job;
use crate::writers::queue::{Turn, TurnQueue, Waited};
use crate::writers::read_mark::{KEEP_TIME, ReadMark, Reads};

/// How long the log may get, in pages, before it is written into the database: as SQLite has it.
const LONG: u32 = 1_000;
/// How long before writers are held back too, where readers are waited for.
const TOO_LONG: u32 = 3_500;
/// How long those who read just now are waited for, and whoever writes; and how often it is looked.
const GAP_TIME: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_micros(100);
/// How long nobody is held back again, where that was for nothing.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long the thread stays without anything to do.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// What the connections of a pool and the thread have in common.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Itself, for the thread.
    this: Weak<Checkpoints>,
    location: Arc<Location>,
    settings: Settings,
    turns: Arc<TurnQueue<Job>>,
    gate: Gate,
    read_mark: ReadMark,
    /// How long the log was at the last commit, in pages, and when it is long enough for the thread.
    log: AtomicU32,
    due: AtomicU32,
    /// The connections, which tell whether they are being read from.
    watches: Mutex<Vec<Weak<Watch>>>,
    thread: Mutex<Thread>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Thread {
    runs: bool,
    wanted: Option<Wanted>,
    closed: bool,
}

/// What the thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// Keep a read mark.
    Mark,
    /// Write the log into the database.
    Checkpoint,
}

/// Somebody who reads, and the number of the read.
type Reader = (Weak<Watch>, u64);

impl Checkpoints {
    pub(crate) fn new(
        location: Arc<Location>,
        settings: Settings,
        turns: Arc<TurnQueue<Job>>,
    ) -> Arc<Checkpoints> {
        Arc::new_cyclic(|this| Checkpoints {
            this: this.clone(),
            location,
            settings,
            turns,
            gate: Gate::default(),
            read_mark: ReadMark::default(),
            log: AtomicU32::new(0),
            due: AtomicU32::new(LONG),
            watches: Mutex::default(),
            thread: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Watch a connection's reads.
    pub(crate) fn add(&self, watch: &Arc<Watch>) {
        let mut watches = self.watches();
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(watch));
    }

    /// A connection begins to read.
    pub(crate) fn read(&self, reads: &mut Reads) {
        // A database in memory has no log, and whoever reads it holds up whoever writes.
        if self.read_mark.read(reads) && !self.location.is_memory() {
            self.want(Wanted::Mark);
        }
    }

    /// Tell the thread what to do. False where none can be had.
    fn want(&self, wanted: Wanted) -> bool {
        let mut thread = self.thread();
        if thread.closed {
            return true;
        }
        // The greater comes first, and does for both.
        thread.wanted = thread.wanted.max(Some(wanted));
        if thread.runs {
            self.changed.notify_all();
            return true;
        }
        let Some(this) = self.this.upgrade() else {
            return false;
        };
        let started = std::thread::Builder::new()
            .name("millpond-checkpoint".to_owned())
            .spawn(move || this.run());
        thread.runs = started.is_ok();
        thread.runs
    }

    /// End the thread, and wait for it: milliseconds, for what it has begun to write.
    pub(crate) fn close(&self) {
        let mut thread = self.thread();
        thread.closed = true;
        self.changed.notify_all();
        while thread.runs {
            thread = self
                .changed
                .wait(thread)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self) {
        // Last of all, whatever happens: the pool waits for it.
        let _ended = Ended(self);
        // Whoever wrote the log had the same file open: what is wrong now may be right the next time.
        // Closing the pool waits for it: not for another process too.
        let until = clock::after(GAP_TIME);
        if let Ok(opened) = self.location.open(&self.settings, Arc::default(), until) {
            Checkpointer::new(self, opened).run();
        }
    }

    /// Wait until there is something to do, for so long. Also `None` where the pool is closed.
    fn wait(&self, time: Duration) -> Option<Wanted> {
        let nothing = |thread: &mut Thread| thread.wanted.is_none() && !thread.closed;
        let (mut thread, _) = self
            .changed
            .wait_timeout_while(self.thread(), time, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        thread.wanted.take().filter(|_| !thread.closed)
    }

    fn is_closed(&self) -> bool {
        self.thread().closed
    }

    /// Those who are reading.
    fn readers(&self) -> Vec<Reader> {
        let reader = |watch: &Weak<Watch>| {
            let read = watch.upgrade()?.read_under_way()?;
            Some((watch.clone(), read))
        };
        self.watches().iter().filter_map(reader).collect()
    }

    fn log(&self) -> u32 {
        self.log.load(Ordering::Relaxed)
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogLength for Checkpoints {
    /// False where no thread can be had: the one who commits writes the log.
    fn committed(&self, pages: u32) -> bool {
        self.read_mark.committed();
        self.log.store(pages, Ordering::Relaxed);
        let due = self.due.load(Ordering::Relaxed);
        if pages < due {
            if pages < LONG && due != LONG {
                // It has begun anew.
                self.due.store(LONG, Ordering::Relaxed);
            }
            return true;
        }
        // The thread is told once, and says itself when to tell it again.
        self.due.store(u32::MAX, Ordering::Relaxed);
        let told = self.want(Wanted::Checkpoint);
        if !told {
            self.due.store(LONG, Ordering::Relaxed);
        }
        told
    }
}

struct Ended<'a>(&'a Checkpoints);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let Ended(shared) = self;
        shared.thread().runs = false;
        shared.changed.notify_all();
        // Its connection is closed.
        shared.read_mark.forget();
        // Also where it could not do its work: not at every commit from now on.
        shared.due.store(shared.log() + LONG, Ordering::Relaxed);
    }
}

/// The thread at work.
struct Checkpointer<'a> {
    shared: &'a Checkpoints,
    opened: Opened,
    request: RequestId,
    /// When others may be held back again.
    not_before: Instant,
    /// Those who were waited for in vain: nobody is held back before their reads have ended.
    in_the_way: Vec<Reader>,
}

impl Checkpointer<'_> {
    fn new(shared: &Checkpoints, opened: Opened) -> Checkpointer<'_> {
        Checkpointer {
            shared,
            opened,
            request: RequestId::new(),
            not_before: Instant::now(),
            in_the_way: Vec::new(),
        }
    }

    fn run(&mut self) {
        loop {
            let mark = &self.shared.read_mark;
            let was_kept = mark.is_kept();
            let time = if was_kept { KEEP_TIME } else { IDLE_TIME };
            let wanted = self.shared.wait(time);
            mark.acknowledge();
            let was_used = mark.take_used();
            // Whatever comes now, it is in the way, or old. A connection that cannot let go of it is closed,
            // or it would be in the way for ever.
            if self.let_go_of_mark().is_err() {
                return;
            }
            match wanted {
                Some(Wanted::Checkpoint) => {
                    // A failure leaves the log as it is, and loses nothing: the next time may succeed.
                    let _ = self.write_log();
                    let due = self.shared.log() + LONG;
                    self.shared.due.store(due, Ordering::Relaxed);
                }
                None if !was_kept || self.shared.is_closed() => return,
                None if !was_used => {}
                None | Some(Wanted::Mark) => {
                    if self.keep_mark().is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn keep_mark(&self) -> Result<()> {
        let _scope = self.opened.memory.enter();
        let (mark, conn) = (&self.shared.read_mark, &self.opened.conn);
        Ok(self.opened.seen.trusting(|| mark.keep(conn))?)
    }

    fn let_go_of_mark(&self) -> Result<()> {
        let _scope = self.opened.memory.enter();
        let (mark, conn) = (&self.shared.read_mark, &self.opened.conn);
        Ok(self.opened.seen.trusting(|| mark.let_go(conn))?)
    }

    fn write_log(&mut self) -> Result<()> {
        let _scope = self.opened.memory.enter();
        // Most of it, in nobody's way.
        self.write()?;
        if Instant::now() < self.not_before || self.is_in_the_way() {
            return Ok(());
        }
        let _closed = self.shared.gate.close();
        match self.wait_for_readers() {
            // Nobody reads or writes: the rest of it. Whoever writes next starts the log anew, because
            // those who read from now on read from the database alone.
            Some(_turn) => self.write(),
            None => {
                self.not_before = Instant::now() + BACK_OFF;
                Ok(())
            }
        }
    }

    /// Write as much of the log into the database as nobody reads any more
    /// (<https://sqlite.org/c3ref/wal_checkpoint_v2.html>). Waits for nobody.
    fn write(&self) -> Result<()> {
        let conn = &self.opened.conn;
        let checkpoint = || conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        Ok(self.opened.seen.trusting(checkpoint)?)
    }

    /// Wait until nobody reads, the gate being closed, and for the turn to write.
    fn wait_for_readers(&mut self) -> Option<Turn<Job>> {
        let until = Instant::now() + GAP_TIME;
        let mut turn = None;
        loop {
            let readers = self.shared.readers();
            if readers.is_empty() {
                return turn.or_else(|| self.turn(until));
            }
            if Instant::now() >= until || self.shared.is_closed() {
                self.in_the_way = readers;
                return None;
            }
            if turn.is_none() && self.shared.log() >= TOO_LONG {
                turn = Some(self.turn(until)?);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn turn(&self, until: Instant) -> Option<Turn<Job>> {
        let wait = self.shared.turns.wait(self.request, None);
        match block_on(async { timeout_at(until.into(), wait).await }) {
            Ok(Waited::Turn(turn)) => Some(turn),
            _ => None,
        }
    }

    fn is_in_the_way(&mut self) -> bool {
        self.in_the_way.retain(|(watch, read)| {
            let watch = watch.upgrade();
            watch.and_then(|watch| watch.read_under_way()) == Some(*read)
        });
        !self.in_the_way.is_empty()
    }
}
