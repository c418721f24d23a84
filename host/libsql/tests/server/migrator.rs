//! The host's own statements: migrations.

use millpond_libsql::PoolBuilder;
use millpond_pool::{ErrorKind, Parameters, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

#[tokio::test]
async fn a_migration_may_do_what_a_guest_may_not() {
    let Some(server) = Sqld::start() else { return };
    let mut migrator = PoolBuilder::new()
        .read_only(true)
        .open_migrator(&server.url())
        .expect("a connection");
    migrator.begin().expect("begun");
    let long = "x".repeat(200_000);
    let script = format!(
        "CREATE TABLE millpond_own(a); INSERT INTO millpond_own VALUES ('{long}');
         CREATE TABLE parent(id INTEGER PRIMARY KEY);
         CREATE TABLE child(p REFERENCES parent(id)); INSERT INTO child VALUES (7);
         SAVEPOINT s; DELETE FROM millpond_own; ROLLBACK TO s; RELEASE s"
    );
    migrator
        .execute_script(&script)
        .expect("foreign keys are off");
    let row = Parameters::from(["b"]);
    let insert = "INSERT INTO millpond_own VALUES (?1)";
    migrator.execute(insert, &row).expect("a row");
    let sql = "SELECT max(length(a)) FROM millpond_own";
    let rows = migrator.query(sql).expect("rows").to_vec();
    assert_eq!(rows, [[Value::Integer(200_000)]]);
    migrator.commit().expect("committed");
    // Outside of a transaction it reads only.
    let outside = migrator.execute(insert, &row);
    assert_eq!(kind(outside), ErrorKind::StaleHandle);
    assert_eq!(kind(migrator.commit()), ErrorKind::StaleHandle);

    let pool = server.pool().await;
    let guest = get(&pool).await;
    let refused = guest.execute("DELETE FROM millpond_own", &NONE).await;
    assert_eq!(kind(refused), ErrorKind::NotAuthorized);
    let refused = guest.execute("INSERT INTO child VALUES (8)", &NONE).await;
    assert_eq!(kind(refused), ErrorKind::ConstraintForeignKey);
    let count = value(&guest, "SELECT count(*) FROM millpond_own").await;
    assert_eq!(count, Value::Integer(2));
    drop(guest);
    close(pool).await;
}

#[tokio::test]
async fn a_migration_ends_no_transaction_by_itself() {
    let Some(server) = Sqld::start() else { return };
    let mut migrator = PoolBuilder::new()
        .open_migrator(&server.url())
        .expect("a connection");
    migrator.begin().expect("begun");
    for end in ["COMMIT", "END", "ROLLBACK", "BEGIN"] {
        let script = format!("CREATE TABLE t(a); {end}");
        let refused = error(migrator.execute_script(&script));
        assert_eq!(
            (refused.kind(), refused.offset()),
            (ErrorKind::Unsupported, Some(19)),
            "{end}"
        );
    }
    let failed = error(migrator.execute_script("CREATE TABLE t(a); CREATE TABEL u(a)"));
    assert_eq!((failed.kind(), failed.offset()), (ErrorKind::Sql, Some(19)));
    migrator.rollback();
    let pool = server.pool().await;
    let guest = get(&pool).await;
    // Waits until the server has undone it.
    guest
        .execute("CREATE TABLE t(other)", &NONE)
        .await
        .expect("the name is free");
    drop(guest);
    close(pool).await;
}

#[tokio::test]
async fn the_server_ends_a_migration_that_makes_a_writer_wait() {
    let Some(server) = Sqld::start() else { return };
    let mut migrator = PoolBuilder::new()
        .open_migrator(&server.url())
        .expect("a connection");
    migrator.begin().expect("begun");
    migrator.execute_script("CREATE TABLE t(a)").expect("made");
    let pool = server.pool().await;
    let guest = get(&pool).await;
    guest
        .execute("CREATE TABLE t(b)", &NONE)
        .await
        .expect("the server gives it the lock");
    let stale = error(migrator.execute_script("INSERT INTO t VALUES (1)"));
    assert_eq!(
        (stale.kind(), stale.rolled_back()),
        (ErrorKind::StaleHandle, true)
    );
    let stale = error(migrator.commit());
    assert_eq!(stale.kind(), ErrorKind::StaleHandle);
    let count = value(&guest, "SELECT count(*) FROM t").await;
    assert_eq!(count, Value::Integer(0));
    drop(guest);
    close(pool).await;
}
