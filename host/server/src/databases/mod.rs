//! The databases of a configuration, open.

mod backups;
mod grants;
mod open;
#[cfg(feature = "libsql")]
mod server;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use millpond_sqlite::backup::RunningSchedule;
use millpond_sqlite::migrations::Migrations;
use millpond_wasmtime::pool::observe::Observer;
use millpond_wasmtime::pool::{self, Pool, PoolStats, Pools, PoolsStats};
use serde_json::{Map, Value, json};
use tokio::task::{JoinSet, spawn_blocking};

pub use self::grants::Grants;
pub use self::open::migrate;
pub(crate) use self::open::migrations;
use crate::check::check_database;
use crate::config::{Config, Database, Location, Name};
use crate::error::{Error, Result};

/// The databases of a configuration, open. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    open: BTreeMap<Name, Arc<OpenDatabase>>,
    observer: Option<Arc<dyn Observer>>,
}

/// Databases that it does not keep open.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeakDatabases(BTreeMap<Name, Weak<OpenDatabase>>);

impl WeakDatabases {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<OpenDatabase>> {
        self.0.get(name)?.upgrade()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, Arc<OpenDatabase>)> {
        let open = self.0.iter();
        open.filter_map(|(name, database)| Some((name, database.upgrade()?)))
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct OpenDatabase {
    settings: Database,
    /// Those that its tenants' databases get when they are opened.
    migrations: Option<Migrations>,
    source: Source,
    /// The file, whatever the configuration calls it.
    file: Option<PathBuf>,
    /// Its scheduled backups, until it is closed.
    backups: Mutex<Option<RunningSchedule>>,
}

/// Where connections come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// From one database.
    One(Pool),
    /// From the database of the request's tenant.
    Tenants(Pools),
}

impl OpenDatabase {
    /// The pool of a request's tenant, if each tenant has a database of its own. Waits for room,
    /// and opens it if it is not open.
    pub(crate) async fn pool(&self, tenant: Option<&str>) -> pool::Result<Pool> {
        match (&self.source, tenant) {
            (Source::One(pool), _) => Ok(pool.clone()),
            (Source::Tenants(pools), Some(tenant)) => pools.get(tenant).await,
            (Source::Tenants(_), None) => Err(pool::Error::new(
                pool::ErrorKind::NoSuchDatabase,
                "the request has no tenant",
            )),
        }
    }

    fn backups(&self) -> MutexGuard<'_, Option<RunningSchedule>> {
        self.backups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn settings(&self) -> &Database {
        &self.settings
    }

    /// As [`pool`](OpenDatabase::pool), if it is open.
    pub(crate) fn find_open(&self, tenant: Option<&str>) -> Option<Pool> {
        match (&self.source, tenant) {
            (Source::One(pool), _) => Some(pool.clone()),
            (Source::Tenants(pools), Some(tenant)) => pools.find_open(tenant),
            (Source::Tenants(_), None) => None,
        }
    }

    /// The counters.
    pub(crate) fn stats(&self) -> Stats {
        match &self.source {
            Source::One(pool) => Stats::Pool(pool.stats()),
            Source::Tenants(pools) => Stats::Tenants(pools.stats()),
        }
    }
}

/// The counters of a database.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Stats {
    /// Of its pool.
    Pool(PoolStats),
    /// Of the pools of its tenants.
    Tenants(PoolsStats),
}

impl Stats {
    pub(crate) fn to_json(self) -> Value {
        let counters = match self {
            Stats::Pool(stats) => serde_json::to_value(stats),
            Stats::Tenants(stats) => serde_json::to_value(stats),
        };
        // Serializing named numbers cannot fail.
        counters.unwrap_or_default()
    }
}

impl Databases {
    /// Open the databases of `config`. Runs their migrations first. Blocks meanwhile. Sets SQLite's
    /// memory limit for the whole process.
    ///
    /// # Errors
    ///
    /// The first that cannot be opened, with its name. Those before it are closed again.
    pub fn open(config: &Config) -> Result<Databases> {
        Databases::default().reopen(config)
    }

    /// Open the databases of `config`, as [`open`](Databases::open) does, and tell `observer` what
    /// happens in them, and in those that are opened later by [`reopen`](Databases::reopen). The
    /// databases have their names in its events.
    ///
    /// # Errors
    ///
    /// As [`open`](Databases::open).
    pub fn open_observed(config: &Config, observer: Arc<dyn Observer>) -> Result<Databases> {
        Databases::observed(Some(observer)).reopen(config)
    }

    /// None yet. The observer is told what happens in those that are opened from these.
    pub(crate) fn observed(observer: Option<Arc<dyn Observer>>) -> Databases {
        Databases {
            observer,
            ..Databases::default()
        }
    }

    /// Open the databases of `config`, as [`open`](Databases::open) does, and keep those that are
    /// open with the same settings, after their new migrations.
    ///
    /// # Errors
    ///
    /// As [`open`](Databases::open).
    pub fn reopen(&self, config: &Config) -> Result<Databases> {
        let databases = self.reopen_without_backups(config)?;
        databases.start_backups()?;
        Ok(databases)
    }

