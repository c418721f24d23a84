//! Statements that SQLite might not stop in time run on the connection's own thread, with the same
//! result, and their caller can abandon them.

mod recompiled;

use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Rows, TransactionMode, Value,
    block_on,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    folder: tempfile::TempDir,
    pool: Pool,
}

impl Fixture {
    fn new(max_size: u32) -> Fixture {
        Fixture::with(PoolBuilder::new().max_size(max_size))
    }

    fn with(builder: PoolBuilder) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        // An abandoned statement takes seconds, and more on a busy machine.
        let pool = builder.timeout(Duration::from_secs(60)).open(path);
        Fixture {
            folder,
            pool: pool.expect("a pool"),
        }
    }

    fn get(&self) -> Connection {
        self.get_for(&Request::new())
    }

    fn get_for(&self, request: &Request) -> Connection {
        let grant = Grant::new(&self.pool, Access::ReadWrite)
            .temporary(true)
            .max_statement_time(Duration::from_secs(600));
        block_on(grant.get(Access::ReadWrite, request)).expect("a connection")
    }

    /// The same database, as SQLite itself sees it.
    fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("app.db")).expect("a connection")
    }
}

fn run(connection: &Connection, sql: &str) {
    block_on(connection.execute_script(sql)).expect(sql);
}

fn rows(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    block_on(connection.query(sql, &NONE))
        .expect(sql)
        .rows
        .to_vec()
}

fn number(connection: &Connection, sql: &str) -> i64 {
    match rows(connection, sql)[..] {
        [ref row] => match row[..] {
            [Value::Integer(number)] => number,
            _ => panic!("{row:?}"),
        },
        _ => panic!("not one row"),
    }
}

/// A statement that takes SQLite seconds to compile, without any check of the deadline.
fn unstoppable(connection: &Connection) -> String {
    let columns = |table: usize| {
        let columns: Vec<_> = (0..999)
            .map(|column| format!("d{table}_{column}"))
            .collect();
        columns.join(",")
    };
    let tables: Vec<_> = (0..60).map(|at| format!("j{at}")).collect();
    let script: Vec<_> = (0..60)
        .map(|at| format!("CREATE TABLE IF NOT EXISTS j{at}({});", columns(at)))
        .collect();
    run(connection, &script.concat());
    format!("SELECT 1 FROM {}", tables.join(" NATURAL JOIN "))
}

/// Wait until nothing is in use.
fn settle(pool: &Pool) {
    let since = Instant::now();
    while pool.stats().in_use > 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "still in use");
        std::thread::yield_now();
    }
}

#[test]
fn a_caller_continues_without_a_call_that_does_not_end() {
    let f = Fixture::new(2);
    let connection = f.get();
    let sql = unstoppable(&connection);
    run(&connection, "CREATE TABLE t(a)");
    let prepared = block_on(connection.prepare("SELECT 1")).expect("a statement");
    let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
    run(&connection, "INSERT INTO t VALUES (1)");

    connection.set_deadline(Some(Instant::now()));
    let error = block_on(connection.query(&sql, &NONE)).expect_err("it takes seconds");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(error.rolled_back());
    // It still runs, and keeps its place. There is another connection for others.
    let stats = f.pool.stats();
    assert_eq!((stats.abandoned, stats.in_use), (1, 1));
    let other = f.get();
    assert_eq!(number(&other, "SELECT count(*) FROM t"), 0);

    // The borrower cannot use the connection any more.
    let error = block_on(connection.query("SELECT 1", &NONE)).expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    let error = block_on(prepared.execute(&NONE)).expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::StaleHandle);
    assert_eq!(
        block_on(transaction.commit()).expect_err("stale").kind(),
        ErrorKind::StaleHandle
    );
    assert!(!connection.in_transaction());
    drop((prepared, connection));

    // The turn to write is free again once SQLite is done.
    block_on(other.execute("INSERT INTO t VALUES (2)", &NONE)).expect("a row");
    assert_eq!(number(&other, "SELECT sum(a) FROM t"), 2);
    drop(other);
    settle(&f.pool);
    let stats = f.pool.stats();
    assert_eq!((stats.abandoned, stats.discarded, stats.in_use), (1, 0, 0));
    assert_eq!(
        stats.connections_created - stats.connections_closed,
        u64::from(stats.idle)
    );
}

