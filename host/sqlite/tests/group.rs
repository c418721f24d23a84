//! Statements that wait for their turn at the same time are committed together, without a visible
//! difference.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Summary, TableGrant,
    Transaction, TransactionMode, Value, ValueRef, block_on,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

const SCHEMA: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE secret(a, b);
    INSERT INTO t VALUES (1, 'taken');
    INSERT INTO secret VALUES ('shown', 'hidden');
";

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(8)
        .busy_timeout(Duration::from_millis(1))
        .open(folder.path().join("app.db"));
    let f = Fixture {
        folder,
        pool: pool.expect("a pool"),
    };
    f.get().await.execute_script(SCHEMA).await.expect("tables");
    f
}

impl Fixture {
    async fn get(&self) -> Connection {
        self.pool
            .get(Access::ReadWrite)
            .await
            .expect("a connection")
    }

    async fn get_granted(&self, change: impl FnOnce(Grant) -> Grant) -> Connection {
        let grant = change(Grant::new(&self.pool, Access::ReadWrite));
        let connection = grant.get(Access::ReadWrite, &Request::new()).await;
        connection.expect("a connection")
    }

    /// A connection that holds the turn, for others to wait for.
    async fn hold(&self) -> (Connection, Transaction) {
        let connection = self.get().await;
        let transaction = connection.begin(TransactionMode::Immediate).await;
        (connection, transaction.expect("a transaction"))
    }

