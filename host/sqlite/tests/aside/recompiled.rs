//! Statements that SQLite compiles again as they run: for other values of their parameters, or
//! because another connection has changed the schema.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use millpond_pool::{Connection, Parameters, TransactionMode, Value, block_on};

use super::{Fixture, NONE, number, run};

/// Whether a statement waits for another thread, and its rows. If that is fast, it does not wait.
fn query(connection: &Connection, sql: &str, values: Vec<Value>) -> (bool, Vec<Vec<Value>>) {
    let parameters = Parameters::positional(values);
    block_on(async {
        let mut call = pin!(connection.query(sql, &parameters));
        let first = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        let (waits, result) = match first {
            Poll::Ready(result) => (false, result),
            Poll::Pending => (true, call.await),
        };
        (waits, result.expect("rows").rows.to_vec())
    })
}

/// SQLite compiles a statement again if another value of a parameter could mean another plan.
#[test]
fn a_statement_compiled_for_its_values_stays_until_they_change() {
    let f = Fixture::new(2);
    let connection = f.get();
    run(&connection, "CREATE TABLE t (a, b)");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9)
        INSERT INTO t SELECT i % 2, i FROM n";
    run(&connection, fill);
    let page = |connection: &Connection, size: i64, offset: i64| {
        let sql = "SELECT b FROM t ORDER BY b LIMIT ?1 OFFSET ?2";
        let values = vec![Value::Integer(size), Value::Integer(offset)];
        let (waits, rows) = query(connection, sql, values);
        let expected = (offset + 1..=9).take(size as usize);
        assert!(rows.into_iter().flatten().eq(expected.map(Value::Integer)));
        waits
    };
    for size in 1..5 {
        page(&connection, size, 0);
        assert!(!page(&connection, size, 0));
        assert!(!page(&connection, size, 4), "the offset does not matter");
    }
    // In the next request too.
    drop(connection);
    let connection = f.get();
    assert!(!page(&connection, 4, 6));
    // Another size may mean another plan.
    assert!((5..99).any(|size| page(&connection, size, 0)));
}

/// The list of a page, and how many there are, belong to one snapshot.
#[test]
fn a_read_in_a_transaction_stays_too() {
    let f = Fixture::new(2);
    let connection = f.get();
    run(
        &connection,
        "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)",
    );
    let sql = "SELECT a FROM t ORDER BY a LIMIT ?1";
    let one = Parameters::positional(vec![Value::Integer(1)]);
    for round in 0..3 {
        let transaction = block_on(connection.begin(TransactionMode::Deferred)).expect("begun");
        let (waits, rows) = query(&connection, sql, vec![Value::Integer(1)]);
        assert!(round == 0 || !waits);
        assert_eq!(rows, [[Value::Integer(1)]]);
        block_on(transaction.commit()).expect("committed");
    }
    // A write is not explained in a transaction.
    let write = "INSERT INTO t SELECT a FROM t ORDER BY a LIMIT ?1";
    for _ in 0..2 {
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
        block_on(connection.execute(write, &one)).expect("a row");
        block_on(transaction.rollback()).expect("rolled back");
    }
    assert_eq!(number(&connection, "SELECT count(*) FROM t"), 2);
}

/// Another schema can give a text another program, which no one has looked at yet.
#[test]
fn a_statement_over_a_replaced_view_does_not_stay() {
    let f = Fixture::new(2);
    let (connection, other) = (f.get(), f.get());
    run(&connection, "CREATE VIEW v AS SELECT 1 AS a");
    let sql = "SELECT a FROM v LIMIT ?1";
    let one = || vec![Value::Integer(1)];
    query(&connection, sql, one());
    let looked_again = (0..99).any(|round| {
        let replace = format!("DROP VIEW v; CREATE VIEW v AS SELECT {round} AS a");
        run(&other, &replace);
        let (waits, rows) = query(&connection, sql, one());
        assert_eq!(rows, [[Value::Integer(round)]]);
        assert!(!query(&connection, sql, one()).0);
        waits
    });
    assert!(looked_again);
    // This has too many instructions, whatever its values are.
    let columns: Vec<_> = (0..900)
        .map(|column| format!("a + {column} AS c{column}"))
        .collect();
    let view = format!(
        "CREATE VIEW v AS SELECT {} FROM (SELECT 1 AS a)",
        columns.join(", ")
    );
    run(&other, &format!("DROP VIEW v; {view}"));
    let all = "SELECT * FROM v UNION ALL SELECT * FROM v LIMIT ?1";
    query(&connection, all, one());
    assert!((0..99).any(|_| query(&connection, all, one()).0));
}

/// The names of many columns are found in quadratic time, before SQLite asks for anything but
/// whether it may select.
#[test]
fn a_view_replaced_by_a_long_one_is_not_expanded_here() {
    let f = Fixture::new(2);
    let (connection, other) = (f.get(), f.get());
    run(&connection, "CREATE VIEW v AS SELECT 1 AS a");
    let sql = "SELECT 1 FROM v";
    query(&connection, sql, vec![]);
    for table in 0..60 {
        let columns: Vec<_> = (0..999)
            .map(|column| format!("d{table}_{column}"))
            .collect();
        run(
            &other,
            &format!("CREATE TABLE j{table} ({})", columns.join(", ")),
        );
    }
    let joined: Vec<_> = (0..60).map(|table| format!("j{table}")).collect();
    let view = format!("SELECT 1 AS a FROM {}", joined.join(" NATURAL JOIN "));
    run(&other, &format!("DROP VIEW v; CREATE VIEW v AS {view}"));
    let mut call = Box::pin(async { connection.query(sql, &NONE).await.map(drop) });
    let since = Instant::now();
    let first = block_on(poll_fn(|context| Poll::Ready(call.as_mut().poll(context))));
    let time = since.elapsed();
    // It takes seconds, and this microseconds.
    assert!(time < Duration::from_millis(200), "{time:?}");
    assert!(first.is_pending());
    block_on(call).expect("no rows");
}

/// Integers stay bound in a cached statement, but not what was bound before them.
#[test]
fn an_integer_keeps_no_memory_of_a_text() {
    const TEXT: usize = (1 << 20) - 64;
    const TEXTS: usize = 20;
    let f = Fixture::new(1);
    let names: Vec<_> = (1..=TEXTS).map(|number| format!("?{number}")).collect();
    let texts = vec![Value::Text("x".repeat(TEXT)); TEXTS];
    let integers = vec![Value::Integer(1); TEXTS];
    let parts: Vec<_> = names.iter().map(|name| format!("length({name})")).collect();
    // With what the others keep, the last would not fit.
    for round in 0..5 {
        let sql = format!("SELECT {} /* {round} */", parts.join(" + "));
        let connection = f.get();
        let statement = block_on(connection.prepare(&sql)).expect("a statement");
        for (values, sum) in [(&texts, TEXT * TEXTS), (&integers, TEXTS)] {
            let values = Parameters::positional(values.clone());
            let page = block_on(statement.query(&values, 0, false)).expect("a row");
            assert_eq!(page.rows.to_vec(), [[Value::Integer(sum as i64)]]);
        }
    }
}
