//! The host of plugins in `tests/embeds`, with a plugin that counts its visits, one that panics,
//! and tenants.

use std::path::Path;
use std::process::{Command, Output};

use millpond_tests::component;
use rusqlite::Connection;

fn host(plugin: &Path, folder: &Path, tenants: &[&str]) -> Output {
    let mut host = Command::new(env!("CARGO_BIN_EXE_plugin-host"));
    let host = host.arg(plugin).arg(folder).args(tenants);
    host.output().expect("a process")
}

/// Those of the tenants whose plugin failed. Plugins print errors of their own beside.
fn failures<'o>(output: &'o Output, tenants: &[&str]) -> Vec<&'o str> {
    assert!(output.status.success(), "{output:?}");
    let errors = std::str::from_utf8(&output.stderr).expect("text");
    let lines = errors.lines().filter_map(|line| line.split_once(": "));
    let failed = lines.filter(|(tenant, _)| tenants.contains(tenant));
    failed.map(|(tenant, _)| tenant).collect()
}

#[test]
fn each_tenant_has_its_own_visits() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = component("cli_counts_visits");
    let output = host(plugin, folder.path(), &["ada", "grace", "ada"]);
    assert_eq!(failures(&output, &["ada", "grace"]), [""; 0]);
    for (tenant, expected) in [("ada", 2), ("grace", 1)] {
        let database = Connection::open(folder.path().join(format!("{tenant}.db")));
        let count =
            database
                .expect("a database")
                .query_one("SELECT count(*) FROM visit", (), |row| row.get(0));
        assert_eq!(count, Ok(expected), "{tenant}");
    }
    let wrong = ["../ada", "Ada", ""];
    assert_eq!(
        failures(&host(plugin, folder.path(), &wrong), &wrong),
        wrong
    );
}

#[test]
fn a_plugin_that_panics_harms_no_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = host(component("cli_panics"), folder.path(), &["ada"; 3]);
    assert_eq!(failures(&output, &["ada"]), ["ada"; 3]);
}
