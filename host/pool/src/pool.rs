//! The pool: lends connections to one database, and takes them back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::block_on::block_on;
use crate::clock;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::error::Result;
use crate::lending::{Ask, InUse, Lending, OnRelease};
use crate::lent::PATIENCE;
use crate::observe::{Close, GetWatch};
use crate::request::Request;
use crate::rights::{Limits, Rights};
use crate::settings::Settings;
use crate::spawner;
use crate::stats::PoolStats;
use crate::value::Access;
use crate::worker::hand_over;

/// How often closing ends the connections that are still in use.
const END_AGAIN: Duration = Duration::from_millis(10);

/// The minimum time that closing waits for another connection to release the log: that may be one
/// of the pool's own, which is also closing.
const LAST_WAIT: Duration = Duration::from_millis(30);

/// A pool of connections to one database. Clones share it.
///
/// At most [`max_size`](Pool::max_size) connections exist. Callers wait for one in the order they
/// came. A returned connection is reset to be like new before it is lent again, or closed if that
/// fails.
///
/// Dropping the last clone closes the idle connections; those still lent are closed when they are
/// returned. To be sure that everything is written to the database file, use
/// [`close`](Pool::close).
#[derive(Clone, Debug)]
pub struct Pool {
    lending: Arc<InUse>,
}

impl Pool {
    /// Create a pool of sessions of `engine`. Opens one session, even if it is not kept, to report
    /// problems with the database now.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::open`]. [`Config`](crate::ErrorKind::Config): a setting is out of its
    /// bounds.
    pub async fn open(engine: Arc<dyn Engine>, settings: Settings) -> Result<Pool> {
        spawner::start();
        let lending = Lending::new(engine, settings).await?;
        Ok(Pool {
            lending: InUse::new(lending, None),
        })
    }

    /// Get a connection, as a request with this connection only.
    ///
    /// Lends an idle connection at once. If none is idle and fewer than `max_size` are open, opens
    /// one on the calling thread, which takes about as long as reading the schema. Otherwise waits,
    /// without blocking a thread, in the order callers came, for up to
    /// [`timeout`](Settings::timeout). Dropping the future leaves the queue.
    ///
    /// Must be awaited within a tokio runtime with time enabled; elsewhere use
    /// [`get_blocking`](Pool::get_blocking).
    ///
    /// # Errors
    ///
    /// [`PoolTimeout`](crate::ErrorKind::PoolTimeout): no connection became free in time.
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed): the pool is closed, or was closed while
    /// waiting. [`CannotOpen`](crate::ErrorKind::CannotOpen),
    /// [`Corrupt`](crate::ErrorKind::Corrupt): opening a new connection failed.
    pub async fn get(&self, access: Access) -> Result<Connection> {
        let ask = Ask {
            access,
            granted: access,
            rights: Rights::unrestricted(),
            limits: Limits::default(),
            share: None,
            guest: None,
            watch: None,
        };
        self.lend(&ask, &Request::new()).await
    }

    /// The pool of a [`Lending`] that outlives its use.
    pub(crate) fn of(lending: Arc<Lending>, on_release: Option<Box<OnRelease>>) -> Pool {
        Pool {
            lending: InUse::new(lending, on_release),
        }
    }

    /// Another clone.
    pub(crate) fn shared(in_use: Arc<InUse>) -> Pool {
        Pool { lending: in_use }
    }

    pub(crate) fn in_use(&self) -> &Arc<InUse> {
        &self.lending
    }

    pub(crate) fn check(&self, ask: &Ask<'_>) -> Result<()> {
        self.lending.check(ask)
    }

    pub(crate) async fn lend(&self, ask: &Ask<'_>, request: &Request) -> Result<Connection> {
        if self.lending.reporter.is_on() && ask.watch.is_none() {
            return self.lend_observed(ask, request).await;
        }
        let lent = self.lending.lend(&self.lending, ask, request).await?;
        Ok(Connection::new(lent))
    }

    /// Like [`lend`](Pool::lend), and tell the observer. Boxed, because most pools have none.
    fn lend_observed<'a>(
        &'a self,
        ask: &'a Ask<'_>,
        request: &'a Request,
    ) -> Pin<Box<dyn Future<Output = Result<Connection>> + Send + 'a>> {
        Box::pin(async move {
            let watch = GetWatch::new(&self.lending, ask, request);
            let watched = Ask {
                watch: Some(&watch),
                ..*ask
            };
            let result = self.lend(&watched, request).await;
            watch.end(&result);
            result
        })
    }

    /// Like [`get`](Pool::get), but blocks the thread. Works inside and outside of a runtime.
    pub fn get_blocking(&self, access: Access) -> Result<Connection> {
        block_on(self.get(access))
    }

    /// The maximum number of connections.
    pub fn max_size(&self) -> u32 {
        self.lending.settings.max_size
    }

    /// The pool's counters. Those of connections are one consistent snapshot, those of writers
    /// another.
    pub fn stats(&self) -> PoolStats {
        self.lending.stats()
    }

    /// Close the pool. From now on, and for callers in the queue, getting a connection fails with
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed).
    ///
    /// Waits up to `grace` for the connections in use to be returned, then ends those that are not:
    /// stops their statement, rolls back their transaction, and makes their handles return
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle). Then closes every connection, the last one
    /// after the engine has written its remaining data. For SQLite that is a checkpoint of the log;
    /// if no other process has the database open, no `-wal` file remains. While another process is
    /// writing, closing waits for it until `grace` ends, at least 30 ms. After that the log stays,
    /// and the next process to open the database reads it.
    ///
    /// Does not wait for abandoned statements, and waits some 20 ms after `grace` for statements
    /// whose future was dropped: their connections close when they end. A statement that another
    /// writer has committed (group commit) may fail with
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown).
    ///
    /// Ending a connection blocks the thread until its statement stops, which takes milliseconds.
    /// The last steps block while they write to the disk. Both add to `grace`.
    ///
    /// Closing a closed pool does nothing. Needs a tokio runtime with time enabled, like
    /// [`get`](Pool::get).
    pub async fn close(&self, grace: Duration) {
        let lending = &self.lending;
        let until = clock::after(grace.max(LAST_WAIT));
        lending.slots.close();
        let mut drained = timeout(grace, lending.slots.drained()).await;
        lending.engine.close();
        let since = Instant::now();
        while drained.is_err() {
            lending.end_all();
            if since.elapsed() > PATIENCE {
                // It did not stop, and no caller abandons it.
                lending.slots.forget_dropped();
            }
            // Again, because a connection that was being lent may not have been in the list of
            // those in use.
            drained = timeout(END_AGAIN, lending.slots.drained()).await;
        }
        // The last steps block while they write to the disk.
        hand_over();
        lending.engine.finish();
        let mut stop = None;
        let idle = lending.slots.empty(|last| {
            last.session.finish(until);
            stop = last.stop.notes().map(|_| Arc::clone(&last.stop));
        });
        lending.tell_all_closed(idle, Close::PoolClosed);
        if let Some(notes) = stop.as_ref().and_then(|stop| stop.notes()) {
            lending.reporter.tell_notes(None, notes.take(), None, None);
        }
        lending.tell_pool_closed();
    }

    /// Like [`close`](Pool::close), but blocks the thread.
    pub fn close_blocking(&self, grace: Duration) {
        block_on(self.close(grace));
    }
}
