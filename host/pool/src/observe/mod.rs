//! What an operator can watch of a pool: each event, as it happens.
//!
//! An [`Observer`] is told of the connections that callers ask for, get and return, of the
//! statements that begin and end, of the turns to write that they waited for, of group commits,
//! checkpoints and upkeep, and of transactions that ended before their borrower ended them. Each
//! [`Event`] has a
//! [`Source`]: the database, the tenant, the guest, the request, and numbers that say which events
//! belong together.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::time::Duration;
//!
//! use millpond_pool::observe::{Event, Observer, Source};
//! use millpond_pool::{Access, Grant, Parameters, Pool, Request, Result, Settings};
//!
//! /// Logs slow statements, and counts failed ones.
//! #[derive(Debug, Default)]
//! struct Slow {
//!     failures: AtomicU64,
//! }
//!
//! impl Observer for Slow {
//!     fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
//!         use millpond_pool::observe::StatementResult::Failed;
//!         let Event::StatementFinished { time, result, .. } = event else {
//!             return;
//!         };
//!         if let Failed(_) = result {
//!             self.failures.fetch_add(1, Ordering::Relaxed);
//!         }
//!         if *time > Duration::from_millis(100) {
//!             let (guest, request) = (source.guest, source.request);
//!             eprintln!("{}: {guest:?} took {time:?} in {request:?}", source.database);
//!         }
//!     }
//! }
//!
//! # use millpond_pool::engine::Engine;
//! async fn serve(engine: Arc<dyn Engine>) -> Result<()> {
//!     let slow = Arc::new(Slow::default());
//!     // The builders of millpond-sqlite and millpond-libsql have these methods too.
//!     let settings = Settings::new(8, Duration::from_secs(2))
//!         .name("notes")
//!         .observer(Some(slow.clone()));
//!     let pool = Pool::open(engine, settings).await?;
//!     let grant = Grant::new(&pool, Access::ReadOnly).guest("notes-app");
//!
//!     // For each request, with the number that it has in the access log:
//!     let request = Request::new().label("request 17");
//!     let connection = grant.get(Access::ReadOnly, &request).await?;
//!     connection.query("SELECT body FROM note", &Parameters::NONE).await?;
//!     println!("{} statements failed", slow.failures.load(Ordering::Relaxed));
//!     Ok(())
//! }
//! ```
//!
//! Two observers are here: with the feature `tracing`, one with spans and events for the crate
//! [`tracing`](https://docs.rs/tracing), and with the feature `prometheus`, one with metrics. A
//! pair of observers is an observer.
//!
//! # When an observer is called
//!
//! On the thread where the event happened: that of the caller, one of the pool's own, or one of a
//! caller that waits for the connection. No lock is held, and no connection's call is under way on
//! that thread, so an observer may read [`Pool::stats`](crate::Pool::stats). It must not block, and
//! must not get connections of the pool: the caller continues when it returns. Events of a returned
//! connection are told before the next caller gets it.
//!
//! Events of one call are told in the order in which they happened, and events of calls that run at
//! the same time in any order. Each is told once, whether a future completes or is dropped.
//!
//! If an observer panics, the pool catches that and logs it at the level `error`: the observer
//! misses this event, is told the next one, and nothing else changes. If the program aborts at a
//! panic (`panic = "abort"`), it aborts here too.
//!
//! A pool without an observer reads no clock and allocates nothing for it.
//!
//! # What an observer must not leak
//!
//! No event has a statement's parameters, or values that it returned. SQL text is the guest's, and
//! may contain values as literals: do not log it where these must not be. Guests choose the text,
//! and with it how long it is. Tenants and requests are as many as there are: they must not be
//! labels of metrics.

mod call;
mod event;
mod lending;
mod notes;
#[cfg(feature = "prometheus")]
pub mod prometheus;
mod reporter;
#[cfg(feature = "tracing")]
pub mod tracing;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::call::{CallWatch, CursorWatch, Figures, TurnWatch};
pub use self::event::{
    Close, Event, NotGot, Return, Source, StatementResult, TransactionEnd, TurnEnd,
};
pub(crate) use self::lending::{Ending, GetWatch};
pub(crate) use self::notes::{CallNotes, Note};
pub use self::notes::{Checkpoint, Notes, Upkeep};
pub(crate) use self::reporter::Borrower;
pub use self::reporter::Reporter;

/// Is told what happens in a pool. Set it with [`Settings::observer`](crate::Settings::observer),
/// or the builder's method of that name. One observer may observe many pools.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something has happened. See [above](self) when this is called, and what it must not do.
    fn observe(&self, source: &Source<'_>, event: &Event<'_>);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        (**self).observe(source, event);
    }
}

/// Two observers: the first is told first. If it panics, the second misses the event too.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        self.0.observe(source, event);
        self.1.observe(source, event);
    }
}

/// An observer in the settings of a pool.
#[derive(Clone, Debug)]
pub(crate) struct SharedObserver(pub(crate) Arc<dyn Observer>);

// What state an observer is in after a panic is its own concern.
impl std::panic::UnwindSafe for SharedObserver {}
impl std::panic::RefUnwindSafe for SharedObserver {}
