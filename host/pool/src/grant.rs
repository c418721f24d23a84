//! A grant: how many connections of a pool a borrower may use, and for what. Which tables and columns
//! is in `rights`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::lending::Ask;
use crate::pool::Pool;
use crate::request::Request;
use crate::rights::{Limits, Rights, TableGrant};
use crate::value::Access;

/// A pool as one borrower has it: with which access, to which tables, and how much of it.
///
/// Without more, a grant reads or reads and writes every table and may change the schema, but
/// makes no temporary objects. With [`table`](Grant::table), it has the tables named and no
/// others, and leaves the schema as it is.
///
/// Whatever a grant says, no statement of a borrower attaches a file, runs `VACUUM`, loads an
/// extension, sets a pragma, calls a function that tells of the host or runs without bound, or
/// writes SQLite's own tables or the host's, which begin with `millpond_`.
///
/// SQLite checks a statement while it compiles it, with all that it reaches
/// (<https://sqlite.org/c3ref/set_authorizer.html>): the tables behind a view, and those that
/// the triggers of a table read and write, must be granted as well.
#[derive(Clone, Debug)]
pub struct Grant {
    pool: Pool,
    access: Access,
    rights: Arc<Rights>,
    max_connections: u32,
    limits: Limits,
    share: Option<(u32, Arc<Semaphore>)>,
    stats: StatsScope,
}

/// What a borrower learns from the counters of a pool. Those of the whole pool tell of others:
/// how many there are, when they come, how long they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatsScope {
    /// Nothing.
    Nothing,
    /// How many connections its own request holds, and may hold.
    #[default]
    Request,
    /// Everything that [`Pool::stats`] tells.
    Pool,
}

impl Grant {
    /// Grant connections of `pool`, for reading or for reading and writing.
    pub fn new(pool: &Pool, access: Access) -> Grant {
        Grant {
            pool: pool.clone(),
            access,
            rights: Arc::default(),
            max_connections: 4,
            limits: Limits::default(),
            share: None,
            stats: StatsScope::default(),
        }
    }

    /// Grant the table `name`, in letters of either case, and no table that is not named like
    /// this. What may be done to it is what `table` says, as far as the access allows it.
    ///
    /// A full-text or R*Tree table brings the tables that it keeps its content in.
    ///
    /// A grant with tables sees neither `sqlite_schema` nor the pragmas that describe tables other
    /// than its own, unless it may change the schema.
    pub fn table(mut self, name: &str, table: TableGrant) -> Grant {
        Arc::make_mut(&mut self.rights).table(name, table);
        self
    }

    /// Whether the schema may be changed: tables, indexes, views and triggers made, altered and
    /// dropped. Default: if no [`table`](Grant::table) is named. With it, a borrower reaches
    /// whatever is not in a table: a view or trigger that it makes is held to its grant, but may
    /// be run by others, whose grants are wider.
    pub fn schema(mut self, allowed: bool) -> Grant {
        Arc::make_mut(&mut self.rights).schema = Some(allowed);
        self
    }

    /// Whether temporary tables, views, triggers and indexes may be made. Default: no. They are
    /// gone when the connection goes back, which then costs more than usual
    /// (<https://sqlite.org/pragma.html#pragma_temp_store>).
    pub fn temporary(mut self, allowed: bool) -> Grant {
        Arc::make_mut(&mut self.rights).temporary = allowed;
        self
    }

    /// The most connections that a request may hold at once, for those who serve requests to
    /// enforce. Default 4; 0 grants none; never more than the pool has, because waiting for
    /// those would be waiting for itself.
    pub fn max_connections(mut self, connections: u32) -> Grant {
        self.max_connections = connections;
        self
    }

    /// How long one call may keep SQLite at work. It then fails with
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded); what the statement wrote is
    /// undone. Waiting for a connection or for the turn to write does not count. Default 10 s.
    pub fn max_statement_time(mut self, time: Duration) -> Grant {
        self.limits.statement = time;
        self
    }

    /// How many instructions of SQLite's virtual machine (<https://sqlite.org/opcode.html>) one call may
    /// run, counted in fifties. It then fails as one does that has run for too long. Unlike time, the
    /// number does not depend on what else the machine does. Default: any.
    pub fn max_statement_steps(mut self, steps: u64) -> Grant {
        self.limits.steps = Some(steps);
        self
    }

    /// How many of the pool's connections all requests under this grant may hold together, 1 at least.
    /// The next ones wait for one another, in order, for up to the pool's timeout, and hold up
    /// nobody else: not for a connection, and not for the turn to write, for which no more wait than
    /// hold a connection. A grant and its clones have one share; give each tenant its own, smaller than
    /// the pool. Default: all.
    pub fn share(mut self, connections: u32) -> Grant {
        let connections = connections.max(1);
        self.share = Some((connections, Arc::new(Semaphore::new(connections as usize))));
        self
    }

    /// How long a transaction may stay open, and a cursor outside of one. After that the next
    /// call finds it rolled back, and so does another writer who waits for its turn: it goes on.
    /// Default 10 s.
    pub fn max_transaction_time(mut self, time: Duration) -> Grant {
        self.limits.transaction = time;
        self
    }

    /// How long a connection may be held. After that the next call finds it returned, and
    /// another caller who waits for a connection gets it. Default 60 s.
    pub fn max_hold_time(mut self, time: Duration) -> Grant {
        self.limits.hold = time;
        self
    }

    /// What a guest learns from the pool's counters, for those who serve guests to enforce.
    /// Default: [`StatsScope::Request`].
    pub fn stats(mut self, scope: StatsScope) -> Grant {
        self.stats = scope;
        self
    }

    /// Whether the pool's engine can enforce all that the grant says. It is asked before each
    /// connection too; this is for those who want to know when they make the grant.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported): it has no such thing, by name.
    /// [`NotAuthorized`](ErrorKind::NotAuthorized): the grant is to write, and the database is open
    /// for reading only.
    pub fn check(&self) -> Result<()> {
        self.pool.check(&self.ask(self.access))
    }

    /// Get a connection, as [`Pool::get`] does, for a request that may hold more, and wait no
    /// longer than until the request's deadline.
    ///
    /// The deadline also ends the connection's statements, and its waits for the turn to write
    /// and for other processes: see [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded).
    ///
    /// # Errors
    ///
    /// [`NotAuthorized`](ErrorKind::NotAuthorized): the grant is read-only, and the connection
    /// is to write. Otherwise as [`Pool::get`].
    pub async fn get(&self, access: Access, request: &Request) -> Result<Connection> {
        if (access, self.access) == (Access::ReadWrite, Access::ReadOnly) {
            return Err(Error::new(
                ErrorKind::NotAuthorized,
                "the database is granted read-only",
            ));
        }
        self.pool.lend(&self.ask(access), request).await
    }

    /// The pool behind it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether it reads only.
    pub fn access(&self) -> Access {
        self.access
    }

    /// What a guest learns from the pool's counters.
    pub fn stats_scope(&self) -> StatsScope {
        self.stats
    }

    /// The most connections that a request may hold at once.
    pub fn connections(&self) -> u32 {
        let share = self.share.as_ref().map_or(u32::MAX, |(share, _)| *share);
        self.max_connections.min(self.pool.max_size()).min(share)
    }

    fn ask(&self, access: Access) -> Ask<'_> {
        Ask {
            access,
            rights: &self.rights,
            limits: self.limits,
            share: self.share.as_ref().map(|(_, share)| share),
        }
    }
}
