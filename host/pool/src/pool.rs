//! The pool: connections to one database, lent and taken back.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use crate::block_on::block_on;
use crate::builder::PoolBuilder;
use crate::checkpoint::Checkpoints;
use crate::clock::{self, NEVER};
use crate::connection::Connection;
use crate::db::{Access, Db, Job};
use crate::error::{Error, ErrorKind, Result};
use crate::grant::Grant;
use crate::lent::Lent;
use crate::open::{Location, Opened};
use crate::request::{Request, RequestId};
use crate::self_test;
use crate::settings::Settings;
use crate::slots::{Closed, Place, Returned, Slots, Taken};
use crate::stats::PoolStats;
use crate::turn::{TurnQueue, Waited};
use crate::watch::Watch;
use crate::worker::hand_over;

/// How long closing waits before it ends connections in use once more.
const END_AGAIN: Duration = Duration::from_millis(10);

/// How long closing waits at least for another connection to be done with the log: it may be one of
/// the pool's own, which is just being closed too.
const LAST_WAIT: Duration = Duration::from_millis(30);

/// How long somebody whose job is likely to be done within that time keeps its thread awake.
const SPIN_TIME: Duration = Duration::from_micros(300);

/// How often those who wait look whether somebody holds what they wait for too long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A pool of connections to one SQLite database. Clones share it.
///
/// At most [`max_size`](PoolBuilder::max_size) connections exist. Callers wait for one in the
/// order they came. A connection that comes back is made as new before it is lent again, or
/// closed if it cannot be.
///
/// What is committed goes to the write-ahead log. A thread of the pool, with a connection of its
/// own, writes a log of 1,000 pages into the database, beside those who read and write, and has it
/// start anew (<https://sqlite.org/wal.html#ckpt>). For that it waits up to 100 ms until those who
/// read have come to their end: who begins to read meanwhile waits too, and so do writers once the
/// log has 3,500 pages. Where a reader takes longer, the log grows until that one ends, and is
/// not waited for again.
///
/// While much is read and little committed, the same connection keeps a read mark
/// (<https://sqlite.org/walformat.html>), which spares every other reader of the process two system
/// calls: a row is found in half the time. It lets go of it before it writes the log, and once a
/// second for checkpoints of other processes, which find the database read until then.
///
/// The thread is there only while there is something to do, and 5 seconds longer. In memory there
/// is no log, and no mark.
///
/// Dropping the last clone closes the idle connections; those still lent are closed when they
/// come back. To be sure that the log is written into the database and gone, use
/// [`close`](Pool::close).
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// What the pool and its lent connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    location: Arc<Location>,
    settings: Settings,
    /// In boxes, because they are handed from one to the next, and are large.
    slots: Slots<Box<Db>>,
    turns: Arc<TurnQueue<Job>>,
    checkpoints: Arc<Checkpoints>,
    /// The connections in use, for the pool to end when it closes.
    lent: Mutex<Slab<Weak<Lent>>>,
    /// A database in memory lasts as long as a connection to it: this one, never lent.
    _anchor: Option<Mutex<Opened>>,
}

