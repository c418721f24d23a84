//! A pool's settings, for any engine.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Observer, SharedObserver};

/// How many connections a pool lends, how long it lets callers wait, and who observes that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of connections, idle and in use together: 1 to 1024. Defaults to 5.
    pub max_size: u32,
    /// The maximum number of idle connections to keep, at most `max_size`, which `None` means.
    /// Defaults to `None`.
    pub max_idle: Option<u32>,
    /// How long a caller waits for a connection, at most one hour. Defaults to 10 s.
    pub timeout: Duration,
    /// Close a connection that has been idle for this long; it may stay open for up to twice as
    /// long. More than 0; `None` means never. Defaults to `None`. One maintenance thread of the
    /// process does this.
    pub max_idle_time: Option<Duration>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) observer: Option<SharedObserver>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_size: 5,
            max_idle: None,
            timeout: Duration::from_secs(10),
            max_idle_time: None,
            name: None,
            tenant: None,
            observer: None,
        }
    }
}

impl Settings {
    /// The default settings with this maximum number of connections and time to wait for one.
    pub fn new(max_size: u32, timeout: Duration) -> Settings {
        Settings {
            max_size,
            timeout,
            ..Settings::default()
        }
    }

    /// Keep at most this many idle connections; `None` means `max_size`.
    #[must_use]
    pub fn max_idle(mut self, connections: Option<u32>) -> Settings {
        self.max_idle = connections;
        self
    }

    /// Close a connection that has been idle for this long; it may stay open for up to twice as
    /// long. More than 0; `None` means never. Defaults to `None`. One maintenance thread of the
    /// process does this.
    #[must_use]
    pub fn max_idle_time(mut self, time: Option<Duration>) -> Settings {
        self.max_idle_time = time;
        self
    }

    /// The database's name in [events](crate::observe). Defaults to the engine's name for it, which for
    /// a file is its path; with a [`tenant`](Settings::tenant), to `tenants`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Settings {
        self.name = Some(name.into());
        self
    }

    /// Whose database it is, in [events](crate::observe): a key of [`Pools`](crate::Pools), for
    /// instance. Defaults to `None`.
    #[must_use]
    pub fn tenant(mut self, key: Option<Arc<str>>) -> Settings {
        self.tenant = key;
        self
    }

    /// Tell this observer what happens in the pool. Defaults to `None`.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn Observer>>) -> Settings {
        self.observer = observer.map(SharedObserver);
        self
    }

    /// Check that each is within its bounds.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): one is not; the message says which, and its bounds.
    pub fn check(&self) -> Result<()> {
        let max_idle = self.max_idle.unwrap_or(self.max_size);
        within("max_size", self.max_size, 1..=1024, "connections")?;
        within("max_idle", max_idle, 0..=self.max_size, "connections")?;
        if self.max_idle_time.is_some_and(|time| time.is_zero()) {
            let message = "max_idle_time is 0: it must be more";
            return Err(Error::new(ErrorKind::Config, message));
        }
        within_hour("timeout", self.timeout)
    }

    pub(crate) fn most_idle(&self) -> u32 {
        self.max_idle.unwrap_or(self.max_size).min(self.max_size)
    }
}

/// Check a setting of an engine: `value`, counted in `unit`.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config): it is not within its bounds.
pub fn within<T: PartialOrd + Display>(
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

/// Check an engine's setting for how long something waits.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config): it is longer than an hour.
pub fn within_hour(name: &str, value: Duration) -> Result<()> {
    if value <= Duration::from_secs(3600) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!("{name} is {value:?}: it must be at most one hour"),
    ))
}
