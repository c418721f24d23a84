//! The metrics of events, and their labels.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::prometheus_client::metrics::counter::Counter;
use ::prometheus_client::metrics::family::Family;
use ::prometheus_client::metrics::histogram::Histogram;
use ::prometheus_client::registry::{Registry, Unit};

use super::MAX_NAMES;

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// What a name is called beyond the first [`MAX_NAMES`].
const OTHER: &str = "other";

type Label = (&'static str, Arc<str>);
/// `database` and `guest`.
type Labels = [Label; 2];
/// And a word of the pool's own.
type WithWord = ([Label; 2], [(&'static str, &'static str); 1]);
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// The metrics, by name.
pub(super) struct Families {
    wait: Histograms,
    statement: Histograms,
    turn_wait: Histograms,
    group_time: Histograms,
    checkpoint_time: Histograms,
    rows: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    changes: Family<Labels, Counter>,
    abandoned: Family<Labels, Counter>,
    in_vain: Family<Labels, Counter>,
    groups: Family<Labels, Counter>,
    grouped: Family<Labels, Counter>,
    analyzed_tables: Family<Labels, Counter>,
    freed_pages: Family<Labels, Counter>,
    statements: Family<WithWord, Counter>,
    not_got: Family<WithWord, Counter>,
    discarded: Family<WithWord, Counter>,
    ended: Family<WithWord, Counter>,
    checkpoints: Family<WithWord, Counter>,
    upkeeps: Family<WithWord, Counter>,
    known: RwLock<Known>,
}

/// The names so far, and the metrics of those.
#[derive(Default)]
struct Known {
    series: HashMap<Arc<str>, HashMap<Arc<str>, Arc<Series>>>,
    databases: HashMap<Box<str>, Arc<str>>,
    guests: HashMap<Box<str>, Arc<str>>,
}

/// The metrics of one database and guest.
pub(super) struct Series {
    labels: Labels,
    pub(super) wait: Histogram,
    pub(super) statement: Histogram,
    pub(super) turn_wait: Histogram,
    pub(super) group_time: Histogram,
    pub(super) rows: Counter,
    pub(super) bytes: Counter,
    pub(super) changes: Counter,
    pub(super) abandoned: Counter,
    pub(super) in_vain: Counter,
    pub(super) groups: Counter,
    pub(super) grouped: Counter,
    pub(super) done: Counter,
}

impl Families {
    /// Register the metrics.
    pub(super) fn new(registry: &mut Registry) -> Families {
        let mut times = |name: &str, help: &str| {
            let family = Histograms::new_with_constructor(|| Histogram::new(BUCKETS));
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
            family
        };
        let wait = times("connection_wait", "Waits for a connection, in vain or not");
        let statement = times("statement", "Times of statements, with their waits");
        let turn_wait = times("turn_wait", "Waits for the turn to write");
        let group_time = times("group_commit", "Times of group commits");
        let checkpoint_time = times("checkpoint", "Times of checkpoints");
        let mut counts = |name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let rows = counts("returned_rows", "Rows that statements returned");
        let bytes = counts(
            "returned_bytes",
            "Bytes of the rows that statements returned",
        );
        let changes = counts("changed_rows", "Rows that statements changed");
        let abandoned = counts(
            "statements_abandoned",
            "Statements that did not stop at their deadline",
        );
        let in_vain = counts(
            "turns_in_vain",
            "Waits for a turn to write that did not come",
        );
        let groups = counts("group_commits", "Group commits");
        let grouped = counts("group_commit_statements", "Statements in group commits");
        let analyzed_tables = counts("upkeep_analyzed_tables", "Tables that upkeep analyzed");
        let freed_pages = counts(
            "upkeep_freed_pages",
            "Free pages that upkeep gave back to the disk",
        );
        let mut by_word = |name: &str, help: &str| {
            let family = Family::<WithWord, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        Families {
            statements: by_word("statements", "Statements, by their result"),
            not_got: by_word(
                "connections_not_got",
                "Callers that did not get a connection",
            ),
            discarded: by_word(
                "connections_discarded",
                "Connections closed because something was wrong",
            ),
            ended: by_word(
                "transactions_ended",
                "Transactions that their borrower did not end",
            ),
            checkpoints: by_word("checkpoints", "Checkpoints"),
            upkeeps: by_word("upkeeps", "Upkeep in quiet moments"),
            wait,
            statement,
            turn_wait,
            group_time,
            checkpoint_time,
            rows,
            bytes,
            changes,
            abandoned,
            in_vain,
            groups,
            grouped,
            analyzed_tables,
            freed_pages,
            known: RwLock::default(),
        }
    }

    /// The metrics of this database and guest.
    pub(super) fn of(&self, database: &str, guest: Option<&str>) -> Arc<Series> {
        let guest = guest.unwrap_or_default();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.find(database, guest) {
            return series;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let database = name(&mut known.databases, database);
        let guest = name(&mut known.guests, guest);
        let of_database = known.series.entry(Arc::clone(&database)).or_default();
        let series = of_database.entry(Arc::clone(&guest));
        let labels = [("database", database), ("guest", guest)];
        Arc::clone(series.or_insert_with(|| Arc::new(self.series(labels))))
    }

    fn series(&self, labels: Labels) -> Series {
        let count = |family: &Family<Labels, Counter>| family.get_or_create_owned(&labels);
        let times = |family: &Histograms| family.get_or_create_owned(&labels);
        let done = (labels.clone(), [("result", "ok")]);
        Series {
            wait: times(&self.wait),
            statement: times(&self.statement),
            turn_wait: times(&self.turn_wait),
            group_time: times(&self.group_time),
            rows: count(&self.rows),
            bytes: count(&self.bytes),
            changes: count(&self.changes),
            abandoned: count(&self.abandoned),
            in_vain: count(&self.in_vain),
            groups: count(&self.groups),
            grouped: count(&self.grouped),
            done: self.statements.get_or_create_owned(&done),
            labels,
        }
    }

    pub(super) fn failed(&self, series: &Series, result: &'static str) {
        add(&self.statements, series, ("result", result));
    }

    pub(super) fn not_got(&self, series: &Series, reason: &'static str) {
        add(&self.not_got, series, ("reason", reason));
    }

    pub(super) fn discarded(&self, series: &Series, reason: &'static str) {
        add(&self.discarded, series, ("reason", reason));
    }

    pub(super) fn ended(&self, series: &Series, reason: &'static str) {
        add(&self.ended, series, ("reason", reason));
    }

    pub(super) fn upkeep_done(
        &self,
        series: &Series,
        result: &'static str,
        tables: u32,
        pages: u32,
    ) {
        add(&self.upkeeps, series, ("result", result));
        for (family, count) in [(&self.analyzed_tables, tables), (&self.freed_pages, pages)] {
            let counter = family.get_or_create_owned(&series.labels);
            counter.inc_by(u64::from(count));
        }
    }

    pub(super) fn checkpointed(&self, series: &Series, result: &'static str, time: Duration) {
        add(&self.checkpoints, series, ("result", result));
        let times = self.checkpoint_time.get_or_create_owned(&series.labels);
        times.observe(time.as_secs_f64());
    }
}

fn add(family: &Family<WithWord, Counter>, series: &Series, word: (&'static str, &'static str)) {
    let labels = (series.labels.clone(), [word]);
    family.get_or_create(&labels).inc();
}

impl Known {
    fn find(&self, database: &str, guest: &str) -> Option<Arc<Series>> {
        let called = |names: &HashMap<Box<str>, Arc<str>>, name: &str| match names.get(name) {
            Some(name) => Some(Arc::clone(name)),
            None if names.len() >= MAX_NAMES => Some(OTHER.into()),
            None => None,
        };
        let database = called(&self.databases, database)?;
        let guest = called(&self.guests, guest)?;
        self.series.get(&database)?.get(&guest).cloned()
    }
}

/// What a name is called.
fn name(names: &mut HashMap<Box<str>, Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    if names.len() >= MAX_NAMES {
        return OTHER.into();
    }
    let shared: Arc<str> = name.into();
    names.insert(name.into(), Arc::clone(&shared));
    shared
}