impl Pool {
    /// Start to build a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    pub(crate) fn open(location: Location, settings: Settings) -> Result<Pool> {
        location.create(settings.read_only)?;
        location.remember();
        let anchor = match location.is_memory() {
            true => Some(Mutex::new(location.open(&settings, NEVER)?)),
            false => None,
        };
        // Opened even if it is not kept: what is wrong with the file is to be known now.
        let first = location.open(&settings, NEVER)?;
        self_test::run(&first.conn)?;
        let location = Arc::new(location);
        let turns = TurnQueue::new();
        let checkpoints =
            Checkpoints::new(Arc::clone(&location), settings.clone(), Arc::clone(&turns));
        let shared = Shared {
            location,
            slots: Slots::new(settings.max_size, settings.max_idle()),
            settings,
            turns,
            checkpoints,
            lent: Mutex::default(),
            _anchor: anchor,
        };
        if shared.settings.max_idle() > 0 {
            shared.slots.add_idle(shared.db(first));
        }
        Ok(Pool {
            shared: Arc::new(shared),
        })
    }

    /// Get a connection, for a request of its own.
    ///
    /// With one idle it is lent at once. With none and fewer than `max_size` open, one is opened
    /// on the calling thread, which takes about as long as reading the schema. Otherwise it
    /// waits, without a thread, in the order callers came, for up to
    /// [`timeout`](PoolBuilder::timeout). Dropping the future leaves the line.
    ///
    /// Must be awaited within a tokio runtime with time enabled; elsewhere use
    /// [`get_blocking`](Pool::get_blocking).
    ///
    /// # Errors
    ///
    /// [`PoolTimeout`](ErrorKind::PoolTimeout): none came free in time.
    /// [`PoolClosed`](ErrorKind::PoolClosed): the pool is closed, or was while waiting.
    /// [`CannotOpen`](ErrorKind::CannotOpen), [`Corrupt`](ErrorKind::Corrupt): a connection
    /// had to be opened, and could not be.
    pub async fn get(&self, access: Access) -> Result<Connection> {
        let grant = Grant::new(self, access);
        self.lend(&grant, access, &Request::new()).await
    }

    pub(crate) async fn lend(
        &self,
        grant: &Grant,
        access: Access,
        request: &Request,
    ) -> Result<Connection> {
        let shared = &self.shared;
        if shared.settings.read_only && access == Access::ReadWrite {
            return Err(Error::new(
                ErrorKind::NotAuthorized,
                "the database is open for reading only",
            ));
        }
        let share = shared.share(grant, request).await?;
        let place = match shared.slots.try_place().map_err(|Closed| Error::closed())? {
            Some(place) => place,
            None => {
                let since = Instant::now();
                let until = shared.wait_until(since, request.ends_at());
                let place = shared.slots.wait_place();
                let look = |lent: &Lent| lent.end_overdue();
                let is_over = || request.is_interrupted();
                match Box::pin(shared.wait(place, until, is_over, look)).await {
                    Some(place) => place.map_err(|Closed| Error::closed())?,
                    None => return Err(shared.timed_out(since, request)),
                }
            }
        };
        Shared::lend(shared, (place, share), grant, access, request)
    }

    /// As [`get`](Pool::get), on a thread that may block, in or outside of any runtime.
    pub fn get_blocking(&self, access: Access) -> Result<Connection> {
        block_on(self.get(access))
    }

    /// The most connections that exist at once.
    pub fn max_size(&self) -> u32 {
        self.shared.settings.max_size
    }

    /// The pool's counters: those of connections all taken at one moment, those of writers at
    /// another.
    pub fn stats(&self) -> PoolStats {
        let turns = self.shared.turns.counters();
        PoolStats {
            writers_waiting: turns.waiting,
            writer_timeouts: turns.timeouts,
            writer_wait_time: turns.wait_time,
            groups: turns.groups,
            grouped_statements: turns.grouped,
            ..self.shared.slots.stats()
        }
    }

    /// Close the pool: nobody gets a connection any more, and those in line get
    /// [`PoolClosed`](ErrorKind::PoolClosed) at once.
    ///
    /// Waits up to `grace` for the connections in use to come back. Those that have not are ended:
    /// their statement is stopped, their transaction rolled back, and their handles answer
    /// [`StaleHandle`](ErrorKind::StaleHandle). Then the log is written into the database, and
    /// every connection closed: if no other process has the database open, no `-wal` file is left.
    /// Closing waits for another process that is writing until `grace` ends, and 30 ms at least.
    /// After that the log stays, and the next process to open the database takes it over.
    ///
    /// Ending a connection waits for the statement that it runs to notice, which takes
    /// milliseconds, and the last steps write to the disk: both block the thread, and both come
    /// on top of `grace`.
    ///
    /// Closing a closed pool does nothing. Needs a tokio runtime with time enabled, as
    /// [`get`](Pool::get) does.
    pub async fn close(&self, grace: Duration) {
        let shared = &self.shared;
        let until = clock::after(grace.max(LAST_WAIT));
        shared.slots.close();
        let mut drained = tokio::time::timeout(grace, shared.slots.drained()).await;
        shared.turns.close();
        while drained.is_err() {
            shared.end_all();
            // Again, because a connection that was just being lent may not have been in the
            // list of those in use.
            drained = tokio::time::timeout(END_AGAIN, shared.slots.drained()).await;
        }
        // The last steps write to the disk, and wait for it.
        hand_over();
        shared.checkpoints.close();
        shared.slots.empty(|last| {
            // A failure leaves the log to whoever opens the database next: nothing is lost.
            let _ = last.checkpoint(until);
        });
    }

    /// As [`close`](Pool::close), on a thread that may block.
    pub fn close_blocking(&self, grace: Duration) {
        block_on(self.close(grace));
    }
}

