//! The pool's settings as values: defaults and bounds. [`PoolBuilder`](crate::PoolBuilder)
//! documents each.

use std::path::PathBuf;
use std::time::Duration;

use millpond_pool::Result;
use millpond_pool::engine::{within, within_hour};

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
    /// Those of any pool.
    pub(crate) pool: millpond_pool::Settings,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_value_bytes: u64,
    pub(crate) max_result_bytes: u64,
    pub(crate) max_page_bytes: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

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
            pool: millpond_pool::Settings::default(),
            connect_timeout: Duration::from_secs(5),
            max_value_bytes: MIB,
            max_result_bytes: 16 * MIB,
            max_page_bytes: MIB,
        }
    }
}

impl Settings {
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
        self.pool.check()?;
        within_hour("connect_timeout", self.connect_timeout)?;
        let value = 64 * KIB..=64 * MIB;
        within("max_value_bytes", self.max_value_bytes, value, "bytes")?;
        let result = 64 * KIB..=256 * MIB;
        within("max_result_bytes", self.max_result_bytes, result, "bytes")?;
        let page = KIB..=64 * MIB;
        within("max_page_bytes", self.max_page_bytes, page, "bytes")
    }
}
