//! Building a pool: each setting's meaning, unit, default and bounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use millpond_pool::engine::Engine;
use millpond_pool::observe::Observer;
use millpond_pool::{Pool, block_on};

use crate::engine::Sqlite;
use crate::error::{Error, ErrorKind};
use crate::open::Location;
use crate::open::settings::{Settings, Synchronous};

/// Builds a [`Pool`].
///
/// The defaults suit a small server. Building the pool checks the settings: if one is out of its
/// bounds, it fails with an error of the kind [`Config`](millpond_pool::ErrorKind::Config) that
/// names it.
///
/// ```
/// use std::time::Duration;
/// use millpond_sqlite::{PoolBuilder, Synchronous};
///
/// let pool = PoolBuilder::new()
///     .max_size(8)
///     .timeout(Duration::from_secs(2))
///     .synchronous(Synchronous::Normal)
///     .open_in_memory()?;
/// # Ok::<(), millpond_pool::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it opens the pool"]
pub struct PoolBuilder {
    settings: Settings,
}

impl PoolBuilder {
    /// Create a builder with the defaults.
    pub fn new() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// Set the maximum number of connections, idle and in use together, not counting the pool's own
    /// checkpoint connection. Defaults to 5; from 1 to 1024.
    pub fn max_size(mut self, connections: u32) -> Self {
        self.settings.pool.max_size = connections;
        self
    }

