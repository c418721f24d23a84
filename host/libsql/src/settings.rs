//! The pool's settings as values: defaults and bounds. [`PoolBuilder`](crate::PoolBuilder)
//! documents each.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use millpond_pool::{Error, ErrorKind, Result};

use crate::hrana::reply::Sizes;
use crate::token::Source;

/// Settings as they were given; checked when the pool is built.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) token: Source,
    pub(crate) namespace: Option<String>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) allow_plain_http: bool,
    pub(crate) server_enforces_tables: bool,
    pub(crate) read_only: bool,
    /// The statements are the host's own: what guests may not do is not refused.
    pub(crate) trusted: bool,
    pub(crate) max_size: u32,
    pub(crate) max_idle: Option<u32>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_value_bytes: u64,
    pub(crate) max_result_bytes: u64,
    pub(crate) max_page_bytes: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const HOUR: Duration = Duration::from_secs(3600);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: Source::None,
            namespace: None,
            authorities: None,
            allow_plain_http: false,
            server_enforces_tables: false,
            read_only: false,
            trusted: false,
            max_size: 5,
            max_idle: None,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            max_value_bytes: MIB,
            max_result_bytes: 16 * MIB,
            max_page_bytes: MIB,
        }
    }
}

impl Settings {
    /// Those of any pool.
    pub(crate) fn of_pool(&self) -> millpond_pool::Settings {
        millpond_pool::Settings::new(self.max_size, self.timeout).max_idle(self.max_idle)
    }

    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            value: self.max_value_bytes,
            result: self.max_result_bytes,
        }
    }

    /// The longest answer that is read, in bytes. Some values take more on their way than in a
    /// result.
    pub(crate) fn max_answer(&self) -> usize {
        usize::try_from(2 * self.max_result_bytes + MIB).unwrap_or(usize::MAX)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let max_idle = self.max_idle.unwrap_or(self.max_size);
        within("max_size", self.max_size, 1..=1024, "connections")?;
        within("max_idle", max_idle, 0..=self.max_size, "connections")?;
        within_hour("timeout", self.timeout)?;
        within_hour("connect_timeout", self.connect_timeout)?;
        let value = 64 * KIB..=64 * MIB;
        within("max_value_bytes", self.max_value_bytes, value, "bytes")?;
        let result = 64 * KIB..=256 * MIB;
        within("max_result_bytes", self.max_result_bytes, result, "bytes")?;
        let page = KIB..=64 * MIB;
        within("max_page_bytes", self.max_page_bytes, page, "bytes")
    }
}

fn within<T: PartialOrd + Display>(
    name: &str,
    value: T,
    bounds: RangeInclusive<T>,
    unit: &str,
) -> Result<()> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let (from, to) = (bounds.start(), bounds.end());
    Err(Error::new(
        ErrorKind::Config,
        format!("{name} is {value} {unit}: it must be between {from} and {to}"),
    ))
}

fn within_hour(name: &str, value: Duration) -> Result<()> {
    if value <= HOUR {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!("{name} is {value:?}: it must be at most one hour"),
    ))
}
