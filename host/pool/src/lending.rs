//! Decides who has which connection: lends one, waits for one, and takes it back.

mod waits;

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use slab::Slab;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{self, NEVER};
use crate::engine::{Engine, Reset, Terms};
use crate::error::{Error, ErrorKind, Result};
use crate::lent::Lent;
use crate::maintenance::{self, Chore};
use crate::observe::{Close, Ending, Event, GetWatch, Reporter};
use crate::pooled::Pooled;
use crate::request::Request;
use crate::rights::{Limits, Rights};
use crate::settings::Settings;
use crate::slots::{Closed, Place, Returned, Slots, Taken};
use crate::stats::PoolStats;
use crate::value::Access;
use crate::worker::hand_over;

/// A pool that is in use: its clones, grants and the connections that it lends share this.
pub(crate) struct InUse {
    lending: Arc<Lending>,
    on_release: Option<Box<OnRelease>>,
}

/// Called when the pool is no longer in use.
pub(crate) type OnRelease = dyn Fn() + Send + Sync + UnwindSafe + RefUnwindSafe;

impl InUse {
    pub(crate) fn new(lending: Arc<Lending>, on_release: Option<Box<OnRelease>>) -> Arc<InUse> {
        Arc::new(InUse {
            lending,
            on_release,
        })
    }

    /// The pool itself, which outlives its use.
    pub(crate) fn lending(&self) -> &Arc<Lending> {
        &self.lending
    }
}

impl Deref for InUse {
    type Target = Lending;

    fn deref(&self) -> &Lending {
        &self.lending
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lending.fmt(f)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(on_release) = &self.on_release {
            on_release();
        }
    }
}

/// The part of a pool that lends its connections.
#[derive(Debug)]
pub(crate) struct Lending {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) settings: Settings,
    /// Boxed, because they move between owners.
    pub(crate) slots: Slots<Box<Pooled>>,
    /// The connections in use, for the pool to end when it closes.
    lent: Mutex<Slab<Weak<Lent>>>,
    /// Whether the maintenance thread looks for idle connections.
    is_scheduled: AtomicBool,
    pub(crate) reporter: Reporter,
    /// Whether the observer knows that the pool is closed.
    pub(crate) is_closed_told: AtomicBool,
    this: Weak<Lending>,
}

/// The terms on which a caller asks for a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) access: Access,
    /// The access that the borrower is granted: it may not ask for more.
    pub(crate) granted: Access,
    pub(crate) rights: &'a Arc<Rights>,
    pub(crate) limits: Limits,
    /// The share of all callers under the same grant.
    pub(crate) share: Option<&'a Arc<Semaphore>>,
    /// The borrower's name.
    pub(crate) guest: Option<&'a Arc<str>>,
    /// `None` without an observer, and before it is watched.
    pub(crate) watch: Option<&'a GetWatch<'a>>,
}

impl Lending {
    pub(crate) async fn new(engine: Arc<dyn Engine>, settings: Settings) -> Result<Arc<Lending>> {
        settings.check()?;
        let reporter = Reporter::new(&settings, engine.name());
        let since = reporter.now();
        let first = Pooled::open(&*engine, reporter.is_on(), NEVER).await?;
        reporter.told_since(since, |time| Event::ConnectionOpened { time });
        let slots = Slots::new(settings.max_size, settings.most_idle());
        let is_kept = settings.most_idle() > 0;
        match is_kept {
            true => slots.add_idle(first),
            false => drop(first),
        }
        let lending = Arc::new_cyclic(|this| Lending {
            engine,
            settings,
            slots,
            lent: Mutex::default(),
            is_scheduled: AtomicBool::new(false),
            reporter,
            is_closed_told: AtomicBool::new(false),
            this: this.clone(),
        });
        lending.look_for_idle();
        if !is_kept {
            lending.tell_all_closed(1, Close::Excess);
        }
        let reporter = &lending.reporter;
        reporter.told_since(since, |time| Event::PoolOpened { time });
        Ok(lending)
    }

    /// Have connections closed that stay idle for too long.
    fn look_for_idle(&self) {
        if let Some(time) = self.settings.max_idle_time
            && !self.is_scheduled.swap(true, Ordering::AcqRel)
        {
            maintenance::schedule(self.this.clone(), time);
        }
    }

    pub(crate) fn check(&self, ask: &Ask<'_>) -> Result<()> {
        if (ask.access, ask.granted) == (Access::ReadWrite, Access::ReadOnly) {
            return Err(Error::new(
                ErrorKind::NotAuthorized,
                "the database is granted read-only",
            ));
        }
        self.engine.check(ask.access, ask.rights, &ask.limits)
    }

    /// Wait for a connection, and lend it.
    pub(crate) async fn lend(
        &self,
        in_use: &Arc<InUse>,
        ask: &Ask<'_>,
        request: &Request,
    ) -> Result<Arc<Lent>> {
        self.check(ask)?;
        let share = self.share(ask, request).await?;
        let place = match self.slots.try_place().map_err(|Closed| Error::closed())? {
            Some(place) => place,
            None => {
                let since = Instant::now();
                let until = self.wait_until(since, request.ends_at());
                let place = self.slots.wait_place();
                let look = |lent: &Lent| lent.end_overdue();
                let is_over = || request.is_interrupted();
                match Box::pin(self.wait(place, until, is_over, look)).await {
                    Some(place) => place.map_err(|Closed| Error::closed())?,
                    None => return Err(self.timed_out(since, request)),
                }
            }
        };
        self.lend_in(in_use, (place, share), ask, request).await
    }

