//! One request's state: its grants, and what it holds.

use std::sync::{Arc, Weak};
use std::time::Instant;

use millpond_pool::{Access, Error, ErrorKind, Grant, PoolStats, Request, StatsScope};
use wasmtime::component::{HasData, ResourceTable};

use crate::bindings::connections;
use crate::count::{Count, CursorPlace};
use crate::held::Held;

/// The data of a connection handle. The request's [`SqliteCtx`] knows it too, and returns it when
/// the request ends, even if the embedder keeps the resource table.
pub type Connection = Arc<millpond_pool::Connection>;

/// Builds a [`SqliteCtx`]. Without grants, the guest has no database.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds the context"]
pub struct SqliteCtxBuilder {
    ctx: SqliteCtx,
}

impl SqliteCtxBuilder {
    /// Grant a database under `name`, which is all that the guest knows of it. Guest libraries use
    /// the name `default` by default. A second grant of the same name replaces the first.
    pub fn grant(mut self, name: impl Into<String>, grant: Grant) -> Self {
        let granted = Granted {
            grant: Arc::new(grant),
            held: Arc::new(Held::new(name.into())),
        };
        match self.ctx.index_of(&granted.held.name) {
            Ok(index) => self.ctx.granted[index] = granted,
            Err(index) => self.ctx.granted.insert(index, granted),
        }
        self
    }

    /// Set when the request's statements and waits must end. A running statement then fails with
    /// `deadline-exceeded`, and a wait as if it had timed out. Defaults to no deadline.
    ///
    /// This does not limit the guest's own computing. With a store of
    /// [`InstanceLimits::store`](crate::InstanceLimits::store), put a timeout around the call, and
    /// do not set the store's epoch deadline: the guest would no longer yield. With
    /// [`store_sync`](crate::InstanceLimits::store_sync), `max_time` limits it.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.ctx.request = self.ctx.request.clone().deadline(deadline);
        self
    }

    /// Name the request for [observers](millpond_pool::observe): with its number in an access log,
    /// for instance. Defaults to no name.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.ctx.request = self.ctx.request.clone().label(label);
        self
    }

    /// Set the maximum number of statements that the request may have open at once. Defaults to 64.
    pub fn max_statements(mut self, statements: u32) -> Self {
        self.ctx.statements = Count::up_to(statements);
        self
    }

    /// Set the maximum number of cursors that the request may have open at once. Defaults to 64.
    pub fn max_cursors(mut self, cursors: u32) -> Self {
        self.ctx.cursors = Count::up_to(cursors);
        self
    }

    /// Set the maximum number of transaction handles that the request may have open at once. A
    /// handle whose transaction SQL text has ended counts until it is dropped. Defaults to 64.
    pub fn max_transactions(mut self, transactions: u32) -> Self {
        self.ctx.transactions = Count::up_to(transactions);
        self
    }

    /// Build the context for one request.
    pub fn build(self) -> SqliteCtx {
        self.ctx
    }
}

/// One request's state: its grants, and what it holds.
///
/// Create one for each request. Dropping it ends the request: its statements and waits are
/// [interrupted](Request::interrupt), every connection that the guest still holds is returned to
/// its pool, and every remaining handle becomes stale. Dropping the [`Store`](wasmtime::Store) that
/// owns it does this too, after a trap or a cancelled call.
///
/// To serve another request in the same store, see [`next_request`](SqliteCtx::next_request).
#[derive(Debug)]
pub struct SqliteCtx {
    /// In the order of their names.
    granted: Vec<Granted>,
    /// What earlier requests in the same store left: handles that are stale, but count.
    earlier: Vec<Arc<Held>>,
    request: Request,
    unknown: Option<String>,
    pub(crate) statements: Count,
    pub(crate) cursors: Count,
    /// Its strong count is the number of [`CursorPlace`]s.
    cursor_places: Weak<()>,
    pub(crate) transactions: Count,
}

#[derive(Debug)]
struct Granted {
    grant: Arc<Grant>,
    held: Arc<Held>,
}

async fn get(
    (grant, name): (&Grant, &str),
    access: Access,
    request: &Request,
) -> Result<millpond_pool::Connection, connections::Error> {
    let connection = grant.get(access, request).await;
    connection.map_err(|error| hide_host(name, &error))
}

/// A grant, what is held of it, and a place in that until it is dropped.
type Place = (Arc<Grant>, Arc<Held>, Weak<Held>);

impl SqliteCtx {
    /// Create a builder.
    pub fn builder() -> SqliteCtxBuilder {
        SqliteCtxBuilder {
            ctx: SqliteCtx {
                granted: Vec::new(),
                earlier: Vec::new(),
                request: Request::new(),
                unknown: None,
                statements: Count::up_to(64),
                cursors: Count::up_to(64),
                cursor_places: Weak::new(),
                transactions: Count::up_to(64),
            },
        }
    }

