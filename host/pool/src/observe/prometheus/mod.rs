//! Metrics for Prometheus, with the crate [`prometheus_client`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use millpond_pool::observe::prometheus::{CONTENT_TYPE, PrometheusObserver};
//! use millpond_pool::{Pool, Result, Settings};
//!
//! # use millpond_pool::engine::Engine;
//! async fn open(engine: Arc<dyn Engine>) -> Result<(Arc<PrometheusObserver>, Pool)> {
//!     let metrics = Arc::new(PrometheusObserver::new());
//!     let settings = Settings::new(8, Duration::from_secs(2))
//!         .name("notes")
//!         .observer(Some(metrics.clone()));
//!     let pool = Pool::open(engine, settings).await?;
//!     metrics.add_pool("notes", &pool);
//!     Ok((metrics, pool))
//! }
//!
//! /// The header and the body of the answer to `GET /metrics`.
//! fn answer(metrics: &PrometheusObserver) -> (&'static str, String) {
//!     (CONTENT_TYPE, metrics.text())
//! }
//! # let text = PrometheusObserver::new().text();
//! # assert!(text.ends_with("# EOF\n"), "{text}");
//! ```
//!
//! # Metrics
//!
//! From events, of each `database` and `guest`; those of the pool itself have an empty `guest`.
//!
//! | Metric | Type | |
//! |---|---|---|
//! | `millpond_connection_wait_seconds` | histogram | waits for a connection, in vain or not |
//! | `millpond_connections_not_got_total` | counter | by `reason`: [`NotGot`] |
//! | `millpond_connections_discarded_total` | counter | by `reason`: [`Close`] |
//! | `millpond_statement_seconds` | histogram | times of statements, with their waits |
//! | `millpond_statements_total` | counter | by `result`: `ok`, `cancelled`, or the error |
//! | `millpond_statements_abandoned_total` | counter | did not stop at their deadline |
//! | `millpond_returned_rows_total` | counter | rows that statements returned |
//! | `millpond_returned_bytes_total` | counter | the size of these rows |
//! | `millpond_changed_rows_total` | counter | rows that statements changed |
//! | `millpond_turn_wait_seconds` | histogram | waits for the turn to write |
//! | `millpond_turns_in_vain_total` | counter | those in which the turn did not come |
//! | `millpond_transactions_ended_total` | counter | by `reason`: [`TransactionEnd`] |
//! | `millpond_group_commits_total` | counter | group commits |
//! | `millpond_group_commit_statements_total` | counter | the statements in them |
//! | `millpond_group_commit_seconds` | histogram | times of group commits |
//! | `millpond_checkpoints_total` | counter | checkpoints, by `result`: `complete` or `partial` |
//! | `millpond_checkpoint_seconds` | histogram | times of checkpoints |
//! | `millpond_upkeeps_total` | counter | upkeep in quiet moments, by `result`: `complete` or `partial` |
//! | `millpond_upkeep_analyzed_tables_total` | counter | the tables that upkeep analyzed |
//! | `millpond_upkeep_freed_pages_total` | counter | the free pages that upkeep gave back to the disk |
//!
//! From pools that were [added](PrometheusObserver::add_pool), at each scrape, of each `database`:
//! the fields of [`PoolStats`](crate::PoolStats) as `millpond_pool_…`, and those of
//! [`PoolsStats`](crate::PoolsStats) as `millpond_pools_…`.
//!
//! # Labels
//!
//! `database` and `guest` are names that the operator gives. The first [`MAX_NAMES`] of each are
//! kept, and all others are `other`. Tenants and requests are no labels, and SQL text is none.
//!
//! [`NotGot`]: super::NotGot
//! [`Close`]: super::Close
//! [`TransactionEnd`]: super::TransactionEnd

mod collector;
mod series;

use std::fmt;

pub use ::prometheus_client;
use ::prometheus_client::encoding::text::encode;
use ::prometheus_client::registry::Registry;

use self::collector::Collected;
use self::series::Families;
use super::{Event, Observer, Source, StatementResult, TurnEnd};
use crate::pool::Pool;
use crate::pools::Pools;

/// How many databases, and how many guests, have labels of their own.
pub const MAX_NAMES: usize = 100;

/// The media type of [`text`](PrometheusObserver::text), for the header `content-type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An observer that counts what it is told, for Prometheus to scrape. See [above](self).
///
/// Being told takes about a microsecond, and locks for parts of that.
pub struct PrometheusObserver {
    families: Families,
    collected: Collected,
    /// Unless the metrics are in another's.
    registry: Option<Registry>,
}

