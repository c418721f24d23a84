//! The pool's settings as values: defaults and bounds. `PoolBuilder` documents each setting.

use std::time::Duration;

use millpond_pool::Result;
use millpond_pool::engine::{within, within_hour};

/// When SQLite syncs to disk (<https://sqlite.org/pragma.html#pragma_synchronous>).
///
/// In either mode, a process that crashes or is killed loses no committed change, and the database
/// is never corrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Sync the log only at checkpoints. Commits are faster; a power failure or a crash of the
    /// system can undo the last of them.
    Normal,
    /// Sync the log at every commit: committed changes survive a power failure. The default of
    /// SQLite and of this pool.
    #[default]
    Full,
}

/// Settings as given; checked when the pool is built.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) read_only: bool,
    /// Those that every pool has.
    pub(crate) pool: millpond_pool::Settings,
    pub(crate) synchronous: Synchronous,
    pub(crate) cache_size: u64,
    pub(crate) mmap_size: u64,
    pub(crate) statement_cache: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) upkeep_after: Duration,
    pub(crate) max_memory_bytes: u64,
    pub(crate) max_database_bytes: u64,
    pub(crate) max_transaction_bytes: u64,
    pub(crate) max_value_bytes: u64,
    pub(crate) max_result_bytes: u64,
    pub(crate) max_page_bytes: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            read_only: false,
            pool: millpond_pool::Settings::default(),
            synchronous: Synchronous::Full,
            cache_size: 2 * MIB,
            mmap_size: 0,
            statement_cache: 128,
            busy_timeout: Duration::from_secs(5),
            upkeep_after: Duration::from_secs(5),
            max_memory_bytes: 64 * MIB,
            max_database_bytes: 10 * GIB,
            max_transaction_bytes: 64 * MIB,
            max_value_bytes: MIB,
            max_result_bytes: 16 * MIB,
            max_page_bytes: MIB,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        self.pool.check()?;
        within("cache_size", self.cache_size, 64 * KIB..=GIB, "bytes")?;
        within("mmap_size", self.mmap_size, 0..=64 * GIB, "bytes")?;
        within(
            "statement_cache",
            self.statement_cache,
            0..=10_000,
            "statements",
        )?;
        within_hour("busy_timeout", self.busy_timeout)?;
        within_hour("upkeep_after", self.upkeep_after)?;
        // The page cache counts, but SQLite needs more than that.
        within(
            "max_memory_bytes",
            self.max_memory_bytes,
            self.cache_size + 2 * MIB..=64 * GIB,
            "bytes",
        )?;
        within(
            "max_database_bytes",
            self.max_database_bytes,
            MIB..=16 * 1024 * GIB,
            "bytes",
        )?;
        within(
            "max_transaction_bytes",
            self.max_transaction_bytes,
            MIB..=16 * 1024 * GIB,
            "bytes",
        )?;
        within(
            "max_value_bytes",
            self.max_value_bytes,
            64 * KIB..=GIB - 1,
            "bytes",
        )?;
        within(
            "max_result_bytes",
            self.max_result_bytes,
            64 * KIB..=GIB,
            "bytes",
        )?;
        within(
            "max_page_bytes",
            self.max_page_bytes,
            KIB..=64 * MIB,
            "bytes",
        )
    }
}
