//! Statements that SQLite does not stop by itself end at their deadline, and block no other task.
//!
//! To see how late each ends in optimised code, run `cargo test --release -p millpond-sqlite --test
//! deadline -- --nocapture`. `MILLPOND_LATE=name` runs only those whose name contains it.

mod attacks;
mod made_up;

use std::time::{Duration, Instant};

use bolero::check;
use millpond_pool::{
    Access, Connection, Error, ErrorKind, Grant, Parameters, Pool, Request, Result, Rows,
    TransactionMode, Value, block_on,
};
use millpond_sqlite::PoolBuilder;

use self::attacks::{Attack, attack, compiling, full_text, schemas, straight, times};
use self::made_up::Choices;

/// How long each statement may take, and how much longer it takes at most.
const TIME: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(50);

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

static NONE: Parameters = Parameters::NONE;

/// A pool of one connection, and the guest's grant.
struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
    grant: Grant,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        let pool = PoolBuilder::new().max_size(1).open(path).expect("a pool");
        Fixture {
            _folder: folder,
            grant: Grant::new(&pool, Access::ReadWrite).temporary(true),
            pool,
        }
    }

    fn get(&self, time: Duration) -> Connection {
        let grant = self.grant.clone().max_statement_time(time);
        let connection = block_on(grant.get(Access::ReadWrite, &Request::new()));
        connection.expect("a connection")
    }

    /// Attack with a short deadline. Returns how late it ended, and the result.
    fn attack(&self, attack: &Attack) -> (Duration, Result<usize>) {
        let connection = self.get(Duration::from_secs(600));
        block_on(connection.execute_script(attack.before)).expect(attack.name);
        let parameters = Parameters::from(attack.parameters.clone());
        let since = Instant::now();
        connection.set_deadline(Some(since + TIME));
        let result = block_on(connection.query(&attack.sql, &parameters));
        let late = since.elapsed().saturating_sub(TIME);
        // The connection is as good as before, or gone.
        connection.set_deadline(None);
        match block_on(connection.query("SELECT 1", &NONE)) {
            Ok(after) => assert_eq!(after.rows, [[Value::Integer(1)]]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StaleHandle, "{error}");
                assert!(self.pool.stats().abandoned > 0);
            }
        }
        (late, result.map(|table| table.rows.len()))
    }
}

fn is_late(late: Duration) -> bool {
    !cfg!(debug_assertions) && late > LATE
}

#[test]
fn a_statement_ends_at_its_deadline_whatever_it_does() {
    let only = std::env::var("MILLPOND_LATE").unwrap_or_default();
    let attacks = [full_text(), compiling(), schemas(), straight()];
    let attacks = attacks.into_iter().flatten();
    let mut too_late = Vec::new();
    for attack in attacks.filter(|attack| attack.name.contains(&only)) {
        let f = Fixture::new();
        let connection = f.get(Duration::from_secs(600));
        block_on(connection.execute_script(&attack.setup)).expect(attack.name);
        drop(connection);
        let (late, result) = f.attack(&attack);
        let what = format!("{}: {late:.1?} late, {result:?}", attack.name);
        let since = Instant::now();
        drop(f.get(TIME));
        println!(
            "{what}; its connection is free after {:.1?}",
            since.elapsed()
        );
        if let Err(error) = &result {
            use ErrorKind::{DeadlineExceeded, QuotaExceeded, TooLarge};
            assert!(
                matches!(error.kind(), DeadlineExceeded | TooLarge | QuotaExceeded),
                "{what}"
            );
        }
        if is_late(late) {
            too_late.push(what);
        }
    }
    assert!(too_late.is_empty(), "{too_late:#?}");
}

#[test]
fn partial_changes_of_a_starved_statement_are_undone() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    let script = "CREATE TABLE t(a); CREATE TABLE n(c NUMERIC); CREATE TABLE d(x);
                  INSERT INTO d SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]'";
    block_on(connection.execute_script(script)).expect("tables");
    drop(connection);
    let connection = f.get(TIME);
    let run = |sql: &str| block_on(connection.query(sql, &NONE));
    // One row, so that SQLite does not check the deadline in between.
    let slow = format!(
        "INSERT INTO t SELECT json_valid(x) FROM d WHERE {} RETURNING a",
        vec!["json_valid(x)"; 95].join(" AND ")
    );
    for _ in 0..3 {
        // Alone, and within a transaction that another cursor reads in.
        let error = run(&slow).expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        assert_eq!(
            run("SELECT * FROM t").map(|table| table.rows),
            Ok(Rows::new())
        );
        run("BEGIN").expect("begun");
        run("INSERT INTO n VALUES (1), (2)").expect("rows");
        let open = block_on(connection.prepare("SELECT * FROM n")).expect("a statement");
        let page = block_on(open.query(&NONE, 1, false)).expect("a row");
        let error = run(&slow).expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        let rows = block_on(page.rest.expect("more rows").next(0));
        match error.rolled_back() {
            true => {
                let stale = rows.map(|_| ()).expect_err("nothing is left of it");
                assert_eq!(stale.kind(), ErrorKind::StaleHandle, "{stale}");
                match run("ROLLBACK") {
                    Ok(_) => {}
                    // On a busy machine the statement was abandoned, and the connection lost with
                    // it.
                    Err(error) if error.kind() == ErrorKind::StaleHandle => return,
                    Err(error) => panic!("{error:?}"),
                }
            }
            false => run("ROLLBACK").map(|_| ()).expect("rolled back"),
        }
        for table in ["t", "n"] {
            let left = run(&format!("SELECT * FROM {table}")).expect("rows");
            assert!(left.rows.is_empty(), "{table}");
        }
    }
    let check = run("PRAGMA integrity_check").expect("a check");
    assert_eq!(check.rows, [[Value::Text("ok".to_owned())]]);
}

