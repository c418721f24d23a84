//! A grant: how many connections of a pool a borrower may use, and for what. Which tables and
//! columns is in `rights`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::connection::Connection;
use crate::error::Result;
use crate::lending::Ask;
use crate::pool::Pool;
use crate::request::Request;
use crate::rights::{Limits, Rights, TableGrant};
use crate::value::Access;

/// One borrower's view of a pool: with which access, to which tables, and how much of it.
///
/// By default, a grant covers every table, for reading or for reading and writing, and may change
/// the schema, but may not create temporary objects. With [`table`](Grant::table), it covers only
/// the tables named, and may not change the schema.
///
/// No grant lets a borrower attach a file, run `VACUUM`, load an extension, change a setting by
/// pragma, call a function that reveals the host or runs without bound, or write SQLite's own
/// tables or the host's, which begin with `millpond_`.
///
/// SQLite authorizes a statement while it compiles it, with everything that it reaches
/// (<https://sqlite.org/c3ref/set_authorizer.html>). So the tables behind a view, and those that a
/// table's triggers read and write, must be granted too.
#[derive(Clone, Debug)]
pub struct Grant {
    pool: Pool,
    access: Access,
    rights: Arc<Rights>,
    max_connections: u32,
    limits: Limits,
    share: Option<(u32, Arc<Semaphore>)>,
    stats: StatsScope,
    guest: Option<Arc<str>>,
}

/// What a borrower may see of a pool's counters. Those of the whole pool reveal other borrowers:
/// how many there are, when they come, how long they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatsScope {
    /// Nothing.
    Nothing,
    /// How many connections its own request holds and may hold.
    #[default]
    Request,
    /// All counters of [`Pool::stats`].
    Pool,
}

impl Grant {
    /// Grant connections of `pool`, for reading or for reading and writing.
    pub fn new(pool: &Pool, access: Access) -> Grant {
        Grant {
            pool: pool.clone(),
            access,
            rights: Arc::clone(Rights::unrestricted()),
            max_connections: 4,
            limits: Limits::default(),
            share: None,
            stats: StatsScope::default(),
            guest: None,
        }
    }

    /// Grant the table `name` (case-insensitive): what `table` allows, within the access. A grant
    /// with tables covers no others.
    ///
    /// A full-text or R*Tree table needs [`TableGrant::shadow_tables`].
    ///
    /// A grant with tables cannot read `sqlite_schema`, nor use pragmas that describe other tables,
    /// unless it may change the schema. It cannot use `NATURAL JOIN` and `USING`, because SQLite
    /// does not ask about the columns that these match: write `ON`. An existing view or trigger
    /// that joins so reads those columns, also of tables that are not named.
    ///
    /// A common table expression no column of which is used, as in `SELECT count(*) FROM c`, counts
    /// as a table of that name: count one of its columns. A table with the name of a table-valued
    /// function, such as `json_each`, can be read without being named.
    pub fn table(mut self, name: &str, table: TableGrant) -> Grant {
        Arc::make_mut(&mut self.rights).table(name, table);
        self
    }

    /// Whether to allow changes to the schema: creating, altering and dropping tables, indexes,
    /// views and triggers. Defaults to true if no [`table`](Grant::table) is named, else false.
    ///
    /// With tables, it allows creating others, and changing only those named, with their indexes,
    /// views and triggers. Altering one needs all rights on it; a new index, also that of `UNIQUE`,
    /// needs `read` without hidden columns. A foreign key needs `update` and `delete` on the table
    /// that it refers to, because it can make these fail. A view or trigger runs with the rights of
    /// the borrower that uses it, so one that a borrower creates may run with a wider grant.
    pub fn schema(mut self, allowed: bool) -> Grant {
        Arc::make_mut(&mut self.rights).schema = Some(allowed);
        self
    }

    /// Whether to allow temporary tables, views, triggers and indexes. Defaults to false. Altering
    /// a temporary table needs [`schema`](Grant::schema) too. They are dropped when the connection
    /// is returned, which then takes longer (<https://sqlite.org/pragma.html#pragma_temp_store>).
    pub fn temporary(mut self, allowed: bool) -> Grant {
        Arc::make_mut(&mut self.rights).temporary = allowed;
        self
    }

