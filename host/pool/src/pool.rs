//! The pool: connections to one database, lent and taken back.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{timeout, timeout_at};

use crate::block_on::block_on;
use crate::clock::{self, NEVER};
use crate::connection::Connection;
use crate::engine::{Engine, Outcome, Session, Terms, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::grant::Grant;
use crate::lent::Lent;
use crate::request::Request;
use crate::settings::Settings;
use crate::slots::{Closed, Place, Returned, Slots, Taken};
use crate::stats::PoolStats;
use crate::stop_flag::StopFlag;
use crate::thread::Thread;
use crate::value::Access;
use crate::worker::hand_over;

/// How long closing waits before it ends connections in use once more.
const END_AGAIN: Duration = Duration::from_millis(10);

/// How long closing waits at least for another connection to be done with the log: it may be one of
/// the pool's own, which is just being closed too.
const LAST_WAIT: Duration = Duration::from_millis(30);

/// How often those who wait look whether somebody holds what they wait for too long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A pool of connections to one database. Clones share it.
///
/// At most [`max_size`](Pool::max_size) connections exist. Callers wait for one in the order they
/// came. A connection that comes back is made as new before it is lent again, or closed if it cannot
/// be.
///
/// Dropping the last clone closes the idle connections; those still lent are closed when they
/// come back. To be sure that everything is written where it belongs, use [`close`](Pool::close).
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// What the pool and its lent connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    engine: Arc<dyn Engine>,
    settings: Settings,
    /// In boxes, because they are handed from one to the next.
    slots: Slots<Box<Pooled>>,
    /// The connections in use, for the pool to end when it closes.
    lent: Mutex<Slab<Weak<Lent>>>,
}

/// A session, with what the pool keeps for it.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) session: Box<dyn Session>,
    pub(crate) stop: Arc<StopFlag>,
    /// Where it has needed one.
    thread: Option<Thread>,
}

impl Pooled {
    async fn open(engine: &dyn Engine, until: u64) -> Result<Box<Pooled>> {
        let stop = Arc::new(StopFlag::default());
        Ok(Box::new(Pooled {
            session: engine.open(Arc::clone(&stop), until).await?,
            stop,
            thread: None,
        }))
    }

    /// The session's own thread.
    pub(crate) fn thread(&mut self) -> Result<Thread> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => Thread::start()?,
        };
        Ok(self.thread.insert(thread).clone())
    }
}

impl Pool {
    /// A pool of sessions of `engine`. Opens one, even if it is not to be kept, so that what is wrong
    /// with the database is known now.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::open`].
    pub async fn open(engine: Arc<dyn Engine>, settings: Settings) -> Result<Pool> {
        let first = Pooled::open(&*engine, NEVER).await?;
        let slots = Slots::new(settings.max_size, settings.most_idle());
        if settings.most_idle() > 0 {
            slots.add_idle(first);
        }
        Ok(Pool {
            shared: Arc::new(Shared {
                engine,
                settings,
                slots,
                lent: Mutex::default(),
            }),
        })
    }

    /// Get a connection, for a request of its own.
    ///
    /// With one idle it is lent at once. With none and fewer than `max_size` open, one is opened
    /// on the calling thread, which takes about as long as reading the schema. Otherwise it
    /// waits, without a thread, in the order callers came, for up to
    /// [`timeout`](Settings::timeout). Dropping the future leaves the line.
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

    pub(crate) fn check(&self, grant: &Grant, access: Access) -> Result<()> {
        let engine = &self.shared.engine;
        engine.check(access, grant.rights(), &grant.limits())
    }

    pub(crate) async fn lend(
        &self,
        grant: &Grant,
        access: Access,
        request: &Request,
    ) -> Result<Connection> {
        let shared = &self.shared;
        self.check(grant, access)?;
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
        Shared::lend(shared, (place, share), grant, access, request).await
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
        let mut stats = self.shared.slots.stats();
        self.shared.engine.count(&mut stats);
        stats
    }