impl Shared {
    fn lend(
        shared: &Arc<Shared>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        grant: &Grant,
        access: Access,
        request: &Request,
    ) -> Result<Connection> {
        let taken = shared
            .slots
            .take(&place, |db| db.suits(access))
            .map_err(|Closed| Error::closed())?;
        let mut db = match taken {
            Taken::Idle(db) => db,
            Taken::Open(opening) => {
                // Reading the schema may take longer than a worker may be kept.
                hand_over();
                let until = clock::at(request.ends_at());
                let opened = shared.location.open(&shared.settings, until)?;
                opening
                    .opened(shared.db(opened))
                    .map_err(|Closed| Error::closed())?
            }
        };
        let found = shared.location.check_identity();
        let lending = match found.and_then(|()| db.lend(request.id(), grant, access)) {
            Ok(lending) => lending,
            Err(error) => {
                shared.slots.give_back(place, db, Returned::Discard, false);
                return Err(error);
            }
        };
        db.set_deadline(request.ends_at());
        request.enter(db.watch(), lending);
        let hold_until = clock::after(grant.limits().hold);
        let place = (place, share);
        let lent = Lent::new(
            Arc::clone(shared),
            db,
            place,
            request.id(),
            lending,
            hold_until,
        );
        Ok(Connection::new(lent))
    }

    fn db(&self, opened: Opened) -> Box<Db> {
        let (turns, checkpoints) = (Arc::clone(&self.turns), Arc::clone(&self.checkpoints));
        Box::new(Db::new(opened, &self.settings, turns, checkpoints))
    }

