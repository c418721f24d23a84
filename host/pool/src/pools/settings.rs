//! How many pools are open, and for how long.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::settings::{within, within_hour};

/// How many pools [`Pools`](crate::Pools) has open at once, and for how long.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PoolsSettings {
    /// The maximum number of open pools: 1 to 100,000. Each has up to the connections of its own
    /// settings. Defaults to 100.
    pub max_open: u32,
    /// How long a pool stays open after its last use: more than 0. Defaults to 60 s.
    pub max_idle_time: Duration,
    /// How long a call of [`get`](crate::Pools::get) waits, at most one hour: while as many pools
    /// as may be open are all in use; and, at least a second, while another caller opens or closes
    /// the pool of the same key. Opening a pool itself is not limited. Defaults to 10 s.
    pub timeout: Duration,
}

impl Default for PoolsSettings {
    fn default() -> PoolsSettings {
        PoolsSettings {
            max_open: 100,
            max_idle_time: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }
}

impl PoolsSettings {
    /// The default settings with this maximum number of open pools.
    pub fn new(max_open: u32) -> PoolsSettings {
        PoolsSettings {
            max_open,
            ..PoolsSettings::default()
        }
    }

    /// Close a pool that has not been used for this long.
    #[must_use]
    pub fn max_idle_time(mut self, time: Duration) -> PoolsSettings {
        self.max_idle_time = time;
        self
    }

    /// Let a call of [`get`](crate::Pools::get) wait at most this long: while all pools are in use,
    /// and while another caller opens or closes the pool of the same key.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> PoolsSettings {
        self.timeout = timeout;
        self
    }

    /// Check that each is within its bounds.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): one is not; the message says which, and its bounds.
    pub fn check(&self) -> Result<()> {
        within("max_open", self.max_open, 1..=100_000, "pools")?;
        if self.max_idle_time.is_zero() {
            let message = "max_idle_time is 0: it must be more";
            return Err(Error::new(ErrorKind::Config, message));
        }
        within_hour("timeout", self.timeout)
    }
}
