//! The host of plugins in `tests/embeds`, with a plugin that counts its visits, one that panics,
//! and tenants.

use std::time::Duration;

use millpond_tests::component;
use rusqlite::Connection;

use self::host::PluginHost;

#[path = "../../embeds/plugin-host/src/host.rs"]
#[expect(unreachable_pub, reason = "elsewhere it is a crate of its own")]
mod host;

const TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn each_tenant_has_its_own_visits() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = PluginHost::new(component("cli_counts_visits"), folder.path());
    let host = host.expect("a plugin");
    for tenant in ["ada", "grace", "ada"] {
        host.run(tenant, TIME).await.expect("it runs");
    }
    for wrong in ["../ada", "Ada", ""] {
        host.run(wrong, TIME).await.expect_err("no tenant");
    }
    host.close().await;
    for (tenant, expected) in [("ada", 2), ("grace", 1)] {
        let database = Connection::open(folder.path().join(format!("{tenant}.db")));
        let count =
            database
                .expect("a database")
                .query_one("SELECT count(*) FROM visit", (), |row| row.get(0));
        assert_eq!(count, Ok(expected), "{tenant}");
    }
}

#[tokio::test]
async fn a_plugin_that_panics_harms_no_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = PluginHost::new(component("cli_panics"), folder.path());
    let host = host.expect("a plugin");
    for _ in 0..3 {
        host.run("ada", TIME).await.expect_err("it panics");
    }
    host.close().await;
}