    /// Wait for a part of what the grant may hold, behind others under the same grant alone.
    async fn share(
        &self,
        grant: &Grant,
        request: &Request,
    ) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(share) = grant.shared() else {
            return Ok(None);
        };
        if let Ok(permit) = Arc::clone(share).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let since = Instant::now();
        let until = self.wait_until(since, request.ends_at());
        let permit = Arc::clone(share).acquire_owned();
        let look = |lent: &Lent| lent.end_overdue();
        let is_over = || request.is_interrupted() || self.slots.is_closed();
        match Box::pin(self.wait(permit, until, is_over, look)).await {
            Some(Ok(permit)) => Ok(Some(permit)),
            _ if self.slots.is_closed() => Err(Error::closed()),
            _ => Err(self.timed_out(since, request)),
        }
    }

    fn timed_out(&self, since: Instant, request: &Request) -> Error {
        // Clients that go away are no sign of a pool that is too small.
        let in_use = match request.is_interrupted() {
            true => self.slots.stats().in_use,
            false => self.slots.timed_out(),
        };
        let waited = since.elapsed();
        Error::new(
            ErrorKind::PoolTimeout { waited, in_use },
            format!(
                "no connection came free in {waited:.1?}: {in_use} of {} are in use",
                self.settings.max_size
            ),
        )
    }

    /// Wait for the turn to write, or for another writer to do the job.
    pub(crate) async fn wait_turn(
        &self,
        request: RequestId,
        watch: &Watch,
        job: Option<Job>,
    ) -> Result<Waited<Job>> {
        let since = Instant::now();
        let until = self.wait_until(since, watch.deadline());
        let is_quick = job.is_some() && self.turns.is_quick(SPIN_TIME);
        let mut waited = self.turns.wait(request, job);
        if is_quick {
            waited.spin(SPIN_TIME);
        }
        let look = |lent: &Lent| lent.end_overdue_transaction();
        let is_over = || watch.is_interrupted();
        let had = self.wait(&mut waited, until, is_over, look).await;
        let gave_up = had.is_none() && waited.leave();
        // Clients that go away are no sign of a writer that takes too long.
        let is_timeout = gave_up && !is_over();
        self.turns.count_wait(since.elapsed(), is_timeout);
        match had {
            Some(waited) => Ok(waited),
            None if gave_up => Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "another writer held the database for {:.1?}",
                    since.elapsed()
                ),
            )),
            // What is being written for it just now must not be said to have failed. It takes no
            // longer than a group may.
            None => Ok(waited.await),
        }
    }

    /// Wait until those who begin to read are held back no more, or the time is over: what is tried
    /// again then says so.
    pub(crate) async fn wait_gate(&self, watch: &Watch) {
        /// Longer than it ever takes.
        const ENOUGH: Duration = Duration::from_secs(10);
        let until = watch.deadline();
        let until = until.unwrap_or_else(|| Instant::now() + ENOUGH);
        let is_over = || watch.is_interrupted();
        let opened = self.checkpoints.gate().opened();
        self.wait(opened, until, is_over, |_| ()).await;
    }

    /// Wait for `wanted` until a time, or until the wait is over; `None` when either comes first.
    /// A waiter looks after those that keep it waiting, and ends what has been held for too long,
    /// which harms only those that wait.
    ///
    /// To be boxed: hardly a call waits, and the future of every call would have to be as large.
    async fn wait<T>(
        &self,
        wanted: impl Future<Output = T>,
        until: Instant,
        is_over: impl Fn() -> bool,
        look: impl Fn(&Lent),
    ) -> Option<T> {
        let mut wanted = pin!(wanted);
        loop {
            let next = until.min(Instant::now() + LOOK_AGAIN);
            match timeout_at(next.into(), wanted.as_mut()).await {
                Ok(had) => return Some(had),
                Err(_) if is_over() || Instant::now() >= until => return None,
                Err(_) => self.in_use().iter().for_each(|lent| look(lent)),
            }
        }
    }

    fn wait_until(&self, since: Instant, deadline: Option<Instant>) -> Instant {
        let until = since + self.settings.timeout;
        deadline.map_or(until, |deadline| deadline.min(until))
    }

    /// Enter a connection in the list of those in use.
    pub(crate) fn enter(&self, lent: Weak<Lent>) -> usize {
        self.lent().insert(lent)
    }

    /// Take a connection back: reset it, and keep or close it.
    pub(crate) fn take_back(
        &self,
        entry: usize,
        mut db: Box<Db>,
        place: Place,
        returned: Returned,
    ) {
        self.lent().try_remove(entry);
        let (rolled_back, clean) = db.reset();
        let returned = match returned {
            Returned::Abandoned => Returned::Abandoned,
            _ if !clean => Returned::Discard,
            returned => returned,
        };
        self.slots.give_back(place, db, returned, rolled_back);
    }

    /// A call did not end, and its caller has gone on without it.
    pub(crate) fn abandoned(&self) {
        self.slots.abandon();
    }

    /// Say so, to the operator.
    pub(crate) fn warn_of_abandoned(&self) {
        log::warn!(
            "SQLite did not end a statement on {} at its deadline: one connection less until it does",
            self.location.name()
        );
    }

    /// End every connection in use.
    fn end_all(&self) {
        for lent in self.in_use() {
            lent.end();
        }
    }

    /// The connections in use just now. Not under their lock, because taking one back needs it.
    fn in_use(&self) -> Vec<Arc<Lent>> {
        let lent = self.lent();
        lent.iter().filter_map(|(_, lent)| lent.upgrade()).collect()
    }

    fn lent(&self) -> MutexGuard<'_, Slab<Weak<Lent>>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.checkpoints.close();
    }
}
