//! What an observer is told of a pool of connections to a server.

use std::sync::Arc;
use std::time::Duration;

use millpond_libsql::PoolBuilder;
use millpond_pool::{Access, ErrorKind, Grant, Request, TransactionMode};

use crate::recorder::Recorder;
use crate::sqld::Sqld;
use crate::{NONE, kind};

const SCHEMA: &str = "
    CREATE TABLE t(a UNIQUE);
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
";
const INSERT: &str = "INSERT INTO t VALUES (1), (2), (3)";
const FOREVER: &str = "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
     SELECT i FROM n)";

#[tokio::test]
async fn events_are_told_as_of_a_file() {
    let Some(server) = Sqld::start() else { return };
    let recorder = Arc::new(Recorder::default());
    let builder = PoolBuilder::new().name("remote").observer(recorder.clone());
    let pool = server.pool_of(builder).await;
    let grant = Grant::new(&pool, Access::ReadWrite)
        .guest("guest")
        .max_statement_time(Duration::from_millis(500))
        .max_transaction_time(Duration::from_millis(300));
    let get = || async {
        grant
            .get(Access::ReadWrite, &Request::new().label("17"))
            .await
    };
    let connection = get().await.expect("a connection");
    connection.execute_script(SCHEMA).await.expect("tables");
    let pool_opened = ["opened", "pool opened", "got"];
    assert_eq!(
        recorder.events(),
        [&pool_opened[..], &[&format!("`{SCHEMA}` wrote")]].concat()
    );

    connection.execute(INSERT, &NONE).await.expect("written");
    assert_eq!(
        kind(connection.execute(INSERT, &NONE).await),
        ErrorKind::ConstraintUnique
    );
    let statement = connection
        .prepare("SELECT a FROM t")
        .await
        .expect("a statement");
    let page = statement.query(&NONE, 2, false).await.expect("a page");
    let rest = page.rest.expect("more");
    while !rest.next(2).await.expect("rows").is_empty() {}
    drop((rest, statement));
    let told = recorder.take();
    for told in &told {
        assert_eq!(
            (&*told.database, told.guest.as_deref()),
            ("remote", Some("guest"))
        );
        assert_eq!(told.request.as_deref(), Some("17"));
    }
    let told: Vec<_> = told.into_iter().map(|told| told.what).collect();
    let wanted = [
        format!("`{INSERT}` wrote 3 changes"),
        format!("`{INSERT}` wrote Failed(ConstraintUnique)"),
        "`SELECT a FROM t` 3 rows".to_owned(),
    ];
    assert_eq!(told, wanted);

    // The server refuses to commit it; it is open for too long; its statement does not end; it is
    // left behind.
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO child VALUES (7)", &NONE)
        .await
        .expect("so far");
    let refused = transaction.commit().await;
    assert_eq!(kind(refused), ErrorKind::ConstraintForeignKey);
    let told = recorder.events();
    let commit = "`COMMIT` Failed(ConstraintForeignKey)";
    assert_eq!(told[2..], ["ended: engine", commit], "{told:?}");
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (4)", &NONE)
        .await
        .expect("written");
    recorder.take();
    let stopped = connection.query(FOREVER, &NONE).await;
    assert_eq!(kind(stopped), ErrorKind::DeadlineExceeded);
    let told = recorder.events();
    let wanted = [
        "ended: deadline",
        &format!("`{FOREVER}` Failed(DeadlineExceeded)"),
    ];
    assert_eq!(told, wanted);
    drop((transaction, connection));
    let connection = get().await.expect("a connection");
    connection.execute("BEGIN", &NONE).await.expect("begun");
    recorder.take();
    drop(connection);
    let told = recorder.events();
    assert_eq!(told[..2], ["returned", "ended: returned"], "{told:?}");
    pool.close(Duration::ZERO).await;
    let told = recorder.events();
    assert_eq!(
        told.last().map(String::as_str),
        Some("pool closed"),
        "{told:?}"
    );
}