    async fn lend_in(
        &self,
        in_use: &Arc<InUse>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        ask: &Ask<'_>,
        request: &Request,
    ) -> Result<Arc<Lent>> {
        let taken = self
            .slots
            .take(&place, |pooled| pooled.session.suits(ask.access))
            .map_err(|Closed| Error::closed())?;
        let mut pooled = match taken {
            Taken::Idle(pooled) => pooled,
            Taken::Open(opening) => {
                // Opening may take longer than a worker may be blocked.
                hand_over();
                let until = clock::at(request.ends_at());
                let opened = Box::pin(self.open(until)).await?;
                if let Some(watch) = ask.watch {
                    watch.opened();
                }
                opening.opened(opened).map_err(|Closed| {
                    self.tell_all_closed(1, Close::PoolClosed);
                    Error::closed()
                })?
            }
        };
        let terms = Terms {
            request: request.id(),
            access: ask.access,
            rights: ask.rights,
            limits: ask.limits,
        };
        if let Err(error) = pooled.session.lend(&terms) {
            self.slots
                .give_back(place, pooled, Returned::Discard, false);
            self.tell_all_closed(1, Close::Unusable);
            return Err(error);
        }
        let lending = pooled.stop.lend();
        pooled.stop.set_deadline(request.ends_at());
        request.enter(&pooled.stop, lending);
        let hold_until = clock::after(ask.limits.hold);
        let place = (place, share);
        let lending = (lending, hold_until);
        let borrower = ask.watch.and_then(GetWatch::lent);
        let in_use = Arc::clone(in_use);
        Ok(Lent::new(in_use, pooled, place, lending, borrower))
    }

    async fn open(&self, until: u64) -> Result<Box<Pooled>> {
        let (reporter, since) = (&self.reporter, self.reporter.now());
        let opened = Pooled::open(&*self.engine, reporter.is_on(), until).await?;
        reporter.told_since(since, |time| Event::ConnectionOpened { time });
        Ok(opened)
    }

    /// Acquire a permit of the grant's share, behind other callers under the same grant only.
    async fn share(
        &self,
        ask: &Ask<'_>,
        request: &Request,
    ) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(share) = ask.share else {
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

    /// Add a connection to the list of those in use.
    pub(crate) fn enter(&self, lent: Weak<Lent>) -> usize {
        self.lent().insert(lent)
    }

    /// Take a connection back: reset it, and keep or close it. Compiled once for an observer, whom
    /// it tells, and once without.
    pub(crate) fn take_back<const OBSERVED: bool>(
        &self,
        entry: usize,
        mut pooled: Box<Pooled>,
        place: Place,
        ending: Ending<'_>,
    ) {
        self.lent().try_remove(entry);
        // A stop that was meant for the borrower must not stop the reset. But what was told to be
        // rolled back must not be committed: resetting a cursor that writes would commit it.
        let is_abandoned = pooled.stop.is_abandoned();
        pooled.stop.lend();
        if is_abandoned {
            pooled.stop.abandon();
        }
        let since = OBSERVED.then(Instant::now);
        // If it panics, its place must not be lost: closing would wait for it.
        let reset = catch_unwind(AssertUnwindSafe(|| pooled.session.reset()));
        let after = *reset.as_ref().unwrap_or(&Reset {
            clean: false,
            rolled_back: false,
        });
        let returned = match ending.returned {
            Returned::Abandoned | Returned::Dropped => ending.returned,
            _ if !after.clean => Returned::Discard,
            returned => returned,
        };
        if let Some(since) = since {
            self.tell_returned(ending, since, &pooled, after);
        }
        let given = self
            .slots
            .give_back(place, pooled, returned, after.rolled_back);
        if OBSERVED {
            self.tell_closed(Ending { returned, ..ending }, given);
        }
        self.look_for_idle();
        if let Err(panic) = reset
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    /// The pool's counters, with the engine's own.
    pub(crate) fn stats(&self) -> PoolStats {
        let mut stats = self.slots.stats();
        self.engine.count(&mut stats);
        stats
    }

    /// Record that a call did not end, and its caller continued without it; log it for the
    /// operator.
    pub(crate) fn abandoned(&self) {
        self.slots.abandon();
        log::warn!(
            "a statement on {} did not stop at its deadline: it keeps its connection until it ends",
            self.engine.name()
        );
    }

    /// End every connection in use.
    pub(crate) fn end_all(&self) {
        for lent in self.in_use() {
            lent.end();
        }
    }

    /// The connections in use now. Cloned, because taking one back needs the list's lock.
    fn in_use(&self) -> Vec<Arc<Lent>> {
        let lent = self.lent();
        lent.iter().filter_map(|(_, lent)| lent.upgrade()).collect()
    }

    fn lent(&self) -> MutexGuard<'_, Slab<Weak<Lent>>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chore for Lending {
    fn run(&self) -> Option<Instant> {
        let time = self.settings.max_idle_time?;
        // Before looking: one that is returned meanwhile schedules this again.
        self.is_scheduled.store(false, Ordering::Release);
        let (is_left, closed) = self.slots.close_idle();
        self.tell_all_closed(closed, Close::Idle);
        let again = is_left && !self.is_scheduled.swap(true, Ordering::AcqRel);
        again.then(|| Instant::now().checked_add(time)).flatten()
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        self.engine.finish();
        if self.reporter.is_on() && !self.is_closed_told.load(Ordering::Acquire) {
            let idle = self.slots.empty(|_| {});
            self.tell_all_closed(idle, Close::PoolClosed);
            self.tell_pool_closed();
        }
    }
}
