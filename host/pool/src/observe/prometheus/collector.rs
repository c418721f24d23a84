//! The counters of pools, read at each scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::prometheus_client::collector::Collector;
use ::prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use ::prometheus_client::metrics::MetricType;
use ::prometheus_client::metrics::counter::ConstCounter;
use ::prometheus_client::metrics::gauge::ConstGauge;
use ::prometheus_client::registry::Unit;

use crate::lending::Lending;
use crate::pool::Pool;
use crate::pools::{Pools, PoolsStats, WeakPools};
use crate::stats::PoolStats;

/// Pools by the names of their databases. Clones share them. It keeps none of them open.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    pools: Arc<Mutex<BTreeMap<Box<str>, Weak<Lending>>>>,
    many: Arc<Mutex<BTreeMap<Box<str>, WeakPools>>>,
}

/// One counter.
enum Number {
    Counter(u64),
    Gauge(u64),
    Time(Duration),
}

/// Counters by name, with what they are.
type Numbers<const N: usize> = [(&'static str, &'static str, Number); N];

impl Collected {
    pub(super) fn add_pool(&self, database: &str, pool: &Pool) {
        let lending = Arc::downgrade(pool.in_use().lending());
        lock(&self.pools).insert(database.into(), lending);
    }

    pub(super) fn add_pools(&self, database: &str, pools: &Pools) {
        lock(&self.many).insert(database.into(), pools.downgrade());
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut of_pools = Vec::new();
        lock(&self.pools).retain(|name, pool| {
            let pool = pool.upgrade();
            of_pools.extend(pool.iter().map(|pool| (name.clone(), pool.stats())));
            pool.is_some()
        });
        write(&mut encoder, &of_pools, of_pool)?;
        let mut of_many = Vec::new();
        lock(&self.many).retain(|name, pools| {
            let pools = pools.upgrade();
            of_many.extend(pools.iter().map(|pools| (name.clone(), pools.stats())));
            pools.is_some()
        });
        write(&mut encoder, &of_many, of_pools_together)
    }
}

/// Write each counter, of all databases.
fn write<S, const N: usize>(
    encoder: &mut DescriptorEncoder,
    of_all: &[(Box<str>, S)],
    numbers: impl Fn(&S) -> Numbers<N>,
) -> Result<(), fmt::Error> {
    let all: Vec<_> = of_all
        .iter()
        .map(|(name, stats)| (&**name, numbers(stats)))
        .collect();
    let Some((_, first)) = all.first() else {
        return Ok(());
    };
    for (index, (name, help, number)) in first.iter().enumerate() {
        let (unit, kind) = match number {
            Number::Counter(_) => (None, MetricType::Counter),
            Number::Gauge(_) => (None, MetricType::Gauge),
            Number::Time(_) => (Some(&Unit::Seconds), MetricType::Counter),
        };
        let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
        for (database, numbers) in &all {
            let labels = [("database", *database)];
            let of_database = metric.encode_family(&labels)?;
            let (_, _, number) = &numbers[index];
            match number {
                Number::Counter(count) => ConstCounter::new(*count).encode(of_database)?,
                Number::Gauge(count) => ConstGauge::new(*count).encode(of_database)?,
                Number::Time(time) => {
                    ConstCounter::new(time.as_secs_f64()).encode(of_database)?;
                }
            }
        }
    }
    Ok(())
}

fn of_pool(stats: &PoolStats) -> Numbers<21> {
    use Number::{Counter, Gauge, Time};
    // Without `..`: a new field must be added here.
    let PoolStats {
        connections_created,
        connections_reused,
        connections_closed,
        hits,
        misses,
        idle,
        max_size,
        in_use,
        waiting,
        timeouts,
        wait_time,
        rolled_back,
        discarded,
        abandoned,
        writers_waiting,
        writer_timeouts,
        writer_wait_time,
        groups,
        grouped_statements,
        connect_failures,
        unreachable,
    } = *stats;
    let gauge = |count: u32| Gauge(u64::from(count));
    [
        (
            "pool_connections_created",
            "Connections opened.",
            Counter(connections_created),
        ),
        (
            "pool_connections_reused",
            "Times that an open connection was lent.",
            Counter(connections_reused),
        ),
        (
            "pool_connections_closed",
            "Connections closed.",
            Counter(connections_closed),
        ),
        (
            "pool_hits",
            "Times that an idle connection was lent at once.",
            Counter(hits),
        ),
        (
            "pool_misses",
            "Times that a caller waited for a connection.",
            Counter(misses),
        ),
        ("pool_idle", "Idle connections.", gauge(idle)),
        (
            "pool_max_size",
            "The maximum number of connections.",
            gauge(max_size),
        ),
        ("pool_in_use", "Connections in use.", gauge(in_use)),
        (
            "pool_waiting",
            "Callers waiting for a connection.",
            gauge(waiting),
        ),
        (
            "pool_timeouts",
            "Callers that stopped waiting for a connection.",
            Counter(timeouts),
        ),
        (
            "pool_wait",
            "Time that callers have waited for a connection.",
            Time(wait_time),
        ),
        (
            "pool_rolled_back",
            "Connections returned in a transaction.",
            Counter(rolled_back),
        ),
        (
            "pool_discarded",
            "Connections that could not be reset.",
            Counter(discarded),
        ),
        (
            "pool_abandoned",
            "Calls that did not stop at their deadline.",
            Counter(abandoned),
        ),
        (
            "pool_writers_waiting",
            "Callers waiting for their turn to write.",
            gauge(writers_waiting),
        ),
        (
            "pool_writer_timeouts",
            "Statements whose turn did not come.",
            Counter(writer_timeouts),
        ),
        (
            "pool_writer_wait",
            "Time that statements have waited for their turn.",
            Time(writer_wait_time),
        ),
        ("pool_groups", "Group commits.", Counter(groups)),
        (
            "pool_grouped_statements",
            "Statements committed in groups.",
            Counter(grouped_statements),
        ),
        (
            "pool_connect_failures",
            "Failed attempts to connect to the server.",
            Counter(connect_failures),
        ),
        (
            "pool_unreachable",
            "Whether the last attempt failed.",
            gauge(u32::from(unreachable)),
        ),
    ]
}

fn of_pools_together(stats: &PoolsStats) -> Numbers<7> {
    use Number::{Counter, Gauge};
    let PoolsStats {
        open,
        idle,
        opened,
        failed,
        closed,
        waiting,
        timeouts,
    } = *stats;
    [
        ("pools_open", "Pools that are open.", Gauge(u64::from(open))),
        (
            "pools_idle",
            "Open pools that are not in use.",
            Gauge(u64::from(idle)),
        ),
        ("pools_opened", "Pools opened.", Counter(opened)),
        (
            "pools_failed",
            "Pools that could not be opened.",
            Counter(failed),
        ),
        ("pools_closed", "Pools closed.", Counter(closed)),
        (
            "pools_waiting",
            "Keys that wait for room.",
            Gauge(u64::from(waiting)),
        ),
        (
            "pools_timeouts",
            "Callers that stopped waiting for a pool.",
            Counter(timeouts),
        ),
    ]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
