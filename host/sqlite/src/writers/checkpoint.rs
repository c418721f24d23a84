//! Checkpoints: copying the log into the database, so that the log can restart
//! (<https://sqlite.org/wal.html#ckpt>).
//!
//! By default, SQLite makes the committing connection do this once the log is long. And the log
//! only restarts when no connection reads it. If readers overlap, that never happens, and the log
//! grows without bound. Here a thread of the pool copies the log while others read and write; then
//! it holds back new readers for a moment, until the current ones finish.
//!
//! The thread starts when there is something to do, and ends after a while without work. While
//! there are many reads, its connection holds a read mark: see `read_mark`. When the pool is quiet
//! after much was written, the thread does its upkeep: see `upkeep`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use millpond_pool::block_on;
use millpond_pool::clock;
use millpond_pool::engine::{Checkpoint, Reporter, RequestId};
use millpond_pool::spawner;
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
use crate::writers::upkeep;

/// The length of the log, in pages, at which to checkpoint: SQLite's default.
const LONG: u32 = 1_000;
/// The length above which writers are held back too while waiting for readers.
const TOO_LONG: u32 = 3_500;
/// How long to wait for current readers and the writer; and how often to check.
const GAP_TIME: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_micros(100);
/// How long not to hold anybody back, if doing so was in vain.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long the idle thread lives.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// How many times to check whether the pool is unused before the thread gives up the upkeep.
const QUIET_LOOKS: u32 = 60;

/// What a pool's connections and the thread share.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// A reference to itself, for the thread.
    this: Weak<Checkpoints>,
    location: Arc<Location>,
    settings: Settings,
    reporter: Reporter,
    turns: Arc<TurnQueue<Job>>,
    gate: Gate,
    read_mark: ReadMark,
    /// The log's length at the last commit, in pages, and at which length to notify the thread.
    log: AtomicU32,
    due: AtomicU32,
    commits: AtomicU64,
    /// The connections, whose watches show whether they are reading.
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

/// The thread's next task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// Take a read mark.
    Mark,
    /// Copy the log into the database.
    Checkpoint,
}

/// A reading connection, and the number of its read.
type Reader = (Weak<Watch>, u64);