    /// Close the pool: nobody gets a connection any more, and those in line get
    /// [`PoolClosed`](ErrorKind::PoolClosed) at once.
    ///
    /// Waits up to `grace` for the connections in use to come back. Those that have not are ended:
    /// their statement is stopped, their transaction rolled back, and their handles answer
    /// [`StaleHandle`](ErrorKind::StaleHandle). Then every connection is closed, the last one after
    /// the engine has written what it has to write; of SQLite that is the log, and if no other process
    /// has the database open, no `-wal` file is left. Closing waits for another process that is
    /// writing until `grace` ends, and 30 ms at least. After that the log stays, and the next process
    /// to open the database takes it over.
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
        let mut drained = timeout(grace, shared.slots.drained()).await;
        shared.engine.close();
        while drained.is_err() {
            shared.end_all();
            // Again, because a connection that was just being lent may not have been in the
            // list of those in use.
            drained = timeout(END_AGAIN, shared.slots.drained()).await;
        }
        // The last steps write to the disk, and wait for it.
        hand_over();
        shared.engine.finish();
        shared.slots.empty(|last| last.session.finish(until));
    }

    /// As [`close`](Pool::close), on a thread that may block.
    pub fn close_blocking(&self, grace: Duration) {
        block_on(self.close(grace));
    }
}

impl Shared {
    async fn lend(
        shared: &Arc<Shared>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        grant: &Grant,
        access: Access,
        request: &Request,
    ) -> Result<Connection> {
        let taken = shared
            .slots
            .take(&place, |pooled| pooled.session.suits(access))
            .map_err(|Closed| Error::closed())?;
        let mut pooled = match taken {
            Taken::Idle(pooled) => pooled,
            Taken::Open(opening) => {
                // It may take longer than a worker may be kept.
                hand_over();
                let until = clock::at(request.ends_at());
                let opened = Box::pin(Pooled::open(&*shared.engine, until)).await?;
                opening.opened(opened).map_err(|Closed| Error::closed())?
            }
        };
        let limits = grant.limits();
        let terms = Terms {
            request: request.id(),
            access,
            rights: grant.rights(),
            limits,
        };
        if let Err(error) = pooled.session.lend(&terms) {
            shared
                .slots
                .give_back(place, pooled, Returned::Discard, false);
            return Err(error);
        }
        let lending = pooled.stop.lend();
        pooled.stop.set_deadline(request.ends_at());
        request.enter(&pooled.stop, lending);
        let hold_until = clock::after(limits.hold);
        let place = (place, share);
        let lent = Lent::new(Arc::clone(shared), pooled, place, lending, hold_until);
        Ok(Connection::new(lent))
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

    /// Wait for what a session waits for, and look after those that keep it waiting: what has been
    /// open for too long ends, which harms only those that wait.
    pub(crate) async fn wait_for(&self, wait: Wait) -> Outcome {
        let mut wait = wait.0;
        loop {
            match timeout(LOOK_AGAIN, wait.as_mut()).await {
                Ok(outcome) => return outcome,
                Err(_) => {
                    for lent in self.in_use() {
                        lent.end_overdue_transaction();
                    }
                }
            }
        }
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
        mut pooled: Box<Pooled>,
        place: Place,
        returned: Returned,
    ) {
        self.lent().try_remove(entry);
        // Nothing that was meant to stop the borrower may stop what follows.
        pooled.stop.lend();
        let reset = pooled.session.reset();
        let returned = match returned {
            Returned::Abandoned => Returned::Abandoned,
            _ if !reset.clean => Returned::Discard,
            returned => returned,
        };
        self.slots
            .give_back(place, pooled, returned, reset.rolled_back);
    }

    /// A call did not end, and its caller has gone on without it.
    pub(crate) fn abandoned(&self) {
        self.slots.abandon();
    }

    /// Say so, to the operator.
    pub(crate) fn warn_of_abandoned(&self) {
        log::warn!(
            "a statement on {} did not end at its deadline: one connection less until it does",
            self.engine.name()
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
        self.engine.finish();
    }
}
