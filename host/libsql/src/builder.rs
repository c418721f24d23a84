//! Building a pool: what each setting means, its unit, default and bounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millpond_pool::engine::hand_over;
use millpond_pool::observe::Observer;
use millpond_pool::{Error, ErrorKind, Pool, Pools, PoolsSettings, Result, block_on};

use crate::engine::Libsql;
use crate::migrator::Migrator;
use crate::settings::Settings;
use crate::shared::is_label;
use crate::token::Source;

type Migrate = dyn Fn(&mut Migrator) -> Result<()> + Send + Sync;

/// Builds a [`Pool`] of connections to a libSQL server.
///
/// Settings are checked when the pool is built: one out of its bounds is an error of the kind
/// [`Config`](millpond_pool::ErrorKind::Config) that names it.
///
/// ```no_run
/// # async fn open() -> Result<(), millpond_pool::Error> {
/// use millpond_libsql::PoolBuilder;
///
/// let pool = PoolBuilder::new()
///     .max_size(8)
///     .token_file("/run/secrets/libsql-token")
///     .open("libsql://db.example.com")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it opens the pool"]
pub struct PoolBuilder {
    settings: Settings,
}

impl PoolBuilder {
    /// Every setting at its default.
    pub fn new() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// The token that the server asks for. It appears in no error, log or `Debug`. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.settings.token = Source::Text(token.into());
        self
    }

    /// The file that holds the token. It is read when the pool is built, and again when the server
    /// refuses the token, so that it can be replaced while the pool is open.
    pub fn token_file(mut self, path: impl AsRef<Path>) -> Self {
        self.settings.token = Source::File(path.as_ref().to_owned());
        self
    }

    /// The database's name on a server that has several (`sqld --enable-namespaces`): 1 to 63
    /// letters, digits, `-` and `_`. A server takes it from the first label of the host that a
    /// request names, so that is put before the URL's host. Default: whatever label that has, as in
    /// `https://tenant.db.example.com`.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = Some(name.into());
        self
    }

    /// A file of certificate authorities in PEM, which alone are believed. Default: those that the
    /// system believes.
    pub fn certificate_authorities(mut self, path: impl AsRef<Path>) -> Self {
        self.settings.authorities = Some(path.as_ref().to_owned());
        self
    }

    /// Whether a server on another machine may be reached by `http:`. Everyone on the network
    /// between can then read and change what is sent, the token too. Default false.
    pub fn allow_plain_http(mut self, allowed: bool) -> Self {
        self.settings.allow_plain_http = allowed;
        self
    }

    /// Whether the server itself restricts what this pool's token may do to tables. Grants that
    /// name tables are refused otherwise, because nothing here can enforce them: only the server
    /// reads the schema. With it they are accepted, and what they say of tables and columns is the
    /// server's to hold. Default false.
    pub fn server_enforces_tables(mut self, enforces: bool) -> Self {
        self.settings.server_enforces_tables = enforces;
        self
    }

    /// Lend connections with [`Access::ReadOnly`](millpond_pool::Access::ReadOnly) alone. Default
    /// false.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// The most connections that exist at once, idle and in use together. Each is one stream of the
    /// server, and a second one while a cursor over a large result is open: all pools of all hosts
    /// together must stay below the server's `--max-concurrent-connections` (128 by default).
    /// Default 5; 1 to 1024.
    pub fn max_size(mut self, connections: u32) -> Self {
        self.settings.pool.max_size = connections;
        self
    }

    /// How many idle connections are kept. One that comes back to a pool with as many is closed.
    /// Default: `max_size`; 0 to `max_size`.
    pub fn max_idle(mut self, connections: u32) -> Self {
        self.settings.pool.max_idle = Some(connections);
        self
    }

    /// Close a connection that has been idle for this long; it may stay open for up to twice as
    /// long. More than 0. Defaults to never. One maintenance thread of the process does this.
    pub fn max_idle_time(mut self, time: Duration) -> Self {
        self.settings.pool.max_idle_time = Some(time);
        self
    }

    /// How long a caller waits for a connection, and how long for a server that has no stream left.
    /// Default 10 s; 0 (do not wait at all) to one hour.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.pool.timeout = timeout;
        self
    }

    /// Name the database in [events](millpond_pool::observe). Defaults to the server's name and
    /// the namespace; with a
    /// [`tenant`](PoolBuilder::tenant), to `tenants`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.pool = self.settings.pool.name(name);
        self
    }

    /// Say whose database it is, in [events](millpond_pool::observe). [`pools`](PoolBuilder::pools)
    /// sets this by itself. Defaults to none.
    pub fn tenant(mut self, key: impl Into<Arc<str>>) -> Self {
        self.settings.pool = self.settings.pool.tenant(Some(key.into()));
        self
    }

    /// Tell this observer what happens in the pool: see [`observe`](millpond_pool::observe).
    /// Defaults to none, which costs nothing.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings.pool = self.settings.pool.observer(Some(observer));
        self
    }

    /// How long connecting to the server may take. Default 5 s; up to one hour.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// The longest text or blob that is told, in bytes. Default 1 MiB; 64 KiB to 64 MiB.
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_value_bytes = bytes;
        self
    }

    /// The largest result that [`Connection::query`](millpond_pool::Connection::query) holds in
    /// memory, in bytes of its values. Default 16 MiB; 64 KiB to 256 MiB.
    pub fn max_result_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_result_bytes = bytes;
        self
    }

    /// The size at which a page of [`Statement::query`](millpond_pool::Statement::query) ends, in
    /// bytes of its values. It is passed by at most one row. Default 1 MiB; 1 KiB to 64 MiB.
    pub fn max_page_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_page_bytes = bytes;
        self
    }

    /// Build the pool for the server at `url`: `libsql://host` or `https://host`, or `http://host`
    /// for a server on this machine. Opens one connection, so that a server that cannot be reached,
    /// or refuses the token, is known now.
    ///
    /// # Errors
    ///
    /// [`Config`](millpond_pool::ErrorKind::Config): a setting, the URL or the token's file is not
    /// as it must be. [`Unavailable`](millpond_pool::ErrorKind::Unavailable): the server cannot be
    /// reached. [`CannotOpen`](millpond_pool::ErrorKind::CannotOpen): it refuses the token, does
    /// not speak Hrana 3, or sends its clients to another server.
    /// [`NoSuchDatabase`](millpond_pool::ErrorKind::NoSuchDatabase): the server has no namespace of
    /// this name.
    pub async fn open(self, url: &str) -> Result<Pool> {
        self.settings.check()?;
        let pool = self.settings.pool.clone();
        let engine = Arc::new(Libsql::new(url, self.settings)?);
        Pool::open(engine, pool).await
    }

    /// Connect to run migrations, instead of building a pool. Of the settings, those of the server
    /// and its token count; there is no observer. Blocks until the server has answered.
    ///
    /// # Errors
    ///
    /// As [`open`](PoolBuilder::open).
    pub fn open_migrator(mut self, url: &str) -> Result<Migrator> {
        self.settings.trusted = true;
        self.settings.pool = self.settings.pool.observer(None);
        (self.settings.pool.max_size, self.settings.pool.max_idle) = (1, None);
        (self.settings.read_only, self.settings.pool.timeout) = (false, Migrator::WAIT);
        Ok(Migrator::new(self.open_blocking(url)?))
    }

    /// Pools of the databases of the server at `url`, by namespace. Each has these settings, and
    /// opens when it is first asked for. The namespace is the [tenant](PoolBuilder::tenant) in
    /// events.
    ///
    /// [`Pools::get`] returns, besides its own errors and those of [`open`](PoolBuilder::open),
    /// [`NoSuchDatabase`](ErrorKind::NoSuchDatabase): the key is no name of a namespace, or the
    /// server has none of that name.
    ///
    /// ```no_run
    /// use millpond_libsql::PoolBuilder;
    /// use millpond_pool::PoolsSettings;
    ///
    /// # async fn open() -> Result<(), millpond_pool::Error> {
    /// let builder = PoolBuilder::new().token_file("/run/secrets/libsql-token");
    /// let tenants = builder.pools("libsql://db.example.com", PoolsSettings::new(500))?;
    /// let pool = tenants.get("a-tenant").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn pools(self, url: &str, settings: PoolsSettings) -> Result<Pools> {
        self.pools_by_namespace(url, settings, None)
    }

    /// Like [`pools`](PoolBuilder::pools), and call `migrate` each time before a pool opens, to run
    /// the migrations. It may block. [`Pools::get`] returns its error.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn migrated_pools(
        self,
        url: &str,
        settings: PoolsSettings,
        migrate: impl Fn(&mut Migrator) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Pools> {
        self.pools_by_namespace(url, settings, Some(Box::new(migrate)))
    }

    fn pools_by_namespace(
        self,
        url: &str,
        settings: PoolsSettings,
        migrate: Option<Box<Migrate>>,
    ) -> Result<Pools> {
        self.settings.check()?;
        let shared = Arc::new((self, url.to_owned(), migrate));
        let check = |key: &str| match is_label(key) {
            true => Ok(()),
            false => {
                let message = "there is no such database";
                Err(Error::new(ErrorKind::NoSuchDatabase, message))
            }
        };
        Pools::new(settings, check, move |key| {
            let shared = Arc::clone(&shared);
            async move {
                let (builder, url, migrate) = &*shared;
                let builder = builder.clone().namespace(&*key).tenant(Arc::clone(&key));
                if let Some(migrate) = migrate {
                    hand_over();
                    migrate(&mut builder.clone().open_migrator(url)?)?;
                }
                builder.open(url).await
            }
        })
    }

    /// As [`open`](PoolBuilder::open), on a thread that may block, in or outside of any runtime.
    ///
    /// # Errors
    ///
    /// As [`open`](PoolBuilder::open).
    pub fn open_blocking(self, url: &str) -> Result<Pool> {
        block_on(self.open(url))
    }
}