impl Checkpoints {
    pub(crate) fn new(
        location: Arc<Location>,
        settings: Settings,
        turns: Arc<TurnQueue<Job>>,
    ) -> Arc<Checkpoints> {
        let reporter = Reporter::new(&settings.pool, location.name());
        Arc::new_cyclic(|this| Checkpoints {
            this: this.clone(),
            reporter,
            location,
            settings,
            turns,
            gate: Gate::default(),
            read_mark: ReadMark::default(),
            log: AtomicU32::new(0),
            due: AtomicU32::new(LONG),
            commits: AtomicU64::new(0),
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
        // An in-memory database has no log, and its readers block its writers.
        if self.read_mark.read(reads) && !self.location.is_memory() {
            self.want(Wanted::Mark);
        }
    }

    /// Tell the thread what to do. Returns false if no thread could start.
    fn want(&self, wanted: Wanted) -> bool {
        let mut thread = self.thread();
        if thread.closed {
            return true;
        }
        // The greater task comes first, and includes the other.
        thread.wanted = thread.wanted.max(Some(wanted));
        if thread.runs {
            self.changed.notify_all();
            return true;
        }
        let Some(this) = self.this.upgrade() else {
            return false;
        };
        let builder = std::thread::Builder::new().name("millpond-checkpoint".to_owned());
        let started = spawner::spawn(builder, move || this.run());
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
        // Dropped last, whatever happens: the pool waits for it.
        let _ended = Ended(self);
        // The committing connection had the same file open, so a failure now may be temporary.
        // Closing the pool waits for this: do not wait for another process too.
        let until = clock::after(GAP_TIME);
        if let Ok(opened) = self.location.open(&self.settings, Arc::default(), until) {
            Checkpointer::new(self, opened).run();
        }
    }

    /// Wait up to `time` for something to do. Also returns `None` if the pool is closed.
    fn wait(&self, time: Duration) -> Option<Wanted> {
        let nothing = |thread: &mut Thread| thread.wanted.is_none() && !thread.closed;
        let (mut thread, _) = self
            .changed
            .wait_timeout_while(self.thread(), time, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        thread.wanted.take().filter(|_| !thread.closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.thread().closed
    }

    pub(super) fn turns(&self) -> &Arc<TurnQueue<Job>> {
        &self.turns
    }

    pub(super) fn weak(&self) -> Weak<Checkpoints> {
        self.this.clone()
    }

    /// The log is empty now.
    pub(super) fn note_empty_log(&self) {
        self.log.store(0, Ordering::Relaxed);
        self.due.store(LONG, Ordering::Relaxed);
    }

    /// Whether a connection is reading.
    pub(super) fn is_read(&self) -> bool {
        !self.readers().is_empty()
    }

    /// A number that changes with each commit, and with each read that begins or ends.
    fn uses(&self) -> u64 {
        let watches = self.watches();
        let reads = watches
            .iter()
            .filter_map(|watch| Some(watch.upgrade()?.reads()));
        reads.fold(self.commits.load(Ordering::Relaxed), u64::wrapping_add)
    }

    /// The connections that are reading.
    fn readers(&self) -> Vec<Reader> {
        let reader = |watch: &Weak<Watch>| {
            let read = watch.upgrade()?.read_under_way()?;
            Some((watch.clone(), read))
        };
        self.watches().iter().filter_map(reader).collect()
    }

    /// The log's length at the last commit, in pages.
    pub(crate) fn log(&self) -> u32 {
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
    /// Returns false if no thread could start: the committing connection must checkpoint.
    fn committed(&self, pages: u32) -> bool {
        self.read_mark.committed();
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.log.store(pages, Ordering::Relaxed);
        let due = self.due.load(Ordering::Relaxed);
        if pages < due {
            if pages < LONG && due != LONG {
                // The log has restarted.
                self.due.store(LONG, Ordering::Relaxed);
            }
            return true;
        }
        // Notify the thread once; it sets when to notify it again.
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
        // Even if it failed: do not notify it at every commit from now on.
        shared.due.store(shared.log() + LONG, Ordering::Relaxed);
    }
}

/// How many pages the log has, and how many of these are in the database.
#[derive(Clone, Copy)]
struct Written {
    log: u32,
    pages: u32,
}

/// The running thread.
struct Checkpointer<'a> {
    shared: &'a Checkpoints,
    opened: Opened,
    request: RequestId,
    /// When others may be held back again.
    not_before: Instant,
    /// Readers that it waited for in vain: it delays no one until their reads have ended.
    in_the_way: Vec<Reader>,
    /// How many more times to check whether the pool is unused; 0 if no upkeep is due.
    quiet_looks: u32,
    /// [`Checkpoints::uses`] at the last check.
    uses: u64,
}

impl Checkpointer<'_> {
    fn new(shared: &Checkpoints, opened: Opened) -> Checkpointer<'_> {
        Checkpointer {
            shared,
            opened,
            request: RequestId::new(),
            not_before: Instant::now(),
            in_the_way: Vec::new(),
            quiet_looks: 0,
            uses: shared.uses(),
        }
    }

    fn run(&mut self) {
        loop {
            let mark = &self.shared.read_mark;
            let was_kept = mark.is_kept();
            let time = match was_kept {
                true => KEEP_TIME,
                false if self.quiet_looks > 0 => self.shared.settings.upkeep_after,
                false => IDLE_TIME,
            };
            let wanted = self.shared.wait(time);
            mark.acknowledge();
            let was_used = mark.take_used();
            // Whatever the task is, the old mark is in the way, or outdated. If it cannot be
            // released, close the connection, or the mark would stay forever.
            if self.let_go_of_mark().is_err() {
                return;
            }
            match wanted {
                Some(Wanted::Checkpoint) => {
                    // A failure leaves the log as it is, and loses nothing: the next attempt may
                    // succeed.
                    self.checkpoint();
                    if !self.shared.settings.upkeep_after.is_zero() {
                        self.quiet_looks = QUIET_LOOKS;
                    }
                    let due = self.shared.log() + LONG;
                    self.shared.due.store(due, Ordering::Relaxed);
                }
                None if self.shared.is_closed() => return,
                None if !was_kept => match self.quiet_looks {
                    0 => return,
                    _ => self.keep_up(),
                },
                None if !was_used => {}
                None | Some(Wanted::Mark) => {
                    if self.keep_mark().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Do the upkeep, if the pool has not been used since the last check.
    fn keep_up(&mut self) {
        self.quiet_looks -= 1;
        let uses = self.shared.uses();
        if std::mem::replace(&mut self.uses, uses) != uses || self.shared.is_read() {
            return;
        }
        let memory = self.opened.memory.account();
        let _scope = memory.enter();
        let done = upkeep::run(self.shared, &mut self.opened);
        if done.is_complete {
            self.quiet_looks = 0;
        }
        self.shared.reporter.upkeep_done(done);
    }

    fn keep_mark(&self) -> Result<()> {
        let _scope = self.opened.memory.enter();
        let (mark, conn) = (&self.shared.read_mark, &self.opened.conn);
        Ok(self.opened.authorizer.trusting(|| mark.keep(conn))?)
    }

    fn let_go_of_mark(&self) -> Result<()> {
        let _scope = self.opened.memory.enter();
        let (mark, conn) = (&self.shared.read_mark, &self.opened.conn);
        Ok(self.opened.authorizer.trusting(|| mark.let_go(conn))?)
    }

    fn checkpoint(&mut self) {
        if !self.shared.reporter.is_on() {
            let _ = self.write_log();
            return;
        }
        let since = Instant::now();
        let written = self.write_log().unwrap_or(Written {
            log: self.shared.log(),
            pages: 0,
        });
        let checkpoint = Checkpoint {
            pages: written.pages,
            is_complete: written.pages == written.log,
            time: since.elapsed(),
        };
        self.shared.reporter.checkpointed(checkpoint);
    }

    fn write_log(&mut self) -> Result<Written> {
        let _scope = self.opened.memory.enter();
        // Most of it, without blocking anybody.
        let written = self.write()?;
        if Instant::now() < self.not_before || self.is_in_the_way() {
            return Ok(written);
        }
        let _closed = self.shared.gate.close();
        match self.wait_for_readers() {
            // No one reads or writes: copy the rest. The next writer restarts the log, because
            // readers from now on read only from the database.
            Some(_turn) => self.write(),
            None => {
                self.not_before = Instant::now() + BACK_OFF;
                Ok(written)
            }
        }
    }

    /// Copy as much of the log into the database as no reader needs
    /// (<https://sqlite.org/c3ref/wal_checkpoint_v2.html>). Does not wait.
    fn write(&self) -> Result<Written> {
        let conn = &self.opened.conn;
        let checkpoint = || {
            conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                // Negative while another process makes one.
                let pages = |column| row.get::<_, i64>(column).map(u32::try_from);
                Ok(Written {
                    log: pages(1)?.unwrap_or(u32::MAX),
                    pages: pages(2)?.unwrap_or(0),
                })
            })
        };
        Ok(self.opened.authorizer.trusting(checkpoint)?)
    }

    /// With the gate closed, wait until no one reads, and for the turn to write.
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

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
