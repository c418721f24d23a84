//! The pool's counters, as one consistent snapshot.

use std::time::Duration;

/// A pool's counters since it opened.
///
/// Those of connections are consistent with each other: `connections_created - connections_closed`
/// equals `idle + in_use`, and `hits + misses` is how many times a connection was
/// lent.
///
/// With the feature `serde` it serializes by its field names, except that times are whole
/// milliseconds, as `wait_time_ms` and `writer_wait_time_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections opened. The first is opened when the pool is built, and counted if it is kept.
    pub connections_created: u64,
    /// Times that an already open connection was lent.
    pub connections_reused: u64,
    /// Connections closed, for any reason.
    pub connections_closed: u64,
    /// Times that an idle connection was lent at once.
    pub hits: u64,
    /// Times that a connection was lent after opening one, or after waiting for one.
    pub misses: u64,
    /// Idle connections now.
    pub idle: u32,
    /// The maximum number of connections, idle and in use together.
    pub max_size: u32,
    /// Connections in use now.
    pub in_use: u32,
    /// Callers waiting for a connection now.
    pub waiting: u32,
    /// Callers that stopped waiting, at the timeout or at their request's deadline. Excludes
    /// callers whose request was [interrupted](crate::Request::interrupt).
    pub timeouts: u64,
    /// The total time that callers have waited for a connection.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "wait_time_ms", serialize_with = "as_millis")
    )]
    pub wait_time: Duration,
    /// Connections returned with an open transaction, which was rolled back.
    pub rolled_back: u64,
    /// Returned connections that could not be reset, and were closed.
    pub discarded: u64,
    /// Calls that SQLite did not stop within 20 ms of their deadline, so that their callers
    /// continued without them. The connection counts as in use until SQLite is done with it, and is
    /// then closed.
    pub abandoned: u64,
    /// Callers waiting for their turn to write now. Each holds a connection.
    pub writers_waiting: u32,
    /// Statements that stopped waiting for their turn, at the pool's timeout, at their request's
    /// deadline or at the end of their hold time, and failed with [`Busy`](crate::ErrorKind::Busy).
    pub writer_timeouts: u64,
    /// The total time that statements have waited for their turn.
    /// [`wait_time`](PoolStats::wait_time) does not include it.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "writer_wait_time_ms", serialize_with = "as_millis")
    )]
    pub writer_wait_time: Duration,
    /// Group commits: commits of several callers' statements together.
    pub groups: u64,
    /// Statements committed in groups. `grouped_statements / groups` is how many share a commit on
    /// average.
    pub grouped_statements: u64,
    /// Attempts to connect to the server that failed. Always 0 for files.
    pub connect_failures: u64,
    /// Whether the last attempt failed. Until the server is tried again, within a second, calls
    /// that would have to connect fail with [`Unavailable`](crate::ErrorKind::Unavailable). Always
    /// false for files.
    pub unreachable: bool,
}

#[cfg(feature = "serde")]
fn as_millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
