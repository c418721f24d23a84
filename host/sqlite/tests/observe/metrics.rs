//! The observer with metrics for Prometheus, by what a scrape says.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::observe::prometheus::prometheus_client::encoding::text::encode;
use millpond_pool::observe::prometheus::prometheus_client::metrics::counter::Counter;
use millpond_pool::observe::prometheus::prometheus_client::registry::Registry;
use millpond_pool::observe::prometheus::{MAX_NAMES, PrometheusObserver};
use millpond_pool::{Access, ErrorKind, Grant, PoolsSettings, Request, TransactionMode};
use millpond_sqlite::{Folder, PoolBuilder};

use crate::open_metrics::Scrape;
use crate::{INSERT, NONE, SCHEMA, kind, one};

/// A name that has to be escaped.
const GUEST: &str = "a \"guest\"\\\n";

#[tokio::test]
async fn a_scrape_has_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = Arc::new(PrometheusObserver::new());
    let pool = PoolBuilder::new()
        .name("app")
        .timeout(Duration::from_millis(10))
        .max_size(1)
        .observer(metrics.clone())
        .open(folder.path().join("app.db"))
        .expect("a pool");
    metrics.add_pool("app", &pool);
    let grant = Grant::new(&pool, Access::ReadWrite).guest(GUEST);
    let get = || async { grant.get(Access::ReadWrite, &Request::new()).await };
    let connection = get().await.expect("a connection");
    connection.execute_script(SCHEMA).await.expect("tables");
    for value in ["a", "b"] {
        connection
            .execute(INSERT, &one(value))
            .await
            .expect("written");
    }
    let again = connection.execute(INSERT, &one("a")).await;
    assert_eq!(kind(again), ErrorKind::ConstraintUnique);
    connection
        .query("SELECT a FROM t", &NONE)
        .await
        .expect("rows");
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    assert!(matches!(kind(get().await), ErrorKind::PoolTimeout { .. }));
    drop((transaction, connection));

    let text = metrics.text();
    let scrape = Scrape::parse(&text);
    let of = |name: &str, more: &str| {
        let guest = "database=\"app\",guest=\"a \\\"guest\\\"\\\\\\n\"";
        scrape.get(&format!("millpond_{name}{{{guest}{more}}}"))
    };
    assert_eq!(of("statements_total", ",result=\"ok\""), 5.0);
    assert_eq!(of("statements_total", ",result=\"constraint-unique\""), 1.0);
    assert_eq!(of("statement_seconds_count", ""), 6.0);
    assert_eq!(of("statement_seconds_bucket", ",le=\"10.0\""), 6.0);
    assert!(of("statement_seconds_sum", "") > 0.0);
    assert_eq!(of("returned_rows_total", ""), 2.0);
    assert!(of("returned_bytes_total", "") >= 2.0);
    assert_eq!(of("changed_rows_total", ""), 2.0);
    assert_eq!(of("connection_wait_seconds_count", ""), 2.0);
    assert!(of("connection_wait_seconds_sum", "") >= 0.01);
    assert_eq!(of("connections_not_got_total", ",reason=\"timeout\""), 1.0);
    assert_eq!(of("transactions_ended_total", ",reason=\"dropped\""), 1.0);
    assert_eq!(of("turn_wait_seconds_count", ""), 0.0);
    let stats = pool.stats();
    let of_pool = |name: &str| scrape.get(&format!("millpond_pool_{name}{{database=\"app\"}}"));
    assert_eq!(of_pool("timeouts_total"), 1.0);
    assert_eq!(of_pool("max_size"), 1.0);
    assert_eq!(of_pool("idle"), 1.0);
    assert_eq!(of_pool("wait_seconds_total"), stats.wait_time.as_secs_f64());
    assert_eq!(of_pool("hits_total"), stats.hits as f64);
    let of_pools = scrape
        .series()
        .filter(|series| series.starts_with("millpond_pool_"));
    assert_eq!(of_pools.count(), 21);

    // A scrape keeps no pool.
    drop((grant, pool));
    let scrape = Scrape::parse(&metrics.text());
    assert!(
        !scrape
            .series()
            .any(|series| series.starts_with("millpond_pool_"))
    );
}

#[tokio::test]
async fn labels_are_bounded_and_tenants_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    // With the embedder's own metrics.
    let mut registry = Registry::default();
    let own = Counter::<u64>::default();
    own.inc();
    registry.register("own", "The embedder's", own);
    let metrics = Arc::new(PrometheusObserver::in_registry(&mut registry));
    let tenants = Folder::open(folder.path())
        .expect("a folder")
        .create(true)
        .pool(PoolBuilder::new().observer(metrics.clone()))
        .pools(PoolsSettings::new(10))
        .expect("pools");
    metrics.add_pools("tenants", &tenants);
    let pool = tenants.get("acme").await.expect("a pool");
    // One name is that of the pool's own events.
    let count = MAX_NAMES + 5;
    for guest in 0..count {
        let grant = Grant::new(&pool, Access::ReadOnly).guest(format!("guest {guest}"));
        let connection = grant
            .get(Access::ReadOnly, &Request::new().label("secret"))
            .await;
        let connection = connection.expect("a connection");
        connection.query("SELECT 1", &NONE).await.expect("a row");
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a text");
    assert!(!text.contains("acme") && !text.contains("secret") && !text.contains("SELECT"));
    assert_eq!(metrics.text(), "# EOF\n");
    let scrape = Scrape::parse(&text);
    assert_eq!(scrape.get("own_total{}"), 1.0);
    assert_eq!(scrape.get("millpond_pools_open{database=\"tenants\"}"), 1.0);
    let rows = "millpond_returned_rows_total{database=\"tenants\",guest=";
    let of_guests: Vec<_> = scrape
        .series()
        .filter(|series| series.starts_with(rows))
        .collect();
    assert_eq!(of_guests.len(), MAX_NAMES + 1);
    let others = scrape.get(&format!("{rows}\"other\"}}"));
    assert_eq!(others, (count - (MAX_NAMES - 1)) as f64);
    drop(pool);
    tenants.close(Duration::ZERO).await;
}