#[test]
fn an_interrupted_request_continues_without_it_too() {
    let f = Fixture::new(1);
    let request = Request::new();
    let connection = f.get_for(&request);
    let sql = unstoppable(&connection);
    let (sender, receiver) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || {
        sender.send(()).expect("it is waited for");
        block_on(connection.query(&sql, &NONE)).map(|table| table.rows)
    });
    receiver.recv().expect("it runs");
    request.interrupt();
    let error = waits.join().expect("no panic").expect_err("interrupted");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    settle(&f.pool);
}

#[test]
fn closing_a_pool_does_not_wait_for_abandoned_calls() {
    let f = Fixture::new(2);
    let connection = f.get();
    let sql = unstoppable(&connection);
    let waits =
        std::thread::spawn(move || block_on(connection.query(&sql, &NONE)).map(|table| table.rows));
    while f.pool.stats().in_use == 0 {
        std::thread::yield_now();
    }
    f.pool.close_blocking(Duration::ZERO);
    let error = waits
        .join()
        .expect("no panic")
        .expect_err("the pool is closed");
    let kinds = [
        ErrorKind::PoolClosed,
        ErrorKind::DeadlineExceeded,
        ErrorKind::StaleHandle,
    ];
    assert!(kinds.contains(&error.kind()), "{error}");
    settle(&f.pool);
    let stats = f.pool.stats();
    assert_eq!(stats.connections_created, stats.connections_closed);
}

/// A commit of full-text search writes the index: SQLite checks nothing until that is sorted.
#[test]
fn an_abandoned_call_never_commits() {
    let f = Fixture::new(1);
    let setup = "CREATE VIRTUAL TABLE g USING fts5(x);
         INSERT INTO g(g, rank) VALUES ('hashsize', 60000000);
         CREATE TABLE s(x);
         WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10),
         d(y) AS (SELECT 1 UNION ALL SELECT y + 1 FROM d LIMIT 20000)
         INSERT INTO s SELECT group_concat(printf('%x', (x * 20000 + y) * 7919 % 1000003), ' ')
         FROM c, d GROUP BY x";
    run(&f.get(), setup);
    for whole in [false, true] {
        let connection = f.get();
        if !whole {
            run(&connection, "BEGIN; INSERT INTO g SELECT x FROM s");
            connection.set_deadline(Some(Instant::now() + Duration::from_millis(5)));
        }
        let sql = if whole {
            "INSERT INTO g SELECT x FROM s"
        } else {
            "COMMIT"
        };
        let result = block_on(connection.execute(sql, &NONE));
        let kept = match &result {
            Ok(_) => 10,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
                // On a busy machine its time was over before it began.
                if !error.rolled_back() {
                    connection.set_deadline(None);
                    run(&connection, "ROLLBACK");
                }
                0
            }
        };
        drop(connection);
        settle(&f.pool);
        let connection = f.get();
        assert_eq!(number(&connection, "SELECT count(*) FROM g"), kept);
        run(&connection, "INSERT INTO g(g) VALUES ('integrity-check')");
        run(&connection, "DELETE FROM g");
    }
}

