//! One lent connection at work.
//!
//! The pool's calls are not asynchronous, and a request to a server is: so each call begins a
//! future that does the whole of it, and is called again with what came of that. What is done, and
//! to whom, is in [`Core`], which the future locks: whatever becomes of the future, the books are
//! right.

mod admit;
mod calls;
mod control;
mod core;
mod cursors;
mod exchange;
mod handles;
mod many;
mod parameters;
mod run;
mod script;
pub(crate) mod stream;
mod transactions;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_pool::Error;
use millpond_pool::clock;
use millpond_pool::engine::{Call, Limits, Step, Stop, StopFlag};
use slab::Slab;
use tokio::sync::Mutex;

pub(crate) use self::core::Core;
use self::handles::Prepared;
use self::waits::{Ends, Work};
use crate::shared::Shared;

/// The pool's side of a session.
#[derive(Debug)]
pub(crate) struct LibsqlSession {
    shared: Arc<Shared>,
    core: Arc<Mutex<Core>>,
    stop: Arc<StopFlag>,
    limits: Limits,
    statements: Slab<Prepared>,
    /// How many statements have been prepared.
    prepared: u64,
    /// As the books have it, for those who cannot wait until they are free.
    in_transaction: Arc<AtomicBool>,
    /// It was taken from its borrower while a call was under way, which must end.
    gone: Arc<AtomicBool>,
    /// What was dropped while a call was under way.
    dropped: Vec<Dropped>,
}

/// A handle that is no more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dropped {
    Cursor(u64),
    Transaction(u64),
}

impl LibsqlSession {
    pub(crate) fn new(core: Core, stop: Arc<StopFlag>) -> LibsqlSession {
        LibsqlSession {
            shared: Arc::clone(&core.shared),
            in_transaction: core.in_transaction_flag(),
            core: Arc::new(Mutex::new(core)),
            stop,
            limits: Limits::default(),
            statements: Slab::new(),
            prepared: 0,
            gone: Arc::default(),
            dropped: Vec::new(),
        }
    }

    /// Begin a call's work, or tell what came of it.
    fn attempt<T, W>(&mut self, call: Call, work: impl FnOnce() -> W) -> Step<T>
    where
        T: Send + 'static,
        W: Work<T> + 'static,
    {
        if let Some(outcome) = call.outcome {
            return match outcome.downcast::<Result<T, Error>>() {
                Ok(result) => result.map_err(Stop::Error),
                Err(_) => Err(Error::stale_connection().into()),
            };
        }
        if call.now >= self.stop.transaction_until() {
            self.end_overdue_now();
        }
        let until = clock::from(call.now, self.limits.statement)
            .min(self.stop.transaction_until())
            .min(call.hold_until);
        self.stop.start(until);
        let ends = Ends {
            stop: Arc::clone(&self.stop),
            until: self.stop.until(),
            gone: Arc::clone(&self.gone),
        };
        let dropped = std::mem::take(&mut self.dropped);
        let core = Arc::clone(&self.core);
        Err(Stop::wait(waits::run(core, ends, dropped, work())))
    }

    /// Do what a dropped handle asks for, now or before the next call.
    fn drop_handle(&mut self, dropped: Dropped) {
        match self.core.try_lock() {
            Ok(mut core) => {
                core.drop_handle(dropped);
                core.settle();
            }
            Err(_) => self.dropped.push(dropped),
        }
    }

    fn end_overdue_now(&mut self) {
        // A call that is under way ends by itself, at the same time.
        if let Ok(mut core) = self.core.try_lock()
            && clock::now() >= self.stop.transaction_until()
        {
            core.end_overdue();
            core.settle();
        }
    }

    fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }
}
