//! The pool: connections to one database, lent and taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::block_on::block_on;
use crate::clock;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::error::Result;
use crate::lending::{Ask, Lending};
use crate::request::Request;
use crate::rights::Limits;
use crate::settings::Settings;
use crate::stats::PoolStats;
use crate::value::Access;
use crate::worker::hand_over;

/// How long closing waits before it ends connections in use once more.
const END_AGAIN: Duration = Duration::from_millis(10);

/// How long closing waits at least for another connection to be done with the log: it may be one of
/// the pool's own, which is just being closed too.
const LAST_WAIT: Duration = Duration::from_millis(30);

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
    lending: Arc<Lending>,
}

impl Pool {
    /// A pool of sessions of `engine`. Opens one, even if it is not to be kept, so that what is wrong
    /// with the database is known now.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::open`].
    pub async fn open(engine: Arc<dyn Engine>, settings: Settings) -> Result<Pool> {
        Ok(Pool {
            lending: Arc::new(Lending::new(engine, settings).await?),
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
    /// [`PoolTimeout`](crate::ErrorKind::PoolTimeout): none came free in time.
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed): the pool is closed, or was while waiting.
    /// [`CannotOpen`](crate::ErrorKind::CannotOpen), [`Corrupt`](crate::ErrorKind::Corrupt): a connection
    /// had to be opened, and could not be.
    pub async fn get(&self, access: Access) -> Result<Connection> {
        let ask = Ask {
            access,
            rights: &Arc::default(),
            limits: Limits::default(),
            share: None,
        };
        self.lend(&ask, &Request::new()).await
    }

    pub(crate) fn check(&self, ask: &Ask<'_>) -> Result<()> {
        self.lending.check(ask)
    }

    pub(crate) async fn lend(&self, ask: &Ask<'_>, request: &Request) -> Result<Connection> {
        let lent = self.lending.lend(ask, request).await?;
        Ok(Connection::new(lent))
    }

    /// As [`get`](Pool::get), on a thread that may block, in or outside of any runtime.
    pub fn get_blocking(&self, access: Access) -> Result<Connection> {
        block_on(self.get(access))
    }

    /// The most connections that exist at once.
    pub fn max_size(&self) -> u32 {
        self.lending.settings.max_size
    }

    /// The pool's counters: those of connections all taken at one moment, those of writers at
    /// another.
    pub fn stats(&self) -> PoolStats {
        let mut stats = self.lending.slots.stats();
        self.lending.engine.count(&mut stats);
        stats
    }

    /// Close the pool: nobody gets a connection any more, and those in line get
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed) at once.
    ///
    /// Waits up to `grace` for the connections in use to come back. Those that have not are ended:
    /// their statement is stopped, their transaction rolled back, and their handles answer
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle). Then every connection is closed, the last one after
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
        let lending = &self.lending;
        let until = clock::after(grace.max(LAST_WAIT));
        lending.slots.close();
        let mut drained = timeout(grace, lending.slots.drained()).await;
        lending.engine.close();
        while drained.is_err() {
            lending.end_all();
            // Again, because a connection that was just being lent may not have been in the
            // list of those in use.
            drained = timeout(END_AGAIN, lending.slots.drained()).await;
        }
        // The last steps write to the disk, and wait for it.
        hand_over();
        lending.engine.finish();
        lending.slots.empty(|last| last.session.finish(until));
    }

    /// As [`close`](Pool::close), on a thread that may block.
    pub fn close_blocking(&self, grace: Duration) {
        block_on(self.close(grace));
    }
}