    /// The maximum number of connections that a request may hold at once, for the code that
    /// serves requests to enforce. Defaults to 4; 0 allows none. Never more than the pool's size,
    /// because only the request itself could free one.
    pub fn max_connections(mut self, connections: u32) -> Grant {
        self.max_connections = connections;
        self
    }

    /// How long one call may run in SQLite. After that it fails with
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and what the statement wrote is
    /// undone. Waiting for a connection or for the turn to write does not count. Defaults to 10 s.
    pub fn max_statement_time(mut self, time: Duration) -> Grant {
        self.limits.statement = time;
        self
    }

    /// How many instructions of SQLite's virtual machine (<https://sqlite.org/opcode.html>) one
    /// call may run, rounded up to a multiple of 50. After that it fails like a call that exceeds
    /// its time. Unlike time, the number does not depend on the machine's load. Defaults to no
    /// limit.
    pub fn max_statement_steps(mut self, steps: u64) -> Grant {
        self.limits.steps = Some(steps);
        self
    }

    /// How many of the pool's connections all requests under this grant may hold together: 1 or
    /// more. Further requests wait for one another, in order, for up to the pool's timeout, and
    /// delay no other grant's requests: neither for a connection, nor for the turn to write. A
    /// grant and its clones have one share. Give each tenant its own, smaller than the pool.
    /// Defaults to all.
    pub fn share(mut self, connections: u32) -> Grant {
        let connections = connections.max(1);
        self.share = Some((connections, Arc::new(Semaphore::new(connections as usize))));
        self
    }

    /// How long a transaction, or a cursor outside one, may stay open. After that it is rolled back
    /// at the next call, or as soon as another writer waits for its turn. Defaults to 10 s.
    pub fn max_transaction_time(mut self, time: Duration) -> Grant {
        self.limits.transaction = time;
        self
    }

    /// How long a connection may be held. After that it is taken back at the next call, or as soon
    /// as another caller waits for a connection. Defaults to 60 s.
    pub fn max_hold_time(mut self, time: Duration) -> Grant {
        self.limits.hold = time;
        self
    }

    /// What a guest may see of the pool's counters, for the code that serves guests to
    /// enforce. Defaults to [`StatsScope::Request`].
    pub fn stats(mut self, scope: StatsScope) -> Grant {
        self.stats = scope;
        self
    }

    /// Name the borrower in [events](crate::observe): the component that a guest runs, for
    /// instance. Defaults to no name.
    pub fn guest(mut self, name: impl Into<Arc<str>>) -> Grant {
        self.guest = Some(name.into());
        self
    }

    /// Check that the pool's engine can enforce everything that the grant says. Getting a
    /// connection checks this too; call this to check when you create the grant.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported): the engine does not support something, which
    /// the message names. [`NotAuthorized`](crate::ErrorKind::NotAuthorized): the grant allows
    /// writing, and the database is open read-only.
    pub fn check(&self) -> Result<()> {
        self.pool.check(&self.ask(self.access))
    }

    /// Get a connection, like [`Pool::get`], for a request that may hold others. Waits at most
    /// until the request's deadline.
    ///
    /// The deadline also ends the connection's statements, and its waits for the turn to write
    /// and for other processes: see [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded).
    ///
    /// # Errors
    ///
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized): the grant is read-only, and `access` is
    /// not. Otherwise as [`Pool::get`].
    pub async fn get(&self, access: Access, request: &Request) -> Result<Connection> {
        self.pool.lend(&self.ask(access), request).await
    }

    /// The granted pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The granted access.
    pub fn access(&self) -> Access {
        self.access
    }

    /// What a guest may see of the pool's counters.
    pub fn stats_scope(&self) -> StatsScope {
        self.stats
    }

    /// The maximum number of connections that a request may hold at once.
    pub fn connections_per_request(&self) -> u32 {
        let share = self.share.as_ref().map_or(u32::MAX, |(share, _)| *share);
        self.max_connections.min(self.pool.max_size()).min(share)
    }

    fn ask(&self, access: Access) -> Ask<'_> {
        Ask {
            access,
            granted: self.access,
            rights: &self.rights,
            limits: self.limits,
            share: self.share.as_ref().map(|(_, share)| share),
            guest: self.guest.as_ref(),
            watch: None,
        }
    }
}