/// Resetting a cursor that writes commits what it has written, unless that was told to be undone.
#[test]
fn an_open_cursor_of_a_write_is_undone_with_an_abandoned_call() {
    // Of four connections, two may be abandoned; the third waits, and gives up.
    for (size, others) in [(2, 0), (4, 2)] {
        let f = Fixture::new(size);
        let connection = f.get();
        let sql = unstoppable(&connection);
        run(&connection, "CREATE TABLE t(a)");
        let insert = block_on(connection.prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a"));
        let insert = insert.expect("a statement");
        let others: Vec<_> = (0..others).map(|_| f.get()).collect();
        let page = block_on(insert.query(&NONE, 1, false)).expect("a row");
        let abandon = |connection: &Connection| {
            connection.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
            let error = block_on(connection.query(&sql, &NONE)).expect_err("unstoppable");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
            error.rolled_back()
        };
        for other in &others {
            assert!(!abandon(other));
        }
        assert!(abandon(&connection));
        drop((page, insert, connection, others));
        settle(&f.pool);
        assert_eq!(number(&f.get(), "SELECT count(*) FROM t"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_whose_future_is_dropped_does_not_continue() {
    let f = Fixture::new(2);
    let grant = Grant::new(&f.pool, Access::ReadWrite).max_statement_time(Duration::from_secs(600));
    let get = async || grant.get(Access::ReadWrite, &Request::new()).await;
    let setup = get().await.expect("a connection");
    setup
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("a table");
    drop(setup);
    // It runs on the connection's own thread, because of its length.
    const STATEMENTS: i64 = 30_000;
    let script = "INSERT INTO t VALUES (1);".repeat(STATEMENTS as usize);
    let connection = get().await.expect("a connection");
    let given_up = tokio::time::timeout(
        Duration::from_millis(40),
        connection.execute_script(&script),
    );
    assert!(given_up.await.is_err());
    let result = connection.execute("SELECT 1", &NONE).await;
    assert_eq!(result.expect_err("closed").kind(), ErrorKind::StaleHandle);
    drop(connection);
    tokio::task::spawn_blocking(move || {
        settle(&f.pool);
        let kept = number(&f.get(), "SELECT count(*) FROM t");
        assert!(kept < STATEMENTS, "{kept}");
        assert_eq!(number(&f.get(), "SELECT count(*) FROM t"), kept);
    })
    .await
    .expect("no panic");
}

#[test]
fn running_aside_gives_the_same_result() {
    let f = Fixture::new(2);
    let connection = f.get();
    let sentence = "ten words are more than a search may have here, or aside ";
    run(
        &connection,
        &format!(
            "CREATE VIRTUAL TABLE g USING fts5(x);
             CREATE TABLE n(i INTEGER PRIMARY KEY, a, b);
             WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 150000)
             INSERT INTO n SELECT i, i * 7 % 1000, i * 11 % 1000 FROM c;
             CREATE INDEX n_a ON n(a); CREATE INDEX n_b ON n(b);
             CREATE TABLE d(id INTEGER PRIMARY KEY, j);
             INSERT INTO d VALUES (1, '[' || replace(hex(zeroblob(150000)), '0', '1,') || '1]'),
                 (2, '{{\"a\": 1}}'), (3, NULL);
             CREATE TRIGGER t AFTER DELETE ON n BEGIN SELECT 1; END;
             INSERT INTO g VALUES ('{sentence}'), ('{sentence} {sentence}'), ('short');"
        ),
    );
    let paths = ["'$[#-1]'"; 12].join(", ");
    let long: Vec<_> = (0..3_000).map(|at| format!("i = {at}")).collect();
    let values: Vec<_> = (0..400).map(|at| format!("({at})")).collect();
    let queries = [
        format!("SELECT rowid, x FROM g WHERE g MATCH '\"{}\"'", sentence.replace(',', "").trim()),
        "SELECT rowid FROM g WHERE g MATCH 'a AND aside AND may AND have AND more AND than AND words AND are AND ten'".to_owned(),
        "SELECT count(*), sum(i) FROM n WHERE a >= 0 OR b >= 0".to_owned(),
        "SELECT i FROM n WHERE a > 990 OR b = 3 ORDER BY i LIMIT 5000".to_owned(),
        format!("SELECT id, json_extract(j, {paths}) FROM d ORDER BY id"),
        "SELECT id, length(j), j ->> 0 FROM d ORDER BY id".to_owned(),
        format!("SELECT count(*) FROM n WHERE i IN ({})", long.join(",").replace("i = ", "")),
        format!("SELECT sum(column1) FROM (VALUES {})", values.join(",")),
        "SELECT strftime('%Y', '2026-01-02'), strftime(replace(hex(zeroblob(220000)), '00', '%Y'), 'now') IS NULL".to_owned(),
    ];
    let sqlite = f.sqlite();
    for sql in &queries {
        let mut statement = sqlite.prepare(sql).expect(sql);
        let width = statement.column_count();
        let expected: Vec<Vec<Value>> = statement
            .query_map([], |row| {
                (0..width)
                    .map(|column| {
                        Ok(match row.get::<_, rusqlite::types::Value>(column)? {
                            rusqlite::types::Value::Null => Value::Null,
                            rusqlite::types::Value::Integer(value) => Value::Integer(value),
                            rusqlite::types::Value::Real(value) => Value::Real(value),
                            rusqlite::types::Value::Text(value) => Value::Text(value),
                            rusqlite::types::Value::Blob(value) => Value::Blob(value),
                        })
                    })
                    .collect()
            })
            .and_then(Iterator::collect)
            .expect(sql);
        let shown = &sql[..sql.len().min(60)];
        assert!(expected == rows(&connection, sql), "{shown}");
        // Again, already compiled; and page by page.
        assert!(expected == rows(&connection, sql), "{shown}");
        let statement = block_on(connection.prepare(sql)).expect("a statement");
        let mut page = block_on(statement.query(&NONE, 1, false)).expect("a page");
        let mut read = page.rows.values().count();
        while let Some(rest) = page.rest.take() {
            let next = block_on(rest.next(700)).expect("a page");
            read += next.values().count();
            if !next.is_empty() {
                page.rest = Some(rest);
            }
        }
        assert_eq!(read, expected.len() * width, "{shown}");
    }

    // Writes, outside and inside a transaction.
    let words = "word ".repeat(30_000);
    let insert = block_on(connection.prepare("INSERT INTO g VALUES (?1) RETURNING rowid"))
        .expect("a statement");
    let text = Parameters::from([Value::Text(words)]);
    block_on(insert.execute(&text)).expect("a long document");
    let transaction = block_on(connection.begin(TransactionMode::Deferred)).expect("begun");
    block_on(insert.query(&text, 0, false)).expect("another");
    run(
        &connection,
        "INSERT INTO n VALUES (200000, 1, 1); PRAGMA user_version",
    );
    assert!(connection.in_transaction());
    block_on(transaction.commit()).expect("committed");
    let few = number(&connection, "SELECT count(*) FROM n WHERE a < 50");
    let done = block_on(connection.execute("DELETE FROM n WHERE a < 50", &NONE)).expect("deleted");
    assert_eq!(
        (done.changes as i64, done.last_insert_rowid),
        (few, 200_000)
    );
    let found = "SELECT count(*) FROM g WHERE g MATCH 'word'";
    assert_eq!(number(&connection, found), 2);
    assert_eq!(sqlite.query_row(found, [], |row| row.get(0)), Ok(2));
    assert_eq!(f.pool.stats().abandoned, 0);
}

/// Whether a call does not end on the caller's thread.
fn waits(call: impl Future) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    block_on(async { pin!(call).poll(&mut context).is_pending() })
}

/// SQLite takes quadratic time to name many parameters, as to describe or to bind them.
#[test]
fn many_parameters_are_named_aside() {
    let f = Fixture::new(3);
    let many: Vec<_> = (0..800).map(|name| format!("{name:x}")).collect();
    for (names, waiting) in [(&many[..10], false), (&many[..], true)] {
        let sql = format!("SELECT 1 WHERE 0 AND 1 IN (:{})", names.join(",:"));
        assert!(sql.len() < 4_096, "a longer text would be compiled aside");
        let values = Parameters::named(names.iter().map(|name| (&**name, Value::Null)));
        // A call that is dropped closes its connection.
        let connections = [f.get(), f.get(), f.get()];
        let prepare = |on: &Connection| block_on(on.prepare(&sql)).expect("a statement");
        let [first, second, third] = connections.each_ref().map(prepare);
        assert_eq!(waits(first.describe()), waiting);
        assert_eq!(waits(second.query(&values, 1, true)), waiting);
        let described = block_on(third.describe()).expect("described");
        assert!(described.parameter_names.iter().flatten().eq(names));
        let page = block_on(third.query(&values, 1, true)).expect("a page");
        assert_eq!(page.rows.len(), 0);
    }
}

/// SQLite compiles a statement again if another connection has changed the schema, perhaps to a
/// different program.
#[test]
fn a_statement_runs_after_the_schema_changed_under_it() {
    let f = Fixture::new(2);
    let (connection, other) = (f.get(), f.get());
    run(&connection, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    let select = block_on(connection.prepare("SELECT * FROM t")).expect("a statement");
    let insert = block_on(connection.prepare("INSERT INTO t(a) VALUES (?1)")).expect("a statement");
    let one = Parameters::from([Value::Integer(7)]);
    for round in 1..4_i64 {
        assert_eq!(
            rows(&connection, "SELECT count(*) FROM t"),
            [[Value::Integer(2 * round - 1)]]
        );
        run(&other, &format!("ALTER TABLE t ADD COLUMN b{round}"));
        let page = block_on(select.query(&NONE, 0, false)).expect("rows");
        let values = (2 * round - 1) * (round + 1);
        assert_eq!(page.rows.values().count() as i64, values);
        run(&other, &format!("CREATE INDEX i{round} ON t(b{round})"));
        block_on(insert.execute(&one)).expect("a row");
        run(&other, &format!("CREATE INDEX k{round} ON t(b{round})"));
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
        let row = Rows::from_rows([[8]]).expect("a row");
        block_on(insert.execute_many(&row)).expect("a row");
        block_on(transaction.commit()).expect("committed");
    }
}

/// SQLite then undoes the write, although it is outside of a transaction, and its cursor would go
/// on to its end.
#[test]
fn a_read_that_runs_out_of_memory_beside_a_write_is_told() {
    let f = Fixture::with(PoolBuilder::new().max_memory_bytes(8 << 20));
    let connection = f.get();
    run(&connection, "CREATE TABLE t (a, b); CREATE TABLE s (x)");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)
        INSERT INTO s SELECT i FROM n";
    run(&connection, fill);
    let write = "INSERT INTO t SELECT x, 1 FROM s RETURNING a";
    let write = block_on(connection.prepare(write)).expect("a statement");
    let page = block_on(write.query(&NONE, 1, false)).expect("a page");
    let rest = page.rest.expect("more rows");
    let large = vec!["hex(zeroblob(400000))"; 30].join(", ");
    let read = format!("SELECT {large} FROM s LIMIT 1");
    let error = block_on(connection.query(&read, &NONE)).map(drop);
    let error = error.expect_err("too large");
    assert_eq!(
        (error.kind(), error.rolled_back()),
        (ErrorKind::QuotaExceeded, true)
    );
    let next = block_on(rest.next(0)).map(drop).expect_err("undone");
    assert_eq!(next.kind(), ErrorKind::StaleHandle);
    assert_eq!(number(&connection, "SELECT count(*) FROM t"), 0);
    run(&connection, "INSERT INTO t VALUES (1, 2)");
    assert_eq!(
        f.sqlite()
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0)),
        Ok(1)
    );
}

/// A statement that fails half-way because it must be compiled again must leave nothing open: later
/// writes would be acknowledged in a transaction that is rolled back.
#[test]
fn writes_acknowledged_during_schema_changes_are_kept() {
    let f = Fixture::new(8);
    run(
        &f.get(),
        "CREATE TABLE n(id INTEGER PRIMARY KEY, a);
         CREATE VIRTUAL TABLE g USING fts5(a, content='n', content_rowid='id');
         CREATE TRIGGER t AFTER INSERT ON n BEGIN INSERT INTO g(rowid, a) VALUES (new.id, new.a); END",
    );
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for writer in 0..12 {
            let (f, acknowledged) = (&f, &acknowledged);
            scope.spawn(move || {
                for round in 0..10 {
                    let connection = f.get();
                    let text = format!("text {writer} {round}");
                    let sql = "INSERT INTO n(a) VALUES (?1) RETURNING id, a";
                    let text = Parameters::from([Value::Text(text)]);
                    let rows = block_on(connection.query(sql, &text)).expect("a row").rows;
                    acknowledged.lock().expect("no panic").extend(rows.to_vec());
                    if writer == 0 {
                        run(&connection, "CREATE INDEX i ON n(a)");
                        run(&connection, "DROP INDEX i");
                    }
                }
            });
        }
    });
    let mut acknowledged = acknowledged.into_inner().expect("no panic");
    acknowledged.sort_by_key(|row| match row[0] {
        Value::Integer(id) => id,
        _ => 0,
    });
    let kept = rows(&f.get(), "SELECT id, a FROM n ORDER BY id");
    assert_eq!(kept, acknowledged);
    assert_eq!(
        number(&f.get(), "SELECT count(*) FROM g WHERE g MATCH 'text'"),
        120
    );
    assert_eq!(f.pool.stats().rolled_back, 0);
}

