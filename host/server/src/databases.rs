//! The open databases, and what each guest is granted of them.

use std::time::{Duration, Instant};

use millpond_wasmtime::pool::PoolStats;
use millpond_wasmtime::{Grant, SqliteCtx};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

/// Databases that are open, each with what a guest may do with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Databases {
    /// The grants, by the names that guests use.
    pub grants: Vec<(String, Grant)>,
    /// The maximum number of statements that one request may have open. Defaults to 64.
    pub max_statements: u32,
    /// The maximum number of cursors that one request may have open. Defaults to 64.
    pub max_cursors: u32,
    /// The maximum number of transaction handles that one request may have open. Defaults to 64.
    pub max_transactions: u32,
}

impl Default for Databases {
    fn default() -> Databases {
        Databases {
            grants: Vec::new(),
            max_statements: 64,
            max_cursors: 64,
            max_transactions: 64,
        }
    }
}

impl Databases {
    /// The grants of one guest. Its statements and waits end at `deadline`.
    pub fn grant(&self, deadline: Option<Instant>) -> SqliteCtx {
        let mut ctx = SqliteCtx::builder()
            .max_statements(self.max_statements)
            .max_cursors(self.max_cursors)
            .max_transactions(self.max_transactions);
        if let Some(deadline) = deadline {
            ctx = ctx.deadline(deadline);
        }
        for (name, grant) in &self.grants {
            ctx = ctx.grant(name, grant.clone());
        }
        ctx.build()
    }

    /// The counters of each pool.
    pub fn stats(&self) -> Vec<(&str, PoolStats)> {
        let grants = self.grants.iter();
        grants
            .map(|(name, grant)| (name.as_str(), grant.pool().stats()))
            .collect()
    }

    /// The counters of each pool, as `{"databases": {NAME: {COUNTER: NUMBER}}}`.
    pub fn stats_json(&self) -> Value {
        let stats = self.stats().into_iter().map(|(name, stats)| {
            // Serializing named numbers cannot fail.
            let counters = serde_json::to_value(stats).unwrap_or_default();
            (name.to_string(), counters)
        });
        json!({ "databases": stats.collect::<Map<_, _>>() })
    }

    /// Close all pools at the same time. Connections still in use are ended after `grace`.
    pub async fn close(&self, grace: Duration) {
        let mut closing = JoinSet::new();
        for (_, grant) in self.grants.clone() {
            closing.spawn(async move { grant.pool().close(grace).await });
        }
        closing.join_all().await;
    }
}