impl PrometheusObserver {
    /// An observer whose metrics [`text`](PrometheusObserver::text) returns.
    pub fn new() -> PrometheusObserver {
        let mut registry = Registry::default();
        let mut observer = PrometheusObserver::in_registry(&mut registry);
        observer.registry = Some(registry);
        observer
    }

    /// An observer whose metrics are in a registry of the embedder's, which
    /// [encodes](prometheus_client::encoding) them together with others.
    pub fn in_registry(registry: &mut Registry) -> PrometheusObserver {
        let registry = registry.sub_registry_with_prefix("millpond");
        let collected = Collected::default();
        let families = Families::new(registry);
        registry.register_collector(Box::new(collected.clone()));
        PrometheusObserver {
            families,
            collected,
            registry: None,
        }
    }

    /// All metrics, in the text format of OpenMetrics, which Prometheus scrapes. Only `# EOF` if
    /// they are in another's registry.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = Registry::default();
        // Writing to a text does not fail.
        let _ = encode(&mut text, self.registry.as_ref().unwrap_or(&registry));
        text
    }

    /// Show the counters of this pool, as long as it is open, as those of `database`: the name that
    /// the pool has in its events. Another pool of that name is shown no more.
    ///
    /// Don't add pools of tenants one by one: use [`add_pools`](PrometheusObserver::add_pools).
    pub fn add_pool(&self, database: &str, pool: &Pool) {
        self.collected.add_pool(database, pool);
    }

    /// Show the counters of these pools together, as long as they exist, as those of `database`.
    pub fn add_pools(&self, database: &str, pools: &Pools) {
        self.collected.add_pools(database, pools);
    }
}

impl Default for PrometheusObserver {
    fn default() -> PrometheusObserver {
        PrometheusObserver::new()
    }
}

impl fmt::Debug for PrometheusObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrometheusObserver")
    }
}

impl Observer for PrometheusObserver {
    fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        if matches!(event, Event::ConnectionAsked | Event::StatementBegun { .. }) {
            return;
        }
        let series = self.families.of(source.database, source.guest);
        match event {
            Event::ConnectionGot { waited, .. } => series.wait.observe(waited.as_secs_f64()),
            Event::ConnectionNotGot { waited, why } => {
                series.wait.observe(waited.as_secs_f64());
                self.families.not_got(&series, why.name());
            }
            Event::ConnectionClosed { why } if why.is_discard() => {
                self.families.discarded(&series, why.name());
            }
            Event::StatementFinished {
                time,
                rows,
                bytes,
                changes,
                result,
                ..
            } => {
                series.statement.observe(time.as_secs_f64());
                series.rows.inc_by(*rows);
                series.bytes.inc_by(*bytes);
                series.changes.inc_by(*changes);
                match result {
                    StatementResult::Done => drop(series.done.inc()),
                    StatementResult::Failed(kind) => self.families.failed(&series, kind.name()),
                    StatementResult::Cancelled => self.families.failed(&series, "cancelled"),
                }
            }
            Event::StatementAbandoned { .. } => drop(series.abandoned.inc()),
            Event::TurnWaited { waited, end } => {
                series.turn_wait.observe(waited.as_secs_f64());
                series.in_vain.inc_by(u64::from(*end == TurnEnd::InVain));
            }
            Event::TransactionEnded { why } => self.families.ended(&series, why.name()),
            Event::GroupCommitted { statements, time } => {
                series.groups.inc();
                series.grouped.inc_by(u64::from(*statements));
                series.group_time.observe(time.as_secs_f64());
            }
            Event::Checkpointed {
                is_complete, time, ..
            } => {
                let result = if *is_complete { "complete" } else { "partial" };
                self.families.checkpointed(&series, result, *time);
            }
            Event::UpkeepDone {
                analyzed_tables,
                freed_pages,
                is_complete,
                ..
            } => {
                let result = if *is_complete { "complete" } else { "partial" };
                let (tables, pages) = (*analyzed_tables, *freed_pages);
                self.families.upkeep_done(&series, result, tables, pages);
            }
            Event::PoolOpened { .. }
            | Event::PoolClosed
            | Event::ConnectionAsked
            | Event::StatementBegun { .. }
            | Event::ConnectionOpened { .. }
            | Event::ConnectionReturned { .. }
            | Event::ConnectionReset { .. }
            | Event::ConnectionClosed { .. } => {}
        }
    }
}