/// A statement after a rollback, or a failed transaction, has no more time than any other.
#[test]
fn no_statement_escapes_its_deadline_behind_a_rollback() {
    let f = Fixture::new();
    for script in [
        format!("BEGIN; ROLLBACK; {ENDLESS}"),
        format!("BEGIN; SAVEPOINT s; ROLLBACK TO s; {ENDLESS}"),
        format!("BEGIN; COMMIT; {ENDLESS}"),
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS t(a UNIQUE); BEGIN; ROLLBACK; BEGIN; ROLLBACK; {ENDLESS}"
        ),
    ] {
        let connection = f.get(TIME);
        let error = block_on(connection.execute_script(&script)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{script}");
        let _ = block_on(connection.execute("ROLLBACK", &NONE));
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
        // By its handle too.
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
        block_on(transaction.rollback()).expect("rolled back");
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
    }
}

/// Statements that change the schema change no rows, but succeed.
#[test]
fn a_statement_that_ended_in_time_is_not_reported_as_failed() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    for number in 0..50 {
        let sql = format!("CREATE TABLE t{number}(a)");
        block_on(connection.execute(&sql, &NONE)).expect("a table");
    }
    let slow = "INSERT INTO t0 SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]'";
    block_on(connection.execute(slow, &NONE)).expect("a row");
    // Two cursors, one of which is open when another statement is starved.
    let open = block_on(connection.prepare("SELECT 1 UNION ALL SELECT 2")).expect("a statement");
    let page = block_on(open.query(&NONE, 1, false)).expect("a row");
    let all = vec!["json_valid(a)"; 95].join(" AND ");
    let starved = block_on(connection.prepare(&format!("SELECT a FROM t0 WHERE {all}")))
        .expect("a statement");
    connection.set_deadline(Some(Instant::now() + TIME));
    let error = block_on(starved.query(&NONE, 1, false))
        .map(|page| page.rows)
        .expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    connection.set_deadline(None);
    let rest = block_on(page.rest.expect("more rows").next(0));
    if let Err(error) = rest {
        assert_eq!(error.kind(), ErrorKind::StaleHandle, "{error}");
    }
    // Nothing is left of it, although the starved statement still exists.
    for _ in 0..3 {
        block_on(connection.query("SELECT 1", &NONE)).expect("another statement");
        block_on(open.query(&NONE, 1, false)).expect("the same again");
    }
}