    /// Set how long a caller waits for a connection, and a writer for its turn. Defaults to 10 s;
    /// from 0 (do not wait) to one hour.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.pool.timeout = timeout;
        self
    }

    /// Set the maximum number of idle connections. A connection returned to a pool with that many
    /// is closed. Defaults to `max_size`; from 0 to `max_size`.
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

    /// Name the database in [events](millpond_pool::observe). Defaults to the file's path, as an
    /// operator sees it; with a
    /// [`tenant`](PoolBuilder::tenant), to `tenants`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.pool = self.settings.pool.name(name);
        self
    }

    /// Say whose database it is, in [events](millpond_pool::observe). [`Folder`](crate::Folder)
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

    /// Set when SQLite syncs to disk. Defaults to [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.settings.synchronous = synchronous;
        self
    }

    /// Set the page cache of each connection, in bytes, rounded down to KiB
    /// (<https://sqlite.org/pragma.html#pragma_cache_size>). A pool can use `max_size` times as
    /// much. Defaults to 2 MiB; from 64 KiB to 1 GiB.
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.settings.cache_size = bytes;
        self
    }

    /// Set how much of the file each connection maps into memory, in bytes
    /// (<https://sqlite.org/mmap.html>). With it, an I/O error of the disk is a signal that ends
    /// the process, not an error value. Also, an overdue statement can still read mapped pages: one
    /// that scans much of the file in a single instruction stops later. Defaults to 0, no mapping;
    /// up to 64 GiB.
    pub fn mmap_size(mut self, bytes: u64) -> Self {
        self.settings.mmap_size = bytes;
        self
    }

    /// Set how long the pool must be unused before its upkeep, which is due after about 4 MB were
    /// written. Upkeep updates SQLite's statistics
    /// (<https://sqlite.org/lang_analyze.html#pragma_optimize>), gives free pages back to the disk
    /// if the database has `auto_vacuum = INCREMENTAL`, and truncates the log.
    ///
    /// Each step takes milliseconds, and stops when a writer comes. The writer then waits for less
    /// than a millisecond, or until the step has committed. All steps together take at most 2 s. A
    /// pool that is closed first, or never unused for this long, has no upkeep; nor has a read-only
    /// database.
    ///
    /// Defaults to 5 s; from 0 (no upkeep) to one hour.
    pub fn upkeep_after(mut self, time: Duration) -> Self {
        self.settings.upkeep_after = time;
        self
    }

    /// Open the file read-only, and leave it unchanged: it is not created, not switched to
    /// write-ahead logging, and gets no checkpoint. Connections are only lent with
    /// [`Access::ReadOnly`](millpond_pool::Access::ReadOnly). The file may be on a read-only disk,
    /// if its log is empty or missing; no other mount may then write it. Or other processes may
    /// write it; if it has a write-ahead log, that needs a writable folder
    /// (<https://sqlite.org/wal.html#read_only_databases>). Defaults to false.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// Set how many compiled statements each connection caches. Each of the first 480 reserves 2.4
    /// KB of the connection's memory when it opens. Defaults to 128; from 0 to 10,000.
    pub fn statement_cache(mut self, statements: usize) -> Self {
        self.settings.statement_cache = statements;
        self
    }

    /// Set how long a statement waits for a writer **in another process**; writers of this pool
    /// queue in the pool. The wait blocks the thread. Defaults to 5 s; from 0 to one hour.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout;
        self
    }

    /// Set SQLite's memory limit for each connection, in bytes: its page cache, compiled
    /// statements, values, sorting, and temporary tables. A statement that would exceed it fails
    /// with [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded), and its transaction may
    /// have been rolled back. For an in-memory database, what a connection adds to it counts too.
    /// To limit all pools together, use
    /// [`set_process_memory_limit`](crate::set_process_memory_limit). Defaults to 64 MiB; from
    /// [`cache_size`](PoolBuilder::cache_size) plus 2 MiB to 64 GiB.
    pub fn max_memory_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_memory_bytes = bytes;
        self
    }

    /// Set the maximum size of the database, in bytes, rounded down to pages
    /// (<https://sqlite.org/pragma.html#pragma_max_page_count>). A write beyond it fails with
    /// [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded). A database that is already
    /// larger can be read, but does not grow. The log does not count: see
    /// [`max_transaction_bytes`](PoolBuilder::max_transaction_bytes). Defaults to 10 GiB; from 1
    /// MiB to 16 TiB.
    pub fn max_database_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_database_bytes = bytes;
        self
    }

    /// Set how much one transaction may write, in bytes; a page counts each time it is written. A
    /// transaction that would exceed it is rolled back, and its statement fails with
    /// [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded). This bounds the log, which grows
    /// with every page that a transaction writes, and so how long a commit waits for the disk,
    /// which no deadline can stop. Approximate, to a megabyte or the page cache. Defaults to 64
    /// MiB; from 1 MiB to 16 TiB.
    pub fn max_transaction_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_transaction_bytes = bytes;
        self
    }

    /// Set the maximum size of a text, blob or row, in bytes
    /// (<https://sqlite.org/limits.html#max_length>). A function such as `LIKE` processes a value
    /// in one instruction, which no deadline can stop: at the default that takes up to about 50 ms.
    /// Defaults to 1 MiB; from 64 KiB to 1 GiB less 1.
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_value_bytes = bytes;
        self
    }

    /// Set the maximum result that [`Connection::query`](millpond_pool::Connection::query) holds in
    /// memory, in bytes of its values. Defaults to 16 MiB; from 64 KiB to 1 GiB.
    pub fn max_result_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_result_bytes = bytes;
        self
    }

    /// Set the size at which a page of [`Statement::query`](millpond_pool::Statement::query) ends,
    /// in bytes of its values. The row that reaches it is included. Defaults to 1 MiB; from 1 KiB
    /// to 64 MiB.
    pub fn max_page_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_page_bytes = bytes;
        self
    }

    pub(crate) fn check(&self) -> millpond_pool::Result<()> {
        self.settings.check()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Build the pool for the file at `path`. If it does not exist, it is created, readable only by
    /// its owner. Symbolic links in the path are resolved once, now.
    ///
    /// Opens one connection, and blocks meanwhile: up to the busy timeout if another process has
    /// the database locked.
    ///
    /// # Errors
    ///
    /// [`Config`](millpond_pool::ErrorKind::Config): a setting is out of its bounds.
    /// [`CannotOpen`](millpond_pool::ErrorKind::CannotOpen): a folder is missing, the path names a
    /// directory or a file with several hard links, the disk is read-only or does not support
    /// shared memory, or the system refuses. [`Corrupt`](millpond_pool::ErrorKind::Corrupt): the
    /// file is not a database, or is damaged. All of these name the database.
    pub fn open(self, path: impl AsRef<Path>) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        open(Location::path(path.as_ref())?, self.settings, |engine| {
            engine
        })
    }

    /// Like [`open`](PoolBuilder::open), but passes the engine through `wrap`, which may return one
    /// that delegates to it, to record its calls or to make them fail. For tests.
    ///
    /// # Errors
    ///
    /// As [`open`](PoolBuilder::open).
    pub fn open_wrapped(
        self,
        path: impl AsRef<Path>,
        wrap: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>,
    ) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        open(Location::path(path.as_ref())?, self.settings, wrap)
    }

    /// Build the pool for the file `name` in the folder `dir`. The name must be a plain file name:
    /// no path leads out of the folder, and symbolic links are not followed.
    ///
    /// Creates the file, blocks and fails like [`open`](PoolBuilder::open). The folder stays the
    /// same, whatever happens to its path. Not supported on Windows: use `open` there.
    pub fn open_in(self, dir: &Dir, name: &str) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        open(Location::in_dir(dir, name)?, self.settings, |engine| engine)
    }

    /// Build the pool for a new in-memory database, which all of the pool's connections share, and
    /// which is dropped with the pool. For tests.
    ///
    /// An in-memory database has no write-ahead log: unlike in a file, readers and the writer block
    /// each other, for up to the busy timeout.
    ///
    /// # Errors
    ///
    /// [`Config`](millpond_pool::ErrorKind::Config): a setting is out of its bounds, or `read_only`
    /// is set.
    pub fn open_in_memory(self) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        if self.settings.read_only {
            return Err(Error::new(
                ErrorKind::Config,
                "read_only is set: a new in-memory database would stay empty",
            )
            .into());
        }
        open(Location::memory(), self.settings, |engine| engine)
    }
}

pub(crate) fn open(
    location: Location,
    settings: Settings,
    wrap: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>,
) -> millpond_pool::Result<Pool> {
    let pool = settings.pool.clone();
    let engine = wrap(Arc::new(Sqlite::new(location, settings)?));
    // Opening an in-process session completes in its first poll.
    block_on(Pool::open(engine, pool))
}
