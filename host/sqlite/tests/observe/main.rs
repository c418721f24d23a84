//! What an observer is told of pools of files.

mod metrics;
mod open_metrics;
#[path = "../../../pool/tests/engine/recorder.rs"]
mod recorder;
mod spans;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, PoolsSettings, Request, Rows,
    TransactionMode, Value, block_on,
};
use millpond_sqlite::{Folder, PoolBuilder, Synchronous};
use tempfile::TempDir;

use crate::recorder::Recorder;

static NONE: Parameters = Parameters::NONE;
const SCHEMA: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
";
const INSERT: &str = "INSERT INTO t(a) VALUES (?1)";
/// Never ends.
const FOREVER: &str = "INSERT INTO t(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
     FROM n) SELECT 'x' || i FROM n WHERE i < 0";

struct Fixture {
    folder: TempDir,
    pool: Pool,
    recorder: Arc<Recorder>,
}

async fn fixture(builder: PoolBuilder) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Arc::new(Recorder::default());
    let pool = builder
        .name("app")
        .observer(recorder.clone())
        .open(folder.path().join("app.db"));
    let f = Fixture {
        folder,
        pool: pool.expect("a pool"),
        recorder,
    };
    f.get().await.execute_script(SCHEMA).await.expect("tables");
    f.recorder.take();
    f
}

impl Fixture {
    async fn get(&self) -> Connection {
        let connection = self.pool.get(Access::ReadWrite).await;
        connection.expect("a connection")
    }

    async fn get_granted(&self, change: impl FnOnce(Grant) -> Grant) -> Connection {
        let grant = Grant::new(&self.pool, Access::ReadWrite).guest("guest");
        let request = Request::new().label("17");
        let connection = change(grant).get(Access::ReadWrite, &request).await;
        connection.expect("a connection")
    }

