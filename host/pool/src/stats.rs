//! The pool's counters, as one consistent snapshot.

use std::time::Duration;

/// A pool's counters since it opened.
///
/// Those of connections are consistent with each other: `connections_created - connections_closed`
/// is `pool_size + in_use`, and `pool_hits + pool_misses` is the number of connections ever lent.
///
/// With the feature `serde` it serializes, by the names of its fields: times as whole milliseconds,
/// as `wait_time_ms` and `writer_wait_time_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections opened. The first is opened when the pool is built, and counted if it is kept.
    pub connections_created: u64,
    /// Times that a connection was lent which was open already.
    pub connections_reused: u64,
    /// Connections closed, for whatever reason.
    pub connections_closed: u64,
    /// Connections lent at once, from the idle ones.
    pub pool_hits: u64,
    /// Connections lent after opening one, or after waiting for one.
    pub pool_misses: u64,
    /// Connections idle now.
    pub pool_size: u32,
    /// The most connections that exist at once, idle and in use together.
    pub max_pool_size: u32,
    /// Connections lent now.
    pub in_use: u32,
    /// Callers waiting for a connection now.
    pub waiting: u32,
    /// Callers that gave up after the timeout, or at their request's deadline. One whose request is
    /// [interrupted](crate::Request::interrupt) is not among them.
    pub timeouts: u64,
    /// How long callers have waited for a connection, in all.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "wait_time_ms", serialize_with = "as_millis")
    )]
    pub wait_time: Duration,
    /// Connections that came back with a transaction open, which was rolled back.
    pub rolled_back: u64,
    /// Connections that came back in a state which could not be made as new, and were closed.
    pub discarded: u64,
    /// Calls that SQLite did not end within 20 ms of their deadline: their callers were told so,
    /// and went on. Such a connection counts as in use until SQLite is done with it, and is then
    /// closed.
    pub abandoned: u64,
    /// Callers waiting for their turn to write now, each with a connection.
    pub writers_waiting: u32,
    /// Statements that gave up waiting for their turn, after the pool's timeout or at their
    /// request's deadline, and failed with [`Busy`](crate::ErrorKind::Busy).
    pub writer_timeouts: u64,
    /// How long statements have waited for their turn, in all: apart from
    /// [`wait_time`](PoolStats::wait_time), which is for connections.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "writer_wait_time_ms", serialize_with = "as_millis")
    )]
    pub writer_wait_time: Duration,
    /// Commits of several callers' statements together.
    pub groups: u64,
    /// Statements that were committed so. `grouped_statements / groups` is how many share a commit.
    pub grouped_statements: u64,
}

#[cfg(feature = "serde")]
fn as_millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
