//! A pool's settings, whatever engine it has.

use std::time::Duration;

/// How many connections a pool lends, and how long it lets callers wait.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The most connections that exist at once, idle and in use together. Default 5.
    pub max_size: u32,
    /// The most idle connections that are kept: `max_size` if `None`. Default `None`.
    pub max_idle: Option<u32>,
    /// How long a caller waits for a connection. Default 10 s.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_size: 5,
            max_idle: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// As the default, but for the most connections and the time to wait for one.
    pub fn new(max_size: u32, timeout: Duration) -> Settings {
        Settings {
            max_size,
            max_idle: None,
            timeout,
        }
    }

    /// Keep at most so many idle connections: `max_size` if `None`.
    #[must_use]
    pub fn max_idle(mut self, connections: Option<u32>) -> Settings {
        self.max_idle = connections;
        self
    }

    pub(crate) fn most_idle(&self) -> u32 {
        self.max_idle.unwrap_or(self.max_size).min(self.max_size)
    }
}