/// A runtime of two workers, with four statements that never end, each for longer than the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_statements_do_not_block_the_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(8).open(path).expect("a pool");
    let grant = Grant::new(&pool, Access::ReadOnly).max_statement_time(Duration::from_secs(600));
    let request = Request::new();
    let endless: Vec<_> = (0..4)
        .map(|_| {
            let (grant, request) = (grant.clone(), request.clone());
            tokio::spawn(async move {
                let connection = grant.get(Access::ReadOnly, &request).await?;
                connection.query(ENDLESS, &NONE).await
            })
        })
        .collect();
    let quick = tokio::spawn(async move {
        for _ in 0..100 {
            let connection = grant.get(Access::ReadOnly, &Request::new()).await?;
            connection.query("SELECT 1", &NONE).await?;
            drop(connection);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<(), Error>(())
    });
    assert_eq!(quick.await.expect("no panic"), Ok(()));
    assert!(!endless.iter().any(|task| task.is_finished()));
    request.interrupt();
    for task in endless {
        let result = task.await.expect("no panic");
        let error = result.expect_err("it was interrupted");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}

/// Any SQL, on any schema and data that it has created itself: only the time counts. To run it for
/// longer, set `BOLERO_RANDOM_TEST_TIME_MS`, as in `fuzz.rs`, with `--release`.
///
/// A late one is tried again, from the start: the machine may be late, but not every time.
#[test]
fn no_generated_statement_is_late() {
    check!().with_type::<Vec<(u8, u16)>>().for_each(|choices| {
        let late: Vec<_> = (0..3).map_while(|_| late_one(choices)).collect();
        assert!(late.len() < 3, "{late:#?}");
    });
}

/// The first generated statement that is late.
fn late_one(choices: &[(u8, u16)]) -> Option<String> {
    let f = Fixture::new();
    let mut choices = Choices(choices.iter());
    (0..4).find_map(|_| {
        let sql = choices.statement();
        let sql = &sql[..sql.floor_char_boundary(100_000)];
        let (late, result) = f.attack(&attack("made up", "", sql));
        let begin = &sql[..sql.floor_char_boundary(2_000)];
        is_late(late).then(|| format!("{late:?} late: {result:?}: {begin}"))
    })
}

/// SQLite calls the progress handler after a statement has ended, too.
#[test]
fn a_commit_is_not_reported_as_failed() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    block_on(connection.execute_script("CREATE TABLE t(a)")).expect("a table");
    drop(connection);
    let grant = f.grant.clone().max_statement_steps(1);
    let get = || block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    let (mut failed, mut kept) = (0, 0);
    for rows in 1..60 {
        let connection = get();
        let sql = format!("INSERT INTO t VALUES {}", times(rows, "(1)"));
        let result = block_on(connection.execute(&sql, &NONE));
        drop(connection);
        let connection = f.get(Duration::from_secs(600));
        let found = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        block_on(connection.execute("DELETE FROM t", &NONE)).expect("gone");
        let expected = match result {
            Ok(_) => rows,
            Err(_) => 0,
        };
        assert_eq!(found.rows, [[Value::Integer(expected as i64)]], "{sql}");
        *(if expected > 0 { &mut kept } else { &mut failed }) += 1;
    }
    assert!(failed > 0 && kept > 0, "{failed} failed, {kept} kept");
}

/// SQLite does not consider the end of a transaction a write, and must not report it as failed.
#[test]
fn a_transaction_that_ends_late_reports_its_outcome() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    let setup = "CREATE TABLE t(a INTEGER PRIMARY KEY, b);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)
         INSERT INTO t SELECT i, zeroblob(3000) FROM n";
    block_on(connection.execute_script(setup)).expect("a table");
    let count = |connection: &Connection| {
        let rows = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        rows.rows.to_vec()[0][0].clone()
    };
    // Much is written twice: the commit rewrites the log.
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 12000)
         INSERT INTO t SELECT i + 1000, zeroblob(3500) FROM n;
         UPDATE t SET b = randomblob(3000) WHERE a < 50";
    for (begin, end) in [("BEGIN", "COMMIT"), ("SAVEPOINT s", "RELEASE s")] {
        for time in [0, 1, 20, 100, 1_000] {
            block_on(connection.execute_script(&format!("{begin}; {fill}"))).expect(begin);
            connection.set_deadline(Some(Instant::now() + Duration::from_millis(time)));
            let result = block_on(connection.execute(end, &NONE));
            connection.set_deadline(None);
            let expected = match result {
                Ok(_) => 12_100,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
                    // It may still be open, if it ran out of time before.
                    if !error.rolled_back() {
                        block_on(connection.execute("ROLLBACK", &NONE)).expect("undone");
                    }
                    100
                }
            };
            assert_eq!(
                count(&connection),
                Value::Integer(expected),
                "{end}, {time} ms"
            );
            let undo = "DELETE FROM t WHERE a > 1000";
            block_on(connection.execute(undo, &NONE)).expect("as before");
        }
    }
    // A savepoint that could not be committed is gone, and retrying does not release it.
    block_on(connection.execute_script(&format!("SAVEPOINT s; {fill}"))).expect("filled");
    connection.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let error = block_on(connection.execute("RELEASE s", &NONE)).expect_err("too late");
    connection.set_deadline(None);
    assert!(error.rolled_back(), "{error}");
    assert!(!connection.in_transaction());
    let error = block_on(connection.execute("RELEASE s", &NONE)).expect_err("no savepoint");
    assert_eq!(error.kind(), ErrorKind::Sql);
    assert_eq!(count(&connection), Value::Integer(100));
}

/// Dropping a cursor commits what it has written, whatever time is left.
#[test]
fn a_cursor_that_is_dropped_late_keeps_its_writes() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    block_on(connection.execute_script("CREATE TABLE t(a, b)")).expect("a table");
    let insert = block_on(connection.prepare(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000)
             INSERT INTO t SELECT i, zeroblob(3500) FROM n RETURNING a",
    ))
    .expect("a statement");
    for end in ["dropped", "begun anew"] {
        let page = block_on(insert.query(&NONE, 10, false)).expect("a page");
        connection.set_deadline(Some(Instant::now()));
        if end == "dropped" {
            drop(page);
        } else {
            let error = block_on(insert.execute(&NONE)).expect_err("its time is over");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        connection.set_deadline(None);
        let count = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        assert_eq!(count.rows, [[Value::Integer(10_000)]], "{end}");
        block_on(connection.execute("DELETE FROM t", &NONE)).expect("gone");
    }
}
