//! A pool's settings, for any engine.

use std::time::Duration;

/// How many connections a pool lends, and how long it lets callers wait.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of connections, idle and in use together. Defaults to 5.
    pub max_size: u32,
    /// The maximum number of idle connections to keep; `None` means `max_size`. Defaults to `None`.
    pub max_idle: Option<u32>,
    /// How long a caller waits for a connection. Defaults to 10 s.
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
    /// The default settings with this maximum number of connections and time to wait for one.
    pub fn new(max_size: u32, timeout: Duration) -> Settings {
        Settings {
            max_size,
            max_idle: None,
            timeout,
        }
    }

    /// Keep at most this many idle connections; `None` means `max_size`.
    #[must_use]
    pub fn max_idle(mut self, connections: Option<u32>) -> Settings {
        self.max_idle = connections;
        self
    }

    pub(crate) fn most_idle(&self) -> u32 {
        self.max_idle.unwrap_or(self.max_size).min(self.max_size)
    }
}
