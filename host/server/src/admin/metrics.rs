//! Metrics for Prometheus: those of the pools' observer, and the server's own.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use millpond_wasmtime::pool::observe::prometheus::PrometheusObserver;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::encoding::text::encode;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::metrics::counter::Counter;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::metrics::family::Family;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::metrics::gauge::Gauge;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::metrics::histogram::Histogram;
use millpond_wasmtime::pool::observe::prometheus::prometheus_client::registry::{Registry, Unit};

use super::disks::Disks;
use super::requests::class;
use super::times::BOUNDS;
use crate::databases::{Source, WeakDatabases};
use crate::log::Access;
use crate::telemetry::SpanCounts;

/// The label `component`. It is empty for requests that no component got.
type OfComponent = [(&'static str, String); 1];
/// And a word of the server's own.
type WithWord = (OfComponent, [(&'static str, &'static str); 1]);

/// A database, and `database` or `backups`: what the disk is used for.
type OfDisk = (
    [(&'static str, String); 1],
    [(&'static str, &'static str); 1],
);

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) pools: PrometheusObserver,
    requests: Family<WithWord, Counter>,
    times: Family<OfComponent, Histogram, fn() -> Histogram>,
    bytes: Family<OfComponent, Counter>,
    failures: Family<WithWord, Counter>,
    limits: Family<[(&'static str, &'static str); 1], Counter>,
    slow: Family<[(&'static str, String); 1], Counter>,
    spans: Family<[(&'static str, &'static str); 1], Counter>,
    instances: Family<OfComponent, Gauge>,
    places: Gauge,
    places_in_use: Gauge,
    free: Family<OfDisk, Gauge>,
    /// Held while what is measured at a scrape is set and written: another scrape would remove it.
    scraping: Mutex<()>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut registry = Registry::default();
        let pools = PrometheusObserver::in_registry(&mut registry);
        let times: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BOUNDS));
        let metrics = Metrics {
            pools,
            requests: Family::default(),
            times,
            bytes: Family::default(),
            failures: Family::default(),
            limits: Family::default(),
            slow: Family::default(),
            spans: Family::default(),
            instances: Family::default(),
            places: Gauge::default(),
            places_in_use: Gauge::default(),
            free: Family::default(),
            scraping: Mutex::default(),
            registry: Registry::default(),
        };
        metrics.register(registry.sub_registry_with_prefix("millpond"));
        Metrics {
            registry,
            ..metrics
        }
    }

    fn register(&self, registry: &mut Registry) {
        let requests = "Requests, by the component that handled them and the class of their status";
        registry.register("http_requests", requests, self.requests.clone());
        let times = "Time from a request's head to the end of its response";
        registry.register_with_unit("http_request", times, Unit::Seconds, self.times.clone());
        registry.register(
            "http_response_bytes",
            "Bytes of responses' bodies",
            self.bytes.clone(),
        );
        registry.register(
            "guest_failures",
            "Guests that trapped or failed",
            self.failures.clone(),
        );
        let limits = "Guests that reached a limit, and went on";
        registry.register("guest_limits_reached", limits, self.limits.clone());
        let slow = "Statements that ran for at least slow-statement-time";
        registry.register("slow_statements", slow, self.slow.clone());
        let spans = "Spans that were sent to the OpenTelemetry collector, or dropped";
        registry.register("telemetry_spans", spans, self.spans.clone());
        registry.register("instances", "Instances that run", self.instances.clone());
        registry.register(
            "places",
            "Maximum number of requests that run",
            self.places.clone(),
        );
        let in_use = "Requests that run, or whose guest has not ended";
        registry.register("places_in_use", in_use, self.places_in_use.clone());
        let free = "Bytes free on the disk of a database, or of its backups";
        registry.register("disk_free_bytes", free, self.free.clone());
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(jiff::Timestamp::now().as_millisecond() as f64 / 1e3);
        let help = "When the server started, since the Unix epoch";
        registry.register_with_unit("start_time", help, Unit::Seconds, start);
    }

    pub(super) fn request(&self, access: &Access<'_>) {
        let component = of_component(access.component.unwrap_or_default());
        let status = access.response.map(|sent| sent.status);
        self.count_request(component.clone(), status);
        self.times
            .get_or_create(&component)
            .observe(access.time.as_secs_f64());
        let bytes = access.response.map_or(0, |sent| sent.bytes);
        self.bytes.get_or_create(&component).inc_by(bytes);
    }

    pub(super) fn refused(&self, status: StatusCode) {
        self.count_request(of_component(""), Some(status));
    }

    fn count_request(&self, component: OfComponent, status: Option<StatusCode>) {
        let labels = (component, [("status", class(status))]);
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn failed(&self, component: &str, cause: &'static str) {
        let labels = (of_component(component), [("cause", cause)]);
        self.failures.get_or_create(&labels).inc();
    }

    pub(super) fn limit(&self, limit: &'static str) {
        self.limits.get_or_create(&[("limit", limit)]).inc();
    }

    /// The counters of [`Telemetry`](crate::telemetry::Telemetry).
    pub(super) fn telemetry(&self) -> SpanCounts {
        let count = |result| self.spans.get_or_create_owned(&[("result", result)]);
        SpanCounts {
            sent: count("sent"),
            dropped: count("dropped"),
        }
    }

    pub(super) fn slow(&self, database: &str) {
        self.slow
            .get_or_create(&[("database", database.to_owned())])
            .inc();
    }

    /// Show the counters of these databases from now on.
    pub(super) fn add(&self, databases: &WeakDatabases) {
        for (name, database) in databases.iter() {
            match database.source() {
                Source::One(pool) => self.pools.add_pool(name.as_str(), pool),
                Source::Tenants(pools) => self.pools.add_pools(name.as_str(), pools),
            }
        }
    }

    /// Replace the disks by these.
    fn set_disks(&self, disks: &Disks) {
        self.free.clear();
        disks.each(|database, places| {
            for place in places {
                let labels = ([("database", database.to_owned())], [("of", place.of)]);
                let free = i64::try_from(place.free).unwrap_or(i64::MAX);
                self.free.get_or_create(&labels).set(free);
            }
        });
    }

    /// All metrics, in the text format of OpenMetrics.
    pub(super) fn open_metrics(&self, state: &Gauges, disks: &Disks) -> String {
        let scraping = self.scraping.lock();
        let _scraping = scraping.unwrap_or_else(PoisonError::into_inner);
        self.set_disks(disks);
        for (component, instances) in &state.instances {
            self.instances
                .get_or_create(&of_component(component))
                .set(*instances);
        }
        self.places.set(state.places.into());
        self.places_in_use.set(state.places_in_use.into());
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// What is measured when it is asked for.
#[derive(Debug)]
pub(super) struct Gauges {
    pub(super) instances: Vec<(Box<str>, i64)>,
    pub(super) places: u32,
    pub(super) places_in_use: u32,
}

fn of_component(name: &str) -> OfComponent {
    [("component", name.to_owned())]
}

/// The same metrics in the older text format of Prometheus, in which the names of counters end with
/// `_total` everywhere, and units have no line.
pub(super) fn prometheus_text(open_metrics: &str) -> String {
    let metadata = |line: &str| {
        let (kind, rest) = line.strip_prefix("# ")?.split_once(' ')?;
        let (name, rest) = rest.split_once(' ')?;
        Some((kind.to_owned(), name.to_owned(), rest.to_owned()))
    };
    let types = open_metrics.lines().filter_map(metadata);
    let types: BTreeMap<_, _> = types
        .filter(|(kind, ..)| kind == "TYPE")
        .map(|(_, name, of_type)| (name, of_type))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        // Writing to a text does not fail.
        let _ = match metadata(line) {
            None if line == "# EOF" => Ok(()),
            None => writeln!(text, "{line}"),
            Some((kind, ..)) if kind == "UNIT" => Ok(()),
            Some((kind, name, rest)) => {
                let total = match types.get(&name).map(String::as_str) {
                    Some("counter") => "_total",
                    _ => "",
                };
                writeln!(text, "# {kind} {name}{total} {rest}")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Size};
    use crate::databases::Databases;

    #[test]
    fn scrapes_at_the_same_time_each_have_every_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[databases.app]\nfile = {:?}\n[components.app]\nfile = \"app.wasm\"\n",
            folder.path().join("app.db")
        );
        let config = Config::parse(&text, "millpond.toml".as_ref()).expect("a configuration");
        let databases = Databases::open(&config).expect("databases");
        let disks = Disks::new(Size(0));
        disks.look(&databases.downgrade());
        let metrics = Metrics::new();
        let gauges = Gauges {
            instances: Vec::new(),
            places: 1,
            places_in_use: 0,
        };
        let scrape = || {
            for _ in 0..500 {
                let text = metrics.open_metrics(&gauges, &disks);
                assert!(text.contains("disk_free_bytes{"), "{text}");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(scrape);
            scope.spawn(scrape);
        });
    }

    #[test]
    fn the_older_format_names_counters_alike_everywhere() {
        let text = "# HELP a_seconds Waits.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"# HELP\"} 1.5\n# HELP c Now.\n# TYPE c gauge\nc 1\n# EOF\n";
        let older = "# HELP a_seconds_total Waits.\n# TYPE a_seconds_total counter\n\
                     a_seconds_total{b=\"# HELP\"} 1.5\n# HELP c Now.\n# TYPE c gauge\nc 1\n";
        assert_eq!(prometheus_text(text), older);
    }
}