/// If a statement fails in a transaction, SQLite may keep part of its changes: so none is tried on
/// the caller's thread first.
#[test]
fn statements_in_a_transaction_run_once() {
    let f = Fixture::new(1);
    let connection = f.get();
    let words = |count: usize| format!("replace(hex(zeroblob({count})), '00', 'word ')");
    let many = "one two three four five six seven eight nine ten";
    run(
        &connection,
        &format!(
            "CREATE VIRTUAL TABLE g USING fts5(x, y);
             INSERT INTO g VALUES ('short', 'short');
             CREATE TABLE d(id INTEGER PRIMARY KEY, n, j);
             INSERT INTO d VALUES (1, 0, '{{}}'), (2, 0, '{{}}'),
                 (3, 0, '[' || replace(hex(zeroblob(200000)), '0', '1,') || '1]');
             CREATE TABLE t(id INTEGER PRIMARY KEY, n, q, s);
             INSERT INTO t VALUES (1, 0, 'short', 0), (2, 0, 'short', 0), (3, 0, '{many}', 0)"
        ),
    );
    run(&connection, "BEGIN");
    let long = words(30_000);
    run(&connection, &format!("INSERT INTO g VALUES ({long}, 'a')"));
    run(
        &connection,
        &format!("UPDATE g SET y = {long} WHERE rowid = 1"),
    );
    run(
        &connection,
        &format!("INSERT INTO g SELECT {long}, n FROM d"),
    );
    run(&connection, "COMMIT");
    assert_eq!(number(&connection, "SELECT count(*) FROM g"), 5);
    run(&connection, "INSERT INTO g(g) VALUES ('integrity-check')");

    run(&connection, "BEGIN");
    let sets = "json_set(j, '$.a', 1, '$.b', 2, '$.c', 3, '$.d', 4, '$.e', 5)";
    run(&connection, &format!("UPDATE d SET n = n + 1, j = {sets}"));
    run(
        &connection,
        "UPDATE t SET n = n + 1, s = (SELECT count(*) FROM g WHERE g MATCH t.q)",
    );
    run(&connection, "COMMIT");
    for table in ["d", "t"] {
        let sql = format!("SELECT n FROM {table} ORDER BY id");
        assert_eq!(
            rows(&connection, &sql),
            vec![[Value::Integer(1)]; 3],
            "{table}"
        );
    }
    assert_eq!(f.pool.stats().abandoned, 0);
}

