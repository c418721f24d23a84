//! From a request to its tenant's database, with links that were planted in the folder.

use std::fs;
use std::time::Duration;

use http::StatusCode;
use millpond_pool::{Access, Parameters, Pools, PoolsSettings, Value};
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Folder, TenantKey};

use super::*;
use crate::tenant::status_of;

/// Serves `/t/{tenant}`: adds a row, and returns how many the tenant has.
async fn serve(pools: &Pools, target: &str) -> Result<Value, StatusCode> {
    let request = request(target.as_bytes(), &[]).ok_or(StatusCode::BAD_REQUEST)?;
    let tenant = path(false).resolve(&request);
    let tenant = tenant.map_err(|refusal| refusal.status())?;
    let served = async {
        let pool = pools.get(tenant.key.as_str()).await?;
        let connection = pool.get(Access::ReadWrite).await?;
        let none = Parameters::NONE;
        connection
            .execute("INSERT INTO note VALUES (1)", &none)
            .await?;
        let count = connection.query("SELECT count(*) FROM note", &none).await?;
        Ok(count.rows.to_vec()[0][0].clone())
    };
    served.await.map_err(|error| status_of(&error))
}

#[cfg(unix)]
#[tokio::test]
async fn a_request_reaches_its_own_tenant_or_none() {
    use std::os::unix::fs::symlink;

    let here = tempfile::tempdir().expect("a folder");
    let tenants = here.path().join("tenants");
    fs::create_dir(&tenants).expect("a folder");
    let migrations = Migrations::from_texts([("1-note.sql", "CREATE TABLE note(n);")]);
    let folder = Folder::open(&tenants).expect("a folder");
    let folder = folder.migrations(migrations.expect("a migration"));
    let key = |key: &str| TenantKey::new(key).expect("a key");
    for name in ["acme", "victim", "log"] {
        folder.create_database(&key(name)).expect("created");
    }
    let pools = folder.pools(PoolsSettings::default()).expect("pools");
    assert_eq!(serve(&pools, "/t/victim/").await, Ok(Value::Integer(1)));
    // The log of `victim` is there: it is open.
    symlink("victim.db", tenants.join("link.db")).expect("a link");
    symlink("victim.db-wal", tenants.join("log.db-wal")).expect("a link");
    symlink("../elsewhere.db", tenants.join("elsewhere.db")).expect("a link");
    fs::copy(tenants.join("acme.db"), here.path().join("elsewhere.db")).expect("copied");
    fs::create_dir(tenants.join("folder.db")).expect("a folder");
    let before = fs::read(here.path().join("elsewhere.db")).expect("a file");

    assert_eq!(serve(&pools, "/t/acme").await, Ok(Value::Integer(1)));
    for planted in ["link", "elsewhere", "folder", "log"] {
        let status = serve(&pools, &format!("/t/{planted}")).await;
        assert_eq!(status, Err(StatusCode::INTERNAL_SERVER_ERROR), "{planted}");
    }
    for hostile in HOSTILE {
        let status = serve(&pools, &format!("/t/{hostile}")).await;
        assert!(status.is_err(), "{hostile:?}");
    }
    assert_eq!(
        serve(&pools, "/t/nothing").await,
        Err(StatusCode::NOT_FOUND)
    );
    folder.suspend(&key("acme")).expect("suspended");
    assert_eq!(
        serve(&pools, "/t/acme").await,
        Err(StatusCode::SERVICE_UNAVAILABLE)
    );
    folder.resume(&key("acme")).expect("resumed");
    assert_eq!(serve(&pools, "/t/acme").await, Ok(Value::Integer(2)));
    assert_eq!(serve(&pools, "/t/victim").await, Ok(Value::Integer(2)));
    assert_eq!(
        fs::read(here.path().join("elsewhere.db")).expect("a file"),
        before
    );
    pools.close(Duration::ZERO).await;
}
