//! Building a pool: what each setting means, its unit, default and bounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use millpond_pool::{Pool, block_on};

use crate::engine::Sqlite;
use crate::error::{Error, ErrorKind};
use crate::open::Location;
use crate::open::settings::{Settings, Synchronous};

/// Builds a [`Pool`].
///
/// Every setting has a default that suits a small server. The settings are checked when the
/// pool is built: one out of its bounds is an error of the kind
/// [`Config`](millpond_pool::ErrorKind::Config) that names it.
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
    /// Every setting at its default.
    pub fn new() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// The most connections that exist at once, idle and in use together, without the one of the
    /// pool's own, which writes the log into the database: see [`Pool`]. Default 5; 1 to 1024.
    pub fn max_size(mut self, connections: u32) -> Self {
        self.settings.max_size = connections;
        self
    }

    /// How long a caller waits for a connection, and a writer for its turn. Default 10 s; 0
    /// (do not wait at all) to one hour.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How many idle connections are kept. One that comes back to a pool with as many is
    /// closed. Default: `max_size`; 0 to `max_size`.
    pub fn max_idle(mut self, connections: u32) -> Self {
        self.settings.max_idle = Some(connections);
        self
    }

    /// When SQLite waits for the disk. Default [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.settings.synchronous = synchronous;
        self
    }

    /// The page cache of each connection, in bytes, rounded down to KiB
    /// (<https://sqlite.org/pragma.html#pragma_cache_size>). A pool can use `max_size` times as
    /// much. Default 2 MiB; 64 KiB to 1 GiB.
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.settings.cache_size = bytes;
        self
    }

    /// How much of the file each connection maps into memory, in bytes
    /// (<https://sqlite.org/mmap.html>). With it, an I/O error of the disk is a signal that ends
    /// the process, not an error. Nor is a statement refused mapped pages when its time is over:
    /// one that goes through much of the file in a single instruction ends later. Default 0, none;
    /// up to 64 GiB.
    pub fn mmap_size(mut self, bytes: u64) -> Self {
        self.settings.mmap_size = bytes;
        self
    }

    /// Open the file for reading only, and leave it as it is: it is not created, not switched to
    /// write-ahead logging, and no log is written into it. Connections are lent with
    /// [`Access::ReadOnly`](millpond_pool::Access::ReadOnly) alone. It may lie on a disk that cannot be
    /// written, if the log beside it is empty or gone; it must then not be written by another mount.
    /// Or it may be written by other processes meanwhile, which needs a folder that can be written
    /// if the file has a write-ahead log (<https://sqlite.org/wal.html#read_only_databases>).
    /// Default false.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// How many compiled statements each connection keeps for the next time. For each, up to 480 of
    /// them, 2.4 KB of the connection's memory are set aside as it opens. Default 128; 0 to 10,000.
    pub fn statement_cache(mut self, statements: usize) -> Self {
        self.settings.statement_cache = statements;
        self
    }

    /// How long a statement waits for a writer **in another process**; writers of this pool
    /// queue in the pool. The wait blocks the thread. Default 5 s; 0 to one hour.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout;
        self
    }

    /// The memory that SQLite may take for each connection, in bytes: its page cache, compiled
    /// statements, values, what it sorts, and temporary tables. A statement that would take more
    /// fails with [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded), and its transaction may have
    /// been rolled back. For a database in memory, what a connection adds to it counts too. All
    /// pools together: [`set_process_memory_limit`](crate::set_process_memory_limit). Default
    /// 64 MiB; [`cache_size`](PoolBuilder::cache_size) and 2 MiB, to 64 GiB.
    pub fn max_memory_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_memory_bytes = bytes;
        self
    }

    /// The size that the database may grow to, in bytes, rounded down to pages
    /// (<https://sqlite.org/pragma.html#pragma_max_page_count>). A write beyond fails with
    /// [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded). A database that is larger already can be
    /// read, and does not grow. The log beside it is not counted: see
    /// [`max_transaction_bytes`](PoolBuilder::max_transaction_bytes). Default 10 GiB; 1 MiB to 16
    /// TiB.
    pub fn max_database_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_database_bytes = bytes;
        self
    }

    /// How much one transaction may write, in bytes of pages, each as often as it is written. One
    /// that would write more is rolled back, and its statement fails with
    /// [`QuotaExceeded`](millpond_pool::ErrorKind::QuotaExceeded). It bounds the log, which grows with
    /// every page that a transaction writes, and with it how long a commit waits for the disk:
    /// which no deadline ends. Counted roughly, to a megabyte or the page cache. Default 64 MiB; 1
    /// MiB to 16 TiB.
    pub fn max_transaction_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_transaction_bytes = bytes;
        self
    }

    /// The longest text, blob or row, in bytes
    /// (<https://sqlite.org/limits.html#max_length>). One call of a function such
    /// as `LIKE` goes through it in one instruction, which no deadline ends: at the default that
    /// takes up to 50 ms or so. Default 1 MiB; 64 KiB to 1 GiB less 1.
    pub fn max_value_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_value_bytes = bytes;
        self
    }

    /// The largest result that [`Connection::query`](millpond_pool::Connection::query) holds in memory,
    /// in bytes of its values. Default 16 MiB; 64 KiB to 1 GiB.
    pub fn max_result_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_result_bytes = bytes;
        self
    }

    /// The size at which a page of [`Statement::query`](millpond_pool::Statement::query) ends, in bytes
    /// of its values. It is passed by at most one row. Default 1 MiB; 1 KiB to 64 MiB.
    pub fn max_page_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_page_bytes = bytes;
        self
    }

    /// Build the pool for the file at `path`, which is created if there is none, readable by
    /// its owner alone. Symbolic links in the path are followed once, now.
    ///
    /// Opens one connection, and so blocks for as long as that takes: up to the busy timeout
    /// where another process has the database locked.
    ///
    /// # Errors
    ///
    /// [`Config`](millpond_pool::ErrorKind::Config): a setting is out of its bounds.
    /// [`CannotOpen`](millpond_pool::ErrorKind::CannotOpen): a folder is missing, the path names a
    /// directory or a file with several hard links, the disk is read-only or has no shared memory,
    /// or the system refuses. [`Corrupt`](millpond_pool::ErrorKind::Corrupt): the file is not a database,
    /// or is damaged. Each names the database.
    pub fn open(self, path: impl AsRef<Path>) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        open(Location::path(path.as_ref())?, self.settings)
    }

    /// Build the pool for the file `name` in the folder `dir`. The name is one file name: no
    /// path leads out of the folder, and a symbolic link is not followed.
    ///
    /// Creates the file, blocks and fails as [`open`](PoolBuilder::open) does. The folder stays
    /// the same one, whatever happens to its path. Not on Windows: use `open` there.
    pub fn open_in(self, dir: &Dir, name: &str) -> millpond_pool::Result<Pool> {
        self.settings.check()?;
        open(Location::in_dir(dir, name)?, self.settings)
    }

    /// Build the pool for a new database in memory, shared by all of the pool's connections
    /// and gone with the pool. For tests.
    ///
    /// SQLite has no write-ahead log in memory: unlike in a file, a reader and the writer keep
    /// each other out, for up to the busy timeout.
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
                "read_only is set: a database in memory is new, and would stay empty",
            )
            .into());
        }
        open(Location::memory(), self.settings)
    }
}

fn open(location: Location, settings: Settings) -> millpond_pool::Result<Pool> {
    let pool = settings.of_pool();
    let engine = Arc::new(Sqlite::new(location, settings)?);
    // A session in the process is open as soon as this is polled.
    block_on(Pool::open(engine, pool))
}