#[test]
fn a_cursor_that_restarts_keeps_its_writes() {
    let f = Fixture::new(1);
    run(&f.get(), "CREATE VIRTUAL TABLE g USING fts5(x)");
    for _ in 0..3 {
        // A connection that has not used the table yet.
        f.get().close();
        let connection = f.get();
        let insert =
            block_on(connection.prepare("INSERT INTO g VALUES ('a'), ('b') RETURNING rowid"))
                .expect("a statement");
        let page = block_on(insert.query(&NONE, 1, false)).expect("a row");
        let again = block_on(insert.query(&NONE, 1, false)).expect("a row");
        drop((page, again));
    }
    assert_eq!(number(&f.get(), "SELECT count(*) FROM g"), 12);
}

#[test]
fn a_search_that_begins_on_a_later_page_continues() {
    let f = Fixture::new(1);
    let connection = f.get();
    run(
        &connection,
        "CREATE VIRTUAL TABLE g USING fts5(x); CREATE TABLE n(a);
         INSERT INTO g VALUES ('a b c d e f h i j k'); INSERT INTO n VALUES (1), (2), (3)",
    );
    let sql = "SELECT a FROM n UNION ALL SELECT rowid FROM g WHERE g MATCH 'a b c d e f h i j k'";
    let statement = block_on(connection.prepare(sql)).expect("a statement");
    let rest = block_on(statement.query(&NONE, 1, false))
        .expect("a row")
        .rest;
    let rest = block_on(rest.expect("more rows").next(0)).expect("the rest");
    assert_eq!(rest, [2, 3, 1].map(|a| [Value::Integer(a)]));
}

#[test]
fn tables_in_a_large_schema_can_be_altered() {
    let f = Fixture::new(1);
    let connection = f.get();
    for table in 0..30 {
        run(&connection, &format!("CREATE TABLE t{table}(a, b)"));
    }
    run(&connection, "ALTER TABLE t7 RENAME TO seven");
    run(&connection, "ALTER TABLE seven RENAME COLUMN b TO c");
    run(&connection, "ALTER TABLE seven DROP COLUMN a");
    assert_eq!(
        number(&connection, "SELECT count(*) FROM seven WHERE c IS NULL"),
        0
    );
}
