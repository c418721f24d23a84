//! A statement or transaction that a deadline ends leaves nothing half done, and its result says
//! what happened.

use std::time::{Duration, Instant};

use millpond_pool::{Access, Connection, ErrorKind, Request, Rows, Value, block_on};

use crate::attacks::times;
use crate::{Fixture, NONE, TIME};

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