    /// End the request, as dropping this does, for a store that will serve another request:
    /// [`next_request`](SqliteCtx::next_request). Until then, the guest gets no connection
    /// (`pool-timeout`), and its statements fail. Does nothing the second time.
    ///
    /// Does not wait, unless another thread runs a statement on one of the connections, which it
    /// interrupts.
    pub fn end_request(&mut self) {
        // A task may be running a statement on one of them, and giving it back waits for its end.
        self.request.interrupt();
        // An ended request keeps no pool in use.
        for granted in self.granted.drain(..) {
            granted.held.end();
            if granted.held.count() > 0 {
                self.earlier.push(granted.held);
            }
        }
    }

    /// [End](SqliteCtx::end_request) the request, and begin the next one in the same store, with
    /// this new context's grants, deadline and limits. An embedder that serves several requests
    /// with one instance, one after another, calls this between them. See [the crate's
    /// documentation](crate#one-instance-for-several-requests) for when to do so.
    ///
    /// The guest may have kept handles. They are stale: none reaches a connection of the new
    /// request, not even one that a call of the old request was still waiting for. But they count
    /// against the new request's limits until the guest drops them: a statement as a statement, and
    /// a connection against the connections that the new request may hold of the same name.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use millpond_wasmtime::pool::Access;
    /// use millpond_wasmtime::sqlite::PoolBuilder;
    /// use millpond_wasmtime::{Grant, SqliteCtx};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ada = PoolBuilder::new().open_in_memory()?;
    /// # let grace = PoolBuilder::new().open_in_memory()?;
    /// let request = |pool| {
    ///     SqliteCtx::builder()
    ///         .grant("default", Grant::new(pool, Access::ReadWrite))
    ///         .deadline(Instant::now() + Duration::from_secs(30))
    ///         .build()
    /// };
    /// let mut sqlite = request(&ada); // in the store's data
    /// // … call the guest
    /// sqlite.end_request(); // everything that it holds goes back
    /// // … until another request comes
    /// sqlite.next_request(request(&grace));
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_request(&mut self, mut next: SqliteCtx) {
        self.end_request();
        next.statements.open += self.statements.open;
        next.cursors.open += self.cursors.open;
        next.transactions.open += self.transactions.open;
        next.cursor_places = std::mem::take(&mut self.cursor_places);
        next.earlier = std::mem::take(&mut self.earlier);
        *self = next;
    }

