//! Defaults are those of the libraries.

use std::time::Duration;

use millpond_pool::{Access, Grant as PoolGrant, PoolsSettings};
use millpond_server::config::{Component, Database, Grant, Size, parse_duration, schema};
use millpond_sqlite::PoolBuilder;
use millpond_wasmtime::InstanceLimits;
use serde_json::Value;

/// Asserts that the `Debug` of a builder has these values.
fn assert_has(debug: &impl std::fmt::Debug, values: &[(&str, String)]) {
    let debug = format!("{debug:?}");
    for (name, value) in values {
        let value = format!("{name}: {value}");
        let has = debug
            .split([',', '{', '}'])
            .any(|part| part.trim() == value);
        assert!(has, "{value}: {debug}");
    }
}

/// The default of a database's key that is unset.
fn unset(key: &str) -> Value {
    schema()["properties"]["databases"]["additionalProperties"]["properties"][key]["default"]
        .clone()
}

fn unset_size(key: &str) -> String {
    let size: Size = unset(key).as_str().expect(key).parse().expect(key);
    size.bytes().to_string()
}

fn unset_time(key: &str) -> Duration {
    parse_duration(unset(key).as_str().expect(key)).expect(key)
}

#[test]
fn a_database_has_the_defaults_of_its_builders() {
    let database = Database::default();
    let common = [
        ("max_size", database.pool_size.to_string()),
        ("timeout", format!("{:?}", database.timeout)),
        (
            "max_value_bytes",
            database.max_value_size.bytes().to_string(),
        ),
        (
            "max_result_bytes",
            database.max_result_size.bytes().to_string(),
        ),
        ("max_page_bytes", database.max_page_size.bytes().to_string()),
        ("max_idle", "None".to_owned()),
        ("max_idle_time", "None".to_owned()),
        ("read_only", database.read_only.to_string()),
    ];
    assert_has(&PoolBuilder::new(), &common);
    assert_has(&millpond_libsql::PoolBuilder::new(), &common);
    let of_files = [
        ("max_database_bytes", unset_size("max-database-size")),
        ("max_transaction_bytes", unset_size("max-transaction-size")),
        ("max_memory_bytes", unset_size("max-connection-memory")),
        ("cache_size", unset_size("cache-size")),
        ("mmap_size", unset_size("mmap-size")),
        ("statement_cache", unset("statement-cache").to_string()),
        ("busy_timeout", format!("{:?}", unset_time("busy-timeout"))),
        ("synchronous", "Full".to_owned()),
    ];
    assert_has(&PoolBuilder::new(), &of_files);
    assert_eq!(unset("synchronous"), "full");
    let of_servers = [
        ("allow_plain_http", database.allow_plain_http.to_string()),
        (
            "server_enforces_tables",
            database.server_enforces_tables.to_string(),
        ),
        ("namespace", "None".to_owned()),
        (
            "connect_timeout",
            format!("{:?}", unset_time("connect-timeout")),
        ),
    ];
    assert_has(&millpond_libsql::PoolBuilder::new(), &of_servers);
    let pools = PoolsSettings::default();
    assert_eq!(unset("max-open-pools"), pools.max_open);
    assert_eq!(unset_time("pool-idle-timeout"), pools.max_idle_time);
}

#[test]
fn a_component_has_the_defaults_of_its_builders() {
    let component = Component::default();
    let limits = [
        ("memory_size", component.max_memory_size.bytes().to_string()),
        ("memories", component.max_memories.to_string()),
        ("tables", component.max_tables.to_string()),
        ("table_entries", component.max_table_entries.to_string()),
        ("instances", component.max_instances.to_string()),
        ("handles", component.max_handles.to_string()),
        ("stack_size", component.max_stack_size.bytes().to_string()),
        ("call_size", component.max_call_size.bytes().to_string()),
    ];
    assert_has(&InstanceLimits::new(), &limits);
    let of_sql = format!("{:?}", millpond_wasmtime::SqliteCtx::builder());
    for (name, most) in [
        ("statements", component.max_statements),
        ("cursors", component.max_cursors),
        ("transactions", component.max_transactions),
    ] {
        let count = format!("{name}: Count {{ open: 0, most: {most} }}");
        assert!(of_sql.contains(&count), "{count}: {of_sql}");
    }
}

#[test]
fn a_grant_has_the_defaults_of_the_library() {
    let grant = Grant::default();
    let pool = PoolBuilder::new().open_in_memory().expect("a pool");
    let of_library = PoolGrant::new(&pool, Access::ReadWrite);
    assert_eq!(of_library.connections_per_request(), grant.max_connections);
    assert_eq!(of_library.stats_scope(), grant.stats);
    let transaction = millpond_pool::engine::Limits::default().transaction;
    assert_eq!(transaction, grant.max_transaction_time);
}