    /// What was told since the last call, without how connections are got and returned.
    fn statements(&self) -> Vec<String> {
        let mut told = self.recorder.events();
        told.retain(|event| !["got", "got new", "opened", "returned", "reset"].contains(&&**event));
        told
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn kind<T: std::fmt::Debug>(result: millpond_pool::Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

fn one(value: impl Into<Value>) -> Parameters {
    Parameters::positional([value.into()])
}

#[tokio::test]
async fn statements_are_told_with_what_they_did() {
    let f = fixture(PoolBuilder::new()).await;
    let connection = f.get_granted(|grant| grant).await;
    let execute = async |sql: &str| connection.execute(sql, &NONE).await;
    execute("INSERT INTO t(a) VALUES ('secret'), ('b'), ('c')")
        .await
        .expect("written");
    connection
        .execute(INSERT, &one("hidden"))
        .await
        .expect("written");
    connection
        .query("SELECT a FROM t", &NONE)
        .await
        .expect("rows");
    connection
        .query_rows("SELECT a FROM t WHERE id = 9", &NONE)
        .await
        .expect("none");
    assert_eq!(
        kind(connection.execute(INSERT, &one("hidden")).await),
        ErrorKind::ConstraintUnique
    );
    assert_eq!(kind(execute("DELETE FROM nothing").await), ErrorKind::Sql);
    assert_eq!(kind(connection.prepare("SELEC").await), ErrorKind::Sql);
    connection
        .execute_script("DELETE FROM t WHERE id = 3; SELECT 1")
        .await
        .expect("run");
    let statement = connection.prepare(INSERT).await.expect("a statement");
    let mut rows = Rows::new();
    rows.push([Value::from("x")]).expect("a row");
    rows.push([Value::from("y")]).expect("a row");
    statement.execute_many(&rows).await.expect("written");
    let told = f.recorder.take();
    assert!(
        told.iter()
            .all(|told| told.guest.as_deref() == Some("guest"))
    );
    assert!(
        told.iter()
            .all(|told| told.request.as_deref() == Some("17"))
    );
    assert!(
        told.iter()
            .all(|told| told.database == "app" && told.tenant.is_none())
    );
    assert!(told.iter().all(|told| !told.what.contains("hidden")));
    let told: Vec<_> = told.into_iter().map(|told| told.what).collect();
    let wanted = [
        "got",
        "`INSERT INTO t(a) VALUES ('secret'), ('b'), ('c')` wrote 3 changes",
        "`INSERT INTO t(a) VALUES (?1)` wrote 1 changes",
        "`SELECT a FROM t` 4 rows",
        "`SELECT a FROM t WHERE id = 9`",
        "`INSERT INTO t(a) VALUES (?1)` wrote Failed(ConstraintUnique)",
        "`DELETE FROM nothing` Failed(Sql)",
        "`SELEC` Failed(Sql)",
        "`DELETE FROM t WHERE id = 3; SELECT 1` wrote",
        "`INSERT INTO t(a) VALUES (?1)` wrote 2 changes",
    ];
    assert_eq!(told, wanted);

    // A cursor counts with its statement: read to its end, dropped, and left behind.
    let statement = connection
        .prepare("SELECT a FROM t")
        .await
        .expect("a statement");
    let page = statement.query(&NONE, 2, false).await.expect("a page");
    let rest = page.rest.expect("more");
    assert_eq!(rest.next(2).await.expect("rows").len(), 2);
    assert!(f.recorder.take().is_empty());
    while !rest.next(2).await.expect("rows").is_empty() {}
    assert_eq!(f.statements(), ["`SELECT a FROM t` 5 rows"]);
    drop(rest);
    let page = statement.query(&NONE, 2, false).await.expect("a page");
    drop(page.rest);
    assert_eq!(f.statements(), ["`SELECT a FROM t` 2 rows"]);
    let all = statement.query(&NONE, 0, false).await.expect("a page");
    assert!(all.rest.is_none());
    let page = statement.query(&NONE, 2, false).await.expect("a page");
    drop((statement, connection));
    assert_eq!(f.statements(), ["`SELECT a FROM t` 5 rows"]);
    drop(page.rest);
    assert_eq!(f.statements(), ["`SELECT a FROM t` 2 rows"]);
}

#[tokio::test]
async fn waits_for_the_turn_and_group_commits_are_told() {
    let f = fixture(PoolBuilder::new().max_size(8)).await;
    let [a, b, c, d] = [f.get().await, f.get().await, f.get().await, f.get().await];
    let holder = f.get().await;
    let transaction = holder
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let values = [one("a"), one("b"), one("c")];
    f.recorder.take();
    {
        let mut first = pin!(a.execute(INSERT, &values[0]));
        let mut second = pin!(b.execute(INSERT, &values[1]));
        let mut third = pin!(c.execute(INSERT, &values[2]));
        let mut dropped = Box::pin(d.execute(INSERT, &values[2]));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(dropped.as_mut()).is_pending());
        assert!(f.recorder.take().is_empty());
        drop(dropped);
        assert_eq!(
            f.recorder.events(),
            [
                "turn: cancelled".to_owned(),
                format!("`{INSERT}` wrote Cancelled"),
            ]
        );
        transaction.commit().await.expect("committed");
        first.await.expect("written");
        second.await.expect("written");
        third.await.expect("written");
    }
    let stats = f.pool.stats();
    let written = format!("`{INSERT}` wrote 1 changes");
    let mut wanted = vec!["`COMMIT`", "turn: got"];
    let groups = [vec![
        "group of 3",
        &written,
        "turn: grouped",
        &written,
        "turn: grouped",
        &written,
    ]];
    wanted.extend(groups.iter().flatten());
    assert_eq!(f.recorder.events(), wanted);
    assert_eq!(
        (stats.groups, stats.grouped_statements),
        (1, 3),
        "{stats:?}"
    );

    // A turn that does not come in time.
    let transaction = holder
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let request = Request::new().deadline(Instant::now() + Duration::from_millis(30));
    let grant = Grant::new(&f.pool, Access::ReadWrite);
    let late = grant
        .get(Access::ReadWrite, &request)
        .await
        .expect("a connection");
    let busy = late.execute(INSERT, &one("late")).await;
    assert_eq!(kind(busy), ErrorKind::Busy);
    let mut told = f.recorder.take();
    let finished = told.pop().expect("the statement");
    assert_eq!(finished.what, format!("`{INSERT}` wrote Failed(Busy)"));
    let turn = told.pop().expect("the wait");
    assert_eq!(turn.what, "turn: in_vain");
    assert!(
        turn.time <= finished.time && turn.time >= Duration::from_millis(10),
        "{turn:?}"
    );
    transaction.rollback().await.expect("undone");
}

#[tokio::test]
async fn who_ended_a_transaction_is_told_once() {
    let f = fixture(PoolBuilder::new().max_size(3)).await;
    let ended = |why: &str| format!("ended: {why}");

    // Its owner: nothing is told.
    let connection = f.get().await;
    connection
        .execute_script("BEGIN; ROLLBACK")
        .await
        .expect("run");
    let transaction = connection
        .begin(TransactionMode::Deferred)
        .await
        .expect("begun");
    transaction.commit().await.expect("done");
    drop(transaction);
    let told = ["`BEGIN; ROLLBACK`", "`BEGIN`", "`COMMIT`"];
    assert_eq!(f.statements(), told);

    // It left it behind, by text or by handle.
    connection
        .execute("BEGIN IMMEDIATE", &NONE)
        .await
        .expect("begun");
    drop(connection);
    let told = f.recorder.events();
    let reset = "reset, rolled back".to_owned();
    let wanted = [
        "`BEGIN IMMEDIATE` wrote".to_owned(),
        "returned".to_owned(),
        ended("returned"),
        reset,
    ];
    assert_eq!(told, wanted);
    let connection = f.get().await;
    let transaction = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    drop(transaction);
    assert_eq!(
        f.statements(),
        ["`BEGIN IMMEDIATE` wrote".to_owned(), ended("dropped")]
    );

    // SQLite refuses to commit it.
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
    let told = f.statements();
    let commit = "`COMMIT` Failed(ConstraintForeignKey)";
    assert_eq!(told[2..], [ended("engine"), commit.to_owned()]);
    drop(connection);

    // A hostile guest: its statement does not end, in a transaction.
    let hostile = f
        .get_granted(|grant| grant.max_statement_time(Duration::from_millis(20)))
        .await;
    let transaction = hostile
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    f.recorder.take();
    let stopped = hostile.execute(FOREVER, &NONE).await;
    assert_eq!(kind(stopped), ErrorKind::DeadlineExceeded);
    let stale = hostile.execute("SELECT 1", &NONE).await;
    assert_eq!(kind(stale), ErrorKind::StaleHandle);
    let wanted = [
        ended("deadline"),
        format!("`{FOREVER}` wrote Failed(DeadlineExceeded)"),
        "`SELECT 1` Failed(StaleHandle)".to_owned(),
    ];
    assert_eq!(f.statements(), wanted);
    drop((transaction, hostile));

    // It holds its transaction for too long, and another waits for it; or its connection.
    let slow = f
        .get_granted(|grant| grant.max_transaction_time(Duration::ZERO))
        .await;
    let transaction = slow.begin(TransactionMode::Immediate).await.expect("begun");
    let other = f.get().await;
    f.recorder.take();
    other.execute(INSERT, &one("other")).await.expect("written");
    let told = f.recorder.take();
    let of_slow: Vec<_> = told.iter().filter(|told| told.guest.is_some()).collect();
    assert_eq!(of_slow.len(), 1, "{told:?}");
    assert_eq!(of_slow[0].what, ended("transaction_time"));
    assert_eq!(kind(transaction.commit().await), ErrorKind::StaleHandle);
    drop((transaction, slow));
    assert_eq!(f.statements(), ["`COMMIT` Failed(StaleHandle)"]);
    let [first, second] = [
        f.get().await,
        f.get_granted(|grant| grant.max_hold_time(Duration::ZERO))
            .await,
    ];
    let second_begun = second.execute("BEGIN", &NONE).await;
    assert_eq!(kind(second_begun), ErrorKind::StaleHandle);
    drop((first, second));
    f.recorder.take();
    let held = f
        .get_granted(|grant| grant.max_hold_time(Duration::from_millis(50)))
        .await;
    held.execute("BEGIN", &NONE).await.expect("begun");
    let [_a, _b] = [f.get().await, f.get().await];
    let told = f.recorder.events();
    let wanted = [
        "hold_time".to_owned(),
        ended("hold_time"),
        "reset, rolled back".to_owned(),
        "got".to_owned(),
    ];
    assert!(told.ends_with(&wanted), "{told:?}");
}

#[tokio::test]
async fn checkpoints_are_told() {
    let f = fixture(PoolBuilder::new().synchronous(Synchronous::Normal)).await;
    let connection = f.get().await;
    let fill = "INSERT INTO t(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                LIMIT 1500) SELECT zeroblob(3500) || i FROM n";
    connection.execute(fill, &NONE).await.expect("written");
    let told = f.recorder.wait("checkpoint: complete");
    let checkpoint = told.iter().find(|told| told.what.starts_with("checkpoint"));
    let checkpoint = checkpoint.expect("told");
    assert!(checkpoint.guest.is_none() && checkpoint.time < Duration::from_secs(60));
    connection
        .execute(INSERT, &one("more"))
        .await
        .expect("written");
    drop(connection);
    f.recorder.take();
    f.pool.close(Duration::from_secs(1)).await;
    let told = f.recorder.events();
    assert_eq!(
        told,
        ["closed: pool_closed", "checkpoint: complete", "pool closed"]
    );
    drop(f.folder);
}

#[tokio::test]
async fn tenants_of_a_folder_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Arc::new(Recorder::default());
    let tenants = Folder::open(folder.path())
        .expect("a folder")
        .create(true)
        .pool(
            PoolBuilder::new()
                .name("tenants.db")
                .observer(recorder.clone()),
        )
        .pools(PoolsSettings::new(1))
        .expect("pools");
    for key in ["acme", "beta"] {
        let pool = tenants.get(key).await.expect("a pool");
        pool.get(Access::ReadOnly).await.expect("a connection");
        drop(pool);
        let told = recorder.take();
        let mut of_key = told
            .iter()
            .filter(|told| told.tenant.as_deref() == Some(key));
        assert!(told.iter().all(|told| told.database == "tenants.db"));
        assert!(of_key.any(|told| told.what == "pool opened"), "{told:?}");
        if key == "beta" {
            // To make room.
            let closed: Vec<_> = told.iter().take(2).map(|told| &*told.what).collect();
            assert_eq!(closed, ["closed: pool_closed", "pool closed"]);
            assert_eq!(told[1].tenant.as_deref(), Some("acme"));
        }
    }
    tenants.close(Duration::ZERO).await;
    assert_eq!(recorder.events(), ["closed: pool_closed", "pool closed"]);
}

/// Statements on their connection's own thread, of which SQLite might not stop some in time.
#[test]
fn a_statement_on_its_own_thread_is_told_once() {
    block_on(async {
        let f = fixture(PoolBuilder::new().max_value_bytes(8 << 20)).await;
        let connection = f.get_granted(|grant| grant).await;
        f.recorder.take();
        let long = "SELECT length(replace(hex(zeroblob(3000000)), '00', 'ab'))";
        connection.query(long, &NONE).await.expect("a row");
        assert_eq!(f.statements(), [format!("`{long}` 1 rows")]);
    });
}