    /// As [`reopen`](Databases::reopen), but new databases have no scheduled backups until
    /// [`start_backups`](Databases::start_backups): a configuration that is refused must make none.
    pub(crate) fn reopen_without_backups(&self, config: &Config) -> Result<Databases> {
        #[cfg(feature = "libsql")]
        server::check_tokens(&config.databases)?;
        let mut open: BTreeMap<Name, Arc<OpenDatabase>> = BTreeMap::new();
        for (name, settings) in &config.databases {
            let migrations = migrations(settings)?;
            let is_same = |open: &&Arc<OpenDatabase>| {
                open.settings == *settings
                    && (matches!(open.source, Source::One(_)) || open.migrations == migrations)
            };
            if let Some(same) = self.open.get(name).filter(is_same) {
                if let Source::One(_) = same.source {
                    // There may be new ones.
                    migrate(name.as_str(), settings)?;
                }
                open.insert(name.clone(), Arc::clone(same));
                continue;
            }
            let source = open::open(name.as_str(), settings, self.observer.as_ref());
            // A folder that is missing, for example, is not found by waiting.
            let source = source.map_err(|error| {
                let is_right = check_database(settings).is_ok();
                let may_pass = error.may_pass() && is_right;
                error.passing_if(may_pass)
            })?;
            let file = match settings.location() {
                Some(Location::File(path)) => fs::canonicalize(path).ok(),
                _ => None,
            };
            let is_same = |other: &&Name| file.is_some() && open[*other].file == file;
            if let Some(other) = open.keys().find(is_same) {
                // Two pools would not coordinate their writers.
                return Err(Error::new(format_args!(
                    "the databases `{other}` and `{name}` are the same file: write it once, and \
                     grant it twice"
                )));
            }
            let database = OpenDatabase {
                backups: Mutex::default(),
                settings: settings.clone(),
                migrations,
                source,
                file,
            };
            open.insert(name.clone(), Arc::new(database));
        }
        // SQLite counts its memory for the whole process.
        let limit = usize::try_from(config.server.max_sqlite_memory.bytes());
        millpond_sqlite::set_process_memory_limit(limit.unwrap_or(usize::MAX));
        let observer = self.observer.clone();
        Ok(Databases { open, observer })
    }

    /// Start the scheduled backups of those whose backups are not running.
    ///
    /// # Errors
    ///
    /// There is no folder for them, or the system has no more threads.
    pub(crate) fn start_backups(&self) -> Result<()> {
        for (name, database) in &self.open {
            let mut backups = database.backups();
            if backups.is_none() {
                *backups = backups::start(name.as_str(), &database.settings)?;
            }
        }
        Ok(())
    }

    /// Stop the scheduled backups of those that `kept` does not have. Blocks while they sync a
    /// backup.
    pub(crate) fn stop_backups_except(&self, kept: &Databases) {
        for database in self.except(kept) {
            let schedule = database.backups().take();
            drop(schedule);
        }
    }

    /// Those that `kept` does not have.
    fn except(&self, kept: &Databases) -> impl Iterator<Item = &Arc<OpenDatabase>> {
        let is_kept = |(name, database): &(&Name, &Arc<OpenDatabase>)| {
            let kept = kept.open.get(*name);
            kept.is_some_and(|kept| Arc::ptr_eq(kept, database))
        };
        let open = self.open.iter().filter(move |it| !is_kept(it));
        open.map(|(_, database)| database)
    }

    pub(crate) fn downgrade(&self) -> WeakDatabases {
        let open = self.open.iter();
        let open = open.map(|(name, database)| (name.clone(), Arc::downgrade(database)));
        WeakDatabases(open.collect())
    }

    /// Whether an observer is told what happens.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<OpenDatabase>> {
        self.open.get(name)
    }

    /// The counters of each database.
    pub fn stats(&self) -> Vec<(&Name, Stats)> {
        let open = self.open.iter();
        open.map(|(name, database)| (name, database.stats()))
            .collect()
    }

    /// The counters of each database, as `{"databases": {NAME: {COUNTER: NUMBER}}}`.
    pub fn stats_json(&self) -> Value {
        let stats = self.stats().into_iter();
        let stats = stats.map(|(name, stats)| (name.to_string(), stats.to_json()));
        json!({ "databases": stats.collect::<Map<_, _>>() })
    }

    /// Close all at the same time. Connections still in use are ended after `grace`.
    pub async fn close(&self, grace: Duration) {
        self.close_except(&Databases::default(), grace).await;
    }

    /// Close those that `kept` does not have.
    pub(crate) async fn close_except(&self, kept: &Databases, grace: Duration) {
        let mut closing = JoinSet::new();
        for database in self.except(kept) {
            let database = Arc::clone(database);
            closing.spawn(async move {
                let schedule = database.backups().take();
                // A request may keep the database for longer. Dropping the schedule blocks while it
                // syncs a backup.
                let stopped = spawn_blocking(move || drop(schedule));
                match &database.source {
                    Source::One(pool) => pool.close(grace).await,
                    Source::Tenants(pools) => pools.close(grace).await,
                }
                let _ = stopped.await;
            });
        }
        closing.join_all().await;
    }
}
