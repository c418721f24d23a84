//! What there is to know of each database's statements and waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use millpond_wasmtime::pool::observe::{Event, Source, StatementResult};
use serde_json::{Value, json};

use super::tenants::{self, Tenants};
use super::times::Times;
use super::upkeep::{LastUpkeep, Upkeeps};

/// The counts of each database since the start, by its name in the configuration.
#[derive(Debug, Default)]
pub(super) struct Pools {
    databases: RwLock<BTreeMap<Box<str>, Arc<DatabaseCounts>>>,
}

#[derive(Debug, Default)]
struct DatabaseCounts {
    statements: Times,
    failed: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    waits: Times,
    turn_waits: Times,
    tenants: Mutex<Tenants>,
    upkeeps: Mutex<Upkeeps>,
}

impl Pools {
    pub(super) fn observe(&self, source: &Source<'_>, event: &Event<'_>) {
        match event {
            // The server's own use of a pool: for plans, for migrations and for /readyz.
            Event::ConnectionGot { .. }
            | Event::ConnectionNotGot { .. }
            | Event::TurnWaited { .. }
            | Event::StatementFinished { .. }
                if source.guest.is_none() => {}
            Event::ConnectionGot { waited, .. } | Event::ConnectionNotGot { waited, .. } => {
                self.of(source.database).waits.add(*waited);
            }
            Event::TurnWaited { waited, .. } => self.of(source.database).turn_waits.add(*waited),
            Event::StatementFinished {
                time,
                rows,
                bytes,
                result,
                ..
            } => {
                let counts = self.of(source.database);
                counts.statements.add(*time);
                counts.rows.fetch_add(*rows, Ordering::Relaxed);
                counts.bytes.fetch_add(*bytes, Ordering::Relaxed);
                if *result != StatementResult::Done {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(tenant) = source.tenant {
                    counts.tenants().used(tenant);
                }
            }
            Event::UpkeepDone {
                analyzed_tables,
                freed_pages,
                is_complete,
                time,
                ..
            } => self.of(source.database).upkeeps().add(LastUpkeep {
                ended: Instant::now(),
                time: *time,
                analyzed_tables: *analyzed_tables,
                freed_pages: *freed_pages,
                is_complete: *is_complete,
            }),
            Event::PoolOpened { .. } => {
                if let Some(tenant) = source.tenant {
                    self.of(source.database).tenants().opened(tenant);
                }
            }
            Event::PoolClosed => {
                if let Some(tenant) = source.tenant {
                    self.of(source.database).tenants().closed(tenant);
                }
            }
            _ => {}
        }
    }

    fn of(&self, database: &str) -> Arc<DatabaseCounts> {
        let known = self
            .databases
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known.get(database) {
            return Arc::clone(counts);
        }
        drop(known);
        let mut known = self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(database.into()).or_default())
    }

    /// The counts of a database.
    pub(super) fn database(&self, name: &str) -> Value {
        let counts = self.of(name);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "statements": counts.statements.to_json(),
            "failed": count(&counts.failed),
            "rows": count(&counts.rows),
            "bytes": count(&counts.bytes),
            "waits": counts.waits.to_json(),
            "turn_waits": counts.turn_waits.to_json(),
            "upkeep": counts.upkeeps().to_json(),
        })
    }

    /// The tenants with the most statements.
    pub(super) fn tenants(&self) -> Value {
        let known = self
            .databases
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (database, counts) in &*known {
            let tenants = counts.tenants();
            all.extend(
                tenants
                    .iter()
                    .map(|(name, tenant)| (&**database, name.into(), tenant)),
            );
        }
        tenants::to_json(all)
    }
}

impl DatabaseCounts {
    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upkeeps(&self) -> MutexGuard<'_, Upkeeps> {
        self.upkeeps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