    /// The column `a` of every row of `t` but the first, in order.
    async fn rows(&self) -> Vec<Value> {
        let connection = self.pool.get(Access::ReadOnly).await.expect("a connection");
        let sql = "SELECT a FROM t WHERE id > 1 ORDER BY id";
        let table = connection.query(sql, &NONE).await.expect("rows");
        table.rows.to_vec().into_iter().flatten().collect()
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The outcome of a wait that should be over.
#[track_caller]
fn ready<F: Future>(future: std::pin::Pin<&mut F>) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn one(value: Value) -> Parameters {
    Parameters::from([value])
}

const INSERT: &str = "INSERT INTO t(a) VALUES (?1)";

#[tokio::test]
async fn statements_that_wait_together_are_committed_together() {
    let f = fixture().await;
    let [a, b, c, d] = [f.get().await, f.get().await, f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let statement = d
        .prepare("INSERT INTO t(a) VALUES (:a) RETURNING id, a")
        .await
        .expect("a statement");
    let parameters = [one(text("a")), one(text("b")), one(text("c"))];
    let named = Parameters::named([("a", "d")]);
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(INSERT, &parameters[1]));
    let mut third = pin!(c.query("INSERT INTO t(a) VALUES (?1) RETURNING a", &parameters[2]));
    let mut fourth = pin!(statement.query(&named, 0, false));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    assert!(poll(fourth.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");

    // Only the first is polled, and yet the others' rows are there.
    let summary = ready(first.as_mut()).expect("a row");
    assert_eq!((summary.changes, summary.last_insert_rowid), (1, 2));
    assert_eq!(f.rows().await, [text("a"), text("b"), text("c"), text("d")]);

    let summary = ready(second.as_mut()).expect("a row");
    assert_eq!((summary.changes, summary.last_insert_rowid), (1, 3));
    let table = ready(third.as_mut()).expect("a row");
    assert_eq!(
        (table.columns[0].name.as_str(), table.rows.values().next()),
        ("a", Some(ValueRef::Text("c")))
    );
    let page = ready(fourth.as_mut()).expect("a row");
    assert_eq!(page.rows, [[Value::Integer(5), text("d")]]);
    assert!(page.rest.is_none());

    // Each connection knows its own row, and no other's.
    for (connection, rowid) in [(&a, 2), (&b, 3), (&c, 4), (&d, 5)] {
        let sql = "SELECT last_insert_rowid()";
        let table = connection.query(sql, &NONE).await.expect("a number");
        assert_eq!(table.rows.to_vec()[0][0], Value::Integer(rowid));
    }
}

#[tokio::test]
async fn a_statement_whose_connection_was_taken_back_may_have_been_committed() {
    let f = fixture().await;
    let leader = f.get().await;
    let brief = |grant: Grant| grant.max_hold_time(Duration::from_millis(500));
    let (own, other) = (f.get_granted(brief).await, f.get_granted(brief).await);
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("b")), one(text("c"))];
    let mut first = pin!(leader.execute(INSERT, &parameters[0]));
    let mut second = pin!(own.execute(INSERT, &parameters[1]));
    let mut third = pin!(other.execute(INSERT, &parameters[2]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first.as_mut()).expect("a row");
    let (_holder, transaction) = f.hold().await;
    assert!(poll(third.as_mut()).is_pending());
    // The pool ends both connections: one whose statement has been committed, and one whose has
    // not.
    f.pool.close(Duration::ZERO).await;
    let kind = |result: millpond_pool::Result<Summary>| result.expect_err("ended").kind();
    assert_eq!(kind(ready(second.as_mut())), ErrorKind::OutcomeUnknown);
    assert_eq!(kind(ready(third.as_mut())), ErrorKind::StaleHandle);
    drop(transaction);
    let path = f.folder.path().join("app.db");
    let native = rusqlite::Connection::open(path).expect("the file");
    let sql = "SELECT group_concat(a ORDER BY id) FROM t WHERE id > 1";
    assert_eq!(
        native.query_row(sql, [], |row| row.get(0)),
        Ok("a,b".to_owned())
    );
}

#[tokio::test]
async fn waiting_does_not_count_as_a_statements_time() {
    let f = fixture().await;
    let leader = f.get().await;
    let limit = Duration::from_millis(50);
    let brief = f.get_granted(|grant| grant.max_statement_time(limit)).await;
    let (_holder, transaction) = f.hold().await;
    let sql =
        "INSERT INTO t(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)
               SELECT i FROM n";
    let parameters = one(text("a"));
    let mut first = pin!(leader.execute(INSERT, &parameters));
    let mut second = pin!(brief.execute(sql, &NONE));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    tokio::time::sleep(limit).await;
    transaction.commit().await.expect("a commit");
    ready(first.as_mut()).expect("a row");
    assert_eq!(ready(second.as_mut()).expect("rows").changes, 100);
    let stats = f.pool.stats();
    assert_eq!((stats.groups, stats.grouped_statements), (1, 2));
}

#[tokio::test]
async fn a_statement_sees_its_own_last_rowid_wherever_it_runs() {
    let f = fixture().await;
    let [a, b] = [f.get().await, f.get().await];
    a.execute("INSERT INTO t VALUES (100, 'a')", &NONE)
        .await
        .expect("a row");
    b.execute("INSERT INTO t VALUES (200, 'b')", &NONE)
        .await
        .expect("a row");
    let (_holder, transaction) = f.hold().await;
    let sql = "INSERT INTO t(a) VALUES (last_insert_rowid())";
    let mut first = pin!(a.execute(sql, &NONE));
    let mut second = pin!(b.execute(sql, &NONE));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    let rows = f.rows().await;
    assert_eq!(rows[2..], [Value::Integer(100), Value::Integer(200)]);
    ready(second).expect("a row");
}

#[tokio::test]
async fn a_failing_statement_fails_alone() {
    for (sql, kind) in [
        (INSERT, ErrorKind::ConstraintUnique),
        (
            "INSERT OR ROLLBACK INTO t(a) VALUES (?1)",
            ErrorKind::ConstraintUnique,
        ),
        (
            "INSERT OR FAIL INTO t(a) VALUES (hex(randomblob(8))), (?1)",
            ErrorKind::ConstraintUnique,
        ),
        (
            "INSERT INTO child VALUES (?1)",
            ErrorKind::ConstraintForeignKey,
        ),
    ] {
        let f = fixture().await;
        let [a, b, c] = [f.get().await, f.get().await, f.get().await];
        let (_holder, transaction) = f.hold().await;
        let parameters = [one(text("a")), one(text("taken")), one(text("c"))];
        let mut first = pin!(a.execute(INSERT, &parameters[0]));
        let mut second = pin!(b.execute(sql, &parameters[1]));
        let mut third = pin!(c.execute(INSERT, &parameters[2]));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        transaction.commit().await.expect("a commit");

        ready(first.as_mut()).expect("a row");
        assert!(
            poll(third.as_mut()).is_pending(),
            "it has overtaken another: {sql}"
        );
        let error = ready(second.as_mut()).expect_err("a conflict");
        assert_eq!((error.kind(), error.rolled_back()), (kind, false), "{sql}");
        ready(third.as_mut()).expect("a row");
        let mut kept = f.rows().await;
        if sql.contains("OR FAIL") {
            // Rows before the failure stay, as when run alone.
            kept.remove(1);
        }
        assert_eq!(kept, [text("a"), text("c")], "{sql}");
        assert_eq!(
            b.query("SELECT count(*) FROM child", &NONE)
                .await
                .expect("a count")
                .rows
                .to_vec()[0][0],
            Value::Integer(0)
        );
    }
}

#[tokio::test]
async fn a_group_that_ends_before_its_commit_keeps_the_queues_order() {
    let f = fixture().await;
    let [a, b, c, d] = [f.get().await, f.get().await, f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = ["a", "b", "c", "taken"].map(|value| one(text(value)));
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(INSERT, &parameters[1]));
    let mut third = pin!(c.execute(INSERT, &parameters[2]));
    let ending = "INSERT OR ROLLBACK INTO t(a) VALUES (?1)";
    let mut fourth = pin!(d.execute(ending, &parameters[3]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    assert!(poll(fourth.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    assert_eq!(f.rows().await, [text("a")]);
    assert!(poll(fourth.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    ready(second).expect("a row");
    ready(third).expect("a row");
    ready(fourth).expect_err("a conflict");
    assert_eq!(f.rows().await, [text("a"), text("b"), text("c")]);
}

#[tokio::test]
async fn a_failing_statement_of_the_leader_harms_no_other() {
    let f = fixture().await;
    let [a, b] = [f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("taken")), one(text("b"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    let error = ready(first).expect_err("a conflict");
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::ConstraintUnique, false)
    );
    assert!(!a.in_transaction());
    ready(second).expect("a row");
    assert_eq!(f.rows().await, [text("b")]);
}

#[tokio::test]
async fn a_slow_statement_runs_alone() {
    const SLOW: &str = "INSERT INTO t(a) WITH RECURSIVE n(i) AS
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n";
    let f = fixture().await;
    let [a, b, c] = [f.get().await, f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("c"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(SLOW, &NONE));
    let mut third = pin!(c.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    assert_eq!(f.rows().await, [text("a")], "the slow one was waited for");
    ready(second).expect("a row");
    ready(third).expect("a row");
    assert_eq!(
        f.rows().await,
        [text("a"), Value::Integer(1_000_000), text("c")]
    );
}

#[tokio::test]
async fn a_statement_runs_under_its_own_grant() {
    let f = fixture().await;
    let narrow = |grant: Grant| {
        grant
            .table("secret", TableGrant::new().read().hide("b"))
            .table("t", TableGrant::new().read().insert())
    };
    let (a, b, c) = (
        f.get_granted(narrow).await,
        f.get().await,
        f.get_granted(narrow).await,
    );
    const COPY: &str = "INSERT INTO t(a) SELECT b FROM secret";
    let parameters = [one(text("a")), one(text("c"))];
    let (_holder, transaction) = f.hold().await;
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(COPY, &NONE));
    let mut third = pin!(c.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    assert_eq!(
        f.rows().await,
        [text("a"), text("hidden"), text("c")],
        "one group"
    );
    ready(second).expect("a row");
    ready(third).expect("a row");
    // The first's connection has it cached.
    let error = a.execute(COPY, &NONE).await.expect_err("a hidden column");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
}

#[tokio::test]
async fn a_statement_with_connection_state_runs_on_its_own_connection() {
    let f = fixture().await;
    let a = f.get().await;
    let b = f.get_granted(|grant| grant.temporary(true)).await;
    b.execute_script("CREATE TEMP TABLE t(a)")
        .await
        .expect("a temporary table");
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("b"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    let second = poll(second.as_mut());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    drop(second);
    let own = b.query("SELECT a FROM temp.t", &NONE).await.expect("rows");
    assert!(own.rows.len() <= 1);
    assert_eq!(f.rows().await, [text("a")]);
}

#[tokio::test]
async fn each_gets_busy_when_another_process_has_the_database() {
    let f = fixture().await;
    let [a, b] = [f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("b"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    let other = rusqlite::Connection::open(f.folder.path().join("app.db")).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let error = ready(first).expect_err("the lock is held");
    assert_eq!(error.kind(), ErrorKind::Busy);
    let error = ready(second).expect_err("the lock is held");
    assert_eq!(error.kind(), ErrorKind::Busy);
    other.execute_batch("ROLLBACK").expect("no lock");
    a.execute(INSERT, &parameters[0]).await.expect("a row");
    assert_eq!(f.rows().await, [text("a")]);
}

#[tokio::test]
async fn leaving_the_queue_writes_nothing() {
    let f = fixture().await;
    let [a, b, c] = [f.get().await, f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("b")), one(text("c"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut third = pin!(c.execute(INSERT, &parameters[2]));
    assert!(poll(first.as_mut()).is_pending());
    {
        let mut second = pin!(b.execute(INSERT, &parameters[1]));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
    }
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    assert_eq!(f.rows().await, [text("a"), text("c")]);
    ready(third).expect("a row");
}

#[tokio::test]
async fn beginning_a_transaction_is_not_overtaken() {
    let f = fixture().await;
    let [a, b, c] = [f.get().await, f.get().await, f.get().await];
    let (_holder, transaction) = f.hold().await;
    let parameters = [one(text("a")), one(text("c"))];
    let mut first = pin!(a.execute(INSERT, &parameters[0]));
    let mut second = pin!(b.begin(TransactionMode::Immediate));
    let mut third = pin!(c.execute(INSERT, &parameters[1]));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    transaction.commit().await.expect("a commit");
    ready(first).expect("a row");
    assert_eq!(f.rows().await, [text("a")]);
    assert!(poll(third.as_mut()).is_pending());
    ready(second.as_mut())
        .expect("its turn")
        .commit()
        .await
        .expect("a commit");
    ready(third).expect("a row");
}

/// In any interleaving, every acknowledged write is there once, and every error is the caller's
/// own.
#[test]
fn many_writers_at_once_get_correct_results() {
    const THREADS: i64 = 8;
    const EACH: i64 = 150;
    let f = Arc::new(block_on(fixture()));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let f = Arc::clone(&f);
            std::thread::spawn(move || {
                let connection = f
                    .pool
                    .get_blocking(Access::ReadWrite)
                    .expect("a connection");
                for number in 0..EACH {
                    let value = one(Value::Integer(thread * 1_000_000 + number));
                    let inserted = block_on(connection.execute(INSERT, &value));
                    let Summary {
                        changes,
                        last_insert_rowid,
                    } = inserted.expect("a row");
                    assert_eq!(changes, 1);
                    let told = "SELECT changes(), total_changes(), last_insert_rowid()";
                    let told = block_on(connection.query(told, &NONE)).expect("a row");
                    let expected = [1, number + 1, last_insert_rowid].map(Value::Integer);
                    assert_eq!(told.rows, [expected]);
                    let own = one(Value::Integer(last_insert_rowid));
                    let sql = "SELECT a FROM t WHERE id = ?1";
                    let found = block_on(connection.query(sql, &own)).expect("its row");
                    assert_eq!(
                        found.rows.to_vec()[0][0],
                        Value::Integer(thread * 1_000_000 + number)
                    );
                    if number % 5 == 0 {
                        let verb = ["INSERT", "INSERT OR ROLLBACK", "INSERT OR FAIL"];
                        let verb = verb[(number / 5 % 3) as usize];
                        let again = format!("{verb} INTO t(a) VALUES (?1)");
                        let error = block_on(connection.execute(&again, &value));
                        assert_eq!(
                            error.expect_err("there already").kind(),
                            ErrorKind::ConstraintUnique
                        );
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(block_on(f.rows()).len() as i64, THREADS * EACH);
    let stats = f.pool.stats();
    assert_eq!((stats.in_use, stats.writers_waiting), (0, 0));
    assert!(stats.groups > 0, "{stats:?}");
    assert!(stats.grouped_statements >= 2 * stats.groups, "{stats:?}");
    assert!(
        stats.grouped_statements as i64 <= THREADS * EACH,
        "{stats:?}"
    );
}

#[tokio::test]
async fn a_full_text_table_is_written_with_the_rights_of_each_borrower() {
    let f = fixture().await;
    let create = "CREATE VIRTUAL TABLE s USING fts5(x)";
    f.get().await.execute_script(create).await.expect("a table");
    let table = || TableGrant::new().read().insert();
    let text_only = |grant: Grant| grant.table("s", table().shadow_tables());
    let rows_only = |grant: Grant| grant.table("t", table());
    let (all, own) = (f.get().await, f.get_granted(text_only).await);
    let (other, last) = (
        f.get_granted(rows_only).await,
        f.get_granted(text_only).await,
    );
    for _ in 0..2 {
        let (_holder, transaction) = f.hold().await;
        let insert = "INSERT INTO s VALUES ('one')";
        let mut first = pin!(all.execute(insert, &NONE));
        let mut second = pin!(own.execute(insert, &NONE));
        let mut third = pin!(other.execute("INSERT INTO t(a) VALUES (NULL)", &NONE));
        let mut fourth = pin!(last.execute(insert, &NONE));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(fourth.as_mut()).is_pending());
        transaction.commit().await.expect("a commit");
        ready(first.as_mut()).expect("the leader's row");
        let results = tokio::join!(second, third, fourth);
        for result in [results.0, results.1, results.2] {
            assert_eq!(result.expect("a row").changes, 1);
        }
    }
    let check = "INSERT INTO s(s) VALUES ('integrity-check')";
    all.execute(check, &NONE).await.expect("it is sound");
    let count = "SELECT count(*) FROM s WHERE s MATCH 'one'";
    let count = all.query(count, &NONE).await.expect("a number");
    assert_eq!(count.rows.to_vec(), [[Value::Integer(6)]]);
}
