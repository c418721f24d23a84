//! Collects what an operator sees: it is the log of the server, and the observer of its pools.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use http::HeaderMap;
use millpond_wasmtime::pool::observe::{Event as PoolEvent, Observer, Source};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::disks::Disks;
use super::metrics::{Gauges, Metrics, prometheus_text};
use super::pools::Pools;
use super::recent::Recent;
use super::requests::{Requests, Running};
use super::slow::SlowStatements;
use super::times::BOUNDS;
use crate::config::{self, Config};
use crate::databases::{Databases, WeakDatabases};
use crate::log::{Event, Log, SlowStatement, of_slow};
use crate::telemetry::{Telemetry, TracedRequest};

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Starting,
    Serving,
    ShuttingDown,
}

impl State {
    /// Its name, for answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Serving => "serving",
            State::ShuttingDown => "shutting-down",
        }
    }
}

/// What an operator sees. It passes events on to the log.
#[derive(Debug)]
pub(crate) struct Watch {
    log: Arc<dyn Log>,
    /// Whether requests are passed on.
    access_log: AtomicBool,
    state: AtomicU8,
    since: Instant,
    databases: RwLock<WeakDatabases>,
    /// A permit for every request that may run, and how many there are.
    places: OnceLock<(Arc<Semaphore>, u32)>,
    metrics: Metrics,
    pub(super) disks: Disks,
    requests: Requests,
    pools: Pools,
    events: Recent,
    last_slow: Recent,
    slow: Option<SlowStatements>,
    /// Whether there is an admin listener. If not, it only logs.
    is_shown: bool,
    telemetry: Option<Arc<Telemetry>>,
}

impl Watch {
    /// Watch a server with this configuration.
    pub(crate) fn new(config: &Config, log: Arc<dyn Log>) -> Arc<Watch> {
        let slow = config.server.slow_statement_time;
        let metrics = Metrics::new();
        let telemetry = Telemetry::new(&config.telemetry, metrics.telemetry());
        let watch = Arc::new(Watch {
            log,
            access_log: AtomicBool::new(config.server.access_log),
            state: AtomicU8::new(State::Starting as u8),
            since: Instant::now(),
            databases: RwLock::default(),
            places: OnceLock::new(),
            metrics,
            disks: Disks::new(config.server.min_free_disk),
            requests: Requests::default(),
            pools: Pools::default(),
            events: Recent::default(),
            last_slow: Recent::default(),
            slow: slow.map(SlowStatements::new),
            is_shown: config.admin.address.is_some(),
            telemetry,
        });
        if let Some(slow) = &watch.slow {
            slow.start(&watch);
        }
        watch
    }

    /// The observer of the pools. None if no one could see what it is told.
    pub(crate) fn observer(self: &Arc<Watch>) -> Option<Arc<dyn Observer>> {
        let observer: Arc<dyn Observer> = Arc::clone(self) as _;
        let is_told = self.is_shown || self.slow.is_some() || self.telemetry.is_some();
        is_told.then_some(observer)
    }