    /// The request. Keep a clone to interrupt it while the guest runs on another thread, even in a
    /// statement: see [`Request::interrupt`].
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The first name of a database that the guest asked for but was not granted, so that the host
    /// can tell its operator. The guest chose this text; it is truncated to 64 characters.
    pub fn unknown_database(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// What the grant of a database allows.
    ///
    /// # Errors
    ///
    /// `no-such-database`.
    pub fn access(&mut self, database: &str) -> Result<Access, connections::Error> {
        Ok(self.find(database)?.grant.access())
    }

    /// A connection that the guest holds until it drops it or the request ends, for an interface of
    /// the embedder's own. It counts as one of the request's
    /// ([`Grant::connections_per_request`](millpond_pool::Grant::connections_per_request)), even
    /// while it is waited for.
    ///
    /// Waits for one for up to the pool's timeout. The future does not borrow this context, so
    /// concurrent host functions can wait too.
    ///
    /// # Errors
    ///
    /// `no-such-database`, `too-many-handles`, and those of
    /// [`Grant::get`](millpond_pool::Grant::get). No message names a file of the host.
    pub fn get_connection(
        &mut self,
        database: &str,
        access: Access,
    ) -> impl Future<Output = Result<Connection, connections::Error>> + Send + use<> {
        let request = self.request.clone();
        let place = self.take_place(database);
        async move {
            let (grant, held, place) = place?;
            let connection = get((&grant, &held.name), access, &request).await?;
            let connection = Arc::new(connection);
            held.add(&connection, place);
            Ok(connection)
        }
    }

    /// Reserve one more connection, or fail if the request may hold no more. Until the weak
    /// reference is dropped, the connection counts.
    fn take_place(&mut self, database: &str) -> Result<Place, connections::Error> {
        self.earlier.retain(|held| held.count() > 0);
        let earlier = self.earlier.iter().filter(|held| held.name == database);
        let earlier: usize = earlier.map(Held::count).sum();
        let granted = self.find(database)?;
        let most = granted.grant.connections_per_request();
        if earlier + granted.held.count() >= most as usize {
            return Err(connections::Error::too_many("connections", most));
        }
        let held = Arc::clone(&granted.held);
        let place = Arc::downgrade(&held);
        Ok((Arc::clone(&granted.grant), held, place))
    }

    /// A place among the request's open cursors ([`max_cursors`](SqliteCtxBuilder::max_cursors)),
    /// for an interface of the embedder's own whose results are streams. Dropping it frees it.
    ///
    /// # Errors
    ///
    /// `too-many-handles`.
    pub fn take_cursor_place(&mut self) -> Result<CursorPlace, connections::Error> {
        self.check_cursors()?;
        let place = self.cursor_places.upgrade().unwrap_or_default();
        self.cursor_places = Arc::downgrade(&place);
        Ok(CursorPlace(place))
    }

    /// Returns an error if one more cursor would be too many.
    pub(crate) fn check_cursors(&self) -> Result<(), connections::Error> {
        let places = self.cursor_places.strong_count();
        self.cursors.check_with("cursors", places)
    }

    /// A connection for one call of an interface of the embedder's own, and what the grant allows.
    /// It does not count as one of the request's: return it, by dropping it, before the call ends.
    ///
    /// Waits for one for up to the pool's timeout.
    ///
    /// # Errors
    ///
    /// `no-such-database`, and those of [`Grant::get`](millpond_pool::Grant::get). No message names
    /// a file of the host.
    pub async fn lend(
        &mut self,
        database: &str,
    ) -> Result<(millpond_pool::Connection, Access), connections::Error> {
        let request = self.request.clone();
        let grant = Arc::clone(&self.find(database)?.grant);
        let access = grant.access();
        Ok((get((&grant, database), access, &request).await?, access))
    }

    pub(crate) fn stats(&mut self, database: &str) -> Result<PoolStats, connections::Error> {
        let granted = self.find(database)?;
        let grant = &granted.grant;
        match grant.stats_scope() {
            StatsScope::Pool => Ok(grant.pool().stats()),
            StatsScope::Request => {
                let mut stats = PoolStats::default();
                stats.max_size = grant.connections_per_request();
                stats.in_use = granted.held.handles() as u32;
                Ok(stats)
            }
            StatsScope::Nothing => Err(connections::Error::new(
                connections::ErrorKind::NotAuthorized,
                format!("the counters of the database {database:?} are not granted"),
            )),
        }
    }

    /// Replace the grant of a name, for the tests of this crate.
    #[cfg(test)]
    pub(crate) fn set_grant(&mut self, database: &str, grant: Grant) {
        let index = self.index_of(database).expect("a grant");
        self.granted[index].grant = Arc::new(grant);
    }

    pub(crate) fn databases(&self) -> Vec<String> {
        let names = self.granted.iter().map(|granted| granted.held.name.clone());
        names.collect()
    }

    /// Where the grant of this name is, or belongs.
    fn index_of(&self, database: &str) -> Result<usize, usize> {
        self.granted
            .binary_search_by(|granted| granted.held.name.as_str().cmp(database))
    }

    fn find(&mut self, database: &str) -> Result<&Granted, connections::Error> {
        match self.index_of(database) {
            Ok(index) => Ok(&self.granted[index]),
            Err(_) if self.request.is_interrupted() => Err(connections::Error::new(
                connections::ErrorKind::PoolTimeout,
                "the request has ended".to_owned(),
            )),
            Err(_) => {
                let unknown = || database.chars().take(64).collect();
                self.unknown.get_or_insert_with(unknown);
                Err(connections::Error::no_such_database(database))
            }
        }
    }
}

impl Drop for SqliteCtx {
    fn drop(&mut self) {
        self.end_request();
    }
}

/// Errors of opening a file name the file, which a guest must not see.
fn hide_host(database: &str, error: &Error) -> connections::Error {
    match error.kind() {
        ErrorKind::CannotOpen | ErrorKind::Corrupt => connections::Error::new(
            error.kind().into(),
            format!("the database {database:?} cannot be opened"),
        ),
        _ => error.clone().into(),
    }
}

/// What the contract's functions operate on.
#[derive(Debug)]
pub struct SqliteCtxView<'a> {
    /// The request's state.
    pub ctx: &'a mut SqliteCtx,
    /// The guest's handles.
    pub table: &'a mut ResourceTable,
}

/// Gives access to the [`SqliteCtx`] in an embedder's own store data.
///
/// ```
/// use millpond_wasmtime::{SqliteCtx, SqliteCtxView, SqliteView};
/// use wasmtime::component::ResourceTable;
///
/// struct Host {
///     sqlite: SqliteCtx,
///     table: ResourceTable,
/// }
///
/// impl SqliteView for Host {
///     fn sqlite(&mut self) -> SqliteCtxView<'_> {
///         SqliteCtxView { ctx: &mut self.sqlite, table: &mut self.table }
///     }
/// }
/// ```
pub trait SqliteView: Send {
    /// The request's state and the table of its handles.
    fn sqlite(&mut self) -> SqliteCtxView<'_>;
}

/// Marks [`SqliteCtxView`] as the data of this crate's host functions.
#[derive(Debug)]
pub struct Sqlite;

impl HasData for Sqlite {
    type Data<'a> = SqliteCtxView<'a>;
}

#[cfg(test)]
#[path = "ctx_tests.rs"]
mod tests;