    /// Send traces from now on, if the configuration names a collector. Must be called within a
    /// tokio runtime.
    pub(crate) fn start_telemetry(self: &Arc<Watch>) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.start(self);
        }
    }

    /// Send the traces that wait, for up to 2 s.
    pub(crate) async fn finish_telemetry(&self) {
        if let Some(telemetry) = &self.telemetry
            && !telemetry.finish().await
        {
            let message = "the last spans were not sent: the collector does not answer";
            self.log.event(&Event::Warning { message });
        }
    }

    /// A request begins. `None` if it is not traced. Keep the result as long as the request can ask
    /// for connections or run statements.
    pub(crate) fn traced(
        &self,
        number: u64,
        headers: &HeaderMap,
        is_https: bool,
    ) -> Option<Arc<TracedRequest>> {
        let telemetry = self.telemetry.as_ref()?;
        telemetry.request(number, headers, is_https)
    }

    /// These databases are used from now on.
    pub(crate) fn set_databases(&self, databases: &Databases) {
        let databases = databases.downgrade();
        self.metrics.add(&databases);
        *self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner) = databases;
    }

    pub(super) fn databases(&self) -> WeakDatabases {
        self.databases
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Apply the settings that a reload may change.
    pub(crate) fn apply_settings(&self, server: &config::Server) {
        self.access_log.store(server.access_log, Ordering::Relaxed);
        self.disks.set_min_free(server.min_free_disk);
    }

    /// Look how much space the disks of the databases have, and log those that have crossed the
    /// limit. Blocks until each disk has answered.
    pub(crate) fn look_at_disks(&self) {
        for disk in self.disks.look(&self.databases()) {
            let (folder, free, min) = (&*disk.folder, disk.free, disk.min);
            self.event(&match disk.is_low {
                true => Event::DiskLow { folder, free, min },
                false => Event::DiskRecovered { folder, free },
            });
        }
    }

    /// The permits of the requests that run.
    pub(crate) fn set_places(&self, places: Arc<Semaphore>, most: u32) {
        let _ = self.places.set((places, most));
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Starting,
            1 => State::Serving,
            _ => State::ShuttingDown,
        }
    }

    /// An instance of this component runs, until the result is dropped.
    pub(crate) fn running(&self, component: &str) -> Running {
        Running::new(self.requests.of(component))
    }

    pub(super) fn log_slow(&self, slow: &SlowStatement<'_>) {
        self.last_slow.add(of_slow(slow));
        self.log.event(&Event::SlowStatement(slow));
    }

    /// How many requests run, and at most may.
    fn places(&self) -> (u32, u32) {
        self.places.get().map_or((0, 0), |(places, most)| {
            // Never more than `most`, which fits.
            let free = u32::try_from(places.available_permits()).unwrap_or(*most);
            (most.saturating_sub(free), *most)
        })
    }

    /// All metrics, in the text format of OpenMetrics or in the older one.
    pub(super) fn metrics(&self, open_metrics: bool) -> String {
        let (places_in_use, places) = self.places();
        let gauges = Gauges {
            instances: self.requests.instances(),
            places,
            places_in_use,
        };
        let text = self.metrics.open_metrics(&gauges, &self.disks);
        match open_metrics {
            true => text,
            false => prometheus_text(&text),
        }
    }

    /// Everything, for the operator's page.
    pub(super) fn snapshot(&self) -> Value {
        let (in_use, most) = self.places();
        let databases = self.databases();
        let databases = databases.iter().map(|(name, database)| {
            let mut counts = self.pools.database(name.as_str());
            counts["tenants"] = database.settings().is_per_tenant().into();
            counts["counters"] = database.stats().to_json();
            counts["disks"] = self.disks.to_json(name.as_str());
            (name.to_string(), counts)
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": self.state().name(),
            "uptime_ms": u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            "bounds_ms": BOUNDS.map(|seconds| seconds * 1e3),
            "places": { "in_use": in_use, "max": most },
            "components": self.requests.to_json(),
            "databases": databases.collect::<Map<_, _>>(),
            "tenants": self.pools.tenants(),
            "slow": {
                "time_ms": self.slow.as_ref().map(|slow| slow.time.as_secs_f64() * 1e3),
                "total": self.slow.as_ref().map_or(0, SlowStatements::total),
                "recent": self.last_slow.to_json(),
            },
            "events": { "total": self.events.total(), "recent": self.events.to_json() },
        })
    }
}

impl Watch {
    fn count(&self, event: &Event<'_>) {
        match event {
            Event::Request(access) => {
                self.metrics.request(access);
                let component = access.component.unwrap_or_default();
                self.requests.of(component).add(access);
            }
            Event::BadRequest { status, .. } => {
                self.metrics.refused(*status);
                self.requests.of("").refuse(*status);
            }
            Event::GuestFailed {
                component, cause, ..
            } => {
                self.metrics.failed(component, cause);
                self.requests.of(component).failed(cause);
            }
            Event::LimitReached { limit, .. } => self.metrics.limit(limit.0),
            _ => {}
        }
        // Clients would push the others out with theirs, and a guest's output may have secrets.
        if !matches!(
            event,
            Event::Request(_) | Event::BadRequest { .. } | Event::Output { .. }
        ) {
            self.events.add_event(event.name(), &event.to_string());
        }
    }
}

impl Log for Watch {
    fn event(&self, event: &Event<'_>) {
        if self.is_shown {
            self.count(event);
        }
        if let (Some(telemetry), Event::Request(access)) = (&self.telemetry, event) {
            telemetry.responded(access);
        }
        let is_of_access = matches!(event, Event::Request(_) | Event::BadRequest { .. });
        if !is_of_access || self.access_log.load(Ordering::Relaxed) {
            self.log.event(event);
        }
    }

    fn flush(&self) {
        self.log.flush();
    }
}

impl Observer for Watch {
    fn observe(&self, source: &Source<'_>, event: &PoolEvent<'_>) {
        if self.is_shown {
            self.metrics.pools.observe(source, event);
            self.pools.observe(source, event);
        }
        if self
            .slow
            .as_ref()
            .is_some_and(|slow| slow.observe(source, event))
        {
            self.metrics.slow(source.database);
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.observe(source, event);
        }
    }
}
